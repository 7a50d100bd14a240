//! Values in parts: what lies in the tables `parts` and `values`, and in the record of such a value. Plain code, with no
//! database and no clock.
//!
//! A value that is too long for one message, one transaction or the memory is written part by part under a number of its
//! own, which is never given to another. The record under its key then holds a [`Manifest`] in place of the value.
//!
//! A key of the table `parts` is the value's number (eight bytes) and the part's (four bytes, from 0), both big-endian. What
//! lies there is a header and a payload. All other integers are little-endian.
//!
//! | Offset | Bytes | Field |
//! | --- | --- | --- |
//! | 0 | 1 | format version, now 1 |
//! | 1 | 1 | codec of the payload: 0 raw, 1 zstd (one frame) |
//! | 2 | 2 | reserved, 0 |
//! | 4 | 4 | checksum: CRC-32 (IEEE) of the bytes 0 to 3, those from 8 to 15, the key, and the payload |
//! | 8 | 4 | length of the part's bytes, before compression |
//! | 12 | 4 | CRC-32 of the part's bytes, before compression |
//! | 16 | rest | payload |
//!
//! A part that lands under another key is thus found out. What is to be read and when a part may be freed is not known here.

use crc32fast::Hasher;

use super::record::{Codec, Damage, PayloadChecksum, RecordError};

/// The format version of parts that this code writes, and the newest that it reads.
const PART_VERSION: u8 = 1;

const HEADER_BYTES: usize = 16;
const CHECKSUM_AT: usize = 4;
const LENGTH_AT: usize = 8;
const CONTENT_AT: usize = 12;

/// A key in the table `parts`.
pub(super) fn part_key(value: u64, number: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&value.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// What a key in the table `parts` says; none for a key that is none.
pub(super) fn read_part_key(key: &[u8]) -> Option<(u64, u32)> {
    let (value, number) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*value), u32::from_be_bytes(number.try_into().ok()?)))
}

/// What a part says about its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartHeader {
    pub(super) codec: Codec,
    /// Before compression.
    pub(super) bytes: u32,
    /// The CRC-32 of the bytes, before compression.
    pub(super) content: u32,
}

impl PartHeader {
    /// Encodes the header of a part that is to lie under `key`.
    pub(super) fn encode(&self, key: &[u8; 12], payload: &PayloadChecksum) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[0] = PART_VERSION;
        header[1] = self.codec.to_byte();
        header[LENGTH_AT..CONTENT_AT].copy_from_slice(&self.bytes.to_le_bytes());
        header[CONTENT_AT..].copy_from_slice(&self.content.to_le_bytes());
        let mut hasher = checksum_of_header(&header, key);
        payload.add_to(&mut hasher);
        header[CHECKSUM_AT..LENGTH_AT].copy_from_slice(&hasher.finalize().to_le_bytes());
        header
    }

    /// Takes a part apart and checks all of it but the inside of a compressed payload.
    pub(super) fn decode<'p>(key: &[u8; 12], part: &'p [u8]) -> Result<(Self, &'p [u8]), RecordError> {
        match part.first() {
            None => return Err(Damage::Truncated { bytes: 0 }.into()),
            Some(0) => return Err(Damage::VersionZero.into()),
            Some(&version) if version > PART_VERSION => {
                return Err(RecordError::NewerFormat { found: version, supported: PART_VERSION });
            }
            Some(_) => {}
        }
        let truncated = Damage::Truncated { bytes: part.len() };
        let (header, payload) = part.split_first_chunk::<HEADER_BYTES>().ok_or(truncated)?;
        let [_, codec, reserved, other_reserved, ..] = *header;
        let codec = match Codec::from_byte(codec) {
            Some(codec @ (Codec::Raw | Codec::Zstd)) => codec,
            _ => return Err(Damage::UnknownCodec { codec }.into()),
        };
        if reserved != 0 || other_reserved != 0 {
            return Err(Damage::UnknownFlags { flags: reserved, reserved: other_reserved }.into());
        }
        let mut hasher = checksum_of_header(header, key);
        hasher.update(payload);
        let (stored, computed) = (field(header, CHECKSUM_AT), hasher.finalize());
        if stored != computed {
            return Err(Damage::Checksum { stored, computed }.into());
        }
        let header = Self { codec, bytes: field(header, LENGTH_AT), content: field(header, CONTENT_AT) };
        if codec == Codec::Raw && payload.len() != header.bytes as usize {
            return Err(Damage::Length { recorded: header.bytes.into(), found: payload.len() }.into());
        }
        Ok((header, payload))
    }
}

