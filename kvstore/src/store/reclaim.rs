//! Giving back the room of values in parts that nobody needs: uploads that were left, and values that were replaced or
//! removed.

use std::ops::{Bound, ControlFlow};

use heed::RoTxn;

use super::commit::{Failure, Writer};
use super::environment::Tables;
use super::error::{StorageError, WriteError};
use super::handle::{Inner, Store};
use super::parts::{Manifest, State, read_value_key, value_key};
use super::record::{Codec, Header};
use super::upload::UPLOAD_IDLE_MS;
use super::write::{Applied, Prepared};

/// How many parts are freed in one transaction: what a write waits for at most. Only their pages are noted as free, which
/// does not take long.
const FREED_AT_ONCE: u32 = 256;

/// How many values are looked at in one transaction.
const LOOKED_AT_ONCE: usize = 1000;

/// How long a value that was dropped is kept in any case, in milliseconds: a reader may just have begun with it.
const KEPT_MS: u64 = 2_000;

impl Store {
    /// Frees some of the parts that nobody needs any more, as many as one transaction does; says whether there are more.
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
        let Some(value) = self.inner().first_dropped(may_go).map_err(WriteError::Storage)? else {
            return Ok(false);
        };
        self.commit_one(Prepared::Free { value, most: FREED_AT_ONCE })?;
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

    /// Drops values that belong to no record any more: one that was damaged when it was replaced did not tell of its parts.
    /// Says how many those are.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn drop_strays(&self) -> Result<usize, WriteError> {
        let (mut count, mut from) = (0, 0);
        loop {
            let (values, next) = self.strays(from).map_err(WriteError::Storage)?;
            if !values.is_empty()
                && let Applied::Collected { count: dropped } =
                    self.commit_one(Prepared::DropStrays { values })?
            {
                count += dropped;
            }
            match next {
                Some(next) => from = next,
                None => return Ok(count),
            }
        }
    }

    /// Some of the values, from a number on, whose records are not theirs; and where to go on.
    fn strays(&self, from: u64) -> Result<(Vec<u64>, Option<u64>), StorageError> {
        let found = self.environment().read(|transaction, tables| {
            let bounds = (value_key(State::Owned, from), value_key(State::Owned, u64::MAX));
            let range = (Bound::Included(&bounds.0[..]), Bound::Included(&bounds.1[..]));
            let mut strays = Vec::new();
            for (looked_at, entry) in tables.values.range(transaction, &range)?.enumerate() {
                let (key, owner) = entry?;
                let Some(value) = read_value_key(key) else { continue };
                if looked_at >= LOOKED_AT_ONCE {
                    return Ok((strays, Some(value)));
                }
                if is_stray(transaction, tables, value, owner)? {
                    strays.push(value);
                }
            }
            Ok::<_, heed::Error>((strays, None))
        });
        found.flatten().map_err(failed)
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
    /// Frees some of what was dropped, whoever reads it: the store is full. Says whether there was anything.
    pub(super) fn reclaim(&self, writer: &mut Writer) -> Result<bool, Failure> {
        let Some(value) = self.first_dropped(|_, _| true).map_err(Failure::Storage)? else {
            return Ok(false);
        };
        match self.commit_growing(writer, &[Prepared::Free { value, most: FREED_AT_ONCE }]) {
            Ok(_) => {
                self.recent().forget(value);
                Ok(true)
            }
            Err(Failure::MapFull | Failure::DiskFull) => Ok(false),
            Err(storage) => Err(storage),
        }
    }

    /// The first of the values that were dropped for which this holds, given its number and when it was dropped.
    fn first_dropped(&self, may_go: impl Fn(u64, u64) -> bool) -> Result<Option<u64>, StorageError> {
        let found = self.environment.read(|transaction, tables| {
            let mut entries = tables.values.prefix_iter(transaction, &[State::Dropped as u8])?;
            let found = entries.try_for_each(|entry| match entry {
                Ok((key, at_ms)) => {
                    let at_ms = at_ms.try_into().map_or(0, u64::from_le_bytes);
                    match read_value_key(key) {
                        Some(value) if may_go(value, at_ms) => ControlFlow::Break(Ok(value)),
                        _ => ControlFlow::Continue(()),
                    }
                }
                Err(error) => ControlFlow::Break(Err(error)),
            });
            found.break_value().transpose()
        });
        found.flatten().map_err(failed)
    }
}

/// Whether the record under a value's key is another's. One that is damaged may be its own.
pub(super) fn is_stray(
    transaction: &RoTxn<'_>,
    tables: &Tables,
    value: u64,
    owner: &[u8],
) -> Result<bool, heed::Error> {
    let Some(record) = tables.records.get(transaction, owner)? else { return Ok(true) };
    Ok(match Header::decode(owner, record) {
        Ok((Header { codec: Codec::Parts, .. }, payload)) => {
            Manifest::decode(payload).is_ok_and(|manifest| manifest.value != value)
        }
        Ok(_) => true,
        Err(_) => false,
    })
}

fn failed(error: heed::Error) -> StorageError {
    StorageError::of_heed("read", error)
}
