//! Checking every record, in parts.

use std::ops::Bound;

use bytes::Bytes;

use super::error::{ReadError, StorageError};
use super::handle::Store;
use super::options::MAX_KEY_BYTES;
use super::record::{Header, RecordError};
use super::{KeyError, MAX_PAGE_KEYS};

/// The records of one part, in bytes: what others wait for a reader.
const MAX_PART_BYTES: u64 = 16 << 20;

/// The records of one part.
const MAX_PART_RECORDS: u64 = 10_000;

/// What was found in some of the records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// How many records were checked.
    pub records: u64,
    /// How many bytes they have, headers included.
    pub bytes: u64,
    /// The keys whose records are not what was written.
    pub damaged: Vec<(Bytes, RecordError)>,
    /// The last key that was looked at, after which to go on; none at the end.
    pub next: Option<Bytes>,
}

impl Store {
    /// Checks the records of the keys behind `after`, as many as a part has. Neither waits for a writer nor makes one
    /// wait, and takes no memory but for what is damaged.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the database itself cannot be read.
    pub fn verify(&self, after: Option<&[u8]>) -> Result<Verified, ReadError> {
        let failed = |error| StorageError::of_heed("read", error);
        let from = match after {
            Some(after) if after.len() > MAX_KEY_BYTES => {
                return Err(KeyError::TooLong { bytes: after.len(), limit: MAX_KEY_BYTES }.into());
            }
            Some(after) if !after.is_empty() => Bound::Excluded(after),
            _ => Bound::Unbounded,
        };
        self.reading(|transaction, tables| {
            let mut part = Verified::default();
            let range = (from, Bound::Unbounded);
            for entry in tables.records.range(transaction, &range).map_err(failed)? {
                let (key, record) = entry.map_err(failed)?;
                part.records += 1;
                part.bytes += record.len() as u64;
                if let Err(damage) = Header::decode(key, record) {
                    part.damaged.push((Bytes::copy_from_slice(key), damage));
                }
                if part.bytes >= MAX_PART_BYTES
                    || part.records >= MAX_PART_RECORDS
                    || part.damaged.len() >= MAX_PAGE_KEYS
                {
                    part.next = Some(Bytes::copy_from_slice(key));
                    break;
                }
            }
            Ok(part)
        })
    }
}
