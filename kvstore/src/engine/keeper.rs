//! The thread that does what nobody asks for: it collects entries that have ended, gives up uploads that were left, frees
//! the parts of values that are gone, looks for parts that belong to nothing, syncs a store that does not do it at every
//! commit, and takes the slots of readers back that were killed.
//!
//! Each of these is a job that does a little at a time, so that none keeps another from its time, nor those who write from
//! theirs.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::store::{COLLECTED_AT_ONCE, Store, Strays};

/// How long an entry that has ended, which nobody sees any more, may take room.
const COLLECT_EVERY: Duration = Duration::from_secs(1);

/// How long a reader that was killed may keep pages from being used again. Looking costs a system call for each other
/// process that has a slot.
pub(super) const RECLAIM_EVERY: Duration = Duration::from_secs(10);

/// How long parts that belong to nothing, which only damage leaves, may take room.
const FIND_STRAYS_EVERY: Duration = Duration::from_secs(3600);

/// What the keeper leaves to others between two of its commits. The writer's lock goes to whoever takes it first, and a
/// thread that waits for it needs some hundredths of this to wake up.
const PAUSE: Duration = Duration::from_millis(1);

/// Works until the other end of `stop` is dropped.
pub(crate) fn run(store: &Store, stop: &Receiver<()>, reclaim_every: Duration) {
    let now = Instant::now();
    let mut strays = Strays::default();
    let mut jobs = vec![
        Job::new(now + COLLECT_EVERY, COLLECT_EVERY, || collect(store)),
        Job::new(now + COLLECT_EVERY, COLLECT_EVERY, || give_up_uploads(store)),
        Job::new(now + COLLECT_EVERY, COLLECT_EVERY, || free(store)),
        Job::new(now, FIND_STRAYS_EVERY, move || find_strays(store, &mut strays)),
        Job::new(now + reclaim_every, reclaim_every, || reclaim(store)),
    ];
    if let Some(every) = store.options().durability.sync_every() {
        jobs.push(Job::new(now + every, every, || sync(store)));
    }
    work(&mut jobs, stop);
}

/// Whether a job is done for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    More,
}

struct Job<'j> {
    due_at: Instant,
    every: Duration,
    step: Box<dyn FnMut() -> Left + 'j>,
}

impl<'j> Job<'j> {
    fn new(due_at: Instant, every: Duration, step: impl FnMut() -> Left + 'j) -> Self {
        Self { due_at, every, step: Box::new(step) }
    }

    fn step(&mut self) {
        let left = catch_unwind(AssertUnwindSafe(&mut self.step)).unwrap_or_else(|_| {
            tracing::error!("the keeper of the store panicked");
            Left::Nothing
        });
        // Not from when it was due: a disk that is slower than that gets a rest.
        self.due_at = Instant::now() + if left == Left::More { PAUSE } else { self.every };
    }
}

/// Does a step of the job that has waited longest, time and again. So a job with much to do comes after each that is due.
fn work(jobs: &mut [Job<'_>], stop: &Receiver<()>) {
    while let Some(job) = jobs.iter_mut().min_by_key(|job| job.due_at) {
        let wait = job.due_at.saturating_duration_since(Instant::now()).max(PAUSE);
        if stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        job.step();
    }
}

fn sync(store: &Store) -> Left {
    if let Err(error) = store.sync() {
        tracing::error!(%error, cause = error.source(), "the store could not be synced");
    }
    Left::Nothing
}

fn reclaim(store: &Store) -> Left {
    if let Err(error) = store.reclaim_readers() {
        tracing::warn!(%error, cause = error.source(), "readers were not looked at");
    }
    Left::Nothing
}

fn collect(store: &Store) -> Left {
    match store.collect_expired() {
        Ok(COLLECTED_AT_ONCE..) => return Left::More,
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "what has expired was not collected"),
    }
    Left::Nothing
}

fn give_up_uploads(store: &Store) -> Left {
    match store.drop_idle_uploads() {
        Ok(0) => {}
        Ok(uploads) => tracing::info!(uploads, "values that were not written to their end are given up"),
        Err(error) => tracing::warn!(%error, "uploads that were left were not given up"),
    }
    Left::Nothing
}

fn free(store: &Store) -> Left {
    match store.free_dropped() {
        Ok(true) => return Left::More,
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "parts that nobody needs were not freed"),
    }
    Left::Nothing
}

fn find_strays(store: &Store, strays: &mut Strays) -> Left {
    match store.drop_strays(strays) {
        Ok(0) => {}
        Ok(values) => tracing::warn!(values, "there were parts of values that no record has: they are freed"),
        Err(error) => tracing::warn!(%error, "parts that no record has were not looked for"),
    }
    if strays.is_at_end() { Left::Nothing } else { Left::More }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::sync::mpsc::channel;

    use super::*;

    /// A million keys that end at once must not put the sync off until the last is collected.
    #[test]
    fn a_job_that_is_never_done_keeps_no_other_from_its_time() {
        let (stop, stopped) = channel();
        let stop = RefCell::new(Some(stop));
        let (endless, short) = (Cell::new(0), Cell::new(0));
        let now = Instant::now();
        let mut jobs = [
            Job::new(now, Duration::from_secs(3600), || {
                endless.set(endless.get() + 1);
                Left::More
            }),
            Job::new(now, Duration::from_secs(3600), || panic!("on purpose")),
            Job::new(now, 2 * PAUSE, || {
                short.set(short.get() + 1);
                if short.get() == 3 {
                    stop.take();
                }
                Left::Nothing
            }),
        ];
        work(&mut jobs, &stopped);
        drop(jobs);
        assert!(endless.get() >= 2, "{}", endless.get());
        assert_eq!(short.get(), 3);
    }

    #[test]
    fn nothing_is_done_once_it_is_to_stop() {
        let (stop, stopped) = channel();
        drop(stop);
        work(&mut [Job::new(Instant::now(), PAUSE, || unreachable!("it was to stop"))], &stopped);
    }
}
