//! Reading values in parts: part by part, and as a whole where that is short enough.

use bytes::Bytes;
use heed::RoTxn;

use super::compression::expand;
use super::environment::Tables;
use super::error::{ReadError, StorageError, check_key};
use super::expiry::has_ended;
use super::handle::Store;
use super::parts::{Manifest, PartHeader, State, part_key, value_key};
use super::record::{Codec, Damage, Header, RecordError};
use super::upload::MAX_PART_BYTES;

/// A value that lies in parts: what is needed to read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InParts {
    /// The number of the value, under which its parts are read also when another has taken its place under the key.
    pub value: u64,
    /// The revision of the put.
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

/// How the value under a key is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// It lies in one record: as a whole, with [`Store::get`].
    Whole,
    /// Part by part, with [`Store::read_part`].
    InParts(InParts),
}

impl Store {
    /// How the value under a key is to be read; `None` where there is no such key.
    ///
    /// # Errors
    ///
    /// [`ReadError`]
    pub fn layout(&self, key: &[u8]) -> Result<Option<Layout>, ReadError> {
        check_key(key)?;
        let now_ms = self.now_ms();
        self.reading(|transaction, tables| {
            let Some(record) = tables.records.get(transaction, key).map_err(failed)? else { return Ok(None) };
            let (header, payload) = Header::decode(key, record)?;
            if has_ended(&header, now_ms) {
                return Ok(None);
            }
            if header.codec != Codec::Parts {
                return Ok(Some(Layout::Whole));
            }
            let manifest = Manifest::decode(payload)?;
            self.inner().recent().note(manifest.value, now_ms);
            Ok(Some(Layout::InParts(InParts {
                value: manifest.value,
                revision: header.revision,
                value_bytes: manifest.value_bytes,
                part_bytes: manifest.part_bytes,
                parts: manifest.parts(),
                checksum: manifest.checksum,
            })))
        })
    }

    /// Reads a part, from 0, of a value that [`layout`](Self::layout) has told of. It can be read to its end although it is
    /// replaced or removed meanwhile, unless its reader pauses for more than a minute or the store is full.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; [`ReadError::Gone`] when the value is not kept any more. A damaged part is never returned.
    pub fn read_part(&self, key: &[u8], value: u64, number: u32) -> Result<Bytes, ReadError> {
        check_key(key)?;
        let now_ms = self.now_ms();
        self.reading(|transaction, tables| {
            let unfinished = tables.values.get(transaction, &value_key(State::Unfinished, value));
            if unfinished.map_err(failed)?.is_some() {
                return Err(ReadError::Gone);
            }
            match tables.parts.get(transaction, &part_key(value, number)).map_err(failed)? {
                Some(part) => {
                    self.inner().recent().note(value, now_ms);
                    Ok(read_part(value, number, part)?.into())
                }
                None => Err(missing(transaction, tables, key, value, number)?),
            }
        })
    }
}

/// The bytes of a part, which is checked.
fn read_part(value: u64, number: u32, part: &[u8]) -> Result<Vec<u8>, RecordError> {
    let (header, payload) = PartHeader::decode(&part_key(value, number), part)?;
    if header.bytes as usize > MAX_PART_BYTES {
        return Err(Damage::Part { number }.into());
    }
    let bytes = expand(header.codec, header.bytes.into(), payload)?;
    // Of one that is not compressed the checksum of the payload has told it.
    if header.codec == Codec::Zstd && crc32fast::hash(&bytes) != header.content {
        return Err(Damage::Part { number }.into());
    }
    Ok(bytes)
}

/// Why a part is not there: the value is damaged, or gone, or has none with that number.
fn missing(
    transaction: &RoTxn<'_>,
    tables: &Tables,
    key: &[u8],
    value: u64,
    number: u32,
) -> Result<ReadError, ReadError> {
    let Some(record) = tables.records.get(transaction, key).map_err(failed)? else {
        return Ok(ReadError::Gone);
    };
    let (header, payload) = Header::decode(key, record)?;
    if header.codec != Codec::Parts {
        return Ok(ReadError::Gone);
    }
    let manifest = Manifest::decode(payload)?;
    Ok(match manifest.parts() {
        _ if manifest.value != value => ReadError::Gone,
        parts if number >= parts => ReadError::NoSuchPart { number, parts },
        _ => Damage::MissingPart { number }.into(),
    })
}

/// A value in parts as a whole, whose length was held against a limit.
pub(super) fn gather(
    transaction: &RoTxn<'_>,
    tables: &Tables,
    manifest: &Manifest,
) -> Result<Vec<u8>, ReadError> {
    let mut whole = Vec::new();
    for number in 0..manifest.parts() {
        let part = check_part(transaction, tables, manifest, number)?;
        let part = read_part(manifest.value, number, part)?;
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

/// A part that was checked, but for the inside of a compressed payload, and is as long as it should be.
pub(super) fn check_part<'t>(
    transaction: &'t RoTxn<'_>,
    tables: &Tables,
    manifest: &Manifest,
    number: u32,
) -> Result<&'t [u8], ReadError> {
    let key = part_key(manifest.value, number);
    let part = tables.parts.get(transaction, &key).map_err(failed)?;
    let part = part.ok_or(Damage::MissingPart { number })?;
    let (header, _) = PartHeader::decode(&key, part)?;
    if manifest.bytes_of(number) != Some(header.bytes) {
        return Err(Damage::Part { number }.into());
    }
    Ok(part)
}

fn failed(error: heed::Error) -> StorageError {
    StorageError::of_heed("read", error)
}
