//! Compression of values: when it pays, and decompression that yields no more than it should.
//!
//! The contexts of zstd are kept per thread: making one costs ten times what a small value does.

use std::cell::RefCell;

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

use super::record::{Codec, Damage, Header};

/// Values below this length are stored raw: a frame's own bytes eat most of what so little text can save, and
/// the time to compress would be most of the time to write.
pub const MIN_COMPRESSED_BYTES: usize = 256;

/// A compressed value is kept only where it saves at least one part in this many: less is not worth the time of
/// every later read.
const MIN_SAVED_PART: usize = 8;

thread_local! {
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Encodes a value for storage: compressed where that pays, else as it is, without a copy.
pub(super) fn compress(value: Bytes, level: i32) -> (Codec, Bytes) {
    match try_compress(&value, level) {
        Some(frame) => (Codec::Zstd, frame.into()),
        None => (Codec::Raw, value),
    }
}

fn try_compress(value: &[u8], level: i32) -> Option<Vec<u8>> {
    if value.len() < MIN_COMPRESSED_BYTES {
        return None;
    }
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(current, _)| *current != level) {
            *slot = Some((level, Compressor::new(level).ok()?));
        }
        let (_, compressor) = slot.as_mut()?;
        // zstd stops at the end of the buffer: what would not save enough fails, and stays raw.
        let mut frame = Vec::with_capacity(value.len() - value.len() / MIN_SAVED_PART);
        compressor.compress_to_buffer(value, &mut frame).ok()?;
        frame.shrink_to_fit();
        Some(frame)
    })
}

/// The length of a record's value, where header and payload agree on it: then a record whose checksum is not looked at
/// yet claims no more than it has.
pub(super) fn agreed_bytes(header: &Header, payload: &[u8]) -> Option<usize> {
    let recorded = usize::try_from(header.value_bytes).ok()?;
    let found = match header.codec {
        Codec::Raw => payload.len(),
        Codec::Zstd => match zstd::zstd_safe::get_frame_content_size(payload).ok()? {
            Some(bytes) => usize::try_from(bytes).ok()?,
            // A frame need not say it.
            None => recorded,
        },
        // Its payload is short: who asks has held it against the checksum.
        Codec::Parts => recorded,
    };
    (found == recorded).then_some(recorded)
}

/// Decodes a payload, whose recorded length the caller has held against the limit for values.
///
/// Allocates the recorded length, and nothing for a raw payload that does not have it.
pub(super) fn expand(codec: Codec, recorded: u64, payload: &[u8]) -> Result<Vec<u8>, Damage> {
    let value = match codec {
        Codec::Raw if payload.len() as u64 == recorded => return Ok(payload.to_vec()),
        Codec::Raw => return Err(Damage::Length { recorded, found: payload.len() }),
        Codec::Zstd => {
            let capacity = usize::try_from(recorded).ok();
            let value = capacity.and_then(|capacity| decompress(payload, capacity));
            value.ok_or(Damage::Decompression { recorded })?
        }
        // What lies elsewhere is not read here.
        Codec::Parts => return Err(Damage::Manifest { bytes: payload.len() }),
    };
    if value.len() as u64 != recorded {
        return Err(Damage::Length { recorded, found: value.len() });
    }
    Ok(value)
}

fn decompress(frame: &[u8], capacity: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Decompressor::new().ok();
        }
        let decompressor = slot.as_mut()?;
        // zstd writes into the capacity and never beyond it: what would be longer fails.
        let mut value = Vec::with_capacity(capacity);
        decompressor.decompress_to_buffer(frame, &mut value).ok()?;
        Some(value)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(codec: Codec, value_bytes: u64) -> Header {
        Header { codec, revision: 1, value_bytes, expires_at_ms: None }
    }

    /// Bytes that zstd cannot shorten, the same in every run.
    fn noise(length: usize) -> Bytes {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .take(length)
        .collect()
    }

    #[test]
    fn short_values_and_noise_stay_raw() {
        let short = Bytes::from(vec![7; MIN_COMPRESSED_BYTES - 1]);
        assert_eq!(compress(short.clone(), 3), (Codec::Raw, short));
        let noise = noise(100_000);
        assert_eq!(compress(noise.clone(), 3), (Codec::Raw, noise));
    }

    #[test]
    fn what_saves_less_than_an_eighth_stays_raw() {
        let mut value = noise(10_000).to_vec();
        value.extend_from_slice(&[0; 1000]);
        assert_eq!(compress(value.into(), 3).0, Codec::Raw);
        let mut value = noise(10_000).to_vec();
        value.extend_from_slice(&[0; 2000]);
        assert_eq!(compress(value.into(), 3).0, Codec::Zstd);
    }

    #[test]
    fn a_frame_that_holds_more_than_recorded_is_refused() {
        let (codec, bomb) = compress(vec![0; 50_000_000].into(), 3);
        assert_eq!(codec, Codec::Zstd);
        assert_eq!(
            expand(Codec::Zstd, 1000, &bomb),
            Err(Damage::Decompression { recorded: 1000 }),
            "{} bytes that hold fifty million",
            bomb.len()
        );
        assert_eq!(
            expand(Codec::Zstd, 50_000_001, &bomb),
            Err(Damage::Length { recorded: 50_000_001, found: 50_000_000 })
        );
    }

    #[test]
    fn a_raw_payload_of_another_length_is_refused_before_it_is_copied() {
        assert_eq!(
            expand(Codec::Raw, u32::MAX.into(), b"abc"),
            Err(Damage::Length { recorded: u32::MAX.into(), found: 3 })
        );
    }

    #[test]
    fn a_length_is_agreed_on_or_not_believed() {
        let value = Bytes::from("what is said twice ".repeat(500));
        let (codec, frame) = compress(value.clone(), 3);
        let recorded = value.len() as u64;
        assert_eq!(agreed_bytes(&header(codec, recorded), &frame), Some(value.len()));
        assert_eq!(agreed_bytes(&header(codec, recorded ^ 1 << 31), &frame), None);
        assert_eq!(agreed_bytes(&header(codec, recorded), b"no frame at all"), None);
        assert_eq!(agreed_bytes(&header(Codec::Raw, 3), b"abc"), Some(3));
        assert_eq!(agreed_bytes(&header(Codec::Raw, 3 | 1 << 31), b"abc"), None);
    }

    #[test]
    fn levels_can_change_on_one_thread() {
        let value = Bytes::from("what is said twice ".repeat(500));
        for level in [1, 19, 3, -1] {
            let (codec, frame) = compress(value.clone(), level);
            assert_eq!(codec, Codec::Zstd);
            assert_eq!(expand(codec, value.len() as u64, &frame).unwrap(), value);
        }
    }

    proptest! {
        #[test]
        fn what_is_compressed_expands_to_itself(
            word in prop::collection::vec(any::<u8>(), 1..300),
            repeats in 1..50_usize,
        ) {
            let value = Bytes::from(word.repeat(repeats));
            let (codec, payload) = compress(value.clone(), 3);
            prop_assert!(payload.len() <= value.len());
            prop_assert_eq!(expand(codec, value.len() as u64, &payload).unwrap(), value);
        }

        #[test]
        fn any_payload_expands_without_panic(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            recorded in 0..10_000_u64,
        ) {
            if let Ok(value) = expand(Codec::Zstd, recorded, &payload) {
                prop_assert_eq!(value.len(), recorded as usize);
            }
        }
    }
}
