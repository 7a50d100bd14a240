//! Looking at a store without reading values: what is known about a key, which keys there are, and how the store is.

use std::ops::Bound;

use bytes::Bytes;
use heed::RoTxn;

use super::KeyError;
use super::apply::last_revision;
use super::changes::first_kept;
use super::environment::Tables;
use super::error::{Full, ReadError, StorageError, check_key};
use super::expiry::{count_ended, has_ended, record_has_ended};
use super::handle::Store;
use super::options::{Durability, MAX_KEY_BYTES};
use super::parts::Manifest;
use super::record::{Codec, Header, RecordError};

/// The most keys of one page.
pub const MAX_PAGE_KEYS: usize = 1000;

/// What the keys of one page may take, with [`PAGE_ENTRY_BYTES`] for each.
const MAX_PAGE_BYTES: usize = 64 << 10;

/// How many records one page looks at: those that have ended are no keys of it.
const MAX_LOOKED_AT: usize = 10 * MAX_PAGE_KEYS;

/// What one page reads of records to find out whether they have ended: others are not kept from using free room for long.
const MAX_READ_BYTES: usize = 16 << 20;

/// What an entry of a page counts beside its key.
const PAGE_ENTRY_BYTES: usize = 40;

/// What is known about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The revision of the put.
    pub revision: u64,
    /// The length of the value.
    pub value_bytes: u64,
    /// The length of the value as it is stored: after compression, without the record's header.
    pub stored_bytes: u64,
    /// How it is stored.
    pub codec: Codec,
    /// The time that the entry has left, in milliseconds; none when it does not end.
    pub expires_in_ms: Option<u64>,
}

impl Meta {
    fn new(header: &Header, payload: &[u8], now_ms: u64) -> Self {
        let stored_bytes = match header.codec {
            Codec::Parts => Manifest::decode(payload).map_or(0, |manifest| manifest.stored_bytes),
            _ => payload.len() as u64,
        };
        Self {
            revision: header.revision,
            value_bytes: header.value_bytes,
            stored_bytes,
            codec: header.codec,
            expires_in_ms: header.expires_at_ms.map(|at_ms| at_ms.saturating_sub(now_ms)),
        }
    }
}

/// A key in a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: Bytes,
    /// What its record says. Its checksum was not looked at.
    pub meta: Result<Meta, RecordError>,
}

/// Some of the keys, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The keys.
    pub keys: Vec<Listed>,
    /// The last key that was looked at, after which the next page begins; none at the end.
    pub next: Option<Bytes>,
}

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How many keys there are.
    pub entries: u64,
    /// The last revision that was given to a write.
    pub revision: u64,
    /// What the data takes of the file, in whole pages.
    pub used_bytes: u64,
    /// The length of the file that has ever been in use: data, and free pages that will be used again.
    pub file_bytes: u64,
    /// The length of a page.
    pub page_bytes: u64,
    /// Pages of the file without data.
    pub free_pages: u64,
    /// The size of the memory map.
    pub map_bytes: u64,
    /// [`StoreOptions::max_size_bytes`](super::StoreOptions::max_size_bytes).
    pub max_size_bytes: u64,
    /// Reader slots that are taken, or were at some time and are kept.
    pub readers: u64,
    /// Reader slots that there are.
    pub max_readers: u64,
    /// What the last put found to be full; none when it found room, or there is room for it since something was removed.
    pub full: Option<Full>,
    /// When a write is answered.
    pub durability: Durability,
    /// How many changes are kept.
    pub changes: u64,
    /// The first revision whose change is kept; the next one that will be given out where there is none.
    pub first_change: u64,
}

/// How many keys there are, and the last revision that was given to a write.
pub(super) fn count(
    transaction: &RoTxn<'_>,
    tables: &Tables,
    now_ms: u64,
) -> Result<(u64, u64), heed::Error> {
    let entries = tables.records.len(transaction)?;
    let entries = entries.saturating_sub(count_ended(transaction, tables, now_ms)?);
    Ok((entries, last_revision(transaction, tables)?))
}

