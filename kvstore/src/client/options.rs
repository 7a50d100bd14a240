//! What can be asked of a put, beside the key and the value.

use std::time::Duration;

use crate::messages::Condition;

/// What a put is asked for, beside the key and the value.
///
/// ```
/// use kvstore::PutOptions;
///
/// let create = PutOptions::new().if_absent();
/// let compare_and_swap = PutOptions::new().if_revision(7);
/// let for_a_minute = PutOptions::new().expires_in(std::time::Duration::from_secs(60));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct PutOptions {
    pub(super) condition: Condition,
    pub(super) ttl: Option<Duration>,
}

impl PutOptions {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts only where there is no such key.
    pub fn if_absent(self) -> Self {
        self.on(Condition::Absent)
    }

    /// Puts only where the key has this revision.
    pub fn if_revision(self, revision: u64) -> Self {
        self.on(Condition::Revision(revision))
    }

    /// The key is there for so long, in whole milliseconds, and then gone by itself. A put without this makes it stay.
    pub fn expires_in(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    pub(super) fn ttl_ms(self) -> Option<u64> {
        self.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
    }

    /// Puts only where this holds.
    pub fn on(self, condition: Condition) -> Self {
        Self { condition, ..self }
    }
}
