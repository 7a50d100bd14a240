//! Listing keys, in pages.

use actix::Message;
use bytes::Bytes;
use ensemble::RemoteMessage;
use serde::{Deserialize, Serialize};

use super::error::StoreError;

/// Asks for some of the keys, in their order (as unsigned bytes, the shorter first).
///
/// The cursor is a key: the next page begins behind it, whatever was written meanwhile. A key that is there all the
/// while comes exactly once.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<KeyPage, StoreError>")]
pub struct List {
    /// What the keys begin with; empty for all of them.
    pub prefix: Bytes,
    /// The key behind which to begin; empty for the beginning.
    pub after: Bytes,
    /// How many keys at most. The store gives at most 1000 at once, and fewer when they are long.
    pub limit: u32,
}

/// Some of the keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<ListedKey>,
    /// What to go on behind; none when there are no more. There can be more after a page without keys.
    pub next: Option<Bytes>,
}

/// A key in a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedKey {
    /// The key.
    pub key: Bytes,
    /// What is known about its value; none when its record cannot be read. The checksum was not looked at.
    pub about: Option<AboutKey>,
}

/// What is known about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AboutKey {
    /// Given out by the store for each change: it grows.
    pub revision: u64,
    /// The length of the value.
    pub value_bytes: u64,
    /// The length of the value as it is stored: after compression.
    pub stored_bytes: u64,
    /// The time that it has left, in milliseconds; none when it does not end.
    pub expires_in_ms: Option<u64>,
}

impl RemoteMessage for List {
    const NAME: &'static str = "kvstore.list";
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_bytes() {
        let mut out = BytesMut::new();
        let list = List { prefix: "a/".into(), after: "a/b".into(), limit: 300 };
        list.encode(&mut out).unwrap();
        assert_eq!(out[..], *b"\x02a/\x03a/b\xfb\x2c\x01");
        assert_eq!(List::decode(&out.freeze()).unwrap(), list);

        let about = AboutKey { revision: 1, value_bytes: 2, stored_bytes: 3, expires_in_ms: Some(4) };
        let golden: [(_, &[u8]); 3] = [
            (Ok(KeyPage { keys: Vec::new(), next: None }), &[0, 0, 0]),
            (
                Ok(KeyPage {
                    keys: vec![
                        ListedKey { key: "k".into(), about: Some(about) },
                        ListedKey { key: "l".into(), about: None },
                    ],
                    next: Some("l".into()),
                }),
                b"\0\x02\x01k\x01\x01\x02\x03\x01\x04\x01l\0\x01\x01l",
            ),
            (Err(StoreError::Closed), &[1, 10, 0, 0]),
        ];
        for (result, bytes) in golden {
            let mut out = BytesMut::new();
            List::encode_result(&result, &mut out).unwrap();
            assert_eq!(out[..], *bytes);
            assert_eq!(List::decode_result(&out.freeze()).unwrap(), result);
        }
    }

    #[test]
    fn a_page_that_claims_more_than_there_is_is_an_error() {
        for bytes in [&[0, 253, 0, 0, 0, 0, 2, 0, 0, 0][..], &[0, 2, 1, b'k', 0], &[0, 0, 0, 0], &[]] {
            assert!(List::decode_result(&bytes.into()).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let bytes = Bytes::from(bytes);
            if let Ok(Ok(page)) = List::decode_result(&bytes) {
                prop_assert!(page.keys.len() <= bytes.len());
            }
            if let Ok(list) = List::decode(&bytes) {
                prop_assert!(list.prefix.len() < bytes.len());
            }
        }
    }
}
