//! What the peer has asked and has no answer to yet. Entries are futures; those that may be ready are polled by the
//! task that writes, so that all that is ready goes out in one write.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use slab::Slab;
use tokio::sync::Notify;

use super::Dispatched;
use crate::{
    error::Failure,
    wire::{outbox::Violation, status::Status},
};

/// A reply that will be there some time.
pub(crate) trait PendingReply: Send {
    /// When it is there: how the call ended; the result, if there is one, is appended to `payload`, but for what
    /// `tail` is set to, which is only done where both together are longer than a chunk.
    fn poll_reply(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        payload: &mut BytesMut,
        tail: &mut Bytes,
    ) -> Poll<Status>;

    /// Whether a post goes on when its connection has ended.
    fn outlives_connection(&self) -> bool {
        true
    }
}

/// What is to be answered how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// With a reply to the call of that number.
    Call(u32),
    /// With credit.
    Post,
}

struct Entry {
    origin: Origin,
    what: Dispatched,
    deadline: Option<Instant>,
    budgeted_bytes: u64,
}

/// An entry that has come to its end.
pub(crate) struct Finished {
    pub origin: Origin,
    pub status: Status,
    pub tail: Bytes,
    pub budgeted_bytes: u64,
}

/// The keys of the entries that are to be polled, and how to wake who does it.
struct Ready {
    keys: Mutex<Vec<usize>>,
    writer: Arc<Notify>,
}

impl Ready {
    fn push(&self, key: usize) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.push(key);
        let is_first = keys.len() == 1;
        drop(keys);
        if is_first {
            self.writer.notify_one();
        }
    }
}

/// Belongs to a slot, not to an entry: a late wake only polls once more than needed.
struct SlotWaker {
    key: usize,
    ready: Arc<Ready>,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.key);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.push(self.key);
    }
}

/// See the module.
pub(crate) struct InFlight {
    entries: Slab<Entry>,
    wakers: Vec<Waker>,
    ready: Arc<Ready>,
    /// New entries, to be polled for the first time.
    fresh: Vec<usize>,
    spare: Vec<usize>,
    limit: usize,
    earliest: Option<Instant>,
}

impl InFlight {
    /// At most `limit` entries; `writer` is notified when there is something to poll.
    pub(crate) fn new(limit: u32, writer: Arc<Notify>) -> Self {
        Self {
            entries: Slab::new(),
            wakers: Vec::new(),
            ready: Arc::new(Ready { keys: Mutex::default(), writer }),
            fresh: Vec::new(),
            spare: Vec::new(),
            limit: limit as usize,
            earliest: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes what was dispatched. The flag says that its deadline comes before all others.
    pub(crate) fn insert(
        &mut self,
        origin: Origin,
        what: Dispatched,
        deadline: Option<Instant>,
        budgeted_bytes: u64,
    ) -> Result<bool, Violation> {
        if self.entries.len() >= self.limit {
            return Err(Violation::WindowExceeded);
        }
        let key = self.entries.insert(Entry { origin, what, deadline, budgeted_bytes });
        while self.wakers.len() <= key {
            let slot = SlotWaker { key: self.wakers.len(), ready: Arc::clone(&self.ready) };
            self.wakers.push(Waker::from(Arc::new(slot)));
        }
        // Polled by the writer, which runs after the actor when both are on one thread: then one poll is enough.
        self.fresh.push(key);
        if self.fresh.len() == 1 {
            self.ready.writer.notify_one();
        }
        let is_earliest = deadline.is_some_and(|it| self.earliest.is_none_or(|earliest| it < earliest));
        if is_earliest {
            self.earliest = deadline;
        }
        Ok(is_earliest)
    }

    /// Polls what may be ready, and hands over what has ended; the bytes of its result are at the end of `payloads`,
    /// from the place that is handed over too. Stops when `finished` says that it has had enough.
    pub(crate) fn drain(
        &mut self,
        payloads: &mut BytesMut,
        mut finished: impl FnMut(Finished, &mut BytesMut, usize) -> bool,
    ) {
        let mut keys = std::mem::take(&mut self.spare);
        std::mem::swap(&mut *self.ready.keys.lock().unwrap_or_else(PoisonError::into_inner), &mut keys);
        keys.append(&mut self.fresh);
        let mut left = keys.drain(..);
        for key in left.by_ref() {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            let (start, mut tail) = (payloads.len(), Bytes::new());
            let status = match &mut entry.what {
                Dispatched::Settled(status) => *status,
                Dispatched::Pending(reply) => {
                    let mut cx = Context::from_waker(&self.wakers[key]);
                    match reply.as_mut().poll_reply(&mut cx, payloads, &mut tail) {
                        Poll::Ready(status) => status,
                        Poll::Pending => continue,
                    }
                }
            };
            let Entry { origin, budgeted_bytes, .. } = self.entries.remove(key);
            if !finished(Finished { origin, status, tail, budgeted_bytes }, payloads, start) {
                break;
            }
        }
        self.fresh.extend(left);
        if !self.fresh.is_empty() {
            self.ready.writer.notify_one();
        }
        self.spare = keys;
    }

    /// Gives up a call that its caller has cancelled. An actor that has not begun it will not.
    pub(crate) fn cancel(&mut self, call: u32) {
        // What is settled is to be polled already. Its key again and again would let a peer fill the memory.
        let is_meant = |entry: &Entry| {
            entry.origin == Origin::Call(call) && matches!(entry.what, Dispatched::Pending(_))
        };
        let found = self.entries.iter_mut().find(|(_, entry)| is_meant(entry));
        if let Some((key, entry)) = found {
            entry.what = Dispatched::Settled(Status::Failed(Failure::Cancelled));
            self.ready.push(key);
        }
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// Gives up the calls whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.earliest = None;
        for (key, entry) in &mut self.entries {
            let Some(deadline) = entry.deadline else { continue };
            if deadline <= now {
                entry.deadline = None;
                entry.what = Dispatched::Settled(Status::Failed(Failure::Cancelled));
                self.ready.push(key);
            } else {
                self.earliest = Some(self.earliest.map_or(deadline, |other| other.min(deadline)));
            }
        }
    }

    /// Gives up all calls, and returns the posts, which nobody can call back: they are to be finished, but for those that are
    /// nothing without their connection.
    pub(crate) fn close(&mut self) -> Vec<Pin<Box<dyn PendingReply>>> {
        let entries = std::mem::take(&mut self.entries);
        entries
            .into_iter()
            .filter_map(|(_, entry)| match (entry.origin, entry.what) {
                (Origin::Post, Dispatched::Pending(reply)) if reply.outlives_connection() => Some(reply),
                _ => None,
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "inflight_tests.rs"]
mod tests;
