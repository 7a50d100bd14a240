//! The clients: nodes of their own in threads of the test's process, with real sockets, each with many calls under way at once.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use ensemble::{CallError, Home};
use ensemble_tests::{
    Sandbox, eventually,
    linearizability::{Call, Condition, Operation, Outcome},
};
use kvstore::{
    Client, ClientError, PutOptions,
    messages::{self, StoreError},
};
use tokio::task::JoinSet;

use super::{
    keys::{Keys, number_of_value},
    mistakes::{Cache, Mistake},
};

/// Nodes, each in a thread of its own.
const NODES: usize = 3;
/// Calls that each has under way.
const CALLS_PER_NODE: usize = 12;
/// Short against the test, and long against what a busy machine needs.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A key that nobody reads.
const ASTRAY: u64 = u64::MAX;
/// After a call that was not sent, since the server is not there.
const PAUSE: Duration = Duration::from_millis(2);

/// What the clients did and saw.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// All that may have been done.
    pub(crate) history: Vec<Operation>,
    /// Calls that were certainly not done; they are no part of the history.
    pub(crate) not_done: usize,
    /// Of those: the store had no room.
    pub(crate) without_room: usize,
    /// Of the history: the store could not do what was asked, and did not say why.
    pub(crate) faults: usize,
}

/// Clients that are at work.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Recorded>>,
}

struct Shared {
    keys: Keys,
    mistake: Option<Mistake>,
    timeout: Duration,
    /// What is the time: how often anybody asked.
    clock: AtomicU64,
    values: AtomicU64,
    recorded: AtomicUsize,
    timeouts: AtomicUsize,
    without_room: AtomicUsize,
    is_over: AtomicBool,
}

impl Shared {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}

impl Traffic {
    /// Begins, at the server `kvstore`.
    pub(crate) fn begin(sandbox: &Sandbox, keys: Keys, mistake: Option<Mistake>) -> Self {
        Self::begin_with_timeout(sandbox, keys, mistake, TIMEOUT)
    }

    /// The same, with another time for each call.
    pub(crate) fn begin_with_timeout(
        sandbox: &Sandbox,
        keys: Keys,
        mistake: Option<Mistake>,
        timeout: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            keys,
            mistake,
            timeout,
            clock: AtomicU64::new(1),
            values: AtomicU64::new(1),
            recorded: AtomicUsize::new(0),
            timeouts: AtomicUsize::new(0),
            without_room: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let home = Home::resolve(Some(&sandbox.home())).unwrap();
        let start = |number: usize| {
            let (shared, home) = (Arc::clone(&shared), home.clone());
            thread::spawn(move || actix::System::new().block_on(node(shared, home, number as u64)))
        };
        let threads = (0..NODES).map(start).collect();
        Self { shared, threads }
    }

    /// What the time is, on the clock of the history.
    pub(crate) fn now(&self) -> u64 {
        self.shared.now()
    }

    /// How many operations are recorded so far.
    pub(crate) fn recorded(&self) -> usize {
        self.shared.recorded.load(Ordering::Relaxed)
    }

    /// How many calls had no answer in time.
    pub(crate) fn timeouts(&self) -> usize {
        self.shared.timeouts.load(Ordering::Relaxed)
    }

    /// How many calls were refused because there was no room.
    pub(crate) fn without_room(&self) -> usize {
        self.shared.without_room.load(Ordering::Relaxed)
    }

    /// Waits until so many operations are recorded.
    #[track_caller]
    pub(crate) fn await_recorded(&self, count: usize) {
        eventually("enough operations are recorded", || {
            let is_broken = self.threads.iter().any(JoinHandle::is_finished);
            assert!(!is_broken, "a client has failed");
            (self.recorded() >= count).then_some(())
        });
    }

    /// Waits until all calls have ended.
    #[track_caller]
    pub(crate) fn end(self) -> Recorded {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let mut all = Recorded::default();
        for thread in self.threads {
            let one = thread.join().expect("clients do not panic");
            all.history.extend(one.history);
            all.not_done += one.not_done;
            all.without_room += one.without_room;
            all.faults += one.faults;
        }
        all
    }
}

