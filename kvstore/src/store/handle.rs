//! The store itself: opening a directory, reading, and writing in batches that find room.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use heed::{MdbError, RoTxn, WithoutTls};
use tokio::sync::watch;

use super::apply::{self, Done, Results};
use super::ballast::Ballast;
use super::changes::Keep;
use super::checked::Checked;
use super::clock::Clock;
use super::compression::{agreed_bytes, expand};
use super::environment::{Environment, Tables};
use super::error::{Full, OpenError, ReadError, StorageError, WriteError, check_key};
use super::expiry::has_ended;
use super::lock::DirectoryLock;
use super::opening::{create_directory, is_full_disk, open_environment, sync_directory};
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
    /// What the last put found to be full.
    full: Mutex<Option<Full>>,
    /// The last field: it is unlocked after the environment is closed.
    _lock: DirectoryLock,
}

/// What only the one who writes may touch.
pub(super) struct Writer {
    pub(super) ballast: Ballast,
    pub(super) checked: Checked,
    /// Where the file ended at the last sync point, in bytes; none when every commit is synced.
    pub(super) synced_file_bytes: Option<u64>,
    /// Something was committed since.
    pub(super) has_unsynced: bool,
    /// The last commit freed pages, which LMDB uses again only after one more commit.
    pub(super) has_fresh_free_pages: bool,
    /// The map reaches into what is kept back for removes.
    pub(super) reserve_is_open: bool,
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

/// Why a transaction was undone.
pub(super) enum Failure {
    MapFull,
    DiskFull,
    /// The file system has become read-only.
    ReadOnly,
    Storage(StorageError),
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

