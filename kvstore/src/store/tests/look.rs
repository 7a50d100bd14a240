//! Pages of keys, what is known about a key, and how the store is.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::{noise, open};
use crate::store::environment::End;
use crate::store::record::{Codec, Damage, RecordError};
use crate::store::{Durability, KeyError, MAX_PAGE_KEYS, Meta, ReadError, Store};

fn all(store: &Store, prefix: &[u8], limit: usize) -> Vec<Bytes> {
    let mut keys = Vec::new();
    let mut after: Option<Bytes> = None;
    loop {
        let page = store.list(prefix, after.as_deref(), limit).unwrap();
        assert!(page.keys.len() <= limit);
        keys.extend(page.keys.into_iter().map(|listed| listed.key));
        after = page.next;
        if after.is_none() {
            return keys;
        }
    }
}

#[test]
fn a_page_is_bounded_by_count_and_by_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for number in 0..1200_u32 {
        store.put(format!("s{number:04}"), "").unwrap();
    }
    for number in 0..300_u32 {
        store.put(format!("l{number:04}{}", "x".repeat(500)), "").unwrap();
    }
    assert_eq!(store.list(b"s", None, usize::MAX).unwrap().keys.len(), MAX_PAGE_KEYS);
    assert_eq!(store.list(b"s", None, 0).unwrap().keys.len(), 1);
    let long = store.list(b"l", None, usize::MAX).unwrap().keys.len();
    assert!((100..200).contains(&long), "{long}");
    assert_eq!(all(&store, b"", 1000).len(), 1500);
    assert_eq!(store.list(b"s1199", None, 1).unwrap().next, None);
}

#[test]
fn what_is_known_about_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert_eq!(store.meta(b"k").unwrap(), None);
    assert!(matches!(store.meta(b""), Err(ReadError::Key(KeyError::Empty))));
    store.put("k", "twice ".repeat(100)).unwrap();
    let meta = store.meta(b"k").unwrap().unwrap();
    let stored_bytes = meta.stored_bytes;
    assert!(stored_bytes < 100);
    let expected =
        Meta { revision: 1, value_bytes: 600, stored_bytes, codec: Codec::Zstd, expires_in_ms: None };
    assert_eq!(meta, expected);
    assert_eq!(store.list(b"", None, 1).unwrap().keys[0].meta, Ok(expected));
}

#[test]
fn a_damaged_record_is_listed_with_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("a", "").unwrap();
    store
        .environment()
        .write(|transaction, tables| {
            tables.records.put(transaction, b"b", &[1, 9])?;
            Ok(End::Commit(()))
        })
        .unwrap();
    let page = store.list(b"", None, 10).unwrap();
    assert!(page.keys[0].meta.is_ok());
    assert_eq!(page.keys[1].meta, Err(RecordError::Damaged(Damage::Truncated { bytes: 2 })));
    assert!(matches!(store.meta(b"b"), Err(ReadError::Damaged { .. })));
}

#[test]
fn the_store_counts_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let empty = store.status().unwrap();
    assert_eq!((empty.entries, empty.revision, empty.full, empty.durability), (0, 0, None, Durability::Sync));
    for number in 0..50_u32 {
        store.put(number.to_string(), noise(number.into(), 10_000)).unwrap();
    }
    let filled = store.status().unwrap();
    assert_eq!((filled.entries, filled.revision), (50, 50));
    assert!(filled.used_bytes >= empty.used_bytes + 500_000, "{filled:?}");
    assert!(filled.file_bytes >= filled.used_bytes && filled.map_bytes >= filled.file_bytes, "{filled:?}");
    for number in 0..50_u32 {
        store.remove(number.to_string()).unwrap();
    }
    let emptied = store.status().unwrap();
    assert_eq!(emptied.entries, 0);
    assert!(emptied.free_pages * emptied.page_bytes > 500_000, "{emptied:?}");
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()], 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn pages_together_are_the_keys_of_a_map(
        keys in prop::collection::btree_map(key(), Just(()), 0..40),
        prefix in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255)], 0..3),
        limit in 1..7_usize,
        after in prop::option::of(key()),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let keys: BTreeMap<Vec<u8>, ()> = keys;
        let writes = keys.keys().map(|key| crate::store::Write::put(key.clone(), "")).collect();
        prop_assert!(store.apply(writes).iter().all(Result::is_ok));
        let expected: Vec<_> = keys.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
        prop_assert_eq!(&all(&store, &prefix, limit), &expected);
        let page = store.list(&prefix, after.as_deref(), 100).unwrap();
        let behind = expected.iter().filter(|key| after.as_ref().is_none_or(|after| *key > after));
        prop_assert!(page.keys.iter().map(|listed| &listed.key[..]).eq(behind.map(Vec::as_slice)));
        prop_assert_eq!(page.next, None);
    }
}