/// The work of one thread.
async fn node(shared: Arc<Shared>, home: Home, number: u64) -> Recorded {
    let (node, _) = registry::connect(registry::console().home(home), None).await.unwrap();
    let recorded = Rc::new(RefCell::new(Recorded::default()));
    let cache = Rc::new(Cache::default());
    let mut workers = JoinSet::new();
    for worker in 0..CALLS_PER_NODE as u64 {
        let worker = Worker {
            shared: Arc::clone(&shared),
            store: Client::new(&node, "kvstore").with_timeout(shared.timeout),
            recorded: Rc::clone(&recorded),
            cache: Rc::clone(&cache),
            random: (number * CALLS_PER_NODE as u64 + worker + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        };
        workers.spawn_local(worker.work());
    }
    workers.join_all().await;
    recorded.take()
}

struct Worker {
    shared: Arc<Shared>,
    store: Client,
    recorded: Rc<RefCell<Recorded>>,
    cache: Rc<Cache>,
    random: u64,
}

/// How a call ended.
enum Ended {
    With(Outcome),
    /// Without having been done.
    NotDone,
    /// So, too, and there was no room.
    WithoutRoom,
}

impl Worker {
    async fn work(mut self) {
        while !self.shared.is_over.load(Ordering::Relaxed) {
            let random = self.random();
            let key = self.shared.keys.choose(random);
            let call = self.next_call(key);
            let begun = self.shared.now();
            let ended = self.call(key, call).await;
            let now = self.shared.now();
            match ended {
                Ended::With(outcome) => {
                    let operation = Operation { key, call, begun, outcome, ended: now };
                    self.recorded.borrow_mut().history.push(operation);
                    self.shared.recorded.fetch_add(1, Ordering::Relaxed);
                    self.shared.keys.used(key, revision_of(outcome));
                    continue;
                }
                Ended::NotDone => {}
                Ended::WithoutRoom => {
                    self.recorded.borrow_mut().without_room += 1;
                    self.shared.without_room.fetch_add(1, Ordering::Relaxed);
                }
            }
            self.recorded.borrow_mut().not_done += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 8
    }

    fn next_call(&mut self, key: u64) -> Call {
        let value = self.shared.values.fetch_add(1, Ordering::Relaxed);
        let seen = Condition::Revision(self.shared.keys.last_seen(key));
        match self.random() % 100 {
            0..50 => Call::Get,
            50..68 => Call::Put { value, condition: Condition::Always },
            68..76 => Call::Put { value, condition: Condition::Absent },
            76..90 => Call::Put { value, condition: seen },
            90..95 => Call::Remove { condition: Condition::Always },
            _ => Call::Remove { condition: seen },
        }
    }

    async fn call(&mut self, key: u64, call: Call) -> Ended {
        let random = self.random();
        if let Some(outcome) = self.cache.answer(self.shared.mistake, random, key, call) {
            return Ended::With(outcome);
        }
        if self.shared.mistake.is_some_and(|mistake| mistake.sends_twice(random, call)) {
            drop(self.send(key, call).await);
        }
        let goes_astray = self.shared.mistake.is_some_and(|mistake| mistake.goes_astray(random, call));
        match self.send(if goes_astray { ASTRAY } else { key }, call).await {
            Ok(outcome) => {
                self.cache.note(key, outcome);
                Ended::With(outcome)
            }
            Err(why) => self.failed(call, &why),
        }
    }

    async fn send(&self, key: u64, call: Call) -> Result<Outcome, ClientError> {
        let name = format!("key-{key}");
        let outcome = match call {
            Call::Get => self.store.get(name).await?.map(|found| {
                let number = number_of_value(&found.bytes);
                (number.unwrap_or_else(|| panic!("nobody put {:?}", found.bytes)), found.revision)
            }),
            Call::Put { value, condition: Condition::Always } => {
                let done = self.store.put(name, self.shared.keys.value_of(value)).await?;
                return Ok(Outcome::Done(Some(done.revision)));
            }
            Call::Put { value, condition } => {
                let options = PutOptions::new().on(terms(condition));
                let done =
                    self.store.put_with(name, Bytes::from(self.shared.keys.value_of(value)), options).await?;
                return Ok(Outcome::Done(Some(done.revision)));
            }
            Call::Remove { condition: Condition::Revision(revision) } => {
                return Ok(Outcome::Done(self.store.remove_if(name, revision).await?.revision));
            }
            Call::Remove { .. } => return Ok(Outcome::Done(self.store.remove(name).await?.revision)),
        };
        Ok(Outcome::Got(outcome))
    }

    fn failed(&self, call: Call, why: &ClientError) -> Ended {
        match why {
            ClientError::Store(StoreError::Conflict { current }) => Ended::With(Outcome::Conflict(*current)),
            ClientError::Store(
                StoreError::StoreFull { .. } | StoreError::DiskFull | StoreError::ReadOnly,
            ) => {
                assert!(call != Call::Get, "a get needs no room: {why:?}");
                Ended::WithoutRoom
            }
            ClientError::Store(StoreError::Overloaded | StoreError::Closed) => Ended::NotDone,
            ClientError::Store(StoreError::Storage | StoreError::Internal) => {
                self.recorded.borrow_mut().faults += 1;
                Ended::With(Outcome::Unknown)
            }
            ClientError::Call(CallError::NotSent(_) | CallError::Refused(_)) => Ended::NotDone,
            ClientError::Call(CallError::Unknown(why)) => {
                if *why == ensemble::Unknown::Deadline {
                    self.shared.timeouts.fetch_add(1, Ordering::Relaxed);
                }
                Ended::With(Outcome::Unknown)
            }
            ClientError::Call(CallError::Failed(_)) => Ended::With(Outcome::Unknown),
            other => panic!("{other:?}"),
        }
    }
}

fn revision_of(outcome: Outcome) -> Option<u64> {
    match outcome {
        Outcome::Got(Some((_, revision)))
        | Outcome::Done(Some(revision))
        | Outcome::Conflict(Some(revision)) => Some(revision),
        _ => None,
    }
}

fn terms(condition: Condition) -> messages::Condition {
    match condition {
        Condition::Always => messages::Condition::Always,
        Condition::Absent => messages::Condition::Absent,
        Condition::Revision(revision) => messages::Condition::Revision(revision),
    }
}
