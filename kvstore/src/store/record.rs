//! The stored record: what lies under a key in the database. Plain code, with no database and no clock.
//!
//! A record is a header and a payload. All integers are little-endian.
//!
//! | Offset | Bytes | Field |
//! | --- | --- | --- |
//! | 0 | 1 | format version, now 1 |
//! | 1 | 1 | codec of the payload: 0 raw, 1 zstd (one frame), 2 in parts |
//! | 2 | 1 | flags: bit 0, an expiry time is present; the others are 0 |
//! | 3 | 1 | reserved, 0 |
//! | 4 | 4 | checksum: CRC-32 (IEEE) of what follows below |
//! | 8 | 8 | revision |
//! | 16 | 4 | length of the value in bytes, before compression; 0 for one in parts |
//! | 20 | 8 | only with flag bit 0: expiry time, in milliseconds since 1970-01-01 UTC |
//! | 20 or 28 | rest | payload: the value, encoded by the codec; for one in parts what `parts` calls a manifest |
//!
//! The checksum covers, in this order: the bytes 0 to 3; the header from byte 8 to its end; the length of the
//! key as two bytes; the key; the payload. A record that lands under another key is thus found out.
//!
//! A reader refuses a version above its own by name, and everything else that does not fit as damage. What
//! values *mean*, and how the payload is compressed, is not known here (see `compression`).

use crc32fast::Hasher;

use super::parts::Manifest;

/// The format version that this code writes, and the newest that it reads.
pub const RECORD_VERSION: u8 = 1;

/// Length of a header without an expiry time.
pub const HEADER_BYTES: usize = 20;

/// Length of a header with an expiry time.
pub const MAX_HEADER_BYTES: usize = HEADER_BYTES + 8;

const FLAG_EXPIRY: u8 = 0b0000_0001;

const CHECKSUM_AT: usize = 4;
const REVISION_AT: usize = 8;
const VALUE_LENGTH_AT: usize = 16;

/// How the payload of a record is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// The payload is the value.
    Raw,
    /// The payload is one zstd frame that holds the value.
    Zstd,
    /// The value lies elsewhere in parts, each with its own codec; the payload says where.
    Parts,
}

impl Codec {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
            Self::Parts => 2,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            2 => Some(Self::Parts),
            _ => None,
        }
    }
}

/// What a record says about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// How the payload is encoded.
    pub codec: Codec,
    /// The store's revision at which the record was written.
    pub revision: u64,
    /// Length of the value, before compression. Only that of a value in parts can have more than 32 bits.
    pub value_bytes: u64,
    /// When the record stops being valid, in milliseconds since 1970-01-01 UTC.
    pub expires_at_ms: Option<u64>,
}

/// An encoded header: what goes before the payload.
#[derive(Debug, Clone, Copy)]
pub struct HeaderBytes {
    bytes: [u8; MAX_HEADER_BYTES],
    length: usize,
}

impl HeaderBytes {
    /// The bytes to write.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The part of a record's checksum that is known before its revision is.
///
/// A large payload is thus read once, before the write transaction begins.
#[derive(Debug, Clone)]
pub struct PayloadChecksum(Hasher);

impl PayloadChecksum {
    /// Reads the payload.
    pub fn of(payload: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(payload);
        Self(hasher)
    }

    pub(super) fn add_to(&self, hasher: &mut Hasher) {
        hasher.combine(&self.0);
    }

