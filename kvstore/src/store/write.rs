//! Writes: what can be asked, and what is prepared before the transaction, which is in `apply`.

use bytes::Bytes;

use super::compression::compress;
use super::error::{WriteError, check_key};
use super::options::{StoreOptions, ValueLimits};
use super::record::{Codec, PayloadChecksum};
use super::together::Together;
use super::upload::{PreparedStep, UploadDone, UploadStep};

/// One change of one key, or several that are done together.
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
        /// How long the entry is there, in milliseconds; for ever without.
        ttl_ms: Option<u64>,
    },
    /// Removes a key. That there is no such key is no error.
    Remove {
        /// 1 to 511 bytes.
        key: Bytes,
        /// What must hold for the write to be done.
        condition: Condition,
    },
    /// Changes nothing, and is done when the condition holds: for writes together that depend on the key.
    Check {
        /// 1 to 511 bytes.
        key: Bytes,
        /// What must hold.
        condition: Condition,
    },
    /// All of them or none.
    Together(Together),
    /// One step of writing a long value part by part.
    Upload(UploadStep),
}

impl Write {
    /// An unconditional put.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::Put { key: key.into(), value: value.into(), condition: Condition::Always, ttl_ms: None }
    }

    /// An unconditional remove.
    pub fn remove(key: impl Into<Bytes>) -> Self {
        Self::Remove { key: key.into(), condition: Condition::Always }
    }

    /// How many bytes of the caller's it holds.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Remove { key, .. } | Self::Check { key, .. } => key.len(),
            Self::Together(together) => together.writes().iter().map(Self::bytes).sum(),
            Self::Upload(step) => step.bytes(),
        }
    }

    /// How many changes it is made of.
    pub(crate) fn changes(&self) -> usize {
        match self {
            Self::Together(together) => together.writes().len(),
            _ => 1,
        }
    }

    /// Holds the write against the limits of a store.
    pub(crate) fn check(&self, limits: ValueLimits) -> Result<(), WriteError> {
        match self {
            Self::Put { key, value, .. } => {
                check_key(key)?;
                if value.len() > limits.whole_bytes {
                    let (bytes, limit) = (value.len(), limits.whole_bytes);
                    return Err(WriteError::ValueTooLarge { bytes, limit });
                }
            }
            Self::Remove { key, .. } | Self::Check { key, .. } => check_key(key)?,
            Self::Together(together) => together.check(limits)?,
            Self::Upload(step) => step.check(limits.value_bytes)?,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The value is stored.
    Stored(Stored),
    /// The key is gone.
    Removed {
        /// The revision of the removal; none where there was no such key.
        revision: Option<u64>,
    },
    /// The condition holds.
    Checked {
        /// The revision that the key has; none where there is no such key.
        current: Option<u64>,
    },
    /// All are done, each with its own answer.
    Together(Vec<Applied>),
    /// Entries that had ended, or uploads, are gone.
    Collected {
        /// How many.
        count: usize,
    },
    /// The step is done.
    Upload(UploadDone),
    /// Parts that nobody needs are freed.
    Freed {
        /// How many.
        parts: usize,
        /// How many values those were the last ones of.
        values: usize,
    },
}

impl Applied {
    /// Whether it has stored a value.
    pub(super) fn has_stored(&self) -> bool {
        match self {
            Self::Stored(_) | Self::Upload(UploadDone::Part { .. }) => true,
            Self::Removed { .. }
            | Self::Checked { .. }
            | Self::Collected { .. }
            | Self::Upload(_)
            | Self::Freed { .. } => false,
            Self::Together(all) => all.iter().any(Self::has_stored),
        }
    }
}

/// A write with everything done that can be done before the transaction.
pub(super) enum Prepared {
    One(Change),
    Together(Vec<Change>),
    /// Removes entries that have ended.
    Collect {
        most: usize,
    },
    Upload(PreparedStep),
    /// Gives up uploads to which nothing has come since.
    DropUnfinished {
        before_ms: u64,
    },
    /// Drops values that belong to no record.
    DropStrays {
        values: Vec<u64>,
    },
    /// Drops values that have parts and no entry.
    DropUnknown {
        values: Vec<u64>,
    },
    /// Frees some parts of values that were dropped.
    Free {
        values: Vec<u64>,
        most: usize,
    },
}

/// One change of one key, prepared.
pub(super) struct Change {
    pub(super) key: Bytes,
    pub(super) condition: Condition,
    pub(super) action: Action,
}

pub(super) enum Action {
    Put {
        codec: Codec,
        value_bytes: u64,
        payload: Bytes,
        checksum: PayloadChecksum,
        expires_at_ms: Option<u64>,
    },
    Remove,
    Check,
}

impl Prepared {
    pub(super) fn new(write: Write, options: &StoreOptions, now_ms: u64) -> Result<Self, WriteError> {
        write.check(options.value_limits())?;
        Ok(match write {
            Write::Together(together) => {
                let changes = together.into_writes().into_iter();
                Self::Together(changes.filter_map(|write| Change::new(write, options, now_ms)).collect())
            }
            Write::Upload(step) => Self::Upload(PreparedStep::new(step, options, now_ms)),
            single => Self::One(Change::new(single, options, now_ms).expect("it is a single write")),
        })
    }

    fn changes(&self) -> &[Change] {
        match self {
            Self::One(change) => std::slice::from_ref(change),
            Self::Together(changes) => changes,
            _ => &[],
        }
    }

    /// Whether it adds nothing, and so may use what is kept back.
    pub(super) fn adds_nothing(&self) -> bool {
        match self {
            Self::Upload(step) => step.adds_nothing(),
            _ => self.changes().iter().all(|change| !matches!(change.action, Action::Put { .. })),
        }
    }

    /// How many bytes it adds to the database, the trees left aside.
    pub(super) fn stored_bytes(&self) -> usize {
        if let Self::Upload(step) = self {
            return step.stored_bytes();
        }
        let bytes = self.changes().iter().map(|change| match &change.action {
            Action::Put { payload, .. } => change.key.len() + payload.len(),
            Action::Remove | Action::Check => 0,
        });
        bytes.sum()
    }
}

impl Change {
    /// None for writes together, which are in no others.
    fn new(write: Write, options: &StoreOptions, now_ms: u64) -> Option<Self> {
        Some(match write {
            Write::Put { key, value, condition, ttl_ms } => {
                let value_bytes = value.len() as u64;
                let (codec, payload) = compress(value, options.compression_level);
                let checksum = PayloadChecksum::of(&payload);
                let expires_at_ms = ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms));
                let action = Action::Put { codec, value_bytes, payload, checksum, expires_at_ms };
                Self { key, condition, action }
            }
            Write::Remove { key, condition } => Self { key, condition, action: Action::Remove },
            Write::Check { key, condition } => Self { key, condition, action: Action::Check },
            Write::Together(_) | Write::Upload(_) => return None,
        })
    }
}
