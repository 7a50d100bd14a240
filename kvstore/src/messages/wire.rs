//! Help for the messages that are laid out by hand.

use bytes::{Bytes, BytesMut};
use ensemble::codec::{DecodeError, EncodeError, decode_message, encode_message};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// A tail shorter than this is copied. A slice would keep alive the connection's buffer, of 64 KiB or more, for as long
/// as somebody has it.
const SLICED_FROM_BYTES: usize = 8 << 10;

/// The rest of a message from `at` on.
pub(super) fn tail(bytes: &Bytes, at: usize) -> Bytes {
    match bytes.get(at..) {
        Some(rest) if rest.len() < SLICED_FROM_BYTES => Bytes::copy_from_slice(rest),
        Some(_) => bytes.slice(at..),
        None => Bytes::new(),
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
