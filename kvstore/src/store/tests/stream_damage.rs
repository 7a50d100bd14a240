//! Damage to values in parts: it is told, never returned, and other keys go on.

use std::io::{Read as _, Write as _};

use super::noise;
use crate::store::environment::{End, Tables};
use crate::store::parts::{PartHeader, State, part_key, value_key};
use crate::store::record::{Codec, Damage, PayloadChecksum, RecordError};
use crate::store::{Condition, Layout, ReadError, Store, StoreOptions, Strays, WriteError, restore};

const PART: usize = 1024;

fn open(directory: &std::path::Path) -> Store {
    Store::open(directory, StoreOptions { part_bytes: PART, ..StoreOptions::default() }).unwrap()
}

fn stream(store: &Store, key: &'static str, value: &[u8]) -> u64 {
    let mut writer = store.writer(key, Condition::Always).unwrap();
    writer.write_all(value).unwrap();
    writer.finish(None).unwrap();
    match store.layout(key.as_bytes()).unwrap() {
        Some(Layout::InParts(parts)) => parts.value,
        other => panic!("{other:?}"),
    }
}

/// Does something to the tables behind the store's back.
fn tamper(store: &Store, with: impl Fn(&mut heed::RwTxn<'_>, &Tables) -> Result<(), heed::Error>) {
    let written = store.environment().write(|transaction, tables| {
        with(transaction, tables)?;
        Ok(End::Commit(()))
    });
    written.unwrap();
}

fn verify(store: &Store) -> Vec<(String, RecordError)> {
    let (mut damaged, mut after) = (Vec::new(), None);
    loop {
        let part = store.verify(after.as_deref()).unwrap();
        let named = part.damaged.into_iter();
        damaged.extend(named.map(|(key, why)| (String::from_utf8(key.to_vec()).unwrap(), why)));
        after = part.next;
        if after.is_none() {
            return damaged;
        }
    }
}

/// Looks for strays to the end.
fn drop_strays(store: &Store) -> usize {
    let mut strays = Strays::default();
    let mut count = store.drop_strays(&mut strays).unwrap();
    while !strays.is_at_end() {
        count += store.drop_strays(&mut strays).unwrap();
    }
    count
}

#[test]
fn every_damaged_byte_of_a_part_is_told_before_any_of_it_is_returned() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    stream(&store, "sound", &noise(1, 5 * PART));
    // The first part is raw, and the second compressed.
    let value = [noise(2, PART), vec![7; PART], noise(3, 10)].concat();
    let id = stream(&store, "key", &value);
    for number in 0..3 {
        let key = part_key(id, number);
        let read = store
            .environment()
            .read(|transaction, tables| tables.parts.get(transaction, &key).unwrap().unwrap().to_vec());
        let sound = read.unwrap();
        let flips = (0..sound.len() * 8).step_by(if sound.len() > 100 { 31 } else { 1 }).map(|bit| {
            let mut part = sound.clone();
            part[bit / 8] ^= 1 << (bit % 8);
            part
        });
        let cuts = (0..sound.len()).step_by(7).map(|length| sound[..length].to_vec());
        for part in flips.chain(cuts) {
            tamper(&store, |transaction, tables| tables.parts.put(transaction, &key, &part));
            for answer in [store.get(b"key").map(drop), store.read_part(b"key", id, number).map(drop)] {
                assert!(
                    matches!(answer, Err(ReadError::Damaged { .. } | ReadError::NewerFormat { .. })),
                    "{number}: {answer:?}"
                );
            }
            let named = verify(&store);
            assert!(matches!(&named[..], [(key, _)] if key == "key"), "{named:?}");
        }
        // Those before it are read.
        let mut reader = store.reader(b"key").unwrap().unwrap();
        let mut before = vec![0; number as usize * PART];
        reader.read_exact(&mut before).unwrap();
        assert!(before == value[..before.len()]);
        assert!(reader.read(&mut [0]).unwrap_err().downcast::<ReadError>().is_ok());
        tamper(&store, |transaction, tables| tables.parts.put(transaction, &key, &sound));
        assert!(store.get(b"key").unwrap().unwrap().value == value);
    }
    assert_eq!(verify(&store), []);
    assert_eq!(store.get(b"sound").unwrap().unwrap().value, noise(1, 5 * PART));
}

