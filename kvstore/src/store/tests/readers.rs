//! Readers of other processes that are killed.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _, stdin, stdout};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use heed::EnvFlags;

use super::{bare, noise, open};
use crate::engine::run_keeper;
use crate::store::Store;

const DIRECTORY_VARIABLE: &str = "STORE_READERS_TEST_DIRECTORY";
const COUNT_VARIABLE: &str = "STORE_READERS_TEST_COUNT";

/// Reads the store's file in a process of its own, until it is killed.
struct Reader(Child);

impl Reader {
    fn start(directory: &Path, transactions: usize) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "store::tests::readers::child", "--ignored", "--nocapture"]);
        command.env(DIRECTORY_VARIABLE, directory).env(COUNT_VARIABLE, transactions.to_string());
        // It ends with this process too, when its input does.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.lines().map(Result::unwrap);
        assert!(lines.any(|line| line == "reading"), "the reader has ended");
        Self(child)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
#[ignore = "run by the tests below in a process of its own"]
fn child() {
    let Some(directory) = env::var_os(DIRECTORY_VARIABLE) else { return };
    let count = env::var(COUNT_VARIABLE).unwrap().parse().unwrap();
    let env = bare::open(directory.as_ref(), 1 << 30, EnvFlags::READ_ONLY);
    let transactions: Vec<_> = (0..count).map(|_| env.read_txn().unwrap()).collect();
    writeln!(stdout(), "\nreading").unwrap();
    stdin().read_line(&mut String::new()).unwrap();
    drop(transactions);
}

/// Puts one value over the last, again and again; says how far the file grew.
fn growth(store: &Store) -> u64 {
    let before = store.status().unwrap().file_bytes;
    for round in 0..100 {
        store.put("k", noise(round, 100_000)).unwrap();
    }
    store.status().unwrap().file_bytes - before
}

#[test]
fn the_slot_of_a_reader_that_was_killed_is_taken_back_and_its_pages_are_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    growth(&store);
    assert!(growth(&store) < 1_000_000);
    let reader = Reader::start(directory.path(), 1);
    // One that lives keeps its slot, and its pages.
    assert_eq!(store.reclaim_readers().unwrap(), 0);
    assert!(growth(&store) > 9_000_000);
    let slots = store.status().unwrap().readers;
    drop(reader);
    assert_eq!(store.reclaim_readers().unwrap(), 1);
    growth(&store);
    assert!(growth(&store) < 1_000_000);
    for _ in 0..3 {
        drop(Reader::start(directory.path(), 1));
        assert_eq!(store.reclaim_readers().unwrap(), 1);
    }
    assert_eq!(store.status().unwrap().readers, slots, "slots are used again");
}

#[test]
fn opening_takes_back_the_slots_of_readers_that_were_killed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("k", "v").unwrap();
    let killed = Reader::start(directory.path(), 5);
    // The table of readers is there as long as a process has it open: this one keeps it.
    let reader = Reader::start(directory.path(), 1);
    drop(store);
    drop(killed);
    let store = open(directory.path());
    assert_eq!(store.reclaim_readers().unwrap(), 0);
    drop(reader);
    assert_eq!(store.reclaim_readers().unwrap(), 1);
}

#[test]
fn the_keeper_takes_back_the_slots_of_readers_that_were_killed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("k", "v").unwrap();
    let slots = store.status().unwrap().max_readers as usize;
    drop(Reader::start(directory.path(), slots));
    let (stop, stopped) = channel::<()>();
    thread::scope(|scope| {
        let kept = store.clone();
        scope.spawn(move || run_keeper(&kept, &stopped, Duration::from_millis(10)));
        // Without the keeper a transaction finds no slot. It is begun past what a read of the store would do by itself.
        let deadline = Instant::now() + Duration::from_secs(60);
        while store.environment().pin_state().is_err() {
            assert!(Instant::now() < deadline, "the slots are not free");
            thread::yield_now();
        }
        store.environment().unpin();
        drop(stop);
    });
}

#[test]
fn a_read_that_finds_no_slot_takes_those_of_killed_readers() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("k", "v").unwrap();
    let slots = store.status().unwrap().max_readers as usize;
    let reader = Reader::start(directory.path(), slots - 1);
    // One is left: a second read at the same time has none.
    let nested = |expected: bool| {
        let outer = store.environment().read(|_, _| {
            let inner = store.get(b"k");
            assert_eq!(inner.is_ok(), expected, "{inner:?}");
        });
        outer.unwrap();
    };
    nested(false);
    drop(reader);
    nested(true);
}