    /// The checksum itself.
    pub(super) fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}

impl Header {
    /// Encodes the header of a record that is to lie under `key`.
    ///
    /// # Panics
    ///
    /// When a value that is not in parts has 4 GiB or more.
    pub fn encode(&self, key: &[u8], payload: &PayloadChecksum) -> HeaderBytes {
        let mut bytes = [0; MAX_HEADER_BYTES];
        bytes[0] = RECORD_VERSION;
        bytes[1] = self.codec.to_byte();
        bytes[REVISION_AT..VALUE_LENGTH_AT].copy_from_slice(&self.revision.to_le_bytes());
        let value_bytes = match self.codec {
            Codec::Parts => 0,
            _ => u32::try_from(self.value_bytes).expect("the ceiling of values in one record is below 4 GiB"),
        };
        bytes[VALUE_LENGTH_AT..HEADER_BYTES].copy_from_slice(&value_bytes.to_le_bytes());
        let mut length = HEADER_BYTES;
        if let Some(expires_at_ms) = self.expires_at_ms {
            bytes[2] |= FLAG_EXPIRY;
            bytes[HEADER_BYTES..MAX_HEADER_BYTES].copy_from_slice(&expires_at_ms.to_le_bytes());
            length = MAX_HEADER_BYTES;
        }
        let mut hasher = checksum_of_header(&bytes[..length], key);
        hasher.combine(&payload.0);
        bytes[CHECKSUM_AT..REVISION_AT].copy_from_slice(&hasher.finalize().to_le_bytes());
        HeaderBytes { bytes, length }
    }

    /// Takes a record apart and checks all of it but the inside of a compressed payload.
    ///
    /// # Errors
    ///
    /// [`RecordError::NewerFormat`] for a version above [`RECORD_VERSION`], [`RecordError::Damaged`] for bytes
    /// that are no record of this key.
    pub fn decode<'r>(key: &[u8], record: &'r [u8]) -> Result<(Self, &'r [u8]), RecordError> {
        let (header, payload) = Self::peek(record)?;
        let mut hasher = checksum_of_header(&record[..record.len() - payload.len()], key);
        hasher.update(payload);
        let computed = hasher.finalize();
        let stored = record[CHECKSUM_AT..REVISION_AT].try_into().expect("the range has four bytes");
        let stored = u32::from_le_bytes(stored);
        if stored != computed {
            return Err(Damage::Checksum { stored, computed }.into());
        }
        let found = payload.len();
        if header.codec == Codec::Raw && found as u64 != header.value_bytes {
            return Err(Damage::Length { recorded: header.value_bytes, found }.into());
        }
        Ok((header, payload))
    }

    /// Takes a record apart without reading its payload: what it says is not held against the checksum.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode), as far as the header shows.
    pub fn peek(record: &[u8]) -> Result<(Self, &[u8]), RecordError> {
        match record.first() {
            None => return Err(Damage::Truncated { bytes: 0 }.into()),
            Some(0) => return Err(Damage::VersionZero.into()),
            Some(&version) if version > RECORD_VERSION => {
                return Err(RecordError::NewerFormat { found: version, supported: RECORD_VERSION });
            }
            Some(_) => {}
        }
        let truncated = Damage::Truncated { bytes: record.len() };
        let (fixed, mut payload) = record.split_first_chunk::<HEADER_BYTES>().ok_or(truncated)?;
        let [_, codec, flags, reserved, ..] = *fixed;
        let codec = Codec::from_byte(codec).ok_or(Damage::UnknownCodec { codec })?;
        if flags & !FLAG_EXPIRY != 0 || reserved != 0 {
            return Err(Damage::UnknownFlags { flags, reserved }.into());
        }
        let mut expires_at_ms = None;
        if flags & FLAG_EXPIRY != 0 {
            let (expiry, rest) = payload.split_first_chunk::<8>().ok_or(truncated)?;
            expires_at_ms = Some(u64::from_le_bytes(*expiry));
            payload = rest;
        }
        let value_bytes = match codec {
            Codec::Parts => Manifest::decode(payload)?.value_bytes,
            _ => u32::from_le_bytes(field(fixed, VALUE_LENGTH_AT)).into(),
        };
        let revision = u64::from_le_bytes(field(fixed, REVISION_AT));
        Ok((Self { codec, revision, value_bytes, expires_at_ms }, payload))
    }
}

/// The `N` bytes of the fixed header at `offset`.
fn field<const N: usize>(fixed: &[u8; HEADER_BYTES], offset: usize) -> [u8; N] {
    fixed[offset..offset + N].try_into().expect("the range has N bytes")
}

