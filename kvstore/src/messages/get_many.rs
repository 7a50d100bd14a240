//! Reading many keys as they are at one moment.

use std::{fmt, sync::Arc};

use actix::Message;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use ensemble::{
    RemoteMessage,
    codec::{DecodeError, EncodeError, decode_message, encode_message},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    error::StoreError,
    get::{Room, Value},
    wire::{MAX_DECODED, malformed},
};

/// Reads many keys as they are at one moment. Together, the values may be as long as one value may be.
///
/// The result begins with a byte: 1, the codec's bytes of an error follow; 0, the number of keys (four bytes) follows, and
/// for each key, in the order of the request, a byte: 0, there is no such key; 1, there is, and the revision (eight bytes)
/// and the length of the value (four bytes) follow; 2, it cannot be read, and the length of an error (one byte) and the
/// codec's bytes of it follow. Then come the values, one behind the other. Numbers are little-endian.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<Values, StoreError>")]
pub struct GetMany {
    /// The keys.
    #[serde(deserialize_with = "few")]
    pub keys: Vec<Bytes>,
}

/// Keys, of which there are so many at most that the message is not much larger in memory than on the wire.
fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Bytes>, D::Error> {
    struct Few;

    impl<'de> Visitor<'de> for Few {
        type Value = Vec<Bytes>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_DECODED} keys")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut keys: A) -> Result<Vec<Bytes>, A::Error> {
            let mut few = Vec::new();
            while let Some(key) = keys.next_element()? {
                if few.len() >= MAX_DECODED as usize {
                    return Err(A::Error::invalid_length(few.len() + 1, &self));
                }
                few.push(key);
            }
            Ok(few)
        }
    }

    deserializer.deserialize_seq(Few)
}

/// What is stored under many keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Values {
    found: Vec<Result<Option<Found>, StoreError>>,
    /// The values, one behind the other.
    bytes: Bytes,
    #[serde(skip)]
    room: Room,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    revision: u64,
    bytes: u32,
}

impl Values {
    /// The values, which are copied together.
    pub(crate) fn new(values: Vec<Result<Option<(Bytes, u64)>, StoreError>>) -> Self {
        let lengths = values.iter().flatten().flatten().map(|(bytes, _)| bytes.len());
        let mut together = BytesMut::with_capacity(lengths.sum());
        let found = values.into_iter().map(|value| {
            Ok(value?.map(|(bytes, revision)| {
                together.extend_from_slice(&bytes);
                let bytes = u32::try_from(bytes.len()).expect("the ceiling of values is below 4 GiB");
                Found { revision, bytes }
            }))
        });
        Self { found: found.collect(), bytes: together.freeze(), room: Room::default() }
    }

    /// The same, with a part of the server's memory that it holds until it is dropped.
    pub(crate) fn holding(self, room: OwnedSemaphorePermit) -> Self {
        Self { room: Room(Some(Arc::new(room))), ..self }
    }

    /// How many bytes the values have together.
    pub(crate) fn value_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Each key's own answer, in the order of the request.
    pub fn into_values(self) -> Vec<Result<Option<Value>, StoreError>> {
        let mut rest = self.bytes;
        let values = self.found.into_iter().map(|found| {
            Ok(found?.map(|Found { revision, bytes }| Value::new(rest.split_to(bytes as usize), revision)))
        });
        values.collect()
    }
}

const DONE: u8 = 0;
const REFUSED: u8 = 1;

const ABSENT: u8 = 0;
const PRESENT: u8 = 1;
const FAILED: u8 = 2;

impl RemoteMessage for GetMany {
    const NAME: &'static str = "kvstore.get-many";

    fn encode_result(result: &Self::Result, out: &mut BytesMut) -> Result<(), EncodeError> {
        let values = match result {
            Ok(values) => values,
            Err(error) => {
                out.put_u8(REFUSED);
                return encode_message(error, out);
            }
        };
        out.put_u8(DONE);
        out.put_u32_le(u32::try_from(values.found.len()).unwrap_or(u32::MAX));
        for found in &values.found {
            match found {
                Ok(None) => out.put_u8(ABSENT),
                Ok(Some(Found { revision, bytes })) => {
                    out.put_u8(PRESENT);
                    out.put_u64_le(*revision);
                    out.put_u32_le(*bytes);
                }
                Err(error) => {
                    let mut coded = BytesMut::new();
                    encode_message(error, &mut coded)?;
                    out.put_u8(FAILED);
                    out.put_u8(u8::try_from(coded.len()).expect("three numbers are short"));
                    out.extend_from_slice(&coded);
                }
            }
        }
        Ok(())
    }

