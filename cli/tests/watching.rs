//! Ten watchers, of processes of their own and not, while a store is written to and its server is killed again and again:
//! each sees exactly what has happened to its keys.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use common::{Ensemble, ensemble, kvstore};
use ensemble::{CallError, Home, Node};
use ensemble_tests::{Done, Proc, Sandbox, eventually_within};
use kvstore::{
    Client, ClientError, WatchError, WatchFrom, Watching,
    messages::{Change, ChangeKind},
};
use rustix::process::Signal;
use serde_json::Value;

const WRITERS: [&str; 3] = ["a/", "b/", "c/"];
/// A prefix of which nothing happens until all is over.
const QUIET: &str = "quiet/";
const KILLS: usize = 8;
/// How many writes must have been answered from one kill to the next, by all writers together.
const ANSWERED_PER_ROUND: usize = 150;
const KEYS: usize = 7;
/// In debug builds on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// A change as a watcher sees it: revision, key, and the length of what was put.
type Seen = (u64, String, Option<u64>);

/// A write of one writer, which does one after the other. No two puts of one writer are of the same length.
#[derive(Debug)]
struct Written {
    key: String,
    put_bytes: Option<u64>,
    outcome: Outcome,
}

#[derive(Debug, PartialEq)]
enum Outcome {
    /// It has this revision; none where it changed nothing.
    Known(Option<u64>),
    Unknown,
}

#[derive(Default)]
struct Progress {
    answered: AtomicUsize,
    is_over: AtomicBool,
    /// What ends each watcher has been written.
    is_ended: AtomicBool,
}

impl Progress {
    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

async fn connect(sandbox: &Sandbox) -> (Node, Client) {
    let builder = registry::console().home(Home::resolve(Some(&sandbox.home())).unwrap());
    let (node, _) = registry::connect(builder, None).await.unwrap();
    let client = Client::new(&node, "kvstore").with_timeout(TIMEOUT);
    (node, client)
}

/// Runs `work` with a client, on a thread of its own.
fn with_client<T>(sandbox: &Sandbox, work: impl AsyncFnOnce(Client) -> T) -> T {
    actix::System::new().block_on(async {
        let (_node, client) = connect(sandbox).await;
        work(client).await
    })
}

/// What must happen: a failure is due where it does not, and no end of all waiting.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, work).await.unwrap()
}

/// Does a write until its outcome is known or unknown, and not only that it was not sent.
async fn write(store: &Client, key: &str, put_bytes: Option<u64>) -> Outcome {
    within(async {
        loop {
            let done = match put_bytes {
                Some(bytes) => store.put(key, vec![7; bytes as usize]).await.map(|done| Some(done.revision)),
                None => store.remove(key).await.map(|done| done.revision),
            };
            match done {
                Ok(revision) => return Outcome::Known(revision),
                Err(ClientError::Call(CallError::NotSent(_) | CallError::Refused(_))) => {
                    tokio::time::sleep(POLL).await;
                }
                Err(_) => return Outcome::Unknown,
            }
        }
    })
    .await
}

/// Writes until all is over, and then what ends each watcher.
async fn writer(store: &Client, prefix: &str, progress: &Progress) -> Vec<Written> {
    let mut written = Vec::new();
    for index in 0.. {
        let key = format!("{prefix}{}", index * index % KEYS);
        let put_bytes = (index % 4 != 3).then_some(index as u64);
        let outcome = write(store, &key, put_bytes).await;
        if outcome != Outcome::Unknown {
            progress.answered.fetch_add(1, Ordering::SeqCst);
        }
        written.push(Written { key, put_bytes, outcome });
        if progress.is_over() {
            break;
        }
    }
    written
}

fn seen(change: &Change) -> Seen {
    let put_bytes = match change.kind {
        ChangeKind::Put { value_bytes } => Some(value_bytes),
        ChangeKind::Removed => None,
        ChangeKind::Expired => panic!("nothing expires: {change:?}"),
    };
    (change.revision, String::from_utf8(change.key.to_vec()).unwrap(), put_bytes)
}

/// How a watcher takes its changes.
#[derive(Clone, Copy)]
enum Pace {
    /// As they come.
    Steady,
    /// A few at a time, and then none until so many more writes were answered.
    Slow(usize),
    /// A few at a time, and then with a new watch from where it was.
    Anew,
}

