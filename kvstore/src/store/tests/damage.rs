//! Damaged records, damaged files, and formats of later versions.

use std::fs;

use super::{noise, open};
use crate::store::environment::End;
use crate::store::record::{Damage, RECORD_VERSION, RecordError};
use crate::store::{Condition, OpenError, ReadError, Store, StoreOptions, Write, WriteError};

/// Puts `record` under `key` behind the store's back.
fn plant(store: &Store, key: &[u8], record: &[u8]) {
    store
        .environment()
        .write(|transaction, tables| {
            tables.records.put(transaction, key, record)?;
            Ok(End::Commit(()))
        })
        .unwrap();
}

fn stored_record(store: &Store, key: &[u8]) -> Vec<u8> {
    let read = store
        .environment()
        .read(|transaction, tables| tables.records.get(transaction, key).unwrap().unwrap().to_vec());
    read.unwrap()
}

fn damage(store: &Store, key: &[u8]) -> Damage {
    match store.get(key) {
        Err(ReadError::Damaged { damage }) => damage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_flipped_bit_is_reported_and_never_returned() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("raw", "some bytes").unwrap();
    store.put("zstd", "some text, ".repeat(100)).unwrap();
    store.put("sound", "still here").unwrap();
    for key in ["raw", "zstd"] {
        let key = key.as_bytes();
        let sound = stored_record(&store, key);
        let batch_of_damage = (0..sound.len() * 8).map(|bit| {
            let mut record = sound.clone();
            record[bit / 8] ^= 1 << (bit % 8);
            (bit, record)
        });
        for (bit, record) in batch_of_damage.step_by(7) {
            plant(&store, key, &record);
            let answer = store.get(key);
            let told = match &answer {
                Err(ReadError::Damaged { .. }) => true,
                Err(ReadError::NewerFormat { found, supported: 1 }) => bit < 8 && *found > RECORD_VERSION,
                _ => false,
            };
            assert!(told, "bit {bit}: {answer:?}");
        }
        for cut in 0..sound.len() {
            plant(&store, key, &sound[..cut]);
            damage(&store, key);
        }
    }
    assert_eq!(store.get(b"sound").unwrap().unwrap().value, "still here");
    store.put("raw", "repaired").unwrap();
    assert_eq!(store.get(b"raw").unwrap().unwrap().value, "repaired");
    assert!(store.remove("zstd").unwrap(), "a damaged record can be removed");
}

#[test]
fn a_record_under_another_key_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("a", "value").unwrap();
    plant(&store, b"b", &stored_record(&store, b"a"));
    assert!(matches!(damage(&store, b"b"), Damage::Checksum { .. }));
}

#[test]
fn a_condition_on_a_damaged_record_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    plant(&store, b"k", b"");
    for condition in [Condition::Absent, Condition::Revision(1)] {
        let write = Write::Put { key: "k".into(), value: "v".into(), condition, ttl_ms: None };
        let result = store.apply(vec![write]).pop().unwrap();
        assert!(matches!(
            result,
            Err(WriteError::Unreadable(RecordError::Damaged(Damage::Truncated { bytes: 0 })))
        ));
    }
}

#[test]
fn a_record_of_a_later_version_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    plant(&store, b"k", &[2; 50]);
    assert!(matches!(store.get(b"k"), Err(ReadError::NewerFormat { found: 2, supported: 1 })));
}

#[test]
fn a_store_of_a_later_version_is_refused_by_name_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let set_version = |version: &[u8]| {
        let store = open(directory.path());
        let write = |transaction: &mut heed::RwTxn<'_>, tables: &crate::store::environment::Tables| {
            tables.meta.put(transaction, b"format", version)?;
            Ok(End::Commit(()))
        };
        store.environment().write(write).unwrap();
    };
    set_version(&3_u32.to_le_bytes());
    for _ in 0..2 {
        let error = Store::open(directory.path(), StoreOptions::default()).unwrap_err();
        assert!(matches!(error, OpenError::NewerFormat { found: 3, supported: 2 }), "{error:?}");
        assert_eq!(error.to_string(), "the store has format version 3, and this program reads up to 2");
    }
}

#[test]
fn an_unreadable_store_version_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let write = |transaction: &mut heed::RwTxn<'_>, tables: &crate::store::environment::Tables| {
        tables.meta.put(transaction, b"format", b"seven")?;
        Ok(End::Commit(()))
    };
    store.environment().write(write).unwrap();
    drop(store);
    let error = Store::open(directory.path(), StoreOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error:?}");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("data.mdb"), noise(1, 100_000)).unwrap();
    let error = Store::open(directory.path(), StoreOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error:?}");
}

#[test]
fn a_file_cut_short_gives_errors_and_no_crash() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for key in 0..200_u8 {
        store.put(vec![key], noise(key.into(), 3000)).unwrap();
    }
    drop(store);
    let file = fs::OpenOptions::new().write(true).open(directory.path().join("data.mdb")).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length / 2).unwrap();
    drop(file);
    match Store::open(directory.path(), StoreOptions::default()) {
        Err(error) => assert!(matches!(error, OpenError::DamagedPages { .. }), "{error:?}"),
        Ok(store) => {
            let mut lost = 0;
            for key in 0..200_u8 {
                match store.get(&[key]) {
                    Ok(Some(entry)) => assert_eq!(entry.value, noise(key.into(), 3000)),
                    Ok(None) => panic!("key {key} is said never to have been"),
                    Err(_) => lost += 1,
                }
            }
            assert!(lost > 0, "half of the file is gone");
        }
    }
}

#[test]
fn a_flipped_bit_of_one_of_many_keys_is_that_keys_own_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("raw", "some bytes").unwrap();
    store.put("zstd", "some text, ".repeat(100)).unwrap();
    store.put("sound", "still here").unwrap();
    let keys = ["raw".into(), "sound".into(), "zstd".into()];
    for damaged in ["raw", "zstd"] {
        let key = damaged.as_bytes();
        let sound = stored_record(&store, key);
        for bit in 0..sound.len() * 8 {
            let mut record = sound.clone();
            record[bit / 8] ^= 1 << (bit % 8);
            plant(&store, key, &record);
            let entries = store.get_many(&keys, 2000).unwrap_or_else(|all| panic!("bit {bit}: {all:?}"));
            for (of, entry) in keys.iter().zip(entries) {
                match (of == damaged, entry) {
                    (false, Ok(Some(_)))
                    | (true, Err(ReadError::Damaged { .. } | ReadError::NewerFormat { .. })) => {}
                    (_, other) => panic!("bit {bit} of {damaged}, {of:?}: {other:?}"),
                }
            }
        }
        plant(&store, key, &sound);
    }
}
