//! Giving back the room of values in parts that nobody needs: uploads that were left, and values that were replaced or
//! removed. Those that belong to nothing, which damage leaves, are found in `strays`.

use super::apply_upload::idlest;
use super::commit::{Failure, Writer};
use super::error::{StorageError, WriteError};
use super::handle::{Inner, Store};
use super::parts::{State, read_value_key};
use super::upload::UPLOAD_IDLE_MS;
use super::write::{Applied, Prepared};

/// How many parts are freed in one transaction, and of how many values at most: what a write waits for. Only their pages
/// are noted as free, which does not take long. But once LMDB has begun to use pages of such a note, it writes what is left
/// of it anew with every commit: eight bytes for each of the 257 pages of a part.
pub(super) const FREED_AT_ONCE: usize = 32;

/// How long a value that was dropped is kept in any case, in milliseconds: a reader may just have begun with it.
const KEPT_MS: u64 = 2_000;

impl Store {
    /// Frees some of the parts that nobody needs any more, as many as one transaction does; says whether there
    /// were some.
    /// Those of a value that was read from within the last minute are kept for its readers.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn free_dropped(&self) -> Result<bool, WriteError> {
        let now_ms = self.now_ms();
        let recent = self.inner().recent();
        let may_go = |value: u64, dropped_ms: u64| {
            now_ms.saturating_sub(dropped_ms) >= KEPT_MS && !recent.has(value, now_ms)
        };
        let values = self.inner().dropped(may_go, FREED_AT_ONCE).map_err(WriteError::Storage)?;
        if values.is_empty() {
            return Ok(false);
        }
        self.commit_one(Prepared::Free { values, most: FREED_AT_ONCE })?;
        Ok(true)
    }

    /// Gives up the uploads to which nothing has come for [`UPLOAD_IDLE_MS`]; says how many those are.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn drop_idle_uploads(&self) -> Result<usize, WriteError> {
        match self.now_ms().checked_sub(UPLOAD_IDLE_MS) {
            Some(before_ms) => self.drop_uploads(before_ms),
            None => Ok(0),
        }
    }

    /// Gives up what nobody goes on with, as after a crash.
    pub(super) fn drop_all_uploads(&self) -> Result<usize, WriteError> {
        self.drop_uploads(u64::MAX)
    }

    fn drop_uploads(&self, before_ms: u64) -> Result<usize, WriteError> {
        let has_some = self.environment().read(|transaction, tables| {
            Ok::<_, heed::Error>(
                tables.values.prefix_iter(transaction, &[State::Unfinished as u8])?.next().is_some(),
            )
        });
        if !has_some.flatten().map_err(failed)? {
            return Ok(0);
        }
        match self.commit_one(Prepared::DropUnfinished { before_ms })? {
            Applied::Collected { count } => Ok(count),
            _ => unreachable!("nothing else was asked for"),
        }
    }
}

impl Inner {
    /// Frees some of what was dropped, for the store is full: first what nobody reads, then what is read, and at last what
    /// an upload holds to which nothing has come for a while. Says whether there was anything.
    pub(super) fn reclaim(&self, writer: &mut Writer) -> Result<bool, Failure> {
        let now_ms = self.clock.now_ms();
        Ok(self.free_some(writer, |value| !self.recent().has(value, now_ms))?
            || self.free_some(writer, |_| true)?
            || (self.drop_idlest(writer, now_ms)? && self.free_some(writer, |_| true)?))
    }

    fn drop_idlest(&self, writer: &mut Writer, now_ms: u64) -> Result<bool, Failure> {
        let found = self.environment.read(|transaction, tables| idlest(transaction, tables, now_ms));
        let found = found.flatten().map_err(|error| Failure::Storage(failed(error)))?;
        let Some((upload, before_ms)) = found else { return Ok(false) };
        tracing::info!(upload, "a value that nobody seems to go on with is given up, for the store is full");
        self.commit_within(writer, Prepared::DropUnfinished { before_ms })
    }

    fn free_some(&self, writer: &mut Writer, may_go: impl Fn(u64) -> bool) -> Result<bool, Failure> {
        let values = self.dropped(|value, _| may_go(value), 1).map_err(Failure::Storage)?;
        let Some(&value) = values.first() else { return Ok(false) };
        let freed = self.commit_within(writer, Prepared::Free { values, most: FREED_AT_ONCE })?;
        if freed {
            self.recent().forget(value);
        }
        Ok(freed)
    }

    /// Says whether there was room for it.
    fn commit_within(&self, writer: &mut Writer, write: Prepared) -> Result<bool, Failure> {
        match self.commit_growing(writer, &[write]) {
            Ok(_) => Ok(true),
            Err(Failure::MapFull | Failure::DiskFull) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// The values that were dropped for which this holds, given the number and when it was dropped: the first ones, at most
    /// so many.
    fn dropped(&self, may_go: impl Fn(u64, u64) -> bool, most: usize) -> Result<Vec<u64>, StorageError> {
        let found = self.environment.read(|transaction, tables| {
            let entries = tables.values.prefix_iter(transaction, &[State::Dropped as u8])?;
            let values = entries.filter_map(|entry| match entry {
                Ok((key, at_ms)) => {
                    let at_ms = at_ms.try_into().map_or(0, u64::from_le_bytes);
                    read_value_key(key).filter(|value| may_go(*value, at_ms)).map(Ok)
                }
                Err(error) => Some(Err(error)),
            });
            values.take(most).collect::<Result<_, _>>()
        });
        found.flatten().map_err(failed)
    }
}

fn failed(error: heed::Error) -> StorageError {
    StorageError::of_heed("read", error)
}