fn checksum_of_header(header: &[u8], key: &[u8]) -> Hasher {
    let key_bytes = u16::try_from(key.len()).unwrap_or(u16::MAX);
    let mut hasher = Hasher::new();
    hasher.update(&header[..CHECKSUM_AT]);
    hasher.update(&header[REVISION_AT..]);
    hasher.update(&key_bytes.to_le_bytes());
    hasher.update(key);
    hasher
}

/// Why bytes were not taken for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A later version of this program wrote it.
    #[error("the record has format version {found}, and this program reads up to {supported}")]
    NewerFormat {
        /// The version of the record.
        found: u8,
        /// The newest version that is understood here.
        supported: u8,
    },
    /// The bytes are not what was written.
    #[error("the record is damaged")]
    Damaged(#[from] Damage),
}

/// What is wrong with a damaged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The bytes end before the header does.
    #[error("it ends after {bytes} bytes, within its header")]
    Truncated {
        /// How many bytes there are.
        bytes: usize,
    },
    /// No record ever had the version 0.
    #[error("its format version is 0")]
    VersionZero,
    /// The codec is none of this version's.
    #[error("its codec {codec} is unknown")]
    UnknownCodec {
        /// The codec found.
        codec: u8,
    },
    /// Bits are set that this version does not set.
    #[error("its flags {flags:#04x} and reserved byte {reserved:#04x} are unknown")]
    UnknownFlags {
        /// The flags found.
        flags: u8,
        /// The reserved byte found.
        reserved: u8,
    },
    /// The checksum of header, key and payload differs.
    #[error("its checksum is {computed:#010x} and should be {stored:#010x}")]
    Checksum {
        /// The checksum in the record.
        stored: u32,
        /// The checksum of the bytes that are there.
        computed: u32,
    },
    /// The value has another length than the record says.
    #[error("its value has {found} bytes and should have {recorded}")]
    Length {
        /// The length in the record.
        recorded: u64,
        /// The length found.
        found: usize,
    },
    /// The payload is no zstd frame, or one that holds more than the recorded length.
    #[error("its payload does not decompress into {recorded} bytes")]
    Decompression {
        /// The length in the record.
        recorded: u64,
    },
    /// What should say where the parts of the value are does not.
    #[error("the {bytes} bytes that should say where its parts are do not")]
    Manifest {
        /// How many bytes there are.
        bytes: usize,
    },
    /// A part of the value is not there.
    #[error("its part {number} is not there")]
    MissingPart {
        /// Which, from 0.
        number: u32,
    },
    /// A part of the value is not what was written.
    #[error("its part {number} is damaged")]
    Part {
        /// Which, from 0.
        number: u32,
    },
    /// Parts of a value take room that no record has.
    #[error("there are parts of a value {value} that no record has")]
    Stray {
        /// The number of the value.
        value: u64,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(header: &Header, key: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = header.encode(key, &PayloadChecksum::of(payload)).as_slice().to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    fn raw(revision: u64, value_bytes: u64) -> Header {
        Header { codec: Codec::Raw, revision, value_bytes, expires_at_ms: None }
    }

    // The checksums were computed by another implementation of CRC-32, zlib's.
    #[test]
    fn golden_bytes() {
        let bytes = record(&raw(0x0102_0304_0506_0708, 5), b"key", b"hello");
        let expected = [
            [1, 0, 0, 0].as_slice(),
            &0xa311_ddc8_u32.to_le_bytes(),
            &[8, 7, 6, 5, 4, 3, 2, 1],
            &[5, 0, 0, 0],
            b"hello",
        ]
        .concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn golden_bytes_with_expiry() {
        let header = Header { codec: Codec::Zstd, revision: 1, value_bytes: 300, expires_at_ms: Some(2) };
        let bytes = record(&header, b"k", b"frame");
        let expected = [
            [1, 1, 1, 0].as_slice(),
            &0x9f29_5acf_u32.to_le_bytes(),
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &[44, 1, 0, 0],
            &[2, 0, 0, 0, 0, 0, 0, 0],
            b"frame",
        ]
        .concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn golden_bytes_of_a_value_in_parts() {
        let manifest =
            Manifest { value: 1, value_bytes: 5 << 32, stored_bytes: 2, part_bytes: 1 << 20, checksum: 3 };
        let header = Header { codec: Codec::Parts, revision: 1, value_bytes: 5 << 32, expires_at_ms: None };
        let bytes = record(&header, b"k", &manifest.encode());
        let expected = [
            [1, 2, 0, 0].as_slice(),
            &0x5590_e10f_u32.to_le_bytes(),
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, 0],
            &manifest.encode(),
        ]
        .concat();
        assert_eq!(bytes, expected);
        assert_eq!(Header::decode(b"k", &bytes), Ok((header, &manifest.encode()[..])));
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let mut bytes = record(&raw(1, 1), b"k", b"v");
        bytes[0] = 2;
        assert_eq!(Header::decode(b"k", &bytes), Err(RecordError::NewerFormat { found: 2, supported: 1 }));
        assert_eq!(Header::decode(b"k", &[9]), Err(RecordError::NewerFormat { found: 9, supported: 1 }));
    }

    #[test]
    fn another_key_is_damage() {
        let bytes = record(&raw(1, 1), b"k", b"v");
        let damage = Header::decode(b"l", &bytes).unwrap_err();
        assert!(matches!(damage, RecordError::Damaged(Damage::Checksum { .. })), "{damage:?}");
    }

    #[test]
    fn each_kind_of_damage_is_named() {
        assert_eq!(Header::decode(b"k", b""), Err(Damage::Truncated { bytes: 0 }.into()));
        assert_eq!(Header::decode(b"k", &[1; 19]), Err(Damage::Truncated { bytes: 19 }.into()));
        assert_eq!(Header::decode(b"k", &[0; 40]), Err(Damage::VersionZero.into()));
        let good = record(&raw(1, 1), b"k", b"v");
        let mut codec = good.clone();
        codec[1] = 7;
        assert_eq!(Header::decode(b"k", &codec), Err(Damage::UnknownCodec { codec: 7 }.into()));
        let mut flags = good.clone();
        flags[2] = 0x80;
        assert_eq!(
            Header::decode(b"k", &flags),
            Err(Damage::UnknownFlags { flags: 0x80, reserved: 0 }.into())
        );
        let mut expiry = good;
        expiry[2] = 1;
        assert_eq!(Header::decode(b"k", &expiry), Err(Damage::Truncated { bytes: 21 }.into()));
        let short = record(&raw(1, 2), b"k", b"v");
        assert_eq!(Header::decode(b"k", &short), Err(Damage::Length { recorded: 2, found: 1 }.into()));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            key in prop::collection::vec(any::<u8>(), 1..=511),
            payload in prop::collection::vec(any::<u8>(), 0..2000),
            revision: u64,
            expires_at_ms: Option<u64>,
            zstd: bool,
            claimed: u32,
        ) {
            let (codec, value_bytes) =
                if zstd { (Codec::Zstd, claimed.into()) } else { (Codec::Raw, payload.len() as u64) };
            let header = Header { codec, revision, value_bytes, expires_at_ms };
            let bytes = record(&header, &key, &payload);
            prop_assert_eq!(Header::decode(&key, &bytes), Ok((header, payload.as_slice())));
        }

        #[test]
        fn any_bytes_decode_without_panic(
            key in prop::collection::vec(any::<u8>(), 0..20),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            prop_assert!(Header::decode(&key, &bytes).is_err());
        }

        #[test]
        fn one_flipped_bit_is_found(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            expires_at_ms: Option<u64>,
            bit: prop::sample::Index,
        ) {
            let header = Header { expires_at_ms, ..raw(7, payload.len() as u64) };
            let mut bytes = record(&header, b"key", &payload);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Header::decode(b"key", &bytes).is_err());
        }

        #[test]
        fn a_cut_record_is_found(payload in prop::collection::vec(any::<u8>(), 1..200), cut: prop::sample::Index) {
            let bytes = record(&raw(7, payload.len() as u64), b"key", &payload);
            prop_assert!(Header::decode(b"key", &bytes[..cut.index(bytes.len())]).is_err());
        }
    }
}
