//! Asking for the store's limits.

use actix::Message;
use ensemble::RemoteMessage;
use serde::{Deserialize, Serialize};

/// Asks for the limits, which spares the way to a value that would be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "StoreLimits")]
pub struct GetLimits;

/// The limits of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreLimits {
    /// The longest key, in bytes.
    pub max_key_bytes: u64,
    /// The longest value that is put as a whole, in bytes. [`UploadBegin`](super::UploadBegin) tells whether a longer one is taken.
    pub max_value_bytes: u64,
}

impl RemoteMessage for GetLimits {
    const NAME: &'static str = "kvstore.limits";
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;

    #[test]
    fn golden_bytes() {
        let mut out = BytesMut::new();
        GetLimits.encode(&mut out).unwrap();
        assert!(out.is_empty());
        assert_eq!(GetLimits::decode(&Bytes::new()).unwrap(), GetLimits);
        assert!(GetLimits::decode(&Bytes::from_static(&[0])).is_err());

        let limits = StoreLimits { max_key_bytes: 511, max_value_bytes: 64 << 20 };
        GetLimits::encode_result(&limits, &mut out).unwrap();
        assert_eq!(out[..], [251, 255, 1, 252, 0, 0, 0, 4]);
        assert_eq!(GetLimits::decode_result(&out.freeze()).unwrap(), limits);
        for bytes in [&[][..], &[1], &[1, 2, 3]] {
            assert!(GetLimits::decode_result(&bytes.into()).is_err(), "{bytes:?}");
        }
    }
}
