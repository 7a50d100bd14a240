//! The log of changes: an entry for each revision that was given out, kept within bounds, the oldest going first.
//!
//! The table `changes` has no gaps: it ends with the last revision, or is empty. So the first entry says exactly from
//! where on everything is known. Entries are written, and old ones dropped, in the transaction of the write itself.
//! What an entry looks like is in `change`; waiting for changes is not here: see [`Store::committed`].

use std::ops::Bound;

use bytes::Bytes;
use heed::{PutFlags, RoTxn, RwTxn};
use tokio::sync::watch;

use super::apply::last_revision;
use super::change::{self, Change, ChangeKind};
use super::environment::{End, Tables};
use super::error::{KeyError, ReadError, StorageError};
use super::handle::{Store, read_record};
use super::options::{MAX_KEY_BYTES, StoreOptions};
use super::record::Header;
use crate::history::History;

/// The most changes of one page.
pub const MAX_PAGE_CHANGES: usize = 1000;

/// What the keys of one page may take, with [`PAGE_ENTRY_BYTES`] for each.
const MAX_PAGE_BYTES: usize = 64 << 10;

/// What a change of a page counts beside its key.
const PAGE_ENTRY_BYTES: usize = 32;

/// How many entries one page looks at: those of other keys are no changes of it.
const MAX_LOOKED_AT: usize = 10 * MAX_PAGE_CHANGES;

/// How many entries there may be above the limit. They are dropped together, from few pages, and not one with each put.
const SLACK: u64 = 128;

/// How many entries a commit drops beside as many as it adds twice: what its writes wait for.
const DROPPED_AT_ONCE: u64 = 1024;

/// The log takes at most one part in this many of the store's maximum size.
const SIZE_PART: usize = 16;

/// How much of the log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Nothing.
    Nothing,
    /// The last ones.
    Last { changes: u64, bytes: usize },
}

impl Keep {
    pub(super) fn of(options: &StoreOptions) -> Self {
        match options.max_changes {
            0 => Self::Nothing,
            changes => Self::Last { changes, bytes: options.max_size_bytes / SIZE_PART },
        }
    }
}

/// The log within a write transaction.
pub(super) struct Log {
    keep: Keep,
    added: u64,
    /// Kept from entry to entry.
    entry: Vec<u8>,
}

impl Log {
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep, added: 0, entry: Vec::new() }
    }

    /// Notes the change of a revision, which is the one behind the last.
    pub(super) fn append(
        &mut self,
        transaction: &mut RwTxn<'_>,
        tables: &Tables,
        revision: u64,
        key: &[u8],
        kind: ChangeKind,
    ) -> Result<(), heed::Error> {
        if self.keep == Keep::Nothing {
            return Ok(());
        }
        self.added += 1;
        change::encode(&mut self.entry, revision, key, kind);
        // It comes behind all others: the tree is filled page by page, and nothing is searched for.
        let at = change::entry_key(revision);
        tables.changes.put_with_flags(transaction, PutFlags::APPEND, &at, &self.entry)
    }

    /// Drops what is too much, as far as one commit does.
    pub(super) fn trim(self, transaction: &mut RwTxn<'_>, tables: &Tables) -> Result<(), heed::Error> {
        let Keep::Last { changes, bytes } = self.keep else {
            return if tables.changes.is_empty(transaction)? {
                Ok(())
            } else {
                tables.changes.clear(transaction)
            };
        };
        let mut left = 2 * self.added + DROPPED_AT_ONCE;
        while left > 0 {
            let stat = tables.changes.stat(transaction)?;
            let over = (stat.entries as u64).saturating_sub(changes);
            let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
            let is_too_large = pages.saturating_mul(stat.page_size as usize) > bytes;
            let count = match over {
                SLACK.. => over,
                _ if is_too_large && stat.entries as u64 > SLACK => SLACK,
                _ => break,
            };
            let count = count.min(left);
            if !drop_first(transaction, tables, count)? {
                break;
            }
            left -= count;
        }
        Ok(())
    }
}

/// Drops some of the oldest entries, so few that LMDB notes their pages as free within one. Says whether there were any.
pub(super) fn drop_oldest(transaction: &mut RwTxn<'_>, tables: &Tables) -> Result<End<bool>, heed::Error> {
    let had_some = drop_first(transaction, tables, DROPPED_AT_ONCE)?;
    Ok(if had_some { End::Commit(true) } else { End::Unchanged(false) })
}