    /// What the last put found to be full.
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
    fn commit(&self, writes: &[Prepared]) -> Results {
        if writes.is_empty() {
            return Vec::new();
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut results = Vec::with_capacity(writes.len());
        self.commit_in_parts(&mut writer, writes, &mut results);
        if let Err(error) = self.close_reserve(&mut writer) {
            tracing::error!(%error, "the map of the store is lost");
        }
        if results.iter().any(|result| result.as_ref().is_ok_and(Applied::has_stored)) {
            writer.ballast.refill();
        }
        self.note_full(&results);
        results
    }

    /// What is being read.
    pub(super) fn recent(&self) -> &Recent {
        &self.recent
    }

    fn full(&self) -> MutexGuard<'_, Option<Full>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers whether puts find room, and says when that changes.
    fn note_full(&self, results: &Results) {
        let last = results.iter().rev().find_map(|result| match result {
            Ok(applied) if applied.has_stored() => Some(None),
            Err(WriteError::StoreFull(full)) => Some(Some(*full)),
            _ => None,
        });
        let Some(now) = last else { return };
        let before = std::mem::replace(&mut *self.full(), now);
        match (before, now) {
            (None | Some(Full::MaxSize { .. } | Full::Disk), Some(why @ Full::ReadOnly)) => {
                tracing::error!(%why, "the store takes no writes: reads go on");
            }
            (None, Some(why)) => tracing::warn!(%why, "the store is full: reads and removes go on"),
            (Some(Full::ReadOnly), None) => tracing::info!("the store takes writes again"),
            (Some(_), None) => tracing::info!("the store has room again"),
            _ => {}
        }
    }

    /// Commits the writes together, or, where they do not fit, in halves, down to the ones that do not.
    fn commit_in_parts(&self, writer: &mut Writer, writes: &[Prepared], results: &mut Results) {
        match self.commit_growing(writer, writes) {
            Ok(done) => results.extend(done),
            Err(Failure::Storage(error)) => {
                results.extend(writes.iter().map(|_| Err(WriteError::Storage(error.clone()))));
            }
            Err(Failure::ReadOnly) => {
                results.extend(writes.iter().map(|_| Err(WriteError::StoreFull(Full::ReadOnly))));
            }
            Err(Failure::MapFull | Failure::DiskFull) if writes.len() > 1 => {
                let (first, second) = writes.split_at(writes.len() / 2);
                self.commit_in_parts(writer, first, results);
                self.commit_in_parts(writer, second, results);
            }
            Err(Failure::MapFull) => {
                let max_size_bytes = self.options.max_size_bytes;
                results.push(Err(WriteError::StoreFull(Full::MaxSize { max_size_bytes })));
            }
            Err(Failure::DiskFull) => results.push(Err(WriteError::StoreFull(Full::Disk))),
        }
    }

    /// Commits the writes together, in a map that grows as far as they may take it.
    pub(super) fn commit_growing(
        &self,
        writer: &mut Writer,
        writes: &[Prepared],
    ) -> Result<Results, Failure> {
        let only_removes = writes.iter().all(Prepared::adds_nothing);
        let ceiling = if only_removes { self.options.map_ceiling() } else { self.options.put_ceiling() };
        let mut keep = Keep::of(&self.options);
        loop {
            let now_ms = self.clock.now_ms();
            let checked = &mut writer.checked;
            let attempt = self.environment.write(|transaction, tables| {
                apply::apply(transaction, tables, writes, &self.options, now_ms, keep, checked)
            });
            let failure = match attempt {
                Ok(Done { results, revision }) => {
                    writer.has_fresh_free_pages = true;
                    self.note_commit(writer);
                    self.committed.send_if_modified(|last| std::mem::replace(last, revision) != revision);
                    return Ok(results);
                }
                Err(error) => self.failure(error),
            };
            let may_retry = match failure {
                Failure::MapFull | Failure::DiskFull if self.give_up_copies(&failure, ceiling) => true,
                Failure::MapFull => {
                    let needed_bytes = writes.iter().map(Prepared::stored_bytes).sum();
                    self.grow(writer, needed_bytes, ceiling)?
                        || self.settle_free_pages(writer)?
                        || (!only_removes && self.reclaim(writer)?)
                }
                Failure::DiskFull if only_removes => self.make_room_on_disk(writer),
                // What is freed is used before the file has to grow.
                Failure::DiskFull => self.reclaim(writer)? && self.settle_free_pages(writer)?,
                Failure::ReadOnly | Failure::Storage(_) => return Err(failure),
            };
            if !may_retry {
                if !only_removes || writes.len() > 1 || keep == Keep::Nothing {
                    return Err(failure);
                }
                tracing::warn!("there is no room left for a remove: the changes that were kept are given up");
                keep = Keep::Nothing;
            }
        }
    }

    /// Gives up backups that keep writes from finding room. Says whether there were some.
    fn give_up_copies(&self, failure: &Failure, ceiling: usize) -> bool {
        let moves_map = matches!(failure, Failure::MapFull) && self.environment.map_bytes() < ceiling;
        self.environment.give_up_copies(moves_map)
    }

    /// Gives removes what is kept back on the disk for them; says whether there was something.
    fn make_room_on_disk(&self, writer: &mut Writer) -> bool {
        let is_released = writer.ballast.release();
        // What was freed since the last sync point can be used only after the next.
        if is_released && let Err(error) = self.sync_point(writer) {
            tracing::error!(%error, "the store could not be synced");
        }
        is_released
    }

    /// Grows the map towards `ceiling`. Says whether it did.
    fn grow(&self, writer: &mut Writer, needed_bytes: usize, ceiling: usize) -> Result<bool, Failure> {
        let current = self.environment.map_bytes();
        if current >= ceiling {
            return Ok(false);
        }
        let grown = StoreOptions::grown_map(current, needed_bytes, ceiling);
        writer.reserve_is_open |= grown > self.options.put_ceiling();
        tracing::debug!(from = current, to = grown, "the map of the store grows");
        self.resize(writer, grown).map_err(Failure::Storage)?;
        Ok(true)
    }

    /// Makes the pages that the last commit freed usable. Says whether that can have helped.
    fn settle_free_pages(&self, writer: &mut Writer) -> Result<bool, Failure> {
        // A copy keeps all pages anyway, and would be waited for.
        if self.environment.is_being_copied() || !std::mem::take(&mut writer.has_fresh_free_pages) {
            return Ok(false);
        }
        // The commit needs a few pages itself, from those that are kept back.
        while self.grow(writer, 0, self.options.map_ceiling())? {}
        let settled = self.environment.write(apply::touch);
        if settled.is_ok() {
            writer.has_unsynced = true;
            self.sync_point(writer).map_err(Failure::Storage)?;
        }
        self.close_reserve(writer).map_err(Failure::Storage)?;
        match settled.map_err(|error| self.failure(error)) {
            Ok(()) => Ok(true),
            Err(Failure::MapFull | Failure::DiskFull) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Closes what removes have taken of the map to puts again. LMDB keeps at least what is in use.
    fn close_reserve(&self, writer: &mut Writer) -> Result<(), StorageError> {
        // While a copy is written it stays open: a put is refused all the same, and removes need not wait for the copy.
        if !self.environment.is_being_copied() && std::mem::take(&mut writer.reserve_is_open) {
            self.resize(writer, self.options.put_ceiling())?;
        }
        Ok(())
    }

    pub(super) fn failure(&self, error: heed::Error) -> Failure {
        match error {
            heed::Error::Mdb(MdbError::MapFull) => Failure::MapFull,
            heed::Error::Io(cause) if is_full_disk(&self.directory, &cause) => Failure::DiskFull,
            heed::Error::Io(cause) if cause.kind() == ErrorKind::ReadOnlyFilesystem => Failure::ReadOnly,
            other => Failure::Storage(StorageError::of_heed("commit", other)),
        }
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