    fn result_tail(result: &Self::Result) -> Bytes {
        match result {
            Ok(values) => values.room.hold(&values.bytes),
            Err(_) => Bytes::new(),
        }
    }

    fn decode_result(bytes: &Bytes) -> Result<Self::Result, DecodeError> {
        let mut rest = bytes.clone();
        let short = |_| malformed();
        match rest.try_get_u8().map_err(short)? {
            DONE => {}
            REFUSED => return decode_message(&rest).map(Err),
            _ => return Err(malformed()),
        }
        let count = rest.try_get_u32_le().map_err(short)? as usize;
        let mut found = Vec::new();
        let mut value_bytes = 0_usize;
        for _ in 0..count {
            found.push(match rest.try_get_u8().map_err(short)? {
                ABSENT => Ok(None),
                PRESENT => {
                    let revision = rest.try_get_u64_le().map_err(short)?;
                    let bytes = rest.try_get_u32_le().map_err(short)?;
                    value_bytes = value_bytes.saturating_add(bytes as usize);
                    Ok(Some(Found { revision, bytes }))
                }
                FAILED => {
                    let length = usize::from(rest.try_get_u8().map_err(short)?);
                    if rest.len() < length {
                        return Err(malformed());
                    }
                    Err(decode_message(&rest.split_to(length))?)
                }
                _ => return Err(malformed()),
            });
        }
        if rest.len() != value_bytes {
            return Err(malformed());
        }
        Ok(Ok(Values { found, bytes: rest, room: Room::default() }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_beyond_reason_are_not_decoded() {
        let encoded = |count: usize| {
            let mut out = BytesMut::new();
            GetMany { keys: vec![Bytes::new(); count] }.encode(&mut out).unwrap();
            out.freeze()
        };
        assert_eq!(GetMany::decode(&encoded(MAX_DECODED as usize)).unwrap().keys.len(), 65_536);
        assert!(GetMany::decode(&encoded(MAX_DECODED as usize + 1)).is_err());
    }

    fn result_bytes(result: &Result<Values, StoreError>) -> Bytes {
        let mut out = BytesMut::new();
        GetMany::encode_result(result, &mut out).unwrap();
        out.extend_from_slice(&GetMany::result_tail(result));
        out.freeze()
    }

    #[test]
    fn golden_bytes() {
        let mut out = BytesMut::new();
        let get = GetMany { keys: vec!["a".into(), "bc".into()] };
        get.encode(&mut out).unwrap();
        assert_eq!(out[..], *b"\x02\x01a\x02bc");
        assert_eq!(GetMany::decode(&out.freeze()).unwrap(), get);

        let values = Values::new(vec![
            Ok(Some(("one".into(), 7))),
            Ok(None),
            Err(StoreError::Damaged),
            Ok(Some(("two".into(), 8))),
        ]);
        let golden: [(_, &[u8]); 2] = [
            (
                Ok(values.clone()),
                b"\0\x04\0\0\0\x01\x07\0\0\0\0\0\0\0\x03\0\0\0\0\x02\x03\x07\0\0\x01\x08\0\0\0\0\0\0\0\x03\0\0\0onetwo",
            ),
            (Err(StoreError::Overloaded), &[1, 9, 0, 0]),
        ];
        for (result, bytes) in golden {
            assert_eq!(result_bytes(&result)[..], *bytes);
            assert_eq!(GetMany::decode_result(&Bytes::from_static(bytes)).unwrap(), result);
        }
        let expected = [
            Ok(Some(Value::new("one", 7))),
            Ok(None),
            Err(StoreError::Damaged),
            Ok(Some(Value::new("two", 8))),
        ];
        assert_eq!(values.into_values(), expected);
    }

    #[test]
    fn malformed_results_are_errors() {
        let malformed: [&[u8]; 7] = [
            b"",
            b"\x02",
            b"\0\xff\xff\xff\xff",
            b"\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0\x03\0\0\0on",
            b"\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0\x03\0\0\0ones",
            b"\0\x01\0\0\0\x02\x03\x07\0",
            b"\0\x01\0\0\0\x03",
        ];
        for bytes in malformed {
            assert!(GetMany::decode_result(&Bytes::from_static(bytes)).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(Ok(values)) = GetMany::decode_result(&Bytes::from(bytes)) {
                let (count, length) = (values.found.len(), values.value_bytes());
                let values = values.into_values();
                prop_assert_eq!(values.len(), count);
                let lengths = values.iter().flatten().flatten().map(|value| value.bytes.len());
                prop_assert_eq!(lengths.sum::<usize>(), length);
            }
        }
    }
}