impl Store {
    /// What is known about a key, whose record is checked; `None` where there is no such key.
    ///
    /// # Errors
    ///
    /// [`ReadError`]
    pub fn meta(&self, key: &[u8]) -> Result<Option<Meta>, ReadError> {
        check_key(key)?;
        let now_ms = self.now_ms();
        self.reading(|transaction, tables| {
            let record = tables.records.get(transaction, key).map_err(failed)?;
            let Some(record) = record else { return Ok(None) };
            let (header, payload) = Header::decode(key, record)?;
            if has_ended(&header, now_ms) {
                return Ok(None);
            }
            Ok(Some(Meta::new(&header, payload, now_ms)))
        })
    }

    /// The keys that begin with `prefix`, from the first one behind `after` on: at most `limit` of them, and at most
    /// [`MAX_PAGE_KEYS`] or 64 KiB.
    ///
    /// A page is of one moment, and the next page of another: a key that is there all the while comes exactly once.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; a record that cannot be read is told with its key instead.
    pub fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, ReadError> {
        for key in [prefix, after.unwrap_or_default()] {
            if key.len() > MAX_KEY_BYTES {
                return Err(KeyError::TooLong { bytes: key.len(), limit: MAX_KEY_BYTES }.into());
            }
        }
        let now_ms = self.now_ms();
        let limit = limit.clamp(1, MAX_PAGE_KEYS);
        self.reading(|transaction, tables| {
            page(transaction, tables, prefix, after, limit, now_ms).map_err(|error| failed(error).into())
        })
    }

    /// How the store is.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the database fails.
    pub fn status(&self) -> Result<Status, StorageError> {
        let (environment, options) = (self.environment(), self.options());
        let sizes = environment.sizes();
        let now_ms = self.now_ms();
        let read = environment.read(|transaction, tables| -> Result<_, heed::Error> {
            let used_pages = tables.used_pages(transaction)?;
            let (entries, revision) = count(transaction, tables, now_ms)?;
            let changes = (tables.changes.len(transaction)?, first_kept(transaction, tables)?);
            Ok((entries, revision, used_pages, changes))
        });
        let (entries, revision, used_pages, (changes, first_change)) = read.flatten().map_err(failed)?;
        Ok(Status {
            entries,
            revision,
            used_bytes: used_pages * sizes.page_bytes,
            file_bytes: sizes.pages * sizes.page_bytes,
            page_bytes: sizes.page_bytes,
            free_pages: sizes.pages.saturating_sub(used_pages),
            map_bytes: sizes.map_bytes,
            max_size_bytes: options.max_size_bytes as u64,
            readers: sizes.readers,
            max_readers: sizes.max_readers,
            full: self.full(),
            durability: options.durability,
            changes,
            first_change,
        })
    }

    /// Takes back the slots of readers of other processes that were killed, which keep pages from being used again; says how
    /// many there were. Opening does so too, and an [`Engine`](crate::engine::Engine) every ten seconds.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the database fails.
    pub fn reclaim_readers(&self) -> Result<usize, StorageError> {
        self.environment().reclaim_readers().map_err(failed)
    }
}

fn page(
    transaction: &RoTxn<'_>,
    tables: &Tables,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
    now_ms: u64,
) -> Result<Page, heed::Error> {
    let from = match after {
        Some(after) if after >= prefix && !after.is_empty() => Bound::Excluded(after),
        _ if prefix.is_empty() => Bound::Unbounded,
        _ => Bound::Included(prefix),
    };
    let mut page = Page { keys: Vec::new(), next: None };
    let (mut bytes, mut read_bytes) = (0, 0);
    for (looked_at, entry) in tables.records.range(transaction, &(from, Bound::Unbounded))?.enumerate() {
        let (key, record) = entry?;
        if !key.starts_with(prefix) {
            break;
        }
        if page.keys.len() == limit || bytes >= MAX_PAGE_BYTES {
            page.next = page.keys.last().map(|last| last.key.clone());
            break;
        }
        if record_has_ended(key, record, now_ms) {
            read_bytes += record.len();
            if looked_at >= MAX_LOOKED_AT || read_bytes >= MAX_READ_BYTES {
                page.next = Some(Bytes::copy_from_slice(key));
                break;
            }
            continue;
        }
        let meta = Header::peek(record).map(|(header, payload)| Meta::new(&header, payload, now_ms));
        bytes += key.len() + PAGE_ENTRY_BYTES;
        page.keys.push(Listed { key: Bytes::copy_from_slice(key), meta });
    }
    Ok(page)
}

fn failed(error: heed::Error) -> StorageError {
    StorageError::of_heed("read", error)
}
