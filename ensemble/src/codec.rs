//! The one place that knows the serialisation crate. Everything on the wire or on disk that is not laid out by
//! hand goes through these functions: bincode 2's standard configuration (little-endian, variable-length
//! integers), always with a byte limit and always checked to consume exactly what was given.

use bincode::{
    config,
    error::{DecodeError as BincodeDecode, EncodeError as BincodeEncode},
};
use bytes::BytesMut;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// A value that could not be written.
#[derive(Debug, Error)]
#[error("the value cannot be encoded")]
pub struct EncodeError(#[source] BincodeEncode);

/// Bytes that are not what they should be.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They do not have the expected shape.
    #[error("the bytes are malformed")]
    Malformed(#[source] BincodeDecode),
    /// There are bytes after the value.
    #[error("{extra} bytes are left over")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
}

struct Tail<'a>(&'a mut BytesMut);

impl bincode::enc::write::Writer for Tail<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BincodeEncode> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Appends a value of one of our own wire types.
pub(crate) fn encode_into(value: &impl bincode::Encode, out: &mut BytesMut) -> Result<(), EncodeError> {
    bincode::encode_into_writer(value, Tail(out), config::standard()).map_err(EncodeError)
}

/// Reads a value of one of our own wire types from the front of `bytes`, of which at most `LIMIT` may be used;
/// says how many it used.
pub(crate) fn decode_prefix<'a, T, const LIMIT: usize>(bytes: &'a [u8]) -> Result<(T, usize), DecodeError>
where
    T: bincode::BorrowDecode<'a, ()>,
{
    bincode::borrow_decode_from_slice(bytes, config::standard().with_limit::<LIMIT>())
        .map_err(DecodeError::Malformed)
}

/// Reads a value of one of our own wire types that is all of `bytes`, of which at most `LIMIT` may be used.
pub(crate) fn decode_exact<'a, T, const LIMIT: usize>(bytes: &'a [u8]) -> Result<T, DecodeError>
where
    T: bincode::BorrowDecode<'a, ()>,
{
    let (value, used) = decode_prefix::<T, LIMIT>(bytes)?;
    check_used(bytes, used)?;
    Ok(value)
}

/// Appends any serde value: the payload of a message.
///
/// # Errors
/// When the type cannot be written without a description of itself (`#[serde(flatten)]` and the like).
pub fn encode_message(value: &impl Serialize, out: &mut BytesMut) -> Result<(), EncodeError> {
    bincode::serde::encode_into_writer(value, Tail(out), config::standard()).map_err(EncodeError)
}

/// Reads any serde value that is all of `bytes`.
///
/// # Errors
/// When the bytes have another shape, claim more than they hold, or go on after the value.
pub fn decode_message<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let length = bytes.len();
    let (value, used) = if length <= TIER_1 {
        decode_limited::<T, { 16 * TIER_1 }>(bytes)
    } else if length <= TIER_2 {
        decode_limited::<T, { 16 * TIER_2 }>(bytes)
    } else if length <= TIER_3 {
        decode_limited::<T, { 16 * TIER_3 }>(bytes)
    } else if length <= TIER_4 {
        decode_limited::<T, { 16 * TIER_4 }>(bytes)
    } else {
        decode_limited::<T, LAST_TIER_LIMIT>(bytes)
    }?;
    check_used(bytes, used)?;
    Ok(value)
}

// The decoder's limit is a constant of its type, and counts a number at its size in memory, up to 16 times its
// size on the wire. So each tier may claim 16 times the bytes of its longest message, which keeps what a forged
// length gets allocated near the size of what was really sent.
const TIER_1: usize = 1 << 12;
const TIER_2: usize = 1 << 16;
const TIER_3: usize = 1 << 20;
const TIER_4: usize = 1 << 24;
const LAST_TIER_LIMIT: usize = 1 << 31;

fn decode_limited<T: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> Result<(T, usize), DecodeError> {
    bincode::serde::decode_from_slice(bytes, config::standard().with_limit::<LIMIT>())
        .map_err(DecodeError::Malformed)
}

fn check_used(bytes: &[u8], used: usize) -> Result<(), DecodeError> {
    match bytes.len() - used {
        0 => Ok(()),
        extra => Err(DecodeError::TrailingBytes { extra }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_round_trips_and_its_bytes_are_pinned() {
        let mut out = BytesMut::new();
        encode_message(&(300u32, "ab", Some(vec![1u8])), &mut out).unwrap();
        assert_eq!(&out[..], [251, 44, 1, 2, b'a', b'b', 1, 1, 1]);
        let back: (u32, String, Option<Vec<u8>>) = decode_message(&out).unwrap();
        assert_eq!(back, (300, "ab".into(), Some(vec![1])));
    }

    #[test]
    fn left_over_bytes_are_an_error() {
        assert!(matches!(decode_message::<u8>(&[1, 2, 3]), Err(DecodeError::TrailingBytes { extra: 2 })));
    }

    #[test]
    fn a_forged_length_is_not_allocated() {
        let eight_gib = [253, 0, 0, 0, 0, 2, 0, 0, 0];
        assert!(matches!(decode_message::<Vec<u8>>(&eight_gib), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode_message::<Vec<u64>>(&eight_gib), Err(DecodeError::Malformed(_))));
        let a_mebibyte = [252, 0, 0, 16, 0];
        assert!(matches!(decode_message::<String>(&a_mebibyte), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn numbers_that_grow_in_memory_are_within_the_limit() {
        for count in [0usize, 1, 4_000, 70_000] {
            let mut out = BytesMut::new();
            encode_message(&vec![1u128; count], &mut out).unwrap();
            assert_eq!(decode_message::<Vec<u128>>(&out).unwrap().len(), count);
        }
    }
}
