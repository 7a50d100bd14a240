//! Storing a value under a key.

use actix::Message;
use bytes::{BufMut, Bytes, BytesMut};
use ensemble::{
    RemoteMessage,
    codec::{DecodeError, EncodeError},
};
use serde::{Deserialize, Serialize};

use super::{
    error::StoreError,
    wire::{malformed, tail, unencodable},
};

/// Stores a value under a key, in place of what was there. It is answered when the value is on disk.
///
/// The payload is a byte 0 (reserved), the length of the key (two bytes, little-endian), the key, and the value.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<PutDone, StoreError>")]
pub struct Put {
    /// 1 to 511 bytes.
    pub key: Bytes,
    /// Any bytes, up to the store's limit; none is a value too.
    pub value: Bytes,
}

/// What a put has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutDone {
    /// The length of the value as it is stored: after compression.
    pub stored_bytes: u64,
    /// The revision that the key has now.
    pub revision: u64,
}

const FORM: u8 = 0;

const KEY_AT: usize = 1 + size_of::<u16>();

impl Put {
    /// How many bytes of a message are not the value, at most.
    pub const MAX_OVERHEAD_BYTES: usize = KEY_AT + crate::store::MAX_KEY_BYTES;
}

impl RemoteMessage for Put {
    const NAME: &'static str = "kvstore.put";

    fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let key_bytes = u16::try_from(self.key.len()).map_err(|_| unencodable())?;
        out.put_u8(FORM);
        out.put_u16_le(key_bytes);
        out.extend_from_slice(&self.key);
        Ok(())
    }

    fn tail(&self) -> Bytes {
        self.value.clone()
    }

    fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let Some(([form, low, high], rest)) = bytes.split_first_chunk::<KEY_AT>() else {
            return Err(malformed());
        };
        if *form != FORM {
            return Err(malformed());
        }
        let key_bytes = usize::from(u16::from_le_bytes([*low, *high]));
        let key = rest.get(..key_bytes).ok_or_else(malformed)?;
        Ok(Self { key: Bytes::copy_from_slice(key), value: tail(bytes, KEY_AT + key_bytes) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(put: &Put) -> Bytes {
        let mut out = BytesMut::new();
        put.encode(&mut out).unwrap();
        out.extend_from_slice(&put.tail());
        out.freeze()
    }

    #[test]
    fn golden_bytes() {
        let golden: [(&[u8], &[u8], &[u8]); 3] =
            [(b"key", b"value", b"\0\x03\0keyvalue"), (b"k", b"", b"\0\x01\0k"), (b"", b"v", b"\0\0\0v")];
        for (key, value, bytes) in golden {
            let put = Put { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value) };
            assert_eq!(bytes_of(&put)[..], *bytes);
            assert_eq!(Put::decode(&Bytes::copy_from_slice(bytes)).unwrap(), put);
        }
        let long = Put { key: vec![1; 511].into(), value: Bytes::new() };
        assert_eq!(bytes_of(&long)[..3], [0, 255, 1]);
        assert_eq!(bytes_of(&long).len(), Put::MAX_OVERHEAD_BYTES);
    }

    #[test]
    fn golden_results() {
        let result_bytes = |result: &_| {
            let mut out = BytesMut::new();
            Put::encode_result(result, &mut out).unwrap();
            out.freeze()
        };
        let done = Ok(PutDone { stored_bytes: 300, revision: 7 });
        assert_eq!(result_bytes(&done)[..], [0, 251, 44, 1, 7]);
        assert_eq!(Put::decode_result(&result_bytes(&done)).unwrap(), done);
        let refused = Err(StoreError::StoreFull { limit: 9 });
        assert_eq!(result_bytes(&refused)[..], [1, 5, 9, 0]);
        assert_eq!(Put::decode_result(&result_bytes(&refused)).unwrap(), refused);
        for bytes in [&[][..], &[2], &[0], &[0, 1, 2, 3], &[1, 5]] {
            assert!(Put::decode_result(&bytes.into()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn malformed_puts_are_errors() {
        for bytes in [&[][..], &[0], &[0, 0], &[1, 0, 0], &[0, 1, 0], &[0, 255, 255, 1, 2, 3]] {
            assert!(Put::decode(&bytes.into()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_key_without_a_form_is_an_error() {
        let put = Put { key: vec![0; 65_536].into(), value: Bytes::new() };
        assert!(put.encode(&mut BytesMut::new()).is_err());
    }

    #[test]
    fn a_large_value_is_a_slice_of_what_came_in() {
        let bytes = bytes_of(&Put { key: Bytes::from_static(b"k"), value: vec![7; 1 << 20].into() });
        let put = Put::decode(&bytes).unwrap();
        assert_eq!(put.value.as_ptr(), bytes[KEY_AT + 1..].as_ptr());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            key in prop::collection::vec(any::<u8>(), 0..600),
            value in prop::collection::vec(any::<u8>(), 0..20_000),
        ) {
            let put = Put { key: key.into(), value: value.into() };
            prop_assert_eq!(Put::decode(&bytes_of(&put)).unwrap(), put);
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = Bytes::from(bytes);
            if let Ok(put) = Put::decode(&bytes) {
                prop_assert_eq!(bytes_of(&put), bytes);
            }
        }
    }
}
