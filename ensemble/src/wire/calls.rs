//! The calls of one connection: who waits for which, until when, and what the peer still owes. Bytes and queues are
//! the [`outbox`](super::outbox)'s.
//!
//! A call's slot is its number on the wire. It is free again only when the caller has let go of it and the peer has
//! answered, so a late reply never meets another call.

use std::{
    task::{Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use slab::Slab;

use super::status::Status;
use crate::error::{CallError, NotSent, Unknown};

/// What a reply brought: how the call ended, and the result's bytes.
pub(crate) type Outcome = Result<(Status, Bytes), CallError>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The peer cannot have begun it.
    Queued,
    /// The peer has it, or will.
    Sent,
    /// The peer owes nothing any more.
    Settled,
}

enum Wait {
    Waiting(Option<Waker>),
    Done(Outcome),
    /// The caller has the outcome, or has gone.
    Taken,
}

struct Call {
    wait: Wait,
    place: Place,
    deadline: Instant,
    payload_bytes: usize,
}

/// What [`Calls::abandon`] leaves to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abandoned {
    /// The peer is to be told.
    Cancel,
    /// The message is to be thrown away.
    Unsent,
    Nothing,
}

/// See the module.
#[derive(Default)]
pub(super) struct Calls {
    slots: Slab<Call>,
    /// No deadline is earlier.
    earliest: Option<Instant>,
    /// Calls that nobody waits for, and whose messages have not been thrown away yet.
    given_up: usize,
    given_up_bytes: usize,
}

impl Calls {
    /// A new call. The flag says that its deadline comes before all others.
    pub(super) fn insert(&mut self, payload_bytes: usize, deadline: Instant) -> (usize, bool) {
        let call = Call { wait: Wait::Waiting(None), place: Place::Queued, deadline, payload_bytes };
        let key = self.slots.insert(call);
        let is_earliest = self.earliest.is_none_or(|earliest| deadline < earliest);
        if is_earliest {
            self.earliest = Some(deadline);
        }
        (key, is_earliest)
    }

    pub(super) fn deadline(&self, key: usize) -> Instant {
        self.slots[key].deadline
    }

    /// The message is on its way; the peer may begin it.
    pub(super) fn sent(&mut self, key: usize) {
        self.slots[key].place = Place::Sent;
    }

    /// Whether somebody still waits for a call that has not been sent. If not, its message must be thrown away.
    pub(super) fn is_wanted(&mut self, key: usize) -> bool {
        let call = &mut self.slots[key];
        debug_assert_eq!(call.place, Place::Queued);
        if matches!(call.wait, Wait::Waiting(_)) {
            return true;
        }
        call.place = Place::Settled;
        self.given_up -= 1;
        self.given_up_bytes -= call.payload_bytes;
        if matches!(call.wait, Wait::Taken) {
            self.slots.remove(key);
        }
        false
    }

    /// How many messages are to be thrown away, and their bytes.
    pub(super) fn given_up(&self) -> (usize, usize) {
        (self.given_up, self.given_up_bytes)
    }

    /// Ends a call that will not be sent. The waker is its caller's.
    pub(super) fn refuse(&mut self, key: usize, why: NotSent) -> Option<Waker> {
        self.slots[key].place = Place::Settled;
        self.finish(key, Err(why.into()))
    }

    /// The peer has answered a call that was sent; `None` when there is no such call. The waker is its caller's.
    pub(super) fn replied(&mut self, key: usize, status: Status, payload: Bytes) -> Option<Option<Waker>> {
        let call = self.slots.get_mut(key).filter(|call| call.place == Place::Sent)?;
        call.place = Place::Settled;
        Some(self.finish(key, Ok((status, payload))))
    }

    /// Gives a settled call its outcome, if it still waits for one.
    fn finish(&mut self, key: usize, outcome: Outcome) -> Option<Waker> {
        let call = &mut self.slots[key];
        match &mut call.wait {
            Wait::Waiting(waker) => {
                let waker = waker.take();
                call.wait = Wait::Done(outcome);
                waker
            }
            Wait::Done(_) => None,
            Wait::Taken => {
                self.slots.remove(key);
                None
            }
        }
    }

    /// The outcome of a call, which can be had once. A waker that is not needed any more goes to `stale`.
    pub(super) fn poll(&mut self, key: usize, waker: &Waker, stale: &mut Option<Waker>) -> Poll<Outcome> {
        let call = &mut self.slots[key];
        if let Wait::Waiting(waiting) = &mut call.wait {
            if !waiting.as_ref().is_some_and(|known| known.will_wake(waker)) {
                *stale = waiting.replace(waker.clone());
            }
            return Poll::Pending;
        }
        let taken = std::mem::replace(&mut call.wait, Wait::Taken);
        if call.place == Place::Settled {
            self.slots.remove(key);
        }
        match taken {
            Wait::Done(outcome) => Poll::Ready(outcome),
            _ => unreachable!("a call's outcome is taken once"),
        }
    }

    /// The caller of a call whose outcome it has not taken no longer waits. Its waker goes to `stale`.
    pub(super) fn abandon(&mut self, key: usize, stale: &mut Option<Waker>) -> Abandoned {
        let call = &mut self.slots[key];
        let was_waiting = match std::mem::replace(&mut call.wait, Wait::Taken) {
            Wait::Waiting(waker) => {
                *stale = waker;
                true
            }
            _ => false,
        };
        match call.place {
            Place::Settled => {
                self.slots.remove(key);
                Abandoned::Nothing
            }
            Place::Sent if was_waiting => Abandoned::Cancel,
            Place::Queued if was_waiting => {
                self.given_up += 1;
                self.given_up_bytes += call.payload_bytes;
                Abandoned::Unsent
            }
            // Its deadline has passed before: what was to be done then has been.
            Place::Sent | Place::Queued => Abandoned::Nothing,
        }
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// Ends the calls whose deadline has passed; the wakers are their callers'.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let mut earliest: Option<Instant> = None;
        for (_, call) in &mut self.slots {
            let Wait::Waiting(waker) = &mut call.wait else { continue };
            if call.deadline > now {
                earliest = Some(earliest.map_or(call.deadline, |other| other.min(call.deadline)));
                continue;
            }
            wakers.extend(waker.take());
            call.wait = Wait::Done(Err(match call.place {
                Place::Queued => {
                    self.given_up += 1;
                    self.given_up_bytes += call.payload_bytes;
                    CallError::NotSent(NotSent::Deadline)
                }
                Place::Sent | Place::Settled => CallError::Unknown(Unknown::Deadline),
            }));
        }
        self.earliest = earliest;
        wakers
    }

    /// Ends all: there is no connection (any more). What was not sent is told `why`.
    pub(super) fn close(&mut self, why: &NotSent) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.slots.retain(|_, call| {
            let place = std::mem::replace(&mut call.place, Place::Settled);
            if let Wait::Waiting(waker) = &mut call.wait {
                wakers.extend(waker.take());
                call.wait = Wait::Done(Err(match place {
                    Place::Queued => CallError::NotSent(why.clone()),
                    Place::Sent | Place::Settled => CallError::Unknown(Unknown::ConnectionLost),
                }));
            }
            !matches!(call.wait, Wait::Taken)
        });
        (self.earliest, self.given_up, self.given_up_bytes) = (None, 0, 0);
        wakers
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> Vec<usize> {
        self.slots.iter().map(|(key, _)| key).collect()
    }
}
