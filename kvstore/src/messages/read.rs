//! Reading a value however long it is: as a whole, or part by part.

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
    get::{Room, Value},
    wire::{malformed, tail},
};

/// Begins to read a key. A key that is not there is answered with `None`.
///
/// The result begins with a byte: 0, there is no such key; 1, there is, and the revision (eight bytes, little-endian)
/// and the value follow; 2, the codec's bytes of the error follow; 3, the value is in parts, and the codec's bytes of
/// [`InParts`] follow.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<Option<Readable>, StoreError>")]
pub struct ReadBegin {
    /// 1 to 511 bytes.
    pub key: Bytes,
}

/// A value, or how to read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Readable {
    /// All of it.
    Whole(Value),
    /// Part by part, with [`ReadPart`].
    InParts(InParts),
}

/// What is needed to read a value part by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InParts {
    /// The number of the value, which is never given to another: with it the value is read to its end although it is
    /// replaced or removed meanwhile.
    pub value: u64,
    /// Given out by the store for each change: it grows.
    pub revision: u64,
    /// The length of the value.
    pub value_bytes: u64,
    /// The length of each part but the last.
    pub part_bytes: u32,
    /// How many parts there are.
    pub parts: u32,
    /// The CRC-32 (IEEE) of the value.
    pub checksum: u32,
}

/// Reads a part of a value. It is answered with [`StoreError::ValueGone`] when the value was replaced or removed and is not
/// kept any more: its reader has paused for more than a minute, or the store is full.
///
/// A program that sends this to a store of its own process, and not through a [`Client`](crate::Client), should not keep
/// the [`Part`] that it gets: until it is dropped, it counts as an answer that is not sent yet. Its bytes may be kept.
///
/// The result begins with a byte: 1, the part follows; 2, the codec's bytes of the error follow.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<Part, StoreError>")]
pub struct ReadPart {
    /// The key that the reading has begun with.
    pub key: Bytes,
    /// As [`InParts`] has it.
    pub value: u64,
    /// From 0.
    pub number: u32,
}

/// A part of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its bytes.
    pub bytes: Bytes,
    #[serde(skip)]
    room: Room,
}

impl Part {
    /// A part of these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), room: Room::default() }
    }

    /// The same, with a part of the server's memory that it holds until it is dropped: sent, for a call from elsewhere.
    pub(crate) fn holding(self, room: OwnedSemaphorePermit) -> Self {
        Self { room: Room(Some(std::sync::Arc::new(room))), ..self }
    }
}

const ABSENT: u8 = 0;
const PRESENT: u8 = 1;
const FAILED: u8 = 2;
const IN_PARTS: u8 = 3;

const VALUE_AT: usize = 1 + size_of::<u64>();

impl RemoteMessage for ReadBegin {
    const NAME: &'static str = "kvstore.read-begin";

    fn encode_result(result: &Self::Result, out: &mut BytesMut) -> Result<(), EncodeError> {
        match result {
            Ok(None) => out.put_u8(ABSENT),
            Ok(Some(Readable::Whole(value))) => {
                out.put_u8(PRESENT);
                out.put_u64_le(value.revision);
            }
            Ok(Some(Readable::InParts(parts))) => {
                out.put_u8(IN_PARTS);
                encode_message(parts, out)?;
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
            Ok(Some(Readable::Whole(value))) => value.to_send(),
            _ => Bytes::new(),
        }
    }

    fn decode_result(bytes: &Bytes) -> Result<Self::Result, DecodeError> {
        match bytes.split_first() {
            Some((&ABSENT, [])) => Ok(Ok(None)),
            Some((&ABSENT, rest)) => Err(DecodeError::TrailingBytes { extra: rest.len() }),
            Some((&PRESENT, rest)) => {
                let (revision, _) = rest.split_first_chunk().ok_or_else(malformed)?;
                let value = Value::new(tail(bytes, VALUE_AT), u64::from_le_bytes(*revision));
                Ok(Ok(Some(Readable::Whole(value))))
            }
            Some((&IN_PARTS, rest)) => Ok(Ok(Some(Readable::InParts(decode_message(rest)?)))),
            Some((&FAILED, rest)) => Ok(Err(decode_message(rest)?)),
            _ => Err(malformed()),
        }
    }
}

impl RemoteMessage for ReadPart {
    const NAME: &'static str = "kvstore.read-part";

