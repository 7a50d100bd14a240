//! What clients record: operations, with when they were begun and ended. Times are numbers that grow, the same for all clients.

/// On which a write is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// None.
    Always,
    /// There is no such key.
    Absent,
    /// The key has this revision.
    Revision(u64),
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The value of the key.
    Get,
    /// Another value.
    Put {
        /// A number for the value. Where each put has its own, more mistakes are found.
        value: u64,
        /// On which.
        condition: Condition,
    },
    /// To have no such key.
    Remove {
        /// On which.
        condition: Condition,
    },
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A get found a value and its revision, or none.
    Got(Option<(u64, u64)>),
    /// A write was done at this revision; a remove that found nothing has none.
    Done(Option<u64>),
    /// The condition did not hold: this is the revision of the key, if there is one.
    Conflict(Option<u64>),
    /// It may have been done, or be done at any time from its beginning on, or never.
    Unknown,
}

/// An operation as a client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// A number for the key.
    pub key: u64,
    /// What was asked for.
    pub call: Call,
    /// When it was begun.
    pub begun: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// When that was known. It counts for nothing where the outcome is unknown.
    pub ended: u64,
}

impl Operation {
    /// The revision that the operation gave to its key.
    pub(super) fn written(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Done(revision) => revision,
            _ => None,
        }
    }

    /// The revision that the operation found.
    pub(super) fn found(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Got(Some((_, revision))) | Outcome::Conflict(Some(revision)) => Some(revision),
            _ => None,
        }
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.outcome == Outcome::Unknown
    }
}