/// Begins a watch, also while the server is away for a moment.
async fn begin(store: &Client, prefix: &str, from: WatchFrom) -> Watching {
    within(async {
        loop {
            match store.watch(prefix, from).await {
                Ok(watching) => return watching,
                Err(why) => assert!(matches!(why, WatchError::Client(_)), "{why:?}"),
            }
            tokio::time::sleep(POLL).await;
        }
    })
    .await
}

/// Watches until there is a change of the key that ends it.
async fn watcher(store: Client, prefix: &str, pace: Pace, progress: &Progress) -> Vec<Seen> {
    let mut all = Vec::new();
    let mut watching = begin(&store, prefix, WatchFrom::Revision(0)).await;
    loop {
        let change = seen(&within(watching.next()).await.unwrap());
        let is_last = change.1.ends_with("end");
        all.push(change);
        if is_last {
            return all;
        }
        if all.len() % 15 > 0 {
            continue;
        }
        match pace {
            Pace::Steady => {}
            Pace::Slow(step) => {
                let until = progress.answered() + step;
                while progress.answered() < until && !progress.is_over() {
                    tokio::time::sleep(POLL).await;
                }
            }
            Pace::Anew => {
                let position = watching.position();
                drop(watching);
                watching = begin(&store, prefix, WatchFrom::Position(position)).await;
            }
        }
    }
}

/// The changes in what `kvstorec watch --json` has printed, with what to go on from.
fn printed(output: &str) -> (Vec<Seen>, String) {
    let mut changes = Vec::new();
    let mut position = String::new();
    for line in output.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        position = format!("{}@{}", line["revision"], line["history"].as_str().unwrap());
        if line["event"] != "watching" {
            let revision = line["revision"].as_u64().unwrap();
            let put_bytes = line["value_bytes"].as_u64();
            assert_eq!(line["event"], if put_bytes.is_some() { "put" } else { "removed" });
            changes.push((revision, line["key"].as_str().unwrap().to_owned(), put_bytes));
        }
    }
    (changes, position)
}

fn start_watch(sandbox: &Sandbox, args: &[&str]) -> Proc {
    let args = [&["watch", "--json"], args].concat();
    Proc::start(sandbox.kvstorec_command(&args), Vec::new())
}

/// Waits for the end of a watcher's changes and ends it as a person does.
fn ended(watch: Proc, progress: &Progress) -> Vec<Seen> {
    // There is a deadline for what comes before, and this is none of it.
    while !progress.is_ended.load(Ordering::SeqCst) {
        thread::sleep(POLL);
    }
    eventually_within(TIMEOUT, "a watcher has seen the end", || {
        watch.stdout().contains("end\"").then_some(())
    });
    watch.signal(Signal::INT);
    printed(watch.finish().exits(0).out()).0
}

/// A watcher that is ended again and again, and goes on with `--from`.
fn resumed(sandbox: &Sandbox, prefix: &str) -> Vec<Seen> {
    let mut all: Vec<Seen> = Vec::new();
    let mut from = "0".to_owned();
    let mut last_begun = Instant::now();
    while all.last().is_none_or(|(_, key, _)| !key.ends_with("end")) {
        let mut watch = start_watch(sandbox, &[prefix, "--from", &from]);
        eventually_within(TIMEOUT, "a watcher has seen more, or cannot begin", || {
            let lines = watch.stdout().lines().count();
            (lines > 20 || watch.stdout().contains("end\"") || !watch.is_running()).then_some(())
        });
        if watch.is_running() {
            watch.signal(Signal::TERM);
        }
        let done = watch.finish();
        // It cannot begin while the server is away.
        if [3, 4].contains(&done.code()) {
            assert!(last_begun.elapsed() < TIMEOUT, "no watch begins: {done:?}");
        } else {
            last_begun = Instant::now();
            let (changes, position) = printed(done.exits(0).out());
            all.extend(changes);
            from = position;
        }
    }
    all
}

/// Holds what the store says has happened against what the writers know, and fails where these differ.
fn settle(log: &[Seen], written: &BTreeMap<&str, Vec<Written>>) {
    let revisions: Vec<u64> = log.iter().map(|(revision, ..)| *revision).collect();
    assert_eq!(revisions, (1..=log.len() as u64).collect::<Vec<_>>(), "each revision is one change");
    let mut unknown_done = 0;
    for (prefix, written) in written {
        let mut written = written.iter();
        for (revision, key, put_bytes) in log.iter().filter(|(_, key, _)| key.starts_with(prefix)) {
            let done = written.find(|write| match write.outcome {
                Outcome::Known(None) => false,
                Outcome::Known(Some(_)) => true,
                Outcome::Unknown => write.key == *key && write.put_bytes == *put_bytes,
            });
            let done = done.unwrap_or_else(|| panic!("nobody has written {revision} {key}"));
            assert_eq!((&done.key, done.put_bytes), (key, *put_bytes), "{revision}");
            match done.outcome {
                Outcome::Known(known) => assert_eq!(known, Some(*revision), "{done:?}"),
                Outcome::Unknown => unknown_done += 1,
            }
        }
        let lost = written.find(|write| matches!(write.outcome, Outcome::Known(Some(_))));
        assert!(lost.is_none(), "answered and lost: {lost:?}");
    }
    eprintln!("{} changes, {unknown_done} of them by writes whose outcome was unknown", log.len());
}

