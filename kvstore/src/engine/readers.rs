//! The queue of reads, and the threads that share it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::pending::Reply;
use crate::store::{Entry, ReadError};

/// A read that was accepted.
pub(super) struct ReadRequest {
    pub(super) key: Bytes,
    pub(super) limit_bytes: usize,
    pub(super) reply: Reply<Option<Entry>>,
    pub(super) room: OwnedSemaphorePermit,
}

/// Reads that a thread takes at a time at most: enough to make the lock and the waking cheap for each.
const MAX_TAKEN: usize = 16;

/// A read that may yield more than this is taken alone, so that no other waits behind it while a thread is idle.
const LONG_BYTES: usize = 1 << 20;

/// A queue that several threads take from. Its bound is the room that each request holds.
#[derive(Default)]
pub(super) struct ReadQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: VecDeque<ReadRequest>,
    /// Threads that wait for a request, and have not been woken for one.
    idle: usize,
    closed: bool,
}

impl ReadQueue {
    /// Adds a request; gives it back when the queue is closed.
    pub(super) fn push(&self, request: ReadRequest) -> Result<(), ReadRequest> {
        let mut state = self.lock();
        if state.closed {
            return Err(request);
        }
        state.requests.push_back(request);
        let wakes = state.idle > 0;
        state.idle -= usize::from(wakes);
        drop(state);
        // Waking is a system call, also when nobody sleeps.
        if wakes {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Takes no more requests. The threads end when they have answered what is there.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.idle = 0;
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for requests and takes some of them; none when the queue is closed and empty.
    fn take(&self, taken: &mut Vec<ReadRequest>) {
        let mut state = self.lock();
        while state.requests.is_empty() && !state.closed {
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // Half of them, since there are others to take the rest.
        let count = state.requests.len().div_ceil(2).min(MAX_TAKEN);
        let short = state.requests.iter().take(count).take_while(|request| request.limit_bytes <= LONG_BYTES);
        let count = short.count().max(count.min(1));
        taken.extend(state.requests.drain(..count));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers what comes through the queue, until it is closed and empty.
pub(super) fn run(queue: &ReadQueue, read: impl Fn(&[u8], usize) -> Result<Option<Entry>, ReadError>) {
    let mut taken = Vec::with_capacity(MAX_TAKEN);
    loop {
        queue.take(&mut taken);
        if taken.is_empty() {
            return;
        }
        for ReadRequest { key, limit_bytes, reply, room } in taken.drain(..) {
            if reply.is_abandoned() {
                continue;
            }
            // A panic must not end the thread: the others would have to do its work, down to the last.
            match catch_unwind(AssertUnwindSafe(|| read(&key, limit_bytes))) {
                Ok(result) => reply.send(result, Some(room)),
                Err(_) => tracing::error!("a reader panicked over a key"),
            }
        }
    }
}
