//! The store itself: opening a directory, reading, and taking batches of writes, which `commit` finds room for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use heed::{RoTxn, WithoutTls};
use tokio::sync::watch;

use super::apply;
use super::ballast::Ballast;
use super::checked::Checked;
use super::clock::Clock;
use super::commit::Writer;
use super::compression::{agreed_bytes, expand};
use super::environment::{Environment, Tables};
use super::error::{Full, OpenError, ReadError, StorageError, WriteError, check_key};
use super::expiry::has_ended;
use super::lock::DirectoryLock;
use super::opening::{create_directory, open_environment, sync_directory};
use super::options::StoreOptions;
use super::parts::Manifest;
use super::recent::Recent;
use super::record::{Codec, Header, RecordError};
use super::stream::gather;
use super::synced;
use super::write::{Applied, Prepared, Stored, Write};
use crate::history::History;

const BALLAST_FILE: &str = "reserve";

/// A durable map from keys to values, in one directory.
///
/// A handle is cheap to clone and can be used from any thread. When the last one is dropped, the database is
/// closed and can be opened again.
///
/// Every operation may wait for the disk: in asynchronous code use [`Engine`](crate::engine::Engine).
///
/// ```
/// use kvstore::store::{Store, StoreOptions};
///
/// let directory = tempfile::tempdir()?;
/// let store = Store::open(directory.path(), StoreOptions::default())?;
/// let stored = store.put("greeting", "hello")?;
/// assert_eq!(stored.revision, 1);
/// let entry = store.get(b"greeting")?.expect("it was just put");
/// assert_eq!(entry.value, "hello");
/// assert!(store.remove("greeting")?);
/// assert_eq!(store.get(b"greeting")?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) options: StoreOptions,
    pub(super) directory: PathBuf,
    pub(super) environment: Environment,
    pub(super) writer: Mutex<Writer>,
    pub(super) history: History,
    /// The last revision that was committed.
    pub(super) committed: watch::Sender<u64>,
    pub(super) clock: Clock,
    recent: Recent,
    /// What the last put found to be full, unless there is room again.
    pub(super) full: Mutex<Option<Full>>,
    /// The last field: it is unlocked after the environment is closed.
    _lock: DirectoryLock,
}

/// A value and what is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value, as it was put.
    pub value: Bytes,
    /// The revision of the put.
    pub revision: u64,
    /// The length of the value as it is stored: after compression, without the record's header.
    pub stored_bytes: u64,
    /// When the entry ends, in milliseconds since 1970-01-01 UTC.
    pub expires_at_ms: Option<u64>,
}

/// How the revisions of a store that is opened go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revisions {
    /// As they were.
    GoOn,
    /// In a history of their own: the store that the file is from goes on with the same ones.
    Fork,
}

impl Store {
    /// Opens the store in `directory`, and makes both where there are none.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; [`OpenError::InUse`] while this or another process has it open.
    pub fn open(directory: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        Self::open_as(directory, options, Clock::system(), Revisions::GoOn)
    }

    /// As [`open`](Self::open), with a clock, and for a file that others may have gone on with, too.
    pub(super) fn open_as(
        directory: &Path,
        options: StoreOptions,
        clock: Clock,
        revisions: Revisions,
    ) -> Result<Self, OpenError> {
        options.check()?;
        create_directory(directory)?;
        let lock = DirectoryLock::take(directory)?;
        let is_another = synced::restore(directory)? || revisions == Revisions::Fork;
        let mut ballast = Ballast::new(directory.join(BALLAST_FILE));
        let (environment, reserve_is_open, history) =
            open_environment(directory, &options, &mut ballast, is_another)?;
        synced::forget(directory).map_err(|source| OpenError::Io {
            what: "file of the last sync",
            path: directory.to_owned(),
            source,
        })?;
        // The names of the files made above are as durable as their contents only after this.
        sync_directory(directory)?;
        let writer = Writer {
            ballast,
            checked: Checked::new(),
            synced_file_bytes: None,
            has_unsynced: false,
            has_fresh_free_pages: true,
            reserve_is_open,
            refused_bytes: 0,
        };
        let writer = Mutex::new(writer);
        let directory = directory.to_owned();
        let full = Mutex::new(None);
        let committed = watch::Sender::new(0);
        let inner = Inner {
            options,
            directory,
            environment,
            writer,
            history,
            committed,
            clock,
            recent: Recent::default(),
            full,
            _lock: lock,
        };
        inner.remove_unfinished();
        inner.close_reserve(&mut inner.writer.lock().unwrap_or_else(PoisonError::into_inner))?;
        inner.start_durability()?;
        let store = Self { inner: Arc::new(inner) };
        if let Err(error) = store.drop_all_uploads() {
            // A full store lets them be dropped later.
            tracing::warn!(%error, "values that were not written to their end were not given up");
        }
        store.inner.committed.send_replace(store.revision()?);
        Ok(store)
    }

