//! Checking every record, backups and restoring.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ensemble_tests::Done;

use super::{noise, open};
use crate::store::environment::End;
use crate::store::record::{Damage, RecordError};
use crate::store::{BackupError, Durability, Store, StoreOptions, restore};

/// Writes zeros over a record behind the store's back.
fn damage(store: &Store, key: &str) {
    let environment = store.environment();
    let written = environment.write(|transaction, tables| {
        tables.records.put(transaction, key.as_bytes(), &[0; 30])?;
        Ok(End::Commit(()))
    });
    written.unwrap();
}

#[test]
fn every_record_is_checked_in_parts_and_each_damaged_one_is_named_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for number in 0..5_u64 {
        store.put(format!("large {number}"), noise(number, 9 << 20)).unwrap();
    }
    for number in 0..1500_u32 {
        store.put(format!("small {number:04}"), "v").unwrap();
    }
    for number in 0..1200_u32 {
        damage(&store, &format!("small {number:04}"));
    }
    damage(&store, "large 3");
    let (mut parts, mut records, mut damaged, mut after) = (0, 0, Vec::new(), None);
    loop {
        let part = store.verify(after.as_deref()).unwrap();
        assert!(part.damaged.len() <= 1000 && part.bytes < (26 << 20));
        parts += 1;
        records += part.records;
        damaged.extend(part.damaged);
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert!(parts >= 3, "{parts}");
    assert_eq!((records, damaged.len()), (1505, 1201));
    assert!(damaged.is_sorted_by(|first, second| first.0 < second.0));
    assert_eq!(damaged[0], ("large 3".into(), RecordError::Damaged(Damage::VersionZero)));
}

#[test]
fn a_backup_of_each_durability_restores_and_writes_over_nothing() {
    for durability in [Durability::Sync, Durability::Interval { ms: 1000 }, Durability::None] {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let options = StoreOptions { durability, initial_map_bytes: 64 << 10, ..StoreOptions::default() };
        let store = Store::open(&at("store"), options).unwrap();
        for number in 0..50_u64 {
            store.put(number.to_string(), noise(number, 20_000)).unwrap();
        }
        for number in 10..50_u64 {
            store.remove(number.to_string()).unwrap();
        }
        let made = store.backup(&at("backup")).unwrap();
        assert_eq!((made.entries, made.revision), (10, 90));
        assert!(made.bytes < 400_000, "{made:?}");
        assert!(matches!(store.backup(&at("backup")), Err(BackupError::Exists { .. })));
        store.put("later", "v").unwrap();

        let restored = restore(&at("backup"), &at("restored")).unwrap();
        assert_eq!(restored, made);
        let found = open(&at("restored"));
        assert_eq!((found.status().unwrap().entries, found.get(b"later").unwrap()), (10, None));
        assert_eq!(found.get(b"7").unwrap().unwrap().value, noise(7, 20_000));
        assert_eq!(found.put("k", "v").unwrap().revision, 91);
        assert!(matches!(restore(&at("backup"), &at("store")), Err(BackupError::Exists { .. })));
        fs::create_dir(at("empty")).unwrap();
        assert!(restore(&at("backup"), &at("empty")).is_ok());
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["backup", "empty", "restored", "store"]);
    }
}

#[test]
fn a_compaction_keeps_everything_among_readers_and_writers() {
    for durability in [Durability::Sync, Durability::Interval { ms: 1000 }] {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { durability, initial_map_bytes: 64 << 10, ..StoreOptions::default() };
        let store = Store::open(directory.path(), options.clone()).unwrap();
        for number in 0..200_u64 {
            store.put(number.to_string(), noise(number, 20_000)).unwrap();
        }
        for number in 20..200_u64 {
            store.remove(number.to_string()).unwrap();
        }
        let is_done = AtomicBool::new(false);
        let written = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut written = 0_u64;
                while !is_done.load(Ordering::Relaxed) {
                    store.put("counter", written.to_string()).unwrap();
                    written += 1;
                }
                written
            });
            for reader in 0..2_u64 {
                let (store, is_done) = (&store, &is_done);
                scope.spawn(move || {
                    while !is_done.load(Ordering::Relaxed) {
                        let entry = store.get(reader.to_string().as_bytes()).unwrap().unwrap();
                        assert_eq!(entry.value, noise(reader, 20_000));
                    }
                });
            }
            let done = Done::at_the_end(&is_done);
            let first = store.compact().unwrap();
            assert!(first.before_bytes > 4_000_000 && first.after_bytes < 1_000_000, "{first:?}");
            for _ in 0..3 {
                store.compact().unwrap();
            }
            drop(done);
            writer.join().unwrap()
        });
        let last = (written - 1).to_string();
        let check = |store: &Store| {
            assert_eq!(store.status().unwrap().entries, 21);
            assert_eq!(store.revision().unwrap(), 380 + written);
            assert_eq!(store.get(b"counter").unwrap().unwrap().value, last);
            assert_eq!(store.get(b"19").unwrap().unwrap().value, noise(19, 20_000));
        };
        check(&store);
        assert_eq!(directory.path().join("synced").exists(), durability != Durability::Sync);
        assert!(!directory.path().join("data.mdb.compact").exists());
        drop(store);
        let store = Store::open(directory.path(), options).unwrap();
        check(&store);
        store.put("large", noise(1, 10 << 20)).unwrap();
    }
}
