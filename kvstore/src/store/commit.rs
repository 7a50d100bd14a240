//! Commits that find room: what is written together, how the map grows for it, and what is tried where there is no room. What
//! is done within a transaction is in `apply`.

use std::io::ErrorKind;
use std::sync::{MutexGuard, PoisonError};

use heed::MdbError;

use super::apply::{self, Done, Results};
use super::ballast::Ballast;
use super::changes::Keep;
use super::checked::Checked;
use super::error::{Full, StorageError, WriteError};
use super::handle::Inner;
use super::opening::is_full_disk;
use super::options::StoreOptions;
use super::write::{Applied, Prepared};

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
    /// What the put takes that was last refused at the maximum size.
    pub(super) refused_bytes: usize,
}

/// Why a transaction was undone.
pub(super) enum Failure {
    MapFull,
    DiskFull,
    /// The file system has become read-only.
    ReadOnly,
    Storage(StorageError),
}

impl Inner {
    /// Commits what fits; each write has its own answer.
    pub(super) fn commit(&self, writes: &[Prepared]) -> Results {
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
        self.note_full(&writer, &results);
        results
    }

    pub(super) fn full(&self) -> MutexGuard<'_, Option<Full>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers whether puts find room, and says when that changes.
    fn note_full(&self, writer: &Writer, results: &Results) {
        let last = results.iter().rev().find_map(|result| match result {
            Ok(applied) if applied.has_stored() => Some(None),
            Err(WriteError::StoreFull(full)) => Some(Some(*full)),
            _ => None,
        });
        let last = last.or_else(|| {
            let is_at_maximum = matches!(*self.full(), Some(Full::MaxSize { .. }));
            (is_at_maximum && self.has_room_again(writer)).then_some(None)
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
                writer.refused_bytes = writes.iter().map(Prepared::stored_bytes).sum();
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
        let keep = Keep::of(&self.options);
        loop {
            let now_ms = self.clock.now_ms();
            let checked = &mut writer.checked;
            let mut room = self.room(only_removes);
            let attempt = self.environment.write(|transaction, tables| {
                room.hold(transaction, tables, |transaction| {
                    apply::apply(transaction, tables, writes, &self.options, now_ms, keep, checked)
                })
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
                // Free pages are no help, and there may be some.
                Failure::MapFull if room.is_exceeded => self.reclaim(writer)?,
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
            if !may_retry && (!only_removes || writes.len() > 1 || !self.shorten_log(writer)?) {
                return Err(failure);
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
    pub(super) fn grow(
        &self,
        writer: &mut Writer,
        needed_bytes: usize,
        ceiling: usize,
    ) -> Result<bool, Failure> {
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
    pub(super) fn settle_free_pages(&self, writer: &mut Writer) -> Result<bool, Failure> {
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
    pub(super) fn close_reserve(&self, writer: &mut Writer) -> Result<(), StorageError> {
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