    /// The options that the store was opened with.
    pub fn options(&self) -> &StoreOptions {
        &self.inner.options
    }

    /// Reads a key; `None` where there is no such key. Never waits for a writer.
    ///
    /// # Errors
    ///
    /// [`ReadError`]. A damaged value is never returned.
    pub fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        self.get_within(key, self.inner.options.max_value_bytes)
    }

    /// Reads a key unless its value is longer than `limit_bytes`, which costs no memory then.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); [`ReadError::ValueTooLarge`] has the length of the value.
    pub fn get_within(&self, key: &[u8], limit_bytes: usize) -> Result<Option<Entry>, ReadError> {
        check_key(key)?;
        let limit = limit_bytes.min(self.inner.options.value_limits().whole_bytes);
        let now_ms = self.now_ms();
        self.reading(|transaction, tables| {
            let record = tables.records.get(transaction, key);
            let record = record.map_err(|error| StorageError::of_heed("read", error))?;
            let read = |record| read_record(transaction, tables, key, record, limit, now_ms);
            record.map_or(Ok(None), read)
        })
    }

    /// Reads many keys as they are at one moment, unless their values are longer than `limit_bytes` together. Each has
    /// its own answer, at its own place.
    ///
    /// # Errors
    ///
    /// [`ReadError::ValueTooLarge`], with the length of all values, and [`ReadError::Storage`].
    pub fn get_many(
        &self,
        keys: &[Bytes],
        limit_bytes: usize,
    ) -> Result<Vec<Result<Option<Entry>, ReadError>>, ReadError> {
        let limit = self.inner.options.value_limits().whole_bytes;
        let now_ms = self.now_ms();
        self.reading(|transaction, tables| {
            let mut records = Vec::with_capacity(keys.len());
            let mut bytes = 0_usize;
            for key in keys {
                let record = match check_key(key) {
                    Err(none) => Err(none),
                    Ok(()) => Ok(tables
                        .records
                        .get(transaction, key)
                        .map_err(|error| StorageError::of_heed("read", error))?),
                };
                // A length that is damaged is one key's own matter: it does not count.
                if let Ok(Some((header, payload))) =
                    record.map(|record| record.and_then(|it| look_at(key, it).ok()))
                    && !has_ended(&header, now_ms)
                {
                    bytes = bytes.saturating_add(agreed_bytes(&header, payload).unwrap_or(0));
                }
                records.push(record);
            }
            if bytes > limit_bytes {
                return Err(ReadError::ValueTooLarge { bytes, limit: limit_bytes });
            }
            let entries = keys.iter().zip(records).map(|(key, record)| {
                let read = |record| read_record(transaction, tables, key, record, limit, now_ms);
                record?.map_or(Ok(None), read)
            });
            Ok(entries.collect())
        })
    }

    /// Runs `body` in a read transaction.
    pub(super) fn reading<R>(
        &self,
        body: impl FnOnce(&RoTxn<'_, WithoutTls>, &Tables) -> Result<R, ReadError>,
    ) -> Result<R, ReadError> {
        let read = self.inner.environment.read(body);
        read.map_err(|error| StorageError::of_heed("begin to read", error))?
    }

    /// The store's time.
    pub(super) fn now_ms(&self) -> u64 {
        self.inner.clock.now_ms()
    }

    /// What the last put found to be full, unless there is room again.
    pub(super) fn full(&self) -> Option<Full> {
        *self.inner.full()
    }

    /// Has all writes that were answered on disk. Under [`Durability::Sync`](super::Durability::Sync) they are.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the disk fails; the state of the last sync stays what a crash leaves.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.inner.sync_now()
    }

    pub(super) fn make_room_to_grow(&self) -> Result<(), StorageError> {
        self.inner.make_room_to_grow()
    }

    /// The last revision that was given to a write; 0 before the first.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the database fails.
    pub fn revision(&self) -> Result<u64, StorageError> {
        let read =
            self.inner.environment.read(|transaction, tables| apply::last_revision(transaction, tables));
        read.flatten().map_err(|error| StorageError::of_heed("read", error))
    }

    /// Does all writes, in their order, with one commit for as many as can share it.
    ///
    /// When this returns, what succeeded is on disk. Each write has its own answer, at its own place. Every
    /// write that changes something gets a revision of its own, higher than all before; a revision is never
    /// used twice. Writes of one batch see the earlier ones. A batch is not atomic: where the store is full,
    /// some of it can fail. [`Write::Together`] is.
    pub fn apply(&self, batch: Vec<Write>) -> Vec<Result<Applied, WriteError>> {
        // Compression comes first: nobody waits for the writer's lock meanwhile.
        let now_ms = self.now_ms();
        let mut refusals = Vec::new();
        let mut prepared = Vec::with_capacity(batch.len());
        for (index, write) in batch.into_iter().enumerate() {
            match Prepared::new(write, &self.inner.options, now_ms) {
                Ok(write) => prepared.push(write),
                Err(refusal) => refusals.push((index, refusal)),
            }
        }
        let mut results = self.inner.commit(&prepared);
        for (index, refusal) in refusals {
            results.insert(index, Err(refusal));
        }
        results
    }

    /// Stores a value under a key.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<Stored, WriteError> {
        match self.apply_one(Write::put(key, value))? {
            Applied::Stored(stored) => Ok(stored),
            _ => unreachable!("a put was asked for"),
        }
    }

    /// Removes a key, and says whether there was one.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn remove(&self, key: impl Into<Bytes>) -> Result<bool, WriteError> {
        match self.apply_one(Write::remove(key))? {
            Applied::Removed { revision } => Ok(revision.is_some()),
            _ => unreachable!("a remove was asked for"),
        }
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.inner.environment
    }

    /// Commits what was prepared.
    pub(super) fn commit_one(&self, write: Prepared) -> Result<Applied, WriteError> {
        self.inner.commit(&[write]).pop().expect("one write has one answer")
    }

    pub(super) fn apply_one(&self, write: Write) -> Result<Applied, WriteError> {
        self.apply(vec![write]).pop().expect("one write has one answer")
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").field("directory", &self.inner.directory).finish_non_exhaustive()
    }
}