/// Says whether there was anything to drop.
fn drop_first(transaction: &mut RwTxn<'_>, tables: &Tables, count: u64) -> Result<bool, heed::Error> {
    let Some((first, _)) = tables.changes.first(transaction)? else { return Ok(false) };
    let first = change::entry_revision(first).map_err(|_| heed::MdbError::Corrupted)?;
    let end = change::entry_key(first.saturating_add(count));
    tables.changes.delete_range(transaction, &(Bound::Unbounded, Bound::Excluded(&end[..])))?;
    Ok(true)
}

/// The first revision whose change is kept; the one that comes next where there is none.
pub(super) fn first_kept(transaction: &RoTxn<'_>, tables: &Tables) -> Result<u64, heed::Error> {
    match tables.changes.first(transaction)? {
        Some((first, _)) => Ok(change::entry_revision(first).map_err(|_| heed::MdbError::Corrupted)?),
        None => Ok(last_revision(transaction, tables)?.saturating_add(1)),
    }
}

/// Which changes are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangesQuery {
    /// What the keys begin with; empty for all of them.
    pub prefix: Bytes,
    /// The revision behind which to begin; none for the last one, behind which there is nothing yet.
    pub after: Option<u64>,
    /// The history of that revision; none where it is not known.
    pub history: Option<History>,
    /// How many changes at most; never more than [`MAX_PAGE_CHANGES`].
    pub most: usize,
    /// Whether values are to come with puts, and how many bytes at most, together.
    pub values_bytes: Option<usize>,
}

/// Some of the changes, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangesPage {
    /// The history of all the revisions here.
    pub history: History,
    /// The changes.
    pub changes: Vec<(Change, Attached)>,
    /// The last revision that was looked at, behind which to go on. It moves on although no key of it began with the prefix.
    pub next: u64,
    /// The last revision that there is.
    pub last: u64,
    /// The first revision whose change is kept.
    pub first: u64,
}

impl ChangesPage {
    /// What came before an entry that is damaged; the damage itself where that is the first one behind `after`.
    fn or_damaged(self, after: u64) -> Result<Self, ChangesError> {
        if self.next > after { Ok(self) } else { Err(ChangesError::Damaged { revision: after + 1 }) }
    }
}

/// The value that comes with a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attached {
    /// None: there was no put, or values were not asked for.
    Nothing,
    /// The value that was put: the key still has the revision of the change.
    Value(Bytes),
    /// None: the key has changed since. A later change says how.
    Replaced,
    /// None: it is longer than was asked for, or cannot be read. Reading the key tells.
    NotRead,
}

/// Why there are no changes to be told.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangesError {
    /// Changes behind the revision that was asked for are no longer kept.
    #[error("the changes behind revision {after} are not kept; the first that is has revision {first}")]
    Compacted {
        /// The revision that was asked for.
        after: u64,
        /// The first revision whose change is kept.
        first: u64,
    },
    /// The revision that was asked for has not been given out.
    #[error("revision {after} is yet to come: the last one is {last}")]
    Ahead {
        /// The revision that was asked for.
        after: u64,
        /// The last revision that was given out.
        last: u64,
    },
    /// The revision is of another history: what followed on it there is not what follows here.
    #[error("the store has begun a new history, {history}")]
    HistoryChanged {
        /// The history of the store.
        history: History,
    },
    /// The entry of the next revision is not what was written. The others are not affected.
    #[error("the change of revision {revision} is damaged")]
    Damaged {
        /// The revision.
        revision: u64,
    },
    /// There can be no such prefix, or the database failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Store {
    /// The history of the store's revisions.
    pub fn history(&self) -> History {
        self.inner().history
    }

    /// The changes behind a revision, of keys that begin with a prefix: each once, in the order of the revisions, with none
    /// missing. What a page has is bounded; [`ChangesPage::next`] is what to go on behind.
    ///
    /// # Errors
    ///
    /// [`ChangesError`]
    pub fn changes(&self, query: &ChangesQuery) -> Result<ChangesPage, ChangesError> {
        if query.prefix.len() > MAX_KEY_BYTES {
            let too_long = KeyError::TooLong { bytes: query.prefix.len(), limit: MAX_KEY_BYTES };
            return Err(ReadError::from(too_long).into());
        }
        let history = self.history();
        if query.history.is_some_and(|asked| asked != history) {
            return Err(ChangesError::HistoryChanged { history });
        }
        let limit = self.options().value_limits().whole_bytes;
        let now_ms = self.now_ms();
        self.reading(|transaction, tables| {
            let looking = Looking { transaction, tables, query, history, limit, now_ms };
            looking.page().map_err(failed)
        })?
    }

    /// The last revision that was committed, which changes with every commit: for who waits for changes. It ends with the
    /// store.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.inner().committed.subscribe()
    }
}

