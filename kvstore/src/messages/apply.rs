//! Writing many keys, all or none.

use actix::Message;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use ensemble::{
    RemoteMessage,
    codec::{DecodeError, EncodeError},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    condition::Condition,
    error::StoreError,
    wire::{MAX_DECODED, Terms, malformed, unencodable},
};

/// Does several writes, all or none, each of another key. It is answered when they are on disk.
///
/// All conditions are judged before anything is changed. Where one does not hold, nothing is done, and the answer says
/// which.
///
/// The payload is the number of writes (four bytes); for each of them a byte for what it is: 0, a put; 1, a remove; 2, a
/// check; then flags, condition, revision, time and the length of the key as in [`PutWith`](super::PutWith); the length of
/// the value (four bytes, 0 but for a put, as is the time); and the key. Then come the values, one behind the other.
/// Numbers are little-endian.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<Vec<Done>, ApplyRefused>")]
pub struct Apply {
    /// The writes.
    pub writes: Vec<Op>,
}

/// One of several writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Stores a value under a key.
    Put {
        /// 1 to 511 bytes.
        key: Bytes,
        /// Any bytes, up to the store's limit.
        value: Bytes,
        /// What must hold.
        condition: Condition,
        /// How long the key is there, in milliseconds from when the store has the message; for ever without.
        ttl_ms: Option<u64>,
    },
    /// Removes a key.
    Remove {
        /// 1 to 511 bytes.
        key: Bytes,
        /// What must hold.
        condition: Condition,
    },
    /// Changes nothing: the others are only done when the condition holds.
    Check {
        /// 1 to 511 bytes.
        key: Bytes,
        /// What must hold.
        condition: Condition,
    },
}

/// What one of several writes has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// The value is stored.
    Stored {
        /// The length of the value as it is stored: after compression.
        stored_bytes: u64,
        /// The revision that the key has now.
        revision: u64,
    },
    /// The key is gone.
    Removed {
        /// The revision of the removal; none where there was no such key.
        revision: Option<u64>,
    },
    /// The condition holds.
    Checked {
        /// The revision that the key has; none where there is no such key.
        current: Option<u64>,
    },
}

/// Why none of several writes was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("nothing was written{}", index.map(|index| format!(", for the sake of write {index}")).unwrap_or_default())]
pub struct ApplyRefused {
    /// Which of them it is about, from 0; none when it is about all of them.
    pub index: Option<u32>,
    /// Why.
    #[source]
    pub why: StoreError,
}

const PUT: u8 = 0;
const REMOVE: u8 = 1;
const CHECK: u8 = 2;

const COUNT_BYTES: usize = 4;

/// Kind, terms, length of the key, length of the value.
const FIXED_BYTES: usize = 1 + Terms::BYTES + 2 + 4;

impl Op {
    /// The key that it is of.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Remove { key, .. } | Self::Check { key, .. } => key,
        }
    }

    fn value(&self) -> &[u8] {
        match self {
            Self::Put { value, .. } => value,
            Self::Remove { .. } | Self::Check { .. } => &[],
        }
    }
}

impl Apply {
    /// How many bytes the values have together.
    pub fn value_bytes(&self) -> usize {
        self.writes.iter().map(|write| write.value().len()).sum()
    }
}

impl RemoteMessage for Apply {
    const NAME: &'static str = "kvstore.apply";

    fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u32_le(u32::try_from(self.writes.len()).map_err(|_| unencodable())?);
        for write in &self.writes {
            let (kind, condition, ttl_ms) = match *write {
                Op::Put { condition, ttl_ms, .. } => (PUT, condition, ttl_ms),
                Op::Remove { condition, .. } => (REMOVE, condition, None),
                Op::Check { condition, .. } => (CHECK, condition, None),
            };
            out.put_u8(kind);
            Terms { condition, ttl_ms }.put(out);
            out.put_u16_le(u16::try_from(write.key().len()).map_err(|_| unencodable())?);
            out.put_u32_le(u32::try_from(write.value().len()).map_err(|_| unencodable())?);
            out.extend_from_slice(write.key());
        }
        Ok(())
    }

    fn tail(&self) -> Bytes {
        let mut values = BytesMut::with_capacity(self.value_bytes());
        for write in &self.writes {
            values.extend_from_slice(write.value());
        }
        values.freeze()
    }

    fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut rest = bytes.clone();
        let count = rest.try_get_u32_le().map_err(|_| malformed())?;
        if count > MAX_DECODED {
            return Err(malformed());
        }
        let mut heads = Vec::with_capacity(
            bytes.len().saturating_sub(COUNT_BYTES).min(count as usize * FIXED_BYTES) / FIXED_BYTES,
        );
        for _ in 0..count {
            if rest.len() < FIXED_BYTES {
                return Err(malformed());
            }
            let kind = rest.get_u8();
            let Terms { condition, ttl_ms } = Terms::get(&mut rest)?;
            let (key_bytes, value_bytes) = (usize::from(rest.get_u16_le()), rest.get_u32_le() as usize);
            let only_puts_have = ttl_ms.is_some() || value_bytes > 0;
            if kind > CHECK || (kind != PUT && only_puts_have) || rest.len() < key_bytes {
                return Err(malformed());
            }
            let key = Bytes::copy_from_slice(&rest.split_to(key_bytes));
            heads.push((kind, condition, ttl_ms, key, value_bytes));
        }
        let mut writes = Vec::with_capacity(heads.len());
        for (kind, condition, ttl_ms, key, value_bytes) in heads {
            if rest.len() < value_bytes {
                return Err(malformed());
            }
            let value = rest.split_to(value_bytes);
            writes.push(match kind {
                PUT => Op::Put { key, value, condition, ttl_ms },
                REMOVE => Op::Remove { key, condition },
                _ => Op::Check { key, condition },
            });
        }
        if rest.has_remaining() { Err(malformed()) } else { Ok(Self { writes }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn operations_beyond_reason_are_not_decoded() {
        let check = Op::Check { key: Bytes::new(), condition: Condition::Always };
        let many = |count| bytes_of(&Apply { writes: vec![check.clone(); count] });
        assert_eq!(Apply::decode(&many(MAX_DECODED as usize)).unwrap().writes.len(), 65_536);
        assert!(Apply::decode(&many(MAX_DECODED as usize + 1)).is_err());
    }

    fn bytes_of(apply: &Apply) -> Bytes {
        let mut out = BytesMut::new();
        apply.encode(&mut out).unwrap();
        out.extend_from_slice(&apply.tail());
        out.freeze()
    }

    #[test]
    fn golden_bytes() {
        let apply = Apply {
            writes: vec![
                Op::Put { key: "a".into(), value: "one".into(), condition: Condition::Always, ttl_ms: None },
                Op::Remove { key: "bc".into(), condition: Condition::Revision(7) },
                Op::Check { key: "d".into(), condition: Condition::Absent },
                Op::Put {
                    key: "e".into(),
                    value: "two".into(),
                    condition: Condition::Always,
                    ttl_ms: Some(5),
                },
            ],
        };
        let expected = [
            b"\x04\0\0\0".as_slice(),
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x03\0\0\0a",
            b"\x01\0\x02\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\0bc",
            b"\x02\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0d",
            b"\0\x01\0\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01\0\x03\0\0\0e",
            b"onetwo",
        ];
        assert_eq!(bytes_of(&apply), expected.concat());
        assert_eq!(Apply::decode(&bytes_of(&apply)).unwrap(), apply);
    }

    #[test]
    fn golden_results() {
        let done = vec![
            Done::Stored { stored_bytes: 300, revision: 7 },
            Done::Removed { revision: Some(8) },
            Done::Checked { current: None },
        ];
        let why = StoreError::Conflict { current: Some(9) };
        let golden: [(_, &[u8]); 3] = [
            (Ok(done), &[0, 3, 0, 251, 44, 1, 7, 1, 1, 8, 2, 0]),
            (Err(ApplyRefused { index: Some(2), why }), &[1, 1, 2, 4, 1, 9]),
            (Err(ApplyRefused { index: None, why: StoreError::Closed }), &[1, 0, 10, 0, 0]),
        ];
        for (result, bytes) in golden {
            let mut out = BytesMut::new();
            Apply::encode_result(&result, &mut out).unwrap();
            assert_eq!(out[..], *bytes);
            assert_eq!(Apply::decode_result(&out.freeze()).unwrap(), result);
        }
    }

    #[test]
    fn malformed_bytes_are_errors() {
        let head = b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x03\0\0\0a";
        let cases: [&[u8]; 7] = [
            b"",
            b"\x01\0\0\0",
            b"\xff\xff\xff\xff",
            b"\0\0\0\0x",
            &head[..head.len() - 1],
            &[head.as_slice(), b"on"].concat(),
            &[head.as_slice(), b"ones"].concat(),
        ];
        for bytes in cases {
            assert!(Apply::decode(&Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_decoded_is_encoded_again(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let bytes = Bytes::from(bytes);
            if let Ok(apply) = Apply::decode(&bytes) {
                prop_assert_eq!(bytes_of(&apply), bytes);
            }
        }

        #[test]
        fn what_is_encoded_is_decoded(
            puts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..9), prop::collection::vec(any::<u8>(), 0..99)), 0..9),
        ) {
            let writes = puts.into_iter().enumerate().map(|(index, (key, value))| {
                let condition = Condition::Revision(index as u64);
                Op::Put { key: key.into(), value: value.into(), condition, ttl_ms: Some(index as u64) }
            });
            let apply = Apply { writes: writes.collect() };
            prop_assert_eq!(Apply::decode(&bytes_of(&apply)).unwrap(), apply);
        }
    }
}