    fn encode_result(result: &Self::Result, out: &mut BytesMut) -> Result<(), EncodeError> {
        match result {
            Ok(_) => out.put_u8(PRESENT),
            Err(error) => {
                out.put_u8(FAILED);
                encode_message(error, out)?;
            }
        }
        Ok(())
    }

    fn result_tail(result: &Self::Result) -> Bytes {
        result.as_ref().map_or_else(|_| Bytes::new(), |part| part.room.hold(&part.bytes))
    }

    fn decode_result(bytes: &Bytes) -> Result<Self::Result, DecodeError> {
        match bytes.split_first() {
            Some((&PRESENT, _)) => Ok(Ok(Part::new(tail(bytes, 1)))),
            Some((&FAILED, rest)) => Ok(Err(decode_message(rest)?)),
            _ => Err(malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(message: &impl RemoteMessage) -> Bytes {
        let mut out = BytesMut::new();
        message.encode(&mut out).unwrap();
        out.freeze()
    }

    fn result_bytes<M: RemoteMessage>(result: &M::Result) -> Bytes {
        let mut out = BytesMut::new();
        M::encode_result(result, &mut out).unwrap();
        out.extend_from_slice(&M::result_tail(result));
        out.freeze()
    }

    #[test]
    fn golden_bytes() {
        let begin = ReadBegin { key: "key".into() };
        assert_eq!(bytes_of(&begin)[..], *b"\x03key");
        assert_eq!(ReadBegin::decode(&bytes_of(&begin)).unwrap(), begin);
        let read = ReadPart { key: "k".into(), value: 300, number: 7 };
        assert_eq!(bytes_of(&read)[..], [1, b'k', 251, 44, 1, 7]);
        assert_eq!(ReadPart::decode(&bytes_of(&read)).unwrap(), read);
    }

    #[test]
    fn golden_results() {
        let in_parts =
            InParts { value: 300, revision: 2, value_bytes: 3, part_bytes: 4, parts: 1, checksum: 6 };
        let golden: [(_, &[u8]); 4] = [
            (Ok(None), &[0]),
            (Ok(Some(Readable::Whole(Value::new("value", 0x0102)))), b"\x01\x02\x01\0\0\0\0\0\0value"),
            (Ok(Some(Readable::InParts(in_parts))), &[3, 251, 44, 1, 2, 3, 4, 1, 6]),
            (Err(StoreError::Damaged), &[2, 7, 0, 0]),
        ];
        for (result, bytes) in golden {
            assert_eq!(result_bytes::<ReadBegin>(&result)[..], *bytes);
            assert_eq!(ReadBegin::decode_result(&bytes.into()).unwrap(), result);
        }
        let golden: [(_, &[u8]); 2] =
            [(Ok(Part::new("part")), b"\x01part"), (Err(StoreError::ValueGone), &[2, 20, 0, 0])];
        for (result, bytes) in golden {
            assert_eq!(result_bytes::<ReadPart>(&result)[..], *bytes);
            assert_eq!(ReadPart::decode_result(&bytes.into()).unwrap(), result);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = Bytes::from(bytes);
            if let Ok(Ok(part)) = ReadPart::decode_result(&bytes) {
                prop_assert_eq!(&part.bytes[..], &bytes[1..]);
            }
            if let Ok(Ok(Some(Readable::Whole(value)))) = ReadBegin::decode_result(&bytes) {
                prop_assert_eq!(&value.bytes[..], &bytes[VALUE_AT..]);
            }
        }
    }
}