impl Inner {
    /// What is being read.
    pub(super) fn recent(&self) -> &Recent {
        &self.recent
    }
}

/// What a record says before all of it is read: a short one of a value in parts is.
fn look_at<'r>(key: &[u8], record: &'r [u8]) -> Result<(Header, &'r [u8]), RecordError> {
    match Header::peek(record) {
        Ok((Header { codec: Codec::Parts, .. }, _)) => Header::decode(key, record),
        other => other,
    }
}

/// None where the entry has ended.
pub(super) fn read_record(
    transaction: &RoTxn<'_>,
    tables: &Tables,
    key: &[u8],
    record: &[u8],
    limit: usize,
    now_ms: u64,
) -> Result<Option<Entry>, ReadError> {
    let (header, payload) = Header::decode(key, record)?;
    if has_ended(&header, now_ms) {
        return Ok(None);
    }
    let bytes = usize::try_from(header.value_bytes).unwrap_or(usize::MAX);
    if bytes > limit {
        return Err(ReadError::ValueTooLarge { bytes, limit });
    }
    let (value, stored_bytes) = if header.codec == Codec::Parts {
        let manifest = Manifest::decode(payload)?;
        (gather(transaction, tables, &manifest)?, manifest.stored_bytes)
    } else {
        (expand(header.codec, header.value_bytes, payload)?, payload.len() as u64)
    };
    Ok(Some(Entry {
        value: value.into(),
        revision: header.revision,
        stored_bytes,
        expires_at_ms: header.expires_at_ms,
    }))
}
