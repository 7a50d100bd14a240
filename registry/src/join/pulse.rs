//! Keeps the lease while the node's own thread is held up: by an actor that blocks, or a flood of messages. A thread of
//! its own looks whether the other still shows signs of life, and sends the heartbeats in its place for a while.
//!
//! Only for a while: a server whose thread hangs for good does nothing for anybody, and is to lose its lease. And only
//! then: as long as the node's thread does its work, this one has no connection and wakes once in a heartbeat.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use actix::System;
use ensemble::{Address, Incarnation, Node, ServerId};
use tokio::time::sleep;

use crate::{Client, HEARTBEATS_PER_LEASE, Heartbeat, backoff::Backoff};

/// Signs of life in a lease.
const TICKS_PER_LEASE: u32 = 24;
/// A thread that has given none for this part of a lease is held up.
const HELD_UP: u32 = 12;
/// One that has given none for this part of a lease is not helped any more.
const GIVEN_UP: u32 = 2;
/// How often it is looked at while a heartbeat is overdue, in a lease.
const LOOKS_PER_LEASE: u32 = 32;

/// Nodes of one process that are helped at the same time. A process has one or two; in one that simulates hundreds, or
/// on a machine that has far too much to do, all would be held up together, and the help for all would be the last straw.
const MAX_HELPED: usize = 4;

static HELPED: AtomicUsize = AtomicUsize::new(0);

/// A place among those that are helped.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let taken = HELPED.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            (count < MAX_HELPED).then_some(count + 1)
        });
        taken.ok().map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        HELPED.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the two threads know of each other.
#[derive(Debug)]
pub(super) struct Signs {
    origin: Instant,
    lease_ms: AtomicU64,
    /// When the node's thread was last seen at work, in milliseconds since the origin.
    alive_ms: AtomicU64,
    /// When the lease was last renewed, in the same.
    renewed_ms: AtomicU64,
    is_over: AtomicBool,
}

/// What there is to do for the thread that looks on.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Again(Duration),
    Help,
}

impl Signs {
    pub(super) fn new(lease: Duration) -> Self {
        let signs = Self {
            origin: Instant::now(),
            lease_ms: AtomicU64::new(0),
            alive_ms: AtomicU64::new(0),
            renewed_ms: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        };
        signs.renewed(lease);
        signs
    }