/// One look at the log.
struct Looking<'l, 't> {
    transaction: &'l RoTxn<'t>,
    tables: &'l Tables,
    query: &'l ChangesQuery,
    history: History,
    /// Of values, in bytes.
    limit: usize,
    now_ms: u64,
}

impl Looking<'_, '_> {
    /// The outer error is the database's.
    fn page(&self) -> Result<Result<ChangesPage, ChangesError>, heed::Error> {
        let last = last_revision(self.transaction, self.tables)?;
        let first = first_kept(self.transaction, self.tables)?;
        let after = self.query.after.unwrap_or(last);
        if after > last {
            return Ok(Err(ChangesError::Ahead { after, last }));
        }
        if after.saturating_add(1) < first {
            return Ok(Err(ChangesError::Compacted { after, first }));
        }
        let mut page = ChangesPage { history: self.history, changes: Vec::new(), next: after, last, first };
        let most = self.query.most.clamp(1, MAX_PAGE_CHANGES);
        let mut values_left = self.query.values_bytes.unwrap_or(0);
        let mut bytes = 0;
        let from = change::entry_key(after);
        let range = (Bound::Excluded(&from[..]), Bound::Unbounded);
        for entry in self.tables.changes.range(self.transaction, &range)?.take(MAX_LOOKED_AT) {
            let (at, entry) = entry?;
            let revision = page.next + 1;
            let is_next = change::entry_revision(at) == Ok(revision);
            let Some((key, kind)) = change::decode(revision, entry).ok().filter(|_| is_next) else {
                return Ok(page.or_damaged(after));
            };
            if key.starts_with(&self.query.prefix) {
                if page.changes.len() == most || bytes >= MAX_PAGE_BYTES {
                    return Ok(Ok(page));
                }
                let attached = self.attached(revision, key, kind, values_left)?;
                if let Attached::Value(value) = &attached {
                    values_left -= value.len();
                }
                // What is too long now may fit the next page.
                if attached == Attached::NotRead && !page.changes.is_empty() {
                    return Ok(Ok(page));
                }
                bytes += key.len() + PAGE_ENTRY_BYTES;
                let change = Change { revision, key: Bytes::copy_from_slice(key), kind };
                page.changes.push((change, attached));
            }
            page.next = revision;
        }
        let is_whole = page.next == last || page.next - after == MAX_LOOKED_AT as u64;
        Ok(if is_whole { Ok(page) } else { page.or_damaged(after) })
    }

    fn attached(
        &self,
        revision: u64,
        key: &[u8],
        kind: ChangeKind,
        values_left: usize,
    ) -> Result<Attached, heed::Error> {
        if self.query.values_bytes.is_none() || !matches!(kind, ChangeKind::Put { .. }) {
            return Ok(Attached::Nothing);
        }
        let Some(record) = self.tables.records.get(self.transaction, key)? else {
            return Ok(Attached::Replaced);
        };
        Ok(match Header::peek(record) {
            Ok((header, _)) if header.revision != revision => Attached::Replaced,
            Ok((header, _)) => {
                let limit = self.limit.min(values_left);
                // Reading it checks all of it first, with every look.
                if header.value_bytes > limit as u64 {
                    return Ok(Attached::NotRead);
                }
                match read_record(self.transaction, self.tables, key, record, limit, self.now_ms) {
                    Ok(Some(entry)) => Attached::Value(entry.value),
                    Ok(None) => Attached::Replaced,
                    Err(_) => Attached::NotRead,
                }
            }
            Err(_) => Attached::NotRead,
        })
    }
}

fn failed(error: heed::Error) -> ReadError {
    StorageError::of_heed("read", error).into()
}
