//! Help for the messages that are laid out by hand.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ensemble::codec::{DecodeError, EncodeError, decode_message, encode_message};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::condition::Condition;

/// A tail shorter than this is copied. A slice would keep alive the connection's buffer, of 64 KiB or more, for as long
/// as somebody has it.
const SLICED_FROM_BYTES: usize = 8 << 10;

/// A message with more parts than this is malformed. One with more than the store takes, but not more than this, is
/// refused by a typed error instead.
pub(super) const MAX_DECODED: u32 = 65_536;

/// The rest of a message from `at` on.
pub(super) fn tail(bytes: &Bytes, at: usize) -> Bytes {
    match bytes.get(at..) {
        Some(rest) if rest.len() < SLICED_FROM_BYTES => Bytes::copy_from_slice(rest),
        Some(_) => bytes.slice(at..),
        None => Bytes::new(),
    }
}

/// Conditions by hand: a byte (0, none; 1, there is no such key; 2, the key has a revision), and that revision (eight
/// bytes, little-endian; 0 for the others).
pub(super) struct Conditions;

const ALWAYS: u8 = 0;
const ABSENT: u8 = 1;
const REVISION: u8 = 2;

impl Conditions {
    /// How long one is.
    pub(super) const BYTES: usize = 1 + 8;

    pub(super) fn put(condition: Condition, out: &mut BytesMut) {
        let (kind, revision) = match condition {
            Condition::Always => (ALWAYS, 0),
            Condition::Absent => (ABSENT, 0),
            Condition::Revision(revision) => (REVISION, revision),
        };
        out.put_u8(kind);
        out.put_u64_le(revision);
    }

    pub(super) fn get(from: &mut impl Buf) -> Result<Condition, DecodeError> {
        if from.remaining() < Self::BYTES {
            return Err(malformed());
        }
        match (from.get_u8(), from.get_u64_le()) {
            (ALWAYS, 0) => Ok(Condition::Always),
            (ABSENT, 0) => Ok(Condition::Absent),
            (REVISION, revision) => Ok(Condition::Revision(revision)),
            _ => Err(malformed()),
        }
    }
}

/// What a put may be bound to, by hand: flags (a byte; 1, there is a time), the condition, and the time that the key is to
/// be there, in milliseconds (eight bytes, little-endian; 0 where there is none).
pub(super) struct Terms {
    pub(super) condition: Condition,
    pub(super) ttl_ms: Option<u64>,
}

const HAS_TIME: u8 = 1;

impl Terms {
    /// How long they are.
    pub(super) const BYTES: usize = 1 + Conditions::BYTES + 8;

    pub(super) fn put(self, out: &mut BytesMut) {
        out.put_u8(if self.ttl_ms.is_some() { HAS_TIME } else { 0 });
        Conditions::put(self.condition, out);
        out.put_u64_le(self.ttl_ms.unwrap_or(0));
    }

    pub(super) fn get(from: &mut impl Buf) -> Result<Self, DecodeError> {
        if from.remaining() < Self::BYTES {
            return Err(malformed());
        }
        let flags = from.get_u8();
        let condition = Conditions::get(from)?;
        let ttl_ms = match (flags, from.get_u64_le()) {
            (0, 0) => None,
            (HAS_TIME, ttl_ms) => Some(ttl_ms),
            _ => return Err(malformed()),
        };
        Ok(Self { condition, ttl_ms })
    }
}

/// The error of bytes that are not laid out as their message.
pub(super) fn malformed() -> DecodeError {
    decode_message::<Misfit>(&[]).expect_err("it refuses to be read")
}

/// The error of a message that has no form.
pub(super) fn unencodable() -> EncodeError {
    encode_message(&Misfit, &mut BytesMut::new()).expect_err("it refuses to be written")
}

/// What can be neither written nor read. The codec, which makes the errors, knows nothing of other layouts.
#[derive(Debug)]
struct Misfit;

impl Serialize for Misfit {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom("the message does not fit its layout"))
    }
}

impl<'de> Deserialize<'de> for Misfit {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("the bytes are not laid out as the message is"))
    }
}
