//! The thread that does what nobody asks for: it collects entries that have ended, gives up uploads that were left, frees
//! the parts of values that are gone, syncs a store that does not do it at every commit, and takes the slots of readers
//! back that were killed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::store::{COLLECTED_AT_ONCE, Store};

/// How long an entry that has ended, which nobody sees any more, may take room.
const COLLECT_EVERY: Duration = Duration::from_secs(1);

/// How long a reader that was killed may keep pages from being used again. Looking costs a system call for each other
/// process that has a slot.
pub(super) const RECLAIM_EVERY: Duration = Duration::from_secs(10);

/// Works until the other end of `stop` is dropped.
pub(crate) fn run(store: &Store, stop: &Receiver<()>, reclaim_every: Duration) {
    let sync_every = store.options().durability.sync_every();
    let mut sync_at = sync_every.map(|every| Instant::now() + every);
    let mut collect_at = Instant::now() + COLLECT_EVERY;
    let mut reclaim_at = Instant::now() + reclaim_every;
    undisturbed(|| find_strays(store));
    loop {
        let next = sync_at.map_or(collect_at, |sync_at| sync_at.min(collect_at)).min(reclaim_at);
        let waited = stop.recv_timeout(next.saturating_duration_since(Instant::now()));
        if waited != Err(RecvTimeoutError::Timeout) {
            return;
        }
        if let (Some(at), Some(every)) = (sync_at, sync_every)
            && Instant::now() >= at
        {
            undisturbed(|| sync(store));
            // Not from when it was due: a disk that is slower than that gets a rest.
            sync_at = Some(Instant::now() + every);
        }
        if Instant::now() >= collect_at {
            undisturbed(|| collect(store, stop));
            undisturbed(|| free(store, stop));
            collect_at = Instant::now() + COLLECT_EVERY;
        }
        if Instant::now() >= reclaim_at {
            undisturbed(|| reclaim(store));
            reclaim_at = Instant::now() + reclaim_every;
        }
    }
}

fn undisturbed(work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!("the keeper of the store panicked");
    }
}

fn sync(store: &Store) {
    if let Err(error) = store.sync() {
        tracing::error!(%error, cause = std::error::Error::source(&error), "the store could not be synced");
    }
}

fn reclaim(store: &Store) {
    if let Err(error) = store.reclaim_readers() {
        tracing::warn!(%error, cause = std::error::Error::source(&error), "readers were not looked at");
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

fn free(store: &Store, stop: &Receiver<()>) {
    match store.drop_idle_uploads() {
        Ok(0) => {}
        Ok(uploads) => tracing::info!(uploads, "values that were not written to their end are given up"),
        Err(error) => tracing::warn!(%error, "uploads that were left were not given up"),
    }
    // Writes come in between.
    while stop.recv_timeout(Duration::ZERO) == Err(RecvTimeoutError::Timeout) {
        match store.free_dropped() {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::warn!(%error, "parts that nobody needs were not freed"),
        }
    }
}

fn find_strays(store: &Store) {
    match store.drop_strays() {
        Ok(0) => {}
        Ok(values) => tracing::warn!(values, "there were parts of values that no record has: they are freed"),
        Err(error) => tracing::warn!(%error, "parts that no record has were not looked for"),
    }
}
