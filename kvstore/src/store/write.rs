//! Writes: what can be asked, and how a batch of them is done within one transaction.

use std::io::Write as _;

use bytes::Bytes;
use heed::{RoTxn, RwTxn};

use super::compression::compress;
use super::environment::{End, Tables};
use super::error::{WriteError, check_key};
use super::options::StoreOptions;
use super::record::{Codec, Header, PayloadChecksum};

/// The key in `meta` of the last revision that was given out, as eight little-endian bytes.
const REVISION_KEY: &[u8] = b"revision";

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Stores a value under a key, in place of what was there.
    Put {
        /// 1 to 511 bytes.
        key: Bytes,
        /// Any bytes, up to the store's limit; none is a value too.
        value: Bytes,
        /// What must hold for the write to be done.
        condition: Condition,
    },
    /// Removes a key. That there is no such key is no error.
    Remove {
        /// 1 to 511 bytes.
        key: Bytes,
        /// What must hold for the write to be done.
        condition: Condition,
    },
}

impl Write {
    /// An unconditional put.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::Put { key: key.into(), value: value.into(), condition: Condition::Always }
    }

    /// An unconditional remove.
    pub fn remove(key: impl Into<Bytes>) -> Self {
        Self::Remove { key: key.into(), condition: Condition::Always }
    }

    /// How many bytes of the caller's it holds.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Remove { key, .. } => key.len(),
        }
    }

    /// Holds the write against the limits of a store.
    pub(crate) fn check(&self, max_value_bytes: usize) -> Result<(), WriteError> {
        match self {
            Self::Put { key, value, .. } => {
                check_key(key)?;
                if value.len() > max_value_bytes {
                    return Err(WriteError::ValueTooLarge { bytes: value.len(), limit: max_value_bytes });
                }
            }
            Self::Remove { key, .. } => check_key(key)?,
        }
        Ok(())
    }
}

/// What must hold for a write to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// There is no such key.
    Absent,
    /// The key has this revision.
    Revision(u64),
}

/// What a put has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The length of the value as it is stored: after compression, without the record's header.
    pub stored_bytes: u64,
    /// The revision that the key has now.
    pub revision: u64,
}

/// What a write has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The value is stored.
    Stored(Stored),
    /// The key is gone.
    Removed {
        /// The revision of the removal; none where there was no such key.
        revision: Option<u64>,
    },
}

/// A write with everything done that can be done before the transaction.
pub(super) struct Prepared {
    key: Bytes,
    condition: Condition,
    action: Action,
}

enum Action {
    Put { codec: Codec, value_bytes: u32, payload: Bytes, checksum: PayloadChecksum },
    Remove,
}

impl Prepared {
    pub(super) fn new(write: Write, options: &StoreOptions) -> Result<Self, WriteError> {
        write.check(options.max_value_bytes)?;
        Ok(match write {
            Write::Put { key, value, condition } => {
                let value_bytes = u32::try_from(value.len()).expect("the ceiling of values is below 4 GiB");
                let (codec, payload) = compress(value, options.compression_level);
                let checksum = PayloadChecksum::of(&payload);
                Self { key, condition, action: Action::Put { codec, value_bytes, payload, checksum } }
            }
            Write::Remove { key, condition } => Self { key, condition, action: Action::Remove },
        })
    }

    pub(super) fn is_remove(&self) -> bool {
        matches!(self.action, Action::Remove)
    }

    /// How many bytes it adds to the database, the trees left aside.
    pub(super) fn stored_bytes(&self) -> usize {
        match &self.action {
            Action::Put { payload, .. } => self.key.len() + payload.len(),
            Action::Remove => 0,
        }
    }
}

/// Each write's own answer.
pub(super) type Results = Vec<Result<Applied, WriteError>>;

/// Does the writes in their order. An error is the whole transaction's.
pub(super) fn apply(
    transaction: &mut RwTxn<'_>,
    tables: &Tables,
    writes: &[Prepared],
) -> Result<End<Results>, heed::Error> {
    let before = last_revision(transaction, tables)?;
    let mut revision = before;
    let mut results = Vec::with_capacity(writes.len());
    for write in writes {
        let held = check_condition(transaction, tables, write)?;
        results.push(match held {
            Err(refusal) => Err(refusal),
            Ok(()) => Ok(apply_one(transaction, tables, write, &mut revision)?),
        });
    }
    if revision == before {
        return Ok(End::Unchanged(results));
    }
    tables.meta.put(transaction, REVISION_KEY, &revision.to_le_bytes())?;
    Ok(End::Commit(results))
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

/// The inner error is the write's own refusal.
fn check_condition(
    transaction: &RwTxn<'_>,
    tables: &Tables,
    write: &Prepared,
) -> Result<Result<(), WriteError>, heed::Error> {
    if write.condition == Condition::Always {
        return Ok(Ok(()));
    }
    let current = match tables.records.get(transaction, &write.key)? {
        None => None,
        Some(record) => match Header::decode(&write.key, record) {
            Ok((header, _)) => Some(header.revision),
            Err(unreadable) => return Ok(Err(WriteError::Unreadable(unreadable))),
        },
    };
    let holds = match write.condition {
        Condition::Always => true,
        Condition::Absent => current.is_none(),
        Condition::Revision(revision) => current == Some(revision),
    };
    Ok(if holds { Ok(()) } else { Err(WriteError::Conflict { current }) })
}

fn apply_one(
    transaction: &mut RwTxn<'_>,
    tables: &Tables,
    write: &Prepared,
    revision: &mut u64,
) -> Result<Applied, heed::Error> {
    let next = revision.checked_add(1).ok_or(heed::MdbError::Corrupted)?;
    match &write.action {
        Action::Remove => {
            let existed = tables.records.delete(transaction, &write.key)?;
            if existed {
                *revision = next;
            }
            Ok(Applied::Removed { revision: existed.then_some(next) })
        }
        Action::Put { codec, value_bytes, payload, checksum } => {
            let header =
                Header { codec: *codec, revision: next, value_bytes: *value_bytes, expires_at_ms: None };
            let header = header.encode(&write.key, checksum);
            let header = header.as_slice();
            tables.records.put_reserved(transaction, &write.key, header.len() + payload.len(), |space| {
                space.write_all(header)?;
                space.write_all(payload)
            })?;
            *revision = next;
            Ok(Applied::Stored(Stored { stored_bytes: payload.len() as u64, revision: next }))
        }
    }
}
