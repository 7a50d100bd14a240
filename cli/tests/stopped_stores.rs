//! Servers that are killed, or whose disk loses its power, at random moments while clients write through real sockets: what
//! was answered is there, every record verifies, and revisions never go back.
//!
//! Many more such moments, without sockets, are in the tests of the store.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{
    cell::RefCell,
    collections::HashMap,
    fs,
    os::unix::fs::symlink,
    path::Path,
    rc::Rc,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use common::{kvstore, registry, sandbox_with_cookie};
use ensemble::Home;
use ensemble_tests::{
    Cut, PowerLoss, Random, Sandbox, eventually,
    history::{Answer, Change, Digest, Found, History, Outcome, Step, WRITERS, Wanted, Workload},
};
use kvstore::{
    Client, ClientError,
    messages::{Condition, Done, Op, StoreError},
    store::{Store, StoreOptions},
};
use tempfile::TempDir;

const KILLS: u64 = 100;
const POWER_LOSSES: u64 = 20;

/// How many answers there are before the server is stopped, at most.
const MOST_ANSWERS: u64 = 60;

/// Long against what a busy machine needs: no call is to end by it.
const TIMEOUT: Duration = Duration::from_secs(60);

type Answers = Arc<Mutex<Vec<Answer>>>;

/// Writers in a thread of their own, which go on until a call fails.
struct Writers {
    answers: Answers,
    thread: JoinHandle<()>,
}

impl Writers {
    fn start(sandbox: &Sandbox, workload: Workload) -> Self {
        let answers = Answers::default();
        let (home, into) = (Home::resolve(Some(&sandbox.home())).unwrap(), Arc::clone(&answers));
        let write = move || {
            actix::System::new().block_on(async {
                let (node, _) = registry::connect(registry::console().home(home), None).await.unwrap();
                let known = Rc::new(RefCell::new(HashMap::new()));
                let mut writers = tokio::task::JoinSet::new();
                for number in 0..WRITERS {
                    let store = Client::new(&node, "kvstore").with_timeout(TIMEOUT);
                    let (known, answers) = (Rc::clone(&known), Arc::clone(&into));
                    writers.spawn_local(Writer { number, workload, store, known, answers }.work());
                }
                writers.join_all().await;
            });
        };
        Self { answers, thread: thread::spawn(write) }
    }

    #[track_caller]
    fn await_answers(&self, count: u64) {
        eventually("enough writes are answered", || {
            let is_enough = self.answers.lock().unwrap().len() as u64 >= count;
            assert!(is_enough || !self.thread.is_finished(), "the writers have failed");
            is_enough.then_some(())
        });
    }

    fn end(self) -> Vec<Answer> {
        self.thread.join().unwrap();
        std::mem::take(&mut *self.answers.lock().unwrap())
    }
}

struct Writer {
    number: u32,
    workload: Workload,
    store: Client,
    /// The revisions that keys had last, as far as the writers know.
    known: Rc<RefCell<HashMap<String, u64>>>,
    answers: Answers,
}

impl Writer {
    async fn work(self) {
        for index in 0.. {
            let step = self.workload.step(self.number, index);
            let outcome = match self.send(&step).await {
                Ok(revisions) => Outcome::Done(revisions),
                Err(ClientError::Store(StoreError::Conflict { .. })) => Outcome::Conflict,
                Err(ClientError::Apply(refused)) if matches!(refused.why, StoreError::Conflict { .. }) => {
                    Outcome::Conflict
                }
                Err(_) => return,
            };
            if let Outcome::Done(revisions) = &outcome {
                for (change, revision) in step.changes.iter().zip(revisions) {
                    let mut known = self.known.borrow_mut();
                    revision.and_then(|revision| known.insert(change.key().to_owned(), revision));
                }
            }
            self.answers.lock().unwrap().push(Answer { writer: self.number, index, outcome });
        }
    }

