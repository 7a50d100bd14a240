//! The store's time: milliseconds since 1970-01-01 UTC, which only go forward while the store is open.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What the store takes for the time.
///
/// It asks the system's clock once, when the store is opened, and counts on from there: a step of that clock neither
/// ends what has time left nor brings back what has ended.
#[derive(Clone)]
pub(super) struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    pub(super) fn system() -> Self {
        let at_opening = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let opened = Instant::now();
        Self(Arc::new(move || {
            let now = at_opening.saturating_add(opened.elapsed());
            u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
        }))
    }

    /// A clock that a test sets.
    #[cfg(test)]
    pub(super) fn of(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    pub(super) fn now_ms(&self) -> u64 {
        (self.0)()
    }
}
