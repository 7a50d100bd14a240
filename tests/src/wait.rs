//! Waiting for conditions, never for a time; and threads that go on until what they go on for is over.

use std::{
    sync::atomic::{AtomicBool, Ordering},
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

/// Says to threads that go on meanwhile that they can end: when the work is done, and also when it has failed. A scope of
/// threads waits for them before it passes a panic on, and would wait for ever.
#[derive(Debug)]
pub struct Done<'d>(&'d AtomicBool);

impl<'d> Done<'d> {
    /// Sets `is_done` when this is dropped.
    #[must_use = "what is dropped at once says that all is done"]
    pub fn at_the_end(is_done: &'d AtomicBool) -> Self {
        Self(is_done)
    }
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
