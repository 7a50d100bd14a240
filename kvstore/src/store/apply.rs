//! How a batch of writes is done within one transaction. What a write is, and what is prepared before, is in `write`.

use std::io::Write as _;

use heed::{RoTxn, RwTxn};

use super::change::ChangeKind;
use super::changes::{Keep, Log};
use super::checked::{Checked, Unknown};
use super::environment::{End, Tables};
use super::error::WriteError;
use super::expiry::{ended, has_ended, index_key};
use super::options::StoreOptions;
use super::record::Header;
use super::write::{Action, Applied, Change, Condition, Prepared, Stored};

/// The key in `meta` of the last revision that was given out, as eight little-endian bytes.
const REVISION_KEY: &[u8] = b"revision";

/// Records to be collected are read as a whole. After so many bytes others get their turn.
const MAX_COLLECTED_BYTES: usize = 16 << 20;

/// Each write's own answer.
pub(super) type Results = Vec<Result<Applied, WriteError>>;

/// What a condition found, or the write's own refusal.
pub(super) type Judged = Result<Option<u64>, WriteError>;

/// What a transaction has done.
pub(super) struct Done {
    pub(super) results: Results,
    /// The last revision that was given out.
    pub(super) revision: u64,
}

/// Does the writes in their order. An error is the whole transaction's.
pub(super) fn apply(
    transaction: &mut RwTxn<'_>,
    tables: &Tables,
    writes: &[Prepared],
    options: &StoreOptions,
    now_ms: u64,
    keep: Keep,
    checked: &mut Checked,
) -> Result<End<Done>, heed::Error> {
    checked.begin();
    let before = last_revision(transaction, tables)?;
    let has_expiries = !tables.expiry.is_empty(transaction)?;
    let has_values = !tables.values.is_empty(transaction)?;
    let mut batch = Batch {
        transaction,
        tables,
        options,
        log: Log::new(keep),
        revision: before,
        has_expiries,
        has_values,
        has_changed: false,
        now_ms,
        checked,
    };
    let mut results = Vec::with_capacity(writes.len());
    for write in writes {
        results.push(match write {
            Prepared::One(change) => batch.one(change)?,
            Prepared::Together(changes) => batch.together(changes)?,
            Prepared::Collect { most } => Ok(batch.collect(*most)?),
            Prepared::Upload(step) => batch.upload(step)?,
            Prepared::DropUnfinished { before_ms } => Ok(batch.drop_unfinished(*before_ms)?),
            Prepared::DropStrays { values } => Ok(batch.drop_strays(values)?),
            Prepared::DropUnknown { values } => Ok(batch.drop_unknown(values)?),
            Prepared::Free { values, most } => Ok(batch.free(values, *most)?),
        });
    }
    let Batch { revision, has_changed, log, .. } = batch;
    let done = Done { results, revision };
    if !has_changed {
        return Ok(End::Unchanged(done));
    }
    log.trim(transaction, tables)?;
    tables.meta.put(transaction, REVISION_KEY, &revision.to_le_bytes())?;
    Ok(End::Commit(done))
}

/// Commits a transaction that changes nothing: pages that the last one freed can be used after it.
pub(super) fn touch(transaction: &mut RwTxn<'_>, tables: &Tables) -> Result<End<()>, heed::Error> {
    let revision = last_revision(transaction, tables)?;
    tables.meta.put(transaction, REVISION_KEY, &revision.to_le_bytes())?;
    Ok(End::Commit(()))
}

/// The last revision that was given out; 0 before the first write.
pub(super) fn last_revision(transaction: &RoTxn<'_>, tables: &Tables) -> Result<u64, heed::Error> {
    match tables.meta.get(transaction, REVISION_KEY)? {
        None => Ok(0),
        Some(bytes) => match bytes.try_into() {
            Ok(bytes) => Ok(u64::from_le_bytes(bytes)),
            Err(_) => Err(heed::MdbError::Corrupted.into()),
        },
    }
}

/// A transaction that is being filled.
pub(super) struct Batch<'b, 't> {
    pub(super) transaction: &'b mut RwTxn<'t>,
    pub(super) tables: &'b Tables,
    pub(super) options: &'b StoreOptions,
    log: Log,
    /// The last revision that was given out.
    revision: u64,
    /// Whether a record can have an entry in the index by expiry.
    has_expiries: bool,
    /// Whether there can be values in parts.
    pub(super) has_values: bool,
    pub(super) has_changed: bool,
    pub(super) now_ms: u64,
    checked: &'b mut Checked,
}

/// A key that ends by itself.
struct Expiry {
    index: [u8; 16],
    has_ended: bool,
}

