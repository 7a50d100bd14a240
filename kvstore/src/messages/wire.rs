//! Help for the messages that are laid out by hand.

use bytes::Bytes;
use ensemble::codec::{DecodeError, EncodeError, encode_message};
use serde::{Serialize, Serializer, ser::Error};

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

/// The error of bytes that are no such message.
pub(super) fn malformed(what: &'static str) -> DecodeError {
    DecodeError::Malformed(bincode::error::DecodeError::Other(what))
}

/// The error of a message that has no form.
pub(super) fn unencodable(what: &'static str) -> EncodeError {
    struct Refuses(&'static str);

    impl Serialize for Refuses {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom(self.0))
        }
    }

    encode_message(&Refuses(what), &mut bytes::BytesMut::new()).expect_err("it refuses to be written")
}
