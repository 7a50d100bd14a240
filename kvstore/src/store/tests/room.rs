//! A store that is filled to its maximum and given room again, in every way and many times over.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use ensemble_tests::eventually;

use super::noise;
use crate::store::clock::Clock;
use crate::store::handle::Revisions;
use crate::store::{
    Applied, COLLECTED_AT_ONCE, ChangesQuery, Condition, Durability, Full, Store, StoreOptions, Together,
    Write, WriteError,
};

const MAX_SIZE_BYTES: usize = 4 << 20;
/// What is kept back for removes is a quarter.
const PUT_BYTES: u64 = MAX_SIZE_BYTES as u64 / 4 * 3;

fn options() -> StoreOptions {
    // The disk is not what is looked at, and every put would wait for it.
    let durability = Durability::Interval { ms: 1000 };
    StoreOptions {
        initial_map_bytes: 64 << 10,
        max_size_bytes: MAX_SIZE_BYTES,
        durability,
        ..StoreOptions::default()
    }
}

/// Puts until nothing fits any more, not even the shortest value; adds the keys, and the lengths of their values.
fn fill(store: &Store, round: usize, ttl_ms: Option<u64>, there: &mut Vec<(String, usize)>) {
    for length in [50_000, 10_000, 2000, 200, 20, 0] {
        loop {
            let key = format!("{round}-{}", there.len());
            let value = noise(length as u64, length).into();
            let write = Write::Put { key: key.clone().into(), value, condition: Condition::Always, ttl_ms };
            match one(store, write) {
                Ok(_) => there.push((key, length)),
                Err(WriteError::StoreFull(Full::MaxSize { .. })) => break,
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    assert!(is_full(store));
}

fn one(store: &Store, write: Write) -> Result<Applied, WriteError> {
    store.apply(vec![write]).pop().unwrap()
}

fn is_full(store: &Store) -> bool {
    let status = store.status().unwrap();
    assert!(status.file_bytes <= MAX_SIZE_BYTES as u64, "{status:?}");
    status.full.is_some()
}

/// Ends what others do, also when the test fails.
struct Ending<'e>(&'e AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// There is room for so many values of 10,000 bytes, at once. A long one would need pages that lie beside each other.
#[track_caller]
fn takes(store: &Store, count: u64) {
    assert!(!is_full(store), "nobody was told that there is room");
    for number in 0..count {
        store.put(format!("again {number}"), noise(number, 10_000)).unwrap();
    }
    assert!(!is_full(store));
    for number in 0..count {
        let key = format!("again {number}");
        assert_eq!(store.get(key.as_bytes()).unwrap().unwrap().value, noise(number, 10_000));
        assert!(store.remove(key).unwrap());
    }
}

#[test]
fn what_is_kept_back_for_removes_is_there_however_often_a_store_was_full() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options()).unwrap();
    let mut there = Vec::new();
    for round in 0..40 {
        fill(&store, round, None, &mut there);
        let status = store.status().unwrap();
        // Every change was kept that could be: none was given up for a remove.
        assert!(status.used_bytes <= PUT_BYTES && status.changes > 50, "{round}: {status:?}");
        for number in 0..10 {
            let (key, _) = there.remove((number * 7 + round) % there.len());
            assert!(store.remove(key).unwrap());
        }
    }
    // So does what changes many pages at once.
    let removes = there.drain(..).map(|(key, _)| Write::remove(key)).collect();
    one(&store, Write::Together(Together::new(removes).unwrap())).unwrap();
    takes(&store, 100);
}

#[test]
fn removes_make_room_at_once_in_every_way() {
    let directory = tempfile::tempdir().unwrap();
    let now_ms = Arc::new(AtomicU64::new(1_000_000));
    let clock = Arc::clone(&now_ms);
    let clock = Clock::of(move || clock.load(Ordering::Relaxed));
    let store = Store::open_as(directory.path(), options(), clock, Revisions::GoOn).unwrap();
    for round in 0..3 {
        let mut there = Vec::new();
        fill(&store, round, None, &mut there);
        for (key, _) in there.drain(..) {
            assert!(store.remove(key).unwrap());
        }
        takes(&store, 100);

        fill(&store, round, None, &mut there);
        let removes = there.drain(..).map(|(key, _)| Write::remove(key)).collect();
        one(&store, Write::Together(Together::new(removes).unwrap())).unwrap();
        takes(&store, 100);

        fill(&store, round, None, &mut there);
        for (key, _) in there.iter().filter(|(_, length)| *length >= 10_000) {
            store.put(key.clone(), "short").unwrap();
        }
        takes(&store, 100);
        let removes = there.drain(..).map(|(key, _)| Write::remove(key)).collect();
        assert!(store.apply(removes).iter().all(Result::is_ok));

        fill(&store, round, Some(1000), &mut there);
        now_ms.fetch_add(1000, Ordering::Relaxed);
        while store.collect_expired().unwrap() == COLLECTED_AT_ONCE {}
        takes(&store, 100);
    }
}

#[test]
fn one_that_was_told_to_be_full_has_room_when_what_was_refused_fits() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options()).unwrap();
    let mut there = Vec::new();
    fill(&store, 0, None, &mut there);
    store.put("long", noise(1, 30_000)).unwrap_err();
    let mut removed_bytes = 0;
    while is_full(&store) {
        let (key, length) = there.remove(0);
        assert!(store.remove(key).unwrap());
        removed_bytes += length;
    }
    assert!((30_000..400_000).contains(&removed_bytes), "{removed_bytes}");
    // A remove of nothing tells nothing new.
    assert!(!store.remove("nothing").unwrap());
    takes(&store, 3);
}

/// A read that began before may still be under way: it needs the pages that were freed meanwhile.
#[track_caller]
fn insist<R>(mut write: impl FnMut() -> Result<R, WriteError>) {
    eventually("no read needs the pages any more", || write().ok());
}

#[test]
fn room_comes_back_under_readers_watchers_and_backups() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store"), options()).unwrap();
    store.put("always", "there").unwrap();
    let is_over = AtomicBool::new(false);
    let goes_on = || !is_over.load(Ordering::Relaxed);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while goes_on() {
                    assert_eq!(store.get(b"always").unwrap().unwrap().value, "there");
                    store.list(b"", None, 1000).unwrap();
                }
            });
        }
        scope.spawn(|| {
            let mut after = 0;
            while goes_on() {
                let query = ChangesQuery { after: Some(after), most: 100, ..ChangesQuery::default() };
                after = match store.changes(&query) {
                    Ok(page) => page.next,
                    Err(_) => store.revision().unwrap(),
                };
            }
        });
        scope.spawn(|| {
            while goes_on() {
                // Writes that need its room may end it.
                store.copy_out(&mut io::sink()).ok();
            }
        });
        let _ending = Ending(&is_over);
        let mut there = Vec::new();
        for round in 0..3 {
            fill(&store, round, None, &mut there);
            for (key, _) in there.drain(..) {
                insist(|| store.remove(key.clone()));
            }
            assert!(!is_full(&store));
            for number in 0..50 {
                insist(|| store.put(format!("again {number}"), noise(number, 10_000)));
            }
            for number in 0..50 {
                insist(|| store.remove(format!("again {number}")));
            }
        }
    });
    assert_eq!(store.status().unwrap().entries, 1);
}
