//! The queue of reads, and the threads that share it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::error::EngineError;
use super::pending::Reply;
use crate::store::{Entry, ReadError, Store};

/// A read that was accepted.
pub(super) struct ReadRequest {
    pub(super) read: Read,
    pub(super) room: OwnedSemaphorePermit,
}

/// What is to be read.
pub(super) enum Read {
    /// The value under a key.
    Value { key: Bytes, limit_bytes: usize, reply: Reply<Option<Entry>> },
    /// Anything else.
    Query(Box<dyn Query>),
}

/// A question to the store that answers its caller itself.
pub(super) trait Query: Send {
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
    /// Asks and answers.
    fn run(self: Box<Self>, store: &Store, room: OwnedSemaphorePermit);
}

/// A function of the store, and where its result goes.
pub(super) struct Question<F, R> {
    pub(super) ask: F,
    pub(super) reply: Reply<R>,
}

impl<F, R, E> Query for Question<F, R>
where
    F: FnOnce(&Store) -> Result<R, E> + Send,
    R: Send,
    E: Into<EngineError>,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_abandoned()
    }

    fn run(self: Box<Self>, store: &Store, room: OwnedSemaphorePermit) {
        let Self { ask, reply } = *self;
        reply.send(ask(store), Some(room));
    }
}

impl Read {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Value { reply, .. } => reply.is_abandoned(),
            Self::Query(query) => query.is_abandoned(),
        }
    }

    fn is_long(&self) -> bool {
        match self {
            Self::Value { limit_bytes, .. } => *limit_bytes > LONG_BYTES,
            Self::Query(_) => true,
        }
    }
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
        let short = state.requests.iter().take(count).take_while(|request| !request.read.is_long());
        let count = short.count().max(count.min(1));
        taken.extend(state.requests.drain(..count));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers what comes through the queue, until it is closed and empty.
pub(super) fn run(
    queue: &ReadQueue,
    get: impl Fn(&[u8], usize) -> Result<Option<Entry>, ReadError>,
    store: Option<&Store>,
) {
    let mut taken = Vec::with_capacity(MAX_TAKEN);
    loop {
        queue.take(&mut taken);
        if taken.is_empty() {
            return;
        }
        for ReadRequest { read, room } in taken.drain(..) {
            if read.is_abandoned() {
                continue;
            }
            // A panic must not end the thread: the others would have to do its work, down to the last.
            let answered = catch_unwind(AssertUnwindSafe(|| match read {
                Read::Value { key, limit_bytes, reply } => reply.send(get(&key, limit_bytes), Some(room)),
                Read::Query(query) => {
                    if let Some(store) = store {
                        query.run(store, room);
                    }
                }
            }));
            if answered.is_err() {
                tracing::error!("a reader panicked over a read");
            }
        }
    }
}
