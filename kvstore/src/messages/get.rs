//! Reading a key.

use std::sync::Arc;

use actix::Message;
use bytes::{BufMut, Bytes, BytesMut};
use ensemble::{
    RemoteMessage,
    codec::{DecodeError, EncodeError, decode_message, encode_message},
};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    error::StoreError,
    wire::{malformed, tail},
};

/// Reads a key. A key that is not there is answered with `None`.
///
/// A program that sends this to a store of its own process, and not through a [`Client`](crate::Client), should not keep
/// the [`Value`] that it gets: until it is dropped, it counts as an answer that is not sent yet. Its bytes may be kept.
///
/// The result begins with a byte: 0, there is no such key; 1, there is, and the revision (eight bytes, little-endian)
/// and the value follow; 2, the codec's bytes of the error follow.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<Option<Value>, StoreError>")]
pub struct Get {
    /// 1 to 511 bytes.
    pub key: Bytes,
}

/// What is stored under a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// The value.
    pub bytes: Bytes,
    /// Given out by the store for each change: it grows.
    pub revision: u64,
    #[serde(skip)]
    room: Room,
}

impl Value {
    /// A value with its revision.
    pub fn new(bytes: impl Into<Bytes>, revision: u64) -> Self {
        Self { bytes: bytes.into(), revision, room: Room::default() }
    }

    /// The same, with a part of the server's memory that it holds until it is dropped: sent, for a call from elsewhere.
    pub(crate) fn holding(self, room: OwnedSemaphorePermit) -> Self {
        Self { room: Room(Some(Arc::new(room))), ..self }
    }

    /// The bytes, which hold what this does.
    pub(super) fn to_send(&self) -> Bytes {
        self.room.hold(&self.bytes)
    }

    /// The same, without what it holds.
    pub(crate) fn released(self) -> Self {
        Self { room: Room::default(), ..self }
    }
}

/// What a value holds. It is no part of the value: clones hold nothing.
#[derive(Debug, Default)]
pub(super) struct Room(pub(super) Option<Arc<OwnedSemaphorePermit>>);

impl Room {
    /// The bytes, which hold what this does.
    pub(super) fn hold(&self, bytes: &Bytes) -> Bytes {
        match &self.0 {
            Some(room) => Bytes::from_owner(Held { bytes: bytes.clone(), _room: Arc::clone(room) }),
            None => bytes.clone(),
        }
    }
}

/// A value's bytes on their way to a connection, which go on holding what the value held.
struct Held {
    bytes: Bytes,
    _room: Arc<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Clone for Room {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Room {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Room {}

const ABSENT: u8 = 0;
const PRESENT: u8 = 1;
const FAILED: u8 = 2;

const VALUE_AT: usize = 1 + size_of::<u64>();

impl RemoteMessage for Get {
    const NAME: &'static str = "kvstore.get";

    fn encode_result(result: &Self::Result, out: &mut BytesMut) -> Result<(), EncodeError> {
        match result {
            Ok(None) => out.put_u8(ABSENT),
            Ok(Some(value)) => {
                out.put_u8(PRESENT);
                out.put_u64_le(value.revision);
            }
            Err(error) => {
                out.put_u8(FAILED);
                encode_message(error, out)?;
            }
        }
        Ok(())
    }

    fn result_tail(result: &Self::Result) -> Bytes {
        match result {
            Ok(Some(value)) => value.to_send(),
            _ => Bytes::new(),
        }
    }

    fn decode_result(bytes: &Bytes) -> Result<Self::Result, DecodeError> {
        match bytes.split_first() {
            Some((&ABSENT, [])) => Ok(Ok(None)),
            Some((&ABSENT, rest)) => Err(DecodeError::TrailingBytes { extra: rest.len() }),
            Some((&PRESENT, rest)) => {
                let (revision, _) = rest.split_first_chunk().ok_or_else(malformed)?;
                let revision = u64::from_le_bytes(*revision);
                Ok(Ok(Some(Value::new(tail(bytes, VALUE_AT), revision))))
            }
            Some((&FAILED, error)) => decode_message(error).map(Err),
            Some(_) => Err(malformed()),
            None => Err(malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn result_bytes(result: &Result<Option<Value>, StoreError>) -> Bytes {
        let mut out = BytesMut::new();
        Get::encode_result(result, &mut out).unwrap();
        out.extend_from_slice(&Get::result_tail(result));
        out.freeze()
    }

    #[test]
    fn golden_bytes() {
        let mut out = BytesMut::new();
        let get = Get { key: Bytes::from_static(b"\0k") };
        get.encode(&mut out).unwrap();
        assert_eq!(out[..], [2, 0, b'k']);
        assert_eq!(Get::decode(&out.freeze()).unwrap(), get);

        let value = |bytes: &'static [u8]| Ok(Some(Value::new(bytes, 0x0102_0304_0506_0708)));
        let golden: [(_, &[u8]); 4] = [
            (Ok(None), &[0]),
            (value(b"hi"), &[1, 8, 7, 6, 5, 4, 3, 2, 1, b'h', b'i']),
            (value(b""), &[1, 8, 7, 6, 5, 4, 3, 2, 1]),
            (Err(StoreError::Damaged), &[2, 7, 0, 0]),
        ];
        for (result, bytes) in golden {
            assert_eq!(result_bytes(&result)[..], *bytes);
            assert_eq!(Get::decode_result(&bytes.into()).unwrap(), result);
        }
    }

    #[test]
    fn malformed_results_are_errors() {
        for bytes in
            [&[][..], &[0, 0], &[1], &[1, 1, 2, 3, 4, 5, 6, 7], &[2], &[2, 7], &[2, 7, 0, 0, 0], &[3], &[255]]
        {
            assert!(Get::decode_result(&bytes.into()).is_err(), "{bytes:?}");
        }
        let claims_8_gib = [253, 0, 0, 0, 0, 2, 0, 0, 0];
        assert!(Get::decode(&Bytes::copy_from_slice(&claims_8_gib)).is_err());
        assert!(Get::decode(&Bytes::from_static(&[1, b'k', b'l'])).is_err());
    }

    #[test]
    fn a_large_value_is_a_slice_of_what_came_in() {
        let bytes = result_bytes(&Ok(Some(Value::new(vec![7; 1 << 20], 1))));
        let value = Get::decode_result(&bytes).unwrap().unwrap().unwrap();
        assert_eq!(value.bytes.as_ptr(), bytes[VALUE_AT..].as_ptr());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = Bytes::from(bytes);
            if let Ok(result) = Get::decode_result(&bytes) {
                prop_assert_eq!(Get::decode_result(&result_bytes(&result)).unwrap(), result);
            }
            if let Ok(get) = Get::decode(&bytes) {
                let mut out = BytesMut::new();
                get.encode(&mut out).unwrap();
                prop_assert_eq!(Get::decode(&out.freeze()).unwrap(), get);
            }
        }
    }
}
