//! The thread that does what nobody asks for: collecting entries that have ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::store::{COLLECTED_AT_ONCE, Store};

/// How long an entry that has ended, which nobody sees any more, may take room.
const COLLECT_EVERY: Duration = Duration::from_secs(1);

/// Works until the other end of `stop` is dropped.
pub(super) fn run(store: &Store, stop: &Receiver<()>) {
    while stop.recv_timeout(COLLECT_EVERY) == Err(RecvTimeoutError::Timeout) {
        let worked = catch_unwind(AssertUnwindSafe(|| collect(store, stop)));
        if worked.is_err() {
            tracing::error!("collecting what has expired panicked");
        }
    }
}

fn collect(store: &Store, stop: &Receiver<()>) {
    // Writes come in between.
    while stop.recv_timeout(Duration::ZERO) == Err(RecvTimeoutError::Timeout) {
        match store.collect_expired() {
            Ok(COLLECTED_AT_ONCE..) => {}
            Ok(_) => return,
            Err(error) => return tracing::warn!(%error, "what has expired was not collected"),
        }
    }
}
