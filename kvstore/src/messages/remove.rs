//! Removing a key.

use actix::Message;
use bytes::Bytes;
use ensemble::RemoteMessage;
use serde::{Deserialize, Serialize};

use super::error::StoreError;

/// Removes a key. That there is no such key is no error. It is answered when the key is gone from the disk.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<RemoveDone, StoreError>")]
pub struct Remove {
    /// 1 to 511 bytes.
    pub key: Bytes,
}

/// What a remove has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveDone {
    /// The revision of the removal; none where there was no such key.
    pub revision: Option<u64>,
}

impl RemoveDone {
    /// Whether there was such a key.
    pub fn existed(&self) -> bool {
        self.revision.is_some()
    }
}

impl RemoteMessage for Remove {
    const NAME: &'static str = "kvstore.remove";
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_bytes() {
        let mut out = BytesMut::new();
        let remove = Remove { key: Bytes::from_static(b"key") };
        remove.encode(&mut out).unwrap();
        assert_eq!(out[..], *b"\x03key");
        assert_eq!(Remove::decode(&out.freeze()).unwrap(), remove);

        let golden: [(_, &[u8]); 3] = [
            (Ok(RemoveDone { revision: None }), &[0, 0]),
            (Ok(RemoveDone { revision: Some(300) }), &[0, 1, 251, 44, 1]),
            (Err(StoreError::Closed), &[1, 10, 0, 0]),
        ];
        for (result, bytes) in golden {
            let mut out = BytesMut::new();
            Remove::encode_result(&result, &mut out).unwrap();
            assert_eq!(out[..], *bytes);
            assert_eq!(Remove::decode_result(&out.freeze()).unwrap(), result);
        }
    }

    #[test]
    fn malformed_bytes_are_errors() {
        for bytes in [&[][..], &[1], &[1, 2, 3], &[253, 0, 0, 0, 0, 2, 0, 0, 0]] {
            assert!(Remove::decode(&bytes.into()).is_err(), "{bytes:?}");
        }
        for bytes in [&[][..], &[0], &[0, 2], &[0, 1], &[0, 0, 0], &[2]] {
            assert!(Remove::decode_result(&bytes.into()).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = Bytes::from(bytes);
            if let Ok(remove) = Remove::decode(&bytes) {
                prop_assert!(remove.key.len() < bytes.len());
            }
            if let Ok(Ok(done)) = Remove::decode_result(&bytes) {
                prop_assert_eq!(done.existed(), bytes[1] == 1);
            }
        }
    }
}