#[test]
fn parts_that_change_places_or_are_missing_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let first = stream(&store, "first", &noise(1, 3 * PART));
    let second = stream(&store, "second", &noise(2, 3 * PART));
    let get = |transaction: &heed::RwTxn<'_>, tables: &Tables, key: &[u8]| {
        tables.parts.get(transaction, key).unwrap().unwrap().to_vec()
    };
    for (from, to) in [(part_key(first, 0), part_key(first, 1)), (part_key(second, 2), part_key(first, 2))] {
        tamper(&store, |transaction, tables| {
            let part = get(transaction, tables, &from);
            tables.parts.put(transaction, &to, &part)
        });
    }
    for number in [1, 2] {
        let answer = store.read_part(b"first", first, number);
        assert!(matches!(answer, Err(ReadError::Damaged { damage: Damage::Checksum { .. } })), "{answer:?}");
    }
    tamper(&store, |transaction, tables| tables.parts.delete(transaction, &part_key(second, 1)).map(drop));
    let missing = Damage::MissingPart { number: 1 };
    for answer in [store.get(b"second").map(drop), store.read_part(b"second", second, 1).map(drop)] {
        assert!(matches!(answer, Err(ReadError::Damaged { damage }) if damage == missing), "{answer:?}");
    }
    let named = verify(&store);
    assert_eq!(named.len(), 2, "{named:?}");
    assert_eq!(named[1], ("second".to_owned(), missing.into()));
    // Writing the keys anew heals them.
    stream(&store, "first", &noise(1, 3 * PART));
    store.put("second", "v").unwrap();
    assert_eq!(verify(&store), []);
}

#[test]
fn a_damaged_record_takes_no_others_parts_with_it_and_its_own_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let first = stream(&store, "first", &noise(1, 3 * PART));
    let second = stream(&store, "second", &noise(2, 3 * PART));
    let record_of = |key: &str| {
        let read = store.environment().read(|transaction, tables| {
            tables.records.get(transaction, key.as_bytes()).unwrap().unwrap().to_vec()
        });
        read.unwrap()
    };
    let sound = record_of("first");
    for bit in 0..sound.len() * 8 {
        let mut record = sound.clone();
        record[bit / 8] ^= 1 << (bit % 8);
        tamper(&store, |transaction, tables| tables.records.put(transaction, b"first", &record));
        let answers =
            [store.get(b"first").map(drop), store.reader(b"first").map(drop), store.meta(b"first").map(drop)];
        for answer in answers {
            assert!(
                matches!(answer, Err(ReadError::Damaged { .. } | ReadError::NewerFormat { .. })),
                "{bit}: {answer:?}"
            );
        }
        let named = verify(&store);
        assert!(matches!(&named[..], [(key, _)] if key == "first"), "{bit}: {named:?}");
    }
    // A damaged number that is another's.
    let mut record = sound.clone();
    record[20..28].copy_from_slice(&second.to_le_bytes());
    tamper(&store, |transaction, tables| tables.records.put(transaction, b"first", &record));
    store.put("first", "v").unwrap();
    while store.inner().reclaim(&mut store.inner().writer.lock().unwrap()).is_ok_and(|some| some) {}
    assert_eq!(store.get(b"second").unwrap().unwrap().value, noise(2, 3 * PART));
    // What was the first one's has no record now.
    assert_eq!(verify(&store), [(String::new(), Damage::Stray { value: first }.into())]);
    // That keeps no backup from being restored.
    let at = |name: &str| directory.path().join(name);
    store.backup(&at("backup")).unwrap();
    assert_eq!(restore(&at("backup"), &at("restored")).unwrap().entries, 2);
    drop(store);
    let store = open(directory.path());
    assert_eq!(drop_strays(&store), 1);
    while store.inner().reclaim(&mut store.inner().writer.lock().unwrap()).is_ok_and(|some| some) {}
    assert_eq!(verify(&store), []);
    assert_eq!(store.get(b"second").unwrap().unwrap().value, noise(2, 3 * PART));
}