impl Batch<'_, '_> {
    pub(super) fn one(&mut self, change: &Change) -> Result<Result<Applied, WriteError>, heed::Error> {
        match self.judge(change)? {
            Ok(current) => self.change(change, current).map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    fn together(&mut self, changes: &[Change]) -> Result<Result<Applied, WriteError>, heed::Error> {
        // All conditions come before the first change: so nothing has to be undone.
        let mut found = Vec::with_capacity(changes.len());
        for (index, change) in changes.iter().enumerate() {
            match self.judge(change)? {
                Ok(current) => found.push(current),
                Err(refusal) => return Ok(Err(refusal.at(index))),
            }
        }
        let done = changes.iter().zip(found).map(|(change, current)| self.change(change, current));
        Ok(Ok(Applied::Together(done.collect::<Result<_, _>>()?)))
    }

    /// The inner error is the write's own refusal.
    pub(super) fn judge(&mut self, change: &Change) -> Result<Judged, heed::Error> {
        if change.condition == Condition::Always && !matches!(change.action, Action::Check) {
            return Ok(Ok(None));
        }
        let current = match self.tables.records.get(self.transaction, &change.key)? {
            None => None,
            Some(record) => match self.checked.header(&change.key, record) {
                Ok(header) if has_ended(&header, self.now_ms) => None,
                Ok(header) => Some(header.revision),
                Err(Unknown::Unreadable(why)) => return Ok(Err(WriteError::Unreadable(why))),
                Err(Unknown::TooMuch) => return Ok(Err(WriteError::TooMuchToCheck)),
            },
        };
        let holds = match change.condition {
            Condition::Always => true,
            Condition::Absent => current.is_none(),
            Condition::Revision(revision) => current == Some(revision),
        };
        Ok(if holds { Ok(current) } else { Err(WriteError::Conflict { current }) })
    }

    fn change(&mut self, change: &Change, current: Option<u64>) -> Result<Applied, heed::Error> {
        match &change.action {
            Action::Check => Ok(Applied::Checked { current }),
            Action::Remove => {
                let expiry = self.expiry_of(&change.key)?;
                if expiry.as_ref().is_some_and(|expiry| expiry.has_ended) {
                    // Nobody sees it any more: it is left to be collected.
                    return Ok(Applied::Removed { revision: None });
                }
                self.forget(expiry)?;
                self.forget_parts(&change.key)?;
                let existed = self.tables.records.delete(self.transaction, &change.key)?;
                let revision =
                    if existed { Some(self.next_revision(&change.key, ChangeKind::Removed)?) } else { None };
                Ok(Applied::Removed { revision })
            }
            Action::Put { codec, value_bytes, payload, checksum, expires_at_ms } => {
                let expiry = self.expiry_of(&change.key)?;
                self.forget(expiry)?;
                self.forget_parts(&change.key)?;
                let kind = ChangeKind::Put { value_bytes: *value_bytes };
                let revision = self.next_revision(&change.key, kind)?;
                if let Some(at_ms) = *expires_at_ms {
                    let index = index_key(at_ms, revision);
                    self.tables.expiry.put(self.transaction, &index, &change.key)?;
                    self.has_expiries = true;
                }
                let (codec, value_bytes, expires_at_ms) = (*codec, *value_bytes, *expires_at_ms);
                let header = Header { codec, revision, value_bytes, expires_at_ms };
                let header = header.encode(&change.key, checksum);
                let header = header.as_slice();
                let bytes = header.len() + payload.len();
                self.tables.records.put_reserved(self.transaction, &change.key, bytes, |space| {
                    space.write_all(header)?;
                    space.write_all(payload)
                })?;
                Ok(Applied::Stored(Stored { stored_bytes: payload.len() as u64, revision }))
            }
        }
    }

    /// What the index by expiry has about a key that is about to change.
    fn expiry_of(&mut self, key: &[u8]) -> Result<Option<Expiry>, heed::Error> {
        if !self.has_expiries {
            return Ok(None);
        }
        let Some(record) = self.tables.records.get(self.transaction, key)? else { return Ok(None) };
        let Ok((header, _)) = Header::peek(record) else { return Ok(None) };
        let Some(at_ms) = header.expires_at_ms else { return Ok(None) };
        // Damage hides no key. What is too much to read is left to be collected, which reads it.
        let has_ended = has_ended(&header, self.now_ms)
            && !matches!(self.checked.header(key, record), Err(Unknown::Unreadable(_)));
        Ok(Some(Expiry { index: index_key(at_ms, header.revision), has_ended }))
    }

    fn forget(&mut self, expiry: Option<Expiry>) -> Result<(), heed::Error> {
        if let Some(Expiry { index, .. }) = expiry {
            self.tables.expiry.delete(self.transaction, &index)?;
        }
        Ok(())
    }

    /// Removes entries that have ended. Each removal has a revision.
    fn collect(&mut self, most: usize) -> Result<Applied, heed::Error> {
        let ended = ended(self.transaction, self.tables, self.now_ms, most)?;
        let (mut count, mut bytes) = (0, 0);
        for (index, key) in &ended {
            if bytes >= MAX_COLLECTED_BYTES {
                break;
            }
            count += 1;
            self.tables.expiry.delete(self.transaction, index)?;
            self.has_changed = true;
            let Some(record) = self.tables.records.get(self.transaction, key)? else { continue };
            bytes += record.len();
            // Another program may have written the key, without care for the index. What is damaged stays, to be named.
            let is_meant = Header::decode(key, record).is_ok_and(|(header, _)| {
                header.expires_at_ms.is_some_and(|at_ms| index_key(at_ms, header.revision)[..] == index[..])
            });
            if is_meant {
                self.forget_parts(key)?;
                self.tables.records.delete(self.transaction, key)?;
                self.next_revision(key, ChangeKind::Expired)?;
            }
        }
        Ok(Applied::Collected { count })
    }

    /// Gives the change of a key its revision.
    fn next_revision(&mut self, key: &[u8], kind: ChangeKind) -> Result<u64, heed::Error> {
        self.revision = self.revision.checked_add(1).ok_or(heed::MdbError::Corrupted)?;
        self.has_changed = true;
        self.log.append(self.transaction, self.tables, self.revision, key, kind)?;
        Ok(self.revision)
    }
}
