//! Storing a value under a key, on a condition or for a time.

use actix::Message;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use ensemble::{
    RemoteMessage,
    codec::{DecodeError, EncodeError},
};
use serde::{Deserialize, Serialize};

use super::{
    condition::Condition,
    error::StoreError,
    put::PutDone,
    wire::{Terms, malformed, tail, unencodable},
};

/// Stores a value under a key as [`Put`](super::Put) does, if a condition holds, for a time or for ever.
///
/// The payload is a byte of flags (bit 0, there is a time; the others are 0); a byte for the condition: 0, none; 1, there is no such key; 2, the key has
/// a revision; that revision (eight bytes, 0 for the others); the time in milliseconds (eight bytes, 0 without); the length of the key (two bytes); the key; and the value.
/// Numbers are little-endian.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<PutDone, StoreError>")]
pub struct PutWith {
    /// 1 to 511 bytes.
    pub key: Bytes,
    /// Any bytes, up to the store's limit; none is a value too.
    pub value: Bytes,
    /// What must hold.
    pub condition: Condition,
    /// How long the key is there, in milliseconds from when the store has the message; for ever without.
    pub ttl_ms: Option<u64>,
}

/// Terms, length of the key.
const FIXED_BYTES: usize = Terms::BYTES + 2;

impl PutWith {
    /// How many bytes of a message are not the value, at most.
    pub const MAX_OVERHEAD_BYTES: usize = FIXED_BYTES + crate::store::MAX_KEY_BYTES;
}

impl RemoteMessage for PutWith {
    const NAME: &'static str = "kvstore.put-with";

    fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let key_bytes = u16::try_from(self.key.len()).map_err(|_| unencodable())?;
        Terms { condition: self.condition, ttl_ms: self.ttl_ms }.put(out);
        out.put_u16_le(key_bytes);
        out.extend_from_slice(&self.key);
        Ok(())
    }

    fn tail(&self) -> Bytes {
        self.value.clone()
    }

    fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let (mut fixed, rest) = bytes.split_at_checked(FIXED_BYTES).ok_or_else(malformed)?;
        let Terms { condition, ttl_ms } = Terms::get(&mut fixed)?;
        let key_bytes = usize::from(fixed.get_u16_le());
        let key = rest.get(..key_bytes).ok_or_else(malformed)?;
        let value = tail(bytes, FIXED_BYTES + key_bytes);
        Ok(Self { key: Bytes::copy_from_slice(key), value, condition, ttl_ms })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(put: &PutWith) -> Bytes {
        let mut out = BytesMut::new();
        put.encode(&mut out).unwrap();
        out.extend_from_slice(&put.tail());
        out.freeze()
    }

    #[test]
    fn golden_bytes() {
        let golden: [(Condition, Option<u64>, &[u8]); 4] = [
            (Condition::Always, None, b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x03\0keyvalue"),
            (Condition::Absent, None, b"\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x03\0keyvalue"),
            (
                Condition::Revision(0x0102_0304_0506_0708),
                Some(0x1112_1314_1516_1718),
                b"\x01\x02\x08\x07\x06\x05\x04\x03\x02\x01\x18\x17\x16\x15\x14\x13\x12\x11\x03\0keyvalue",
            ),
            (Condition::Always, Some(0), b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x03\0keyvalue"),
        ];
        for (condition, ttl_ms, bytes) in golden {
            let put = PutWith { key: "key".into(), value: "value".into(), condition, ttl_ms };
            assert_eq!(bytes_of(&put)[..], *bytes);
            assert_eq!(PutWith::decode(&Bytes::from_static(bytes)).unwrap(), put);
        }
        let condition = Condition::Revision(u64::MAX);
        let long =
            PutWith { key: vec![1; 511].into(), value: Bytes::new(), condition, ttl_ms: Some(u64::MAX) };
        assert_eq!(bytes_of(&long).len(), PutWith::MAX_OVERHEAD_BYTES);
    }

    #[test]
    fn malformed_puts_are_errors() {
        let malformed: [&[u8]; 7] = [
            b"",
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0",
            b"\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0k",
            b"\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0k",
            b"\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0k",
            b"\0\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0k",
        ];
        for bytes in malformed {
            assert!(PutWith::decode(&Bytes::from_static(bytes)).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = Bytes::from(bytes);
            if let Ok(put) = PutWith::decode(&bytes) {
                prop_assert_eq!(bytes_of(&put), bytes);
            }
        }
    }
}