#[test]
fn a_lost_entry_about_a_value_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let id = stream(&store, "key", &noise(1, 3 * PART));
    tamper(&store, |transaction, tables| {
        tables.values.delete(transaction, &value_key(State::Owned, id)).map(drop)
    });
    let named = verify(&store);
    assert_eq!(named[0], ("key".to_owned(), Damage::Stray { value: id }.into()));
    assert_eq!(store.get(b"key").unwrap().unwrap().value, noise(1, 3 * PART));
}

#[test]
fn parts_of_which_nothing_is_known_are_freed_unless_a_record_may_have_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let orphan = stream(&store, "orphan", &noise(1, 3 * PART));
    let kept = stream(&store, "kept", &noise(2, 3 * PART));
    let noted = stream(&store, "noted", &noise(3, 3 * PART));
    let record = |key: &str| {
        let read = store.environment().read(|transaction, tables| {
            tables.records.get(transaction, key.as_bytes()).unwrap().unwrap().to_vec()
        });
        read.unwrap()
    };
    tamper(&store, |transaction, tables| {
        for value in [orphan, kept] {
            tables.values.delete(transaction, &value_key(State::Owned, value))?;
        }
        tables.records.delete(transaction, b"orphan").map(drop)
    });
    // A damaged record may be the one that has them.
    let sound = record("noted");
    let mut damaged = sound.clone();
    damaged[20] ^= 1;
    tamper(&store, |transaction, tables| tables.records.put(transaction, b"noted", &damaged));
    assert_eq!(drop_strays(&store), 0);
    tamper(&store, |transaction, tables| tables.records.put(transaction, b"noted", &sound));
    assert_eq!(drop_strays(&store), 1);
    while store.inner().reclaim(&mut store.inner().writer.lock().unwrap()).is_ok_and(|some| some) {}
    let parts_of = |value: u64| {
        let read = store.environment().read(|transaction, tables| {
            tables.parts.prefix_iter(transaction, &value.to_be_bytes()).unwrap().count()
        });
        read.unwrap()
    };
    assert_eq!([orphan, kept, noted].map(parts_of), [0, 3, 3]);
    assert_eq!(store.get(b"kept").unwrap().unwrap().value, noise(2, 3 * PART));
    assert_eq!(drop_strays(&store), 0);
}

#[test]
fn a_stream_without_a_condition_writes_over_damage_as_a_put_does() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("key", "v").unwrap();
    tamper(&store, |transaction, tables| tables.records.put(transaction, b"key", &[9; 40]));
    for condition in [Condition::Absent, Condition::Revision(1)] {
        let refused = store.writer("key", condition).map(drop);
        assert!(matches!(refused, Err(WriteError::Unreadable(_))), "{refused:?}");
    }
    stream(&store, "key", &noise(1, 3 * PART));
    assert_eq!(store.get(b"key").unwrap().unwrap().value, noise(1, 3 * PART));
    assert_eq!(verify(&store), []);
}

#[test]
fn a_part_that_was_not_compressed_from_what_it_says_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let id = stream(&store, "key", &[7; PART]);
    let key = part_key(id, 0);
    tamper(&store, |transaction, tables| {
        let part = tables.parts.get(transaction, &key)?.unwrap().to_vec();
        let (header, payload) = PartHeader::decode(&key, &part).unwrap();
        assert_eq!(header.codec, Codec::Zstd);
        let other = PartHeader { content: header.content ^ 1, ..header };
        let other = [&other.encode(&key, &PayloadChecksum::of(payload))[..], payload].concat();
        tables.parts.put(transaction, &key, &other)
    });
    for answer in [store.get(b"key").map(drop), store.read_part(b"key", id, 0).map(drop)] {
        let expected = Damage::Part { number: 0 };
        assert!(matches!(answer, Err(ReadError::Damaged { damage }) if damage == expected), "{answer:?}");
    }
}
