//! Storing a value under a key, on a condition.

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
    wire::{Conditions, malformed, tail, unencodable},
};

/// Stores a value under a key as [`Put`](super::Put) does, if a condition holds.
///
/// The payload is a byte 0 (flags, reserved); a byte for the condition: 0, none; 1, there is no such key; 2, the key has
/// a revision; that revision (eight bytes, 0 for the others); the length of the key (two bytes); the key; and the value.
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
}

/// Flags, condition, length of the key.
const FIXED_BYTES: usize = 1 + Conditions::BYTES + 2;

impl PutWith {
    /// How many bytes of a message are not the value, at most.
    pub const MAX_OVERHEAD_BYTES: usize = FIXED_BYTES + crate::store::MAX_KEY_BYTES;
}

impl RemoteMessage for PutWith {
    const NAME: &'static str = "kvstore.put-with";

    fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let key_bytes = u16::try_from(self.key.len()).map_err(|_| unencodable())?;
        out.put_u8(0);
        Conditions::put(self.condition, out);
        out.put_u16_le(key_bytes);
        out.extend_from_slice(&self.key);
        Ok(())
    }

    fn tail(&self) -> Bytes {
        self.value.clone()
    }

    fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let (mut fixed, rest) = bytes.split_at_checked(FIXED_BYTES).ok_or_else(malformed)?;
        if fixed.get_u8() != 0 {
            return Err(malformed());
        }
        let condition = Conditions::get(&mut fixed)?;
        let key_bytes = usize::from(fixed.get_u16_le());
        let key = rest.get(..key_bytes).ok_or_else(malformed)?;
        let value = tail(bytes, FIXED_BYTES + key_bytes);
        Ok(Self { key: Bytes::copy_from_slice(key), value, condition })
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
        let golden: [(Condition, &[u8]); 3] = [
            (Condition::Always, b"\0\0\0\0\0\0\0\0\0\0\x03\0keyvalue"),
            (Condition::Absent, b"\0\x01\0\0\0\0\0\0\0\0\x03\0keyvalue"),
            (
                Condition::Revision(0x0102_0304_0506_0708),
                b"\0\x02\x08\x07\x06\x05\x04\x03\x02\x01\x03\0keyvalue",
            ),
        ];
        for (condition, bytes) in golden {
            let put = PutWith { key: "key".into(), value: "value".into(), condition };
            assert_eq!(bytes_of(&put)[..], *bytes);
            assert_eq!(PutWith::decode(&Bytes::from_static(bytes)).unwrap(), put);
        }
        let long = PutWith {
            key: vec![1; 511].into(),
            value: Bytes::new(),
            condition: Condition::Revision(u64::MAX),
        };
        assert_eq!(bytes_of(&long).len(), PutWith::MAX_OVERHEAD_BYTES);
    }

    #[test]
    fn malformed_puts_are_errors() {
        let malformed: [&[u8]; 6] = [
            b"",
            b"\0\0\0\0\0\0\0\0\0\0\x01",
            b"\0\0\0\0\0\0\0\0\0\0\x01\0",
            b"\x02\0\0\0\0\0\0\0\0\0\x01\0k",
            b"\0\x03\0\0\0\0\0\0\0\0\x01\0k",
            b"\0\x01\x01\0\0\0\0\0\0\0\x01\0k",
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