    // Not tokio's clock, which tests stop: what counts is whether a thread really gets to run.
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms.load(Ordering::Relaxed))
    }

    pub(super) fn renewed(&self, lease: Duration) {
        self.lease_ms.store(millis(lease), Ordering::Relaxed);
        self.renewed_ms.store(millis(self.now()), Ordering::Relaxed);
    }

    /// Shows that this thread is at work, for as long as it is polled.
    pub(super) async fn tick(&self) {
        loop {
            self.alive_ms.store(millis(self.now()), Ordering::Relaxed);
            sleep((self.lease() / TICKS_PER_LEASE).max(Duration::from_millis(1))).await;
        }
    }

    fn silent(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(self.alive_ms.load(Ordering::Relaxed)))
    }

    fn is_held_up(&self, now: Duration) -> bool {
        let (silent, lease) = (self.silent(now), self.lease());
        silent > lease / HELD_UP && silent < lease / GIVEN_UP
    }

    fn look(&self, now: Duration) -> Look {
        let lease = self.lease();
        let renewed = Duration::from_millis(self.renewed_ms.load(Ordering::Relaxed));
        let (due, pause) = (renewed + lease / HEARTBEATS_PER_LEASE, lease / LOOKS_PER_LEASE);
        if now < due {
            return Look::Again(due - now + pause);
        }
        if self.is_held_up(now) { Look::Help } else { Look::Again(pause) }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Pulse {
    signs: Arc<Signs>,
    thread: Thread,
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.signs.is_over.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Pulse {
    /// Looks after the lease of `node` at that registry from now on.
    pub(super) fn start(node: &Node, registry: Address, signs: Arc<Signs>) -> io::Result<Self> {
        let helper = Helper {
            node: node.downgrade(),
            id: node.server().clone(),
            incarnation: node.incarnation(),
            registry,
            signs: Arc::clone(&signs),
        };
        let thread = thread::Builder::new().name("lease".to_owned()).spawn(move || helper.run())?;
        Ok(Self { signs, thread: thread.thread().clone() })
    }
}

struct Helper {
    node: ensemble::WeakNode,
    id: ServerId,
    incarnation: Incarnation,
    registry: Address,
    signs: Arc<Signs>,
}

impl Helper {
    fn run(self) {
        while !self.signs.is_over.load(Ordering::Acquire) {
            let wait = match self.signs.look(self.signs.now()) {
                Look::Again(wait) => wait,
                Look::Help => match Place::take() {
                    Some(_place) => {
                        tracing::warn!(server = %self.id, "the node's thread is held up; its lease is kept without it");
                        // Making a runtime panics when the system has no descriptors left.
                        let helping = || System::new().block_on(self.help());
                        if panic::catch_unwind(AssertUnwindSafe(helping)).is_ok() {
                            continue;
                        }
                        tracing::error!(server = %self.id, "the lease could not be kept; trying again");
                        self.signs.lease() / LOOKS_PER_LEASE
                    }
                    None => self.signs.lease() / LOOKS_PER_LEASE,
                },
            };
            thread::park_timeout(wait);
        }
    }

    /// Sends heartbeats until the node's thread is back, or has been silent for too long.
    async fn help(&self) {
        let twin = match self.node.upgrade().map(|node| node.twin()) {
            Some(Ok(twin)) => twin,
            Some(Err(cause)) => {
                tracing::error!(%cause, "the lease cannot be kept without the node's thread");
                return sleep(self.signs.lease()).await;
            }
            None => return self.signs.is_over.store(true, Ordering::Release),
        };
        let client = Client::new(&twin, self.registry.clone());
        let mut backoff = Backoff::new();
        while !self.signs.is_over.load(Ordering::Acquire) && self.signs.is_held_up(self.signs.now()) {
            let pause = match self.signs.look(self.signs.now()) {
                Look::Again(wait) => wait.min(self.signs.lease() / LOOKS_PER_LEASE),
                Look::Help => {
                    let period = self.signs.lease() / HEARTBEATS_PER_LEASE;
                    match client.heartbeat(&self.id, self.incarnation, period).await {
                        Ok(Heartbeat::Renewed { lease_ms }) => {
                            self.signs.renewed(Duration::from_millis(lease_ms));
                            continue;
                        }
                        // What is to be done then takes the node itself.
                        Ok(Heartbeat::Unknown | Heartbeat::Superseded) => {
                            self.signs.lease() / LOOKS_PER_LEASE
                        }
                        Err(cause) => {
                            tracing::debug!(%cause, "the lease could not be renewed");
                            backoff.next()
                        }
                    }
                }
            };
            sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(9_600);

    fn at(part: u32) -> Duration {
        LEASE * part / 96
    }

    fn signs(alive: u32, renewed: u32) -> Signs {
        let signs = Signs::new(LEASE);
        signs.alive_ms.store(millis(at(alive)), Ordering::Relaxed);
        signs.renewed_ms.store(millis(at(renewed)), Ordering::Relaxed);
        signs
    }

    #[test]
    fn who_is_at_work_is_left_alone() {
        assert_eq!(signs(0, 0).look(at(0)), Look::Again(at(32 + 3)));
        assert_eq!(signs(20, 10).look(at(30)), Look::Again(at(12 + 3)));
        // The registry is away, say.
        assert_eq!(signs(90, 10).look(at(90)), Look::Again(at(3)));
    }

    #[test]
    fn who_is_held_up_is_helped_before_it_is_suspect_but_not_for_ever() {
        // A heartbeat was just due: the next look comes before half of the lease is over.
        let signs = signs(32, 0);
        let mut now = at(32);
        while let Look::Again(wait) = signs.look(now) {
            now += wait;
        }
        assert!(now <= at(48), "{now:?}");
        assert!(signs.is_held_up(at(32 + 47)));
        assert!(!signs.is_held_up(at(32 + 48)));
        assert_eq!(signs.look(at(32 + 48)), Look::Again(at(3)));
    }

    #[test]
    fn only_so_many_are_helped_at_once() {
        let places: Vec<Place> = std::iter::from_fn(Place::take).collect();
        assert_eq!(places.len(), MAX_HELPED);
        drop(places);
        assert!(Place::take().is_some());
    }

    #[test]
    fn after_a_renewal_it_is_not_due_at_once() {
        let signs = signs(0, 40);
        assert!(signs.is_held_up(at(41)));
        assert_eq!(signs.look(at(41)), Look::Again(at(31 + 3)));
    }
}
