//! Removing a key, if it has a revision.

use actix::Message;
use bytes::Bytes;
use ensemble::RemoteMessage;
use serde::{Deserialize, Serialize};

use super::{error::StoreError, remove::RemoveDone};

/// Removes a key if it has a revision. Where it has another, or there is no such key, the answer is
/// [`StoreError::Conflict`], and nothing is removed.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<RemoveDone, StoreError>")]
pub struct RemoveIf {
    /// 1 to 511 bytes.
    pub key: Bytes,
    /// The revision that the key must have.
    pub revision: u64,
}

impl RemoteMessage for RemoveIf {
    const NAME: &'static str = "kvstore.remove-if";
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn golden_bytes() {
        let mut out = BytesMut::new();
        let remove = RemoveIf { key: Bytes::from_static(b"key"), revision: 300 };
        remove.encode(&mut out).unwrap();
        assert_eq!(out[..], *b"\x03key\xfb\x2c\x01");
        assert_eq!(RemoveIf::decode(&out.freeze()).unwrap(), remove);
        for bytes in [&[][..], &[1, b'k'], &[1, b'k', 1, 1]] {
            assert!(RemoveIf::decode(&bytes.into()).is_err(), "{bytes:?}");
        }

        let mut out = BytesMut::new();
        let result = Err(StoreError::Conflict { current: Some(9) });
        RemoveIf::encode_result(&result, &mut out).unwrap();
        assert_eq!(out[..], [1, 4, 1, 9]);
        assert_eq!(RemoveIf::decode_result(&out.freeze()).unwrap(), result);
    }
}
