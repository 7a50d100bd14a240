//! Entries that end by themselves: when they are to be seen no more, and how they are collected.
//!
//! The table `expiry` has an entry for each record with an expiry time: the time and the revision of the record, as
//! eight big-endian bytes each, to its key. What ends first comes first.

use std::ops::Bound;

use heed::{RoTxn, RwTxn};

use super::environment::Tables;
use super::error::{StorageError, WriteError};
use super::handle::Store;
use super::record::Header;
use super::write::{Applied, Prepared};

/// How many entries are collected in one transaction: what a write waits for at most.
pub const COLLECTED_AT_ONCE: usize = 256;

/// A key in the table `expiry`.
pub(super) fn index_key(expires_at_ms: u64, revision: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&expires_at_ms.to_be_bytes());
    key[8..].copy_from_slice(&revision.to_be_bytes());
    key
}

/// Whether a header's entry has ended.
pub(super) fn has_ended(header: &Header, now_ms: u64) -> bool {
    header.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms)
}

/// As [`has_ended`], of a record that is not checked yet: damage does not hide a key.
pub(super) fn record_has_ended(key: &[u8], record: &[u8], now_ms: u64) -> bool {
    let says_so = Header::peek(record).is_ok_and(|(header, _)| has_ended(&header, now_ms));
    says_so && Header::decode(key, record).is_ok()
}

/// How many entries have ended and are not collected yet.
pub(super) fn count_ended(transaction: &RoTxn<'_>, tables: &Tables, now_ms: u64) -> Result<u64, heed::Error> {
    let ended = index_key(now_ms, u64::MAX);
    let mut count = 0;
    for entry in tables.expiry.range(transaction, &(Bound::Unbounded, Bound::Included(&ended[..])))? {
        entry?;
        count += 1;
    }
    Ok(count)
}

/// An entry of the index: its own key there, and that of the record.
pub(super) type Ended = (Vec<u8>, Vec<u8>);

/// The entries that have ended, at most so many: their keys in the index, and their own.
pub(super) fn ended(
    transaction: &RwTxn<'_>,
    tables: &Tables,
    now_ms: u64,
    most: usize,
) -> Result<Vec<Ended>, heed::Error> {
    let ended = index_key(now_ms, u64::MAX);
    let entries =
        tables.expiry.range(transaction, &(Bound::Unbounded, Bound::Included(&ended[..])))?.take(most);
    entries.map(|entry| entry.map(|(index, key)| (index.to_vec(), key.to_vec()))).collect()
}

impl Store {
    /// Removes up to [`COLLECTED_AT_ONCE`] entries that have ended, which nobody sees any more; says how many there were.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn collect_expired(&self) -> Result<usize, WriteError> {
        if !self.has_expired().map_err(WriteError::Storage)? {
            return Ok(0);
        }
        match self.commit_one(Prepared::Collect { most: COLLECTED_AT_ONCE })? {
            Applied::Collected { count } => Ok(count),
            _ => unreachable!("nothing else was asked for"),
        }
    }

    fn has_expired(&self) -> Result<bool, StorageError> {
        let now_ms = self.now_ms();
        let first = self.environment().read(|transaction, tables| {
            let first = tables.expiry.first(transaction)?;
            Ok::<_, heed::Error>(first.is_some_and(|(index, _)| *index <= index_key(now_ms, u64::MAX)[..]))
        });
        first.flatten().map_err(|error| StorageError::of_heed("read", error))
    }
}
