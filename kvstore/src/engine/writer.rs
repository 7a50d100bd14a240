//! The thread that writes: takes all writes that wait, and commits them together.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::options::EngineOptions;
use super::pending::Reply;
use crate::failpoint::{self, Moment};
use crate::store::{Applied, Write, WriteError};

/// A write that was accepted.
pub(super) struct WriteRequest {
    pub(super) write: Write,
    pub(super) reply: Reply<Applied>,
    /// Given back with the commit, not with the answer: a caller may take its answers late.
    pub(super) room: OwnedSemaphorePermit,
}

/// Does what comes through the queue, until its other end is dropped and it is empty.
pub(super) fn run(
    mut queue: mpsc::Receiver<WriteRequest>,
    options: &EngineOptions,
    mut apply: impl FnMut(Vec<Write>) -> Vec<Result<Applied, WriteError>>,
) {
    let max_writes = options.max_batch_writes.max(1);
    let mut requests = Vec::new();
    let mut expected = 1;
    // While a commit runs, the writes for the next one gather in the queue: that is the group commit.
    while wait(&mut queue, &mut requests, max_writes, expected) > 0 {
        expected = requests.len();
        let mut batch = Batch::default();
        for request in requests.drain(..) {
            if batch.bytes.saturating_add(request.write.bytes()) > options.max_batch_bytes {
                std::mem::take(&mut batch).commit(&mut apply);
            }
            batch.add(request);
        }
        batch.commit(&mut apply);
    }
}

/// How long the thread looks out for the next write before it sleeps. Who writes one value after the other sends the
/// next soon after the answer, and to wake a thread then takes a good part of the time of a commit.
const LINGER: Duration = Duration::from_micros(200);

/// How long nothing may come while more is expected. Those whose writes were just answered send their next ones one after
/// the other: without this the first of them would have a commit of its own, and all others wait for two.
const QUIET: Duration = Duration::from_micros(50);

/// Takes what waits, or else the next that comes; says how many those are, none when there will be no more. As many as the
/// last commit had are waited for, as long as they come.
fn wait(
    queue: &mut mpsc::Receiver<WriteRequest>,
    into: &mut Vec<WriteRequest>,
    most: usize,
    expected: usize,
) -> usize {
    let began = Instant::now();
    let (mut count, mut came_at) = (queue.len(), began);
    while count < expected.min(most) && !queue.is_closed() {
        let now = Instant::now();
        if now >= began + LINGER || (count > 0 && now >= came_at + QUIET) {
            break;
        }
        std::thread::yield_now();
        if queue.len() > count {
            (count, came_at) = (queue.len(), now);
        }
    }
    queue.blocking_recv_many(into, most)
}

#[derive(Default)]
struct Batch {
    writes: Vec<Write>,
    replies: Vec<Reply<Applied>>,
    rooms: Vec<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, request: WriteRequest) {
        self.bytes += request.write.bytes();
        self.writes.push(request.write);
        self.replies.push(request.reply);
        self.rooms.push(request.room);
    }

    fn commit(self, apply: &mut impl FnMut(Vec<Write>) -> Vec<Result<Applied, WriteError>>) {
        if self.writes.is_empty() {
            return;
        }
        // A panic must not end the thread: the callers of this batch would learn it, and all later ones hang.
        // The store undoes an unfinished transaction by itself.
        let Ok(results) = catch_unwind(AssertUnwindSafe(|| apply(self.writes))) else {
            tracing::error!(writes = self.replies.len(), "the writer panicked over a batch");
            return;
        };
        failpoint::reach(Moment::BeforeReplies);
        drop(self.rooms);
        for (reply, result) in self.replies.into_iter().zip(results) {
            reply.send(result, None);
        }
    }
}
