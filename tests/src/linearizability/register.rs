//! What one key of a store should do: a register with a revision.

use super::history::{Call, Condition, Operation, Outcome};

/// A key at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Register {
    /// None where there is no such key.
    pub(super) value: Option<u64>,
    /// Of the last write.
    pub(super) revision: Revision,
}

/// The revision of a write, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Revision {
    Exactly(u64),
    /// Of a write whose outcome nobody was told.
    AtLeast(u64),
}

impl Revision {
    pub(super) fn least(self) -> u64 {
        match self {
            Self::Exactly(revision) | Self::AtLeast(revision) => revision,
        }
    }

    fn can_be(self, revision: u64) -> bool {
        match self {
            Self::Exactly(exactly) => revision == exactly,
            Self::AtLeast(least) => revision >= least,
        }
    }

    fn can_be_other_than(self, revision: u64) -> bool {
        self != Self::Exactly(revision)
    }

    fn next(self) -> Self {
        Self::AtLeast(self.least() + 1)
    }
}

impl Register {
    /// A key that never was.
    pub(super) const NEW: Self = Self { value: None, revision: Revision::Exactly(0) };

    /// The key after the operation; `None` where this cannot be what it did here. One of unknown outcome is done.
    pub(super) fn after(self, operation: &Operation) -> Option<Self> {
        match (operation.call, operation.outcome) {
            (Call::Get, Outcome::Got(found)) => self.seen(found),
            (Call::Put { condition, .. } | Call::Remove { condition }, Outcome::Conflict(current)) => {
                self.refuses(condition, current)
            }
            (Call::Remove { condition: Condition::Always }, Outcome::Done(None)) => {
                self.value.is_none().then_some(self)
            }
            (Call::Put { value, condition }, Outcome::Done(Some(revision))) => {
                self.allowing(condition)?.written(Some(value), revision)
            }
            (Call::Remove { condition }, Outcome::Done(Some(revision))) => {
                let found = self.allowing(condition)?;
                found.value?;
                found.written(None, revision)
            }
            (Call::Put { value, condition }, Outcome::Unknown) => {
                let found = self.allowing(condition)?;
                Some(Self { value: Some(value), revision: found.revision.next() })
            }
            (Call::Remove { condition }, Outcome::Unknown) => {
                let found = self.allowing(condition)?;
                found.value?;
                Some(Self { value: None, revision: found.revision.next() })
            }
            _ => None,
        }
    }

    /// Whether the operation, if it is not done yet, comes too late for what it saw.
    pub(super) fn is_past(self, operation: &Operation) -> bool {
        let least = self.revision.least();
        operation.written().is_some_and(|revision| revision <= least)
            || operation.found().is_some_and(|revision| revision < least)
    }

    fn seen(self, found: Option<(u64, u64)>) -> Option<Self> {
        match (self.value, found) {
            (None, None) => Some(self),
            (Some(value), Some((seen, revision))) if seen == value => self.at(revision),
            _ => None,
        }
    }

    /// This one where its revision can be that.
    fn at(self, revision: u64) -> Option<Self> {
        let is_possible = self.revision.can_be(revision);
        is_possible.then_some(Self { revision: Revision::Exactly(revision), ..self })
    }

    /// This one where the condition can hold.
    fn allowing(self, condition: Condition) -> Option<Self> {
        match condition {
            Condition::Always => Some(self),
            Condition::Absent => self.value.is_none().then_some(self),
            Condition::Revision(revision) => {
                self.value?;
                self.at(revision)
            }
        }
    }

    /// This one where the condition need not hold, and what was told is right.
    fn refuses(self, condition: Condition, current: Option<u64>) -> Option<Self> {
        let may_fail = match condition {
            Condition::Always => false,
            Condition::Absent => self.value.is_some(),
            Condition::Revision(revision) => {
                self.value.is_none() || self.revision.can_be_other_than(revision) && current != Some(revision)
            }
        };
        match (self.value, current) {
            _ if !may_fail => None,
            (None, None) => Some(self),
            (Some(_), Some(revision)) => self.at(revision),
            _ => None,
        }
    }

    fn written(self, value: Option<u64>, revision: u64) -> Option<Self> {
        let is_later = revision > self.revision.least();
        is_later.then_some(Self { value, revision: Revision::Exactly(revision) })
    }
}