fn field<const N: usize>(bytes: &[u8; N], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("the range has four bytes"))
}

fn checksum_of_header(header: &[u8; HEADER_BYTES], key: &[u8; 12]) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.update(&header[..CHECKSUM_AT]);
    hasher.update(&header[LENGTH_AT..]);
    hasher.update(key);
    hasher
}

/// What the record of a value in parts holds in place of the value.
///
/// | Offset | Bytes | Field |
/// | --- | --- | --- |
/// | 0 | 8 | the value's number |
/// | 8 | 8 | length of the value in bytes |
/// | 16 | 8 | length of the payloads of all its parts |
/// | 24 | 4 | length of each part but the last, before compression |
/// | 28 | 4 | CRC-32 of the value |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) value: u64,
    pub(super) value_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) part_bytes: u32,
    pub(super) checksum: u32,
}

impl Manifest {
    pub(super) const BYTES: usize = 32;

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.value.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.value_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.stored_bytes.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.part_bytes.to_le_bytes());
        bytes[28..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    /// What a payload says that may be damaged: it is held against a checksum by who uses it.
    pub(super) fn decode(payload: &[u8]) -> Result<Self, Damage> {
        let fields: &[u8; Self::BYTES] =
            payload.try_into().map_err(|_| Damage::Manifest { bytes: payload.len() })?;
        let long = |offset: usize| {
            u64::from_le_bytes(fields[offset..offset + 8].try_into().expect("the range has eight bytes"))
        };
        let manifest = Self {
            value: long(0),
            value_bytes: long(8),
            stored_bytes: long(16),
            part_bytes: field(fields, 24),
            checksum: field(fields, 28),
        };
        let is_sound = manifest.part_bytes > 0
            && manifest.value_bytes.div_ceil(manifest.part_bytes.into()) <= u32::MAX.into();
        if is_sound { Ok(manifest) } else { Err(Damage::Manifest { bytes: payload.len() }) }
    }

    /// How many parts there are.
    pub(super) fn parts(&self) -> u32 {
        let parts = self.value_bytes.div_ceil(self.part_bytes.into());
        u32::try_from(parts).expect("a manifest with more is not taken for one")
    }

    /// How many bytes of the value a part has; none where there is no such part.
    pub(super) fn bytes_of(&self, number: u32) -> Option<u32> {
        let before = u64::from(number) * u64::from(self.part_bytes);
        let left = self.value_bytes.checked_sub(before).filter(|left| *left > 0)?;
        Some(u32::try_from(left).unwrap_or(u32::MAX).min(self.part_bytes))
    }
}

/// What the table `values` knows of a value in parts. A key there is a byte for this and the value's number (eight bytes,
/// big-endian).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Being written: with it lies an [`Upload`].
    Unfinished = 0,
    /// Not needed any more, and to be freed: with it lies the store's time when it was dropped, in milliseconds (eight bytes).
    Dropped = 1,
    /// Under a key: with it lies that key.
    Owned = 2,
}

/// A key in the table `values`.
pub(super) fn value_key(state: State, value: u64) -> [u8; 9] {
    let mut key = [0; 9];
    key[0] = state as u8;
    key[1..].copy_from_slice(&value.to_be_bytes());
    key
}

/// The number in a key of the table `values`; none for a key that is none.
pub(super) fn read_value_key(key: &[u8]) -> Option<u64> {
    let (_, value) = key.split_first()?;
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

/// How far the writing of a value is.
///
/// | Offset | Bytes | Field |
/// | --- | --- | --- |
/// | 0 | 8 | the store's time of its last change, in milliseconds |
/// | 8 | 8 | length of what is written |
/// | 16 | 8 | length of the payloads |
/// | 24 | 4 | length of each part but the last |
/// | 28 | 4 | CRC-32 of what is written |
/// | 32 | 4 | number of the next part |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Upload {
    pub(super) changed_ms: u64,
    pub(super) value_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) part_bytes: u32,
    pub(super) checksum: u32,
    pub(super) next: u32,
}