    async fn send(&self, step: &Step) -> Result<Vec<Option<u64>>, ClientError> {
        let condition = |key: &str| match step.wanted {
            Wanted::Always => Condition::Always,
            Wanted::Absent => Condition::Absent,
            Wanted::AsLast => {
                self.known.borrow().get(key).map_or(Condition::Always, |known| Condition::Revision(*known))
            }
        };
        // What has a call of its own is sent by it.
        match &step.changes[..] {
            [Change::Put { key, value, ttl_ms: None }] if step.wanted == Wanted::Always => {
                return Ok(vec![Some(self.store.put(key, value.clone()).await?.revision)]);
            }
            [Change::Remove { key }] if step.wanted == Wanted::Always => {
                return Ok(vec![self.store.remove(key).await?.revision]);
            }
            _ => {}
        }
        let operations = step.changes.iter().map(|change| {
            let condition = condition(change.key());
            match change.clone() {
                Change::Put { key, value, ttl_ms } => {
                    Op::Put { key: key.into(), value: value.into(), condition, ttl_ms }
                }
                Change::Remove { key } => Op::Remove { key: key.into(), condition },
            }
        });
        let done = self.store.apply(operations.collect::<Vec<_>>()).await?;
        let revision = |done: Done| match done {
            Done::Stored { revision, .. } => Some(revision),
            Done::Removed { revision } => revision,
            Done::Checked { .. } => unreachable!("nothing is only checked"),
        };
        Ok(done.into_iter().map(revision).collect())
    }
}

/// What is in a store that no server has open.
fn find(directory: &Path) -> Found {
    let store = Store::open(directory, StoreOptions::default()).unwrap();
    let mut found = Found { revision: store.revision().unwrap(), ..Found::default() };
    let text = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
    let mut after: Option<Bytes> = None;
    loop {
        let part = store.verify(after.as_deref()).unwrap();
        found.damaged.extend(part.damaged.iter().map(|(key, _)| text(key)));
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    for listed in store.list(b"", None, 1000).unwrap().keys {
        // It may have ended meanwhile.
        if let Some(entry) = store.get(&listed.key).unwrap() {
            found.entries.insert(text(&listed.key), (entry.revision, Digest::of(&entry.value)));
        }
    }
    found
}

/// A copy of a store, as the server has left it. To look at the store itself would close it in good order, and the next
/// server would begin with what no crash leaves.
fn copy(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, copy.path().join(from.file_name().unwrap())).unwrap();
    }
    copy
}

fn judge(history: &mut History, workload: Workload, answers: &[Answer], found: Found, round: u64) {
    let judged = history.judge(workload, answers, answers.len(), found);
    judged.unwrap_or_else(|error| panic!("round {round}: {error}"));
}

#[test]
fn a_server_that_is_killed_a_hundred_times_keeps_what_it_has_answered() {
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    let data = sandbox.home().join("server/kvstore/kvstore.db");
    let (mut history, mut random, mut answered) = (History::default(), Random::new(1), 0);
    for round in 0..KILLS {
        let workload = Workload::new(random.next());
        let server = kvstore(&sandbox);
        let writers = Writers::start(&sandbox, workload);
        writers.await_answers(random.below(MOST_ANSWERS));
        // The moment between two answers is random too.
        thread::sleep(Duration::from_micros(random.below(3000)));
        server.crash();
        let answers = writers.end();
        answered += answers.len();
        judge(&mut history, workload, &answers, find(copy(&data).path()), round);
    }
    println!("{KILLS} kills, {answered} answers, revision {}", history.revision());
    assert!(answered > 10 * KILLS as usize, "{answered}");
}

#[test]
fn a_server_whose_disk_loses_its_power_keeps_what_it_has_answered() {
    let Some(mut disk) = PowerLoss::new(1) else { return };
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    fs::create_dir_all(sandbox.home().join("server")).unwrap();
    symlink(disk.path(), sandbox.home().join("server/kvstore")).unwrap();
    let (mut history, mut random, mut answered) = (History::default(), Random::new(2), 0);
    for round in 0..POWER_LOSSES {
        let workload = Workload::new(random.next());
        let server = kvstore(&sandbox);
        disk.cut_at(Cut::AtChange(1 + random.below(400)));
        // They go on until the store cannot answer any more.
        let answers = Writers::start(&sandbox, workload).end();
        assert!(!disk.is_on(), "the power has gone");
        server.kill();
        answered += answers.len();
        let left = tempfile::tempdir().unwrap();
        disk.copy_to(left.path());
        judge(&mut history, workload, &answers, find(&left.path().join("kvstore.db")), round);
        disk.power_on();
    }
    println!("{POWER_LOSSES} losses of power, {answered} answers, revision {}", history.revision());
    assert!(answered > 10 * POWER_LOSSES as usize, "{answered}");
}