#[test]
fn each_watcher_sees_what_has_happened_while_the_server_is_killed_again_and_again() {
    let Ensemble { sandbox, registry: _registry, kvstore: mut server } = ensemble();
    let sandbox = &sandbox;
    let progress = &Progress::default();
    thread::scope(|scope| {
        let processes = [("", ""), ("a/", ""), ("b/", "--values"), (QUIET, "")].map(|(prefix, values)| {
            let args: Vec<&str> =
                [prefix, "--from", "0", values].into_iter().filter(|arg| !arg.is_empty()).collect();
            let watch = start_watch(sandbox, &args);
            (prefix, scope.spawn(|| ended(watch, progress)))
        });
        let resumed_b = scope.spawn(|| resumed(sandbox, "b/"));
        let paces = [
            ("", Pace::Steady),
            ("", Pace::Slow(60)),
            ("a/", Pace::Slow(150)),
            ("b/", Pace::Anew),
            ("c/", Pace::Anew),
        ];
        let watchers = paces.map(|(prefix, pace)| {
            let work =
                move || with_client(sandbox, async |store| watcher(store, prefix, pace, progress).await);
            (prefix, scope.spawn(work))
        });
        let writers = WRITERS.map(|prefix| {
            let work = move || with_client(sandbox, async |store| writer(&store, prefix, progress).await);
            (prefix, scope.spawn(work))
        });
        // Also when something fails, or those that wait would do so for ever.
        let _done = [&progress.is_over, &progress.is_ended].map(Done::at_the_end);
        for kill in 1..=KILLS {
            eventually_within(TIMEOUT, "enough writes are answered", || {
                (progress.answered() >= kill * ANSWERED_PER_ROUND).then_some(())
            });
            drop(server.crash());
            server = kvstore(sandbox);
        }
        progress.is_over.store(true, Ordering::SeqCst);
        let mut written: BTreeMap<&str, Vec<Written>> =
            writers.map(|(prefix, writer)| (prefix, writer.join().unwrap())).into();
        let log = with_client(sandbox, async |store| {
            for prefix in [&WRITERS[..], &[QUIET, ""]].concat() {
                let key = format!("{prefix}end");
                let outcome = write(&store, &key, Some(0)).await;
                assert_ne!(outcome, Outcome::Unknown);
                written.entry(prefix).or_default().push(Written { key, put_bytes: Some(0), outcome });
            }
            progress.is_ended.store(true, Ordering::SeqCst);
            let mut all = store.watch("", WatchFrom::Revision(0)).await.unwrap();
            let last = store.stat().await.unwrap().revision;
            let mut log = Vec::new();
            while log.len() < last as usize {
                log.push(seen(&within(all.next()).await.unwrap()));
            }
            log
        });
        // What is of all keys together has been told with each prefix.
        written.remove("");
        settle(&log, &written);
        let expected = |prefix: &str| {
            let mut of_prefix: Vec<Seen> =
                log.iter().filter(|(_, key, _)| key.starts_with(prefix)).cloned().collect();
            // A watcher ends with the first such key that it sees.
            let end = of_prefix.iter().position(|(_, key, _)| key.ends_with("end")).unwrap();
            of_prefix.truncate(end + 1);
            of_prefix
        };
        for (prefix, watch) in processes {
            let mut saw = watch.join().unwrap();
            saw.truncate(expected(prefix).len());
            assert_eq!(saw, expected(prefix), "a process that watches {prefix:?}");
        }
        for (prefix, watch) in watchers {
            assert_eq!(watch.join().unwrap(), expected(prefix), "a client that watches {prefix:?}");
        }
        assert_eq!(resumed_b.join().unwrap(), expected("b/"));
        assert!(log.len() > KILLS * ANSWERED_PER_ROUND / 2, "{}", log.len());
    });
}