impl Upload {
    pub(super) const BYTES: usize = 36;

    pub(super) fn new(part_bytes: u32, now_ms: u64) -> Self {
        Self { changed_ms: now_ms, value_bytes: 0, stored_bytes: 0, part_bytes, checksum: 0, next: 0 }
    }

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.changed_ms.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.value_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.stored_bytes.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.part_bytes.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[32..].copy_from_slice(&self.next.to_le_bytes());
        bytes
    }

    /// None for bytes that are none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let fields: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let long = |offset: usize| {
            u64::from_le_bytes(fields[offset..offset + 8].try_into().expect("the range has eight bytes"))
        };
        let upload = Self {
            changed_ms: long(0),
            value_bytes: long(8),
            stored_bytes: long(16),
            part_bytes: field(fields, 24),
            checksum: field(fields, 28),
            next: field(fields, 32),
        };
        (upload.part_bytes > 0).then_some(upload)
    }

    /// The same with one more part.
    pub(super) fn with(self, part: &PartHeader, payload_bytes: u64, now_ms: u64) -> Self {
        let mut whole = Hasher::new_with_initial_len(self.checksum, self.value_bytes);
        whole.combine(&Hasher::new_with_initial_len(part.content, part.bytes.into()));
        Self {
            changed_ms: now_ms,
            value_bytes: self.value_bytes + u64::from(part.bytes),
            stored_bytes: self.stored_bytes + payload_bytes,
            checksum: whole.finalize(),
            next: self.next.saturating_add(1),
            ..self
        }
    }

    pub(super) fn manifest(&self, value: u64) -> Manifest {
        Manifest {
            value,
            value_bytes: self.value_bytes,
            stored_bytes: self.stored_bytes,
            part_bytes: self.part_bytes,
            checksum: self.checksum,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(header: PartHeader, key: &[u8; 12], payload: &[u8]) -> Vec<u8> {
        [&header.encode(key, &PayloadChecksum::of(payload))[..], payload].concat()
    }

    fn raw(payload: &[u8]) -> PartHeader {
        PartHeader { codec: Codec::Raw, bytes: payload.len() as u32, content: crc32fast::hash(payload) }
    }

    // The checksums were computed by another implementation of CRC-32, zlib's.
    #[test]
    fn golden_bytes() {
        let key = part_key(0x0102_0304_0506_0708, 0x090a_0b0c);
        assert_eq!(key, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(read_part_key(&key), Some((0x0102_0304_0506_0708, 0x090a_0b0c)));
        let expected = [
            [1, 0, 0, 0].as_slice(),
            &GOLDEN_CHECKSUM.to_le_bytes(),
            &[5, 0, 0, 0],
            &0x3610_a686_u32.to_le_bytes(),
            b"hello",
        ]
        .concat();
        assert_eq!(part(raw(b"hello"), &key, b"hello"), expected);
        let manifest = Manifest {
            value: 0x0102_0304_0506_0708,
            value_bytes: 0x1112_1314_1516_1718,
            stored_bytes: 0x2122_2324_2526_2728,
            part_bytes: 0x3132_3334,
            checksum: 0x4142_4344,
        };
        let expected = b"\x08\x07\x06\x05\x04\x03\x02\x01\x18\x17\x16\x15\x14\x13\x12\x11\
            \x28\x27\x26\x25\x24\x23\x22\x21\x34\x33\x32\x31\x44\x43\x42\x41";
        assert_eq!(manifest.encode(), *expected);
        assert_eq!(value_key(State::Owned, 7), [2, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(read_value_key(&value_key(State::Dropped, 7)), Some(7));
    }

    const GOLDEN_CHECKSUM: u32 = 0x11a3_9788;

    #[test]
    fn each_kind_of_damage_is_named() {
        let key = part_key(1, 2);
        let good = part(raw(b"hello"), &key, b"hello");
        let damage = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            PartHeader::decode(&key, &bytes).unwrap_err()
        };
        assert_eq!(damage(&|part| part.clear()), Damage::Truncated { bytes: 0 }.into());
        assert_eq!(damage(&|part| part.truncate(15)), Damage::Truncated { bytes: 15 }.into());
        assert_eq!(damage(&|part| part[0] = 0), Damage::VersionZero.into());
        assert_eq!(damage(&|part| part[0] = 2), RecordError::NewerFormat { found: 2, supported: 1 });
        assert_eq!(damage(&|part| part[1] = 2), Damage::UnknownCodec { codec: 2 }.into());
        assert_eq!(damage(&|part| part[3] = 1), Damage::UnknownFlags { flags: 0, reserved: 1 }.into());
        for at in 4..good.len() {
            let damage = damage(&|part| part[at] ^= 1);
            assert!(matches!(damage, RecordError::Damaged(Damage::Checksum { .. })), "{at}: {damage:?}");
        }
        for other in [part_key(1, 3), part_key(2, 2)] {
            let damage = PartHeader::decode(&other, &good).unwrap_err();
            assert!(matches!(damage, RecordError::Damaged(Damage::Checksum { .. })), "{damage:?}");
        }
    }

    #[test]
    fn a_manifest_knows_its_parts() {
        let of = |value_bytes, part_bytes| {
            Manifest::decode(
                &Manifest { value: 1, value_bytes, stored_bytes: 0, part_bytes, checksum: 0 }.encode(),
            )
        };
        let parts = |value_bytes| {
            let manifest = of(value_bytes, 10).unwrap();
            let bytes = (0..manifest.parts()).map(|number| manifest.bytes_of(number).unwrap());
            assert_eq!(manifest.bytes_of(manifest.parts()), None);
            bytes.collect::<Vec<_>>()
        };
        assert_eq!(parts(0), Vec::<u32>::new());
        assert_eq!(parts(1), [1]);
        assert_eq!(parts(10), [10]);
        assert_eq!(parts(21), [10, 10, 1]);
        assert_eq!(of(1, 0), Err(Damage::Manifest { bytes: 32 }));
        assert_eq!(of(u64::MAX, 1), Err(Damage::Manifest { bytes: 32 }));
        assert_eq!(Manifest::decode(&[1; 31]), Err(Damage::Manifest { bytes: 31 }));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            payload in prop::collection::vec(any::<u8>(), 0..2000),
            value: u64,
            number: u32,
            zstd: bool,
            claimed: u32,
            content: u32,
        ) {
            let (codec, bytes) = if zstd { (Codec::Zstd, claimed) } else { (Codec::Raw, payload.len() as u32) };
            let header = PartHeader { codec, bytes, content };
            let key = part_key(value, number);
            let encoded = part(header, &key, &payload);
            prop_assert_eq!(PartHeader::decode(&key, &encoded), Ok((header, payload.as_slice())));
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(PartHeader::decode(&part_key(1, 1), &bytes).is_err());
            if let Ok(manifest) = Manifest::decode(&bytes) {
                prop_assert_eq!(&manifest.encode()[..], &bytes);
                prop_assert!(manifest.bytes_of(manifest.parts()).is_none());
            }
            if let Some(upload) = Upload::decode(&bytes) {
                prop_assert_eq!(&upload.encode()[..], &bytes);
            }
        }

        #[test]
        fn the_checksum_of_an_upload_is_that_of_all_its_bytes(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..20),
        ) {
            let mut upload = Upload::new(50, 1);
            for part in &parts {
                upload = upload.with(&raw(part), 3, 2);
            }
            let whole = parts.concat();
            prop_assert_eq!(Upload::decode(&upload.encode()), Some(upload));
            prop_assert_eq!(upload.checksum, crc32fast::hash(&whole));
            prop_assert_eq!(upload.value_bytes, whole.len() as u64);
            prop_assert_eq!((upload.next as usize, upload.stored_bytes), (parts.len(), 3 * parts.len() as u64));
        }
    }
}
