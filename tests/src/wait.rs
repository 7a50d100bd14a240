//! Waiting for conditions, never for a time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long tests wait for what must happen: long enough for a busy machine, and nothing is gained by less.
pub const DEADLINE: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Polls until `condition` gives a value, and returns that.
///
/// # Panics
/// When it has not within [`DEADLINE`]; `what` says what was awaited.
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, what, condition)
}

/// As [`eventually`], with another deadline.
///
/// # Panics
/// When the condition has given no value within `deadline`.
pub fn eventually_within<T>(deadline: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begin.elapsed() < deadline, "waited {deadline:?} in vain for this: {what}");
        thread::sleep(POLL_INTERVAL);
    }
}
