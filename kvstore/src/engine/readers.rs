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

/// A queue that several threads take from. Its bound is the room that each request holds.
#[derive(Default)]
pub(super) struct ReadQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: VecDeque<ReadRequest>,
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
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes no more requests. The threads end when they have answered what is there.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn pop(&self) -> Option<ReadRequest> {
        let mut state = self.lock();
        loop {
            if let Some(request) = state.requests.pop_front() {
                return Some(request);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers what comes through the queue, until it is closed and empty.
pub(super) fn run(queue: &ReadQueue, read: impl Fn(&[u8], usize) -> Result<Option<Entry>, ReadError>) {
    while let Some(ReadRequest { key, limit_bytes, reply, room }) = queue.pop() {
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
