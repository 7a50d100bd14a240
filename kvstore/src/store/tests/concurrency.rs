//! Many threads on one store; readers beside an open write transaction.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;

use super::open;
use crate::store::environment::End;
use crate::store::{Applied, Condition, Write, WriteError};

#[test]
fn a_reader_ends_while_a_write_transaction_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("k", "before").unwrap();
    store
        .environment()
        .write(|transaction, tables| {
            tables.records.delete(transaction, b"k")?;
            // The transaction cannot end before this reader has.
            let read = thread::scope(|scope| scope.spawn(|| store.get(b"k")).join().unwrap());
            assert_eq!(read.unwrap().unwrap().value, "before");
            Ok(End::Commit(()))
        })
        .unwrap();
    assert_eq!(store.get(b"k").unwrap(), None);
}

#[test]
fn a_writer_commits_while_a_read_transaction_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("k", "before").unwrap();
    store
        .environment()
        .read(|transaction, tables| {
            thread::scope(|scope| scope.spawn(|| store.put("k", "after")).join().unwrap()).unwrap();
            let record = tables.records.get(transaction, b"k").unwrap().unwrap();
            assert!(record.ends_with(b"before"), "a reader keeps its snapshot");
        })
        .unwrap();
    assert_eq!(store.get(b"k").unwrap().unwrap().value, "after");
}

#[test]
fn revisions_of_many_threads_are_all_different_and_without_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let seen = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for thread in 0..8 {
            let (store, seen) = (store.clone(), &seen);
            scope.spawn(move || {
                for round in 0..20 {
                    let stored = store.put(format!("{thread}"), format!("{thread} {round}")).unwrap();
                    assert!(seen.lock().unwrap().insert(stored.revision));
                    let entry = store.get(format!("{thread}").as_bytes()).unwrap().unwrap();
                    assert_eq!(entry.value, format!("{thread} {round}"));
                    assert_eq!(entry.revision, stored.revision);
                }
            });
        }
    });
    assert_eq!(seen.into_inner().unwrap(), (1..=160).collect());
}

#[test]
fn of_many_who_compare_and_swap_one_wins_each_round() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("counter", "0").unwrap();
    let increment = || loop {
        let entry = store.get(b"counter").unwrap().unwrap();
        let count: u32 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
        let write = Write::Put {
            key: "counter".into(),
            value: (count + 1).to_string().into(),
            ttl_ms: None,
            condition: Condition::Revision(entry.revision),
        };
        match store.apply(vec![write]).pop().unwrap() {
            Ok(Applied::Stored(_)) => return,
            Err(WriteError::Conflict { .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|_| increment()));
        }
    });
    assert_eq!(store.get(b"counter").unwrap().unwrap().value, "100");
}
