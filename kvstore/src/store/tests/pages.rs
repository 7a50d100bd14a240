//! The look at LMDB's pages: that no store is refused which is sound, however it came to be, and what the look costs.

use std::fs::File;
use std::path::Path;

use super::noise;
use super::places::Dice;
use crate::store::environment::End;
use crate::store::pages::{self, LOOKED_AT_BYTES, Looked, PagesError};
use crate::store::{Store, StoreOptions};

fn look(directory: &Path, limit_bytes: u64) -> Looked {
    let file = File::open(directory.join("data.mdb")).unwrap();
    pages::look(&file, limit_bytes).unwrap()
}

fn open(directory: &Path) -> Store {
    Store::open(directory, StoreOptions::default()).unwrap()
}

/// Long and short, many with the same beginning: trees of many levels.
fn key(number: usize) -> Vec<u8> {
    let mut key = vec![b'k'; [2, 40, 300, 490][number % 4]];
    key.extend(number.to_be_bytes());
    key
}

/// Puts and removes so many at random in one transaction.
fn change(store: &Store, dice: &mut Dice, count: usize, removes_of_ten: usize) {
    let changed = store.environment().write(|transaction, tables| {
        for _ in 0..count {
            let key = key(dice.below(3000));
            if dice.below(10) < removes_of_ten {
                tables.records.delete(transaction, &key)?;
            } else {
                let most = [10, 200, 2_100, 9_000][dice.below(4)];
                let value = noise(dice.below(1 << 20) as u64, dice.below(most));
                tables.records.put(transaction, &key, &value)?;
            }
        }
        Ok(End::Commit(()))
    });
    changed.unwrap();
}

#[test]
fn a_sound_store_is_never_refused_whatever_was_done_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    assert!(look(directory.path(), u64::MAX).is_all);
    let mut dice = Dice(0x7ee5);
    for round in 0..200 {
        let count = 1 + dice.below(300);
        // It grows, shrinks to next to nothing, and grows again.
        change(&store, &mut dice, count, if round / 50 % 2 == 0 { 3 } else { 9 });
        if round % 40 == 39 {
            store.compact().unwrap();
        }
        let looked = look(directory.path(), u64::MAX);
        assert!(looked.is_all && looked.pages > 2, "{round}: {looked:?}");
        if round % 25 == 24 {
            drop(store);
            store = open(directory.path());
        }
    }
}

#[test]
fn a_look_stays_within_its_limit() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    change(&store, &mut Dice(1), 3000, 1);
    let all = look(directory.path(), u64::MAX);
    assert!(all.is_all && all.pages > 100, "{all:?}");
    assert_eq!(look(directory.path(), LOOKED_AT_BYTES), all);
    for pages in [0, 1, 10, all.pages - 1] {
        let looked = look(directory.path(), pages * 4096);
        assert!(!looked.is_all && looked.pages <= pages, "{pages}: {looked:?}");
    }
}

#[test]
fn what_is_no_database_is_left_to_lmdb_to_refuse() {
    for bytes in [Vec::new(), vec![0; 100], noise(1, 100_000)] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("data.mdb"), bytes).unwrap();
        assert_eq!(look(directory.path(), u64::MAX), Looked::default());
    }
}

#[test]
fn a_page_that_is_another_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    change(&store, &mut Dice(2), 500, 0);
    drop(store);
    let path = directory.path().join("data.mdb");
    let mut bytes = std::fs::read(&path).unwrap();
    let metas = [number(&bytes, 144), number(&bytes, 4096 + 144)];
    let meta = 4096 * usize::from(metas[0] < metas[1]);
    let root = number(&bytes, meta + 128);
    bytes[root as usize * 4096] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let looked = pages::look(&File::open(&path).unwrap(), u64::MAX);
    assert!(matches!(looked, Err(PagesError::Damaged { page, .. }) if page == root), "{looked:?}");
    let refused = Store::open(directory.path(), StoreOptions::default()).unwrap_err().to_string();
    assert!(refused.contains(&format!("is damaged: page {root}: it has the number of another")), "{refused}");
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// How long it takes to look at a store of 1 GiB: printed, for there is no right answer.
#[test]
#[ignore = "writes 1 GiB, and measures"]
fn what_a_look_costs() {
    let directory = tempfile::tempdir().unwrap();
    for value_bytes in [100_usize, 1_500, 100_000] {
        let path = directory.path().join(value_bytes.to_string());
        let store = Store::open(&path, StoreOptions { max_size_bytes: 4 << 30, ..StoreOptions::default() });
        let store = store.unwrap();
        store.environment().resize(4 << 30).unwrap();
        let count = (1 << 30) / value_bytes / if value_bytes < 1000 { 2 } else { 1 };
        let value = noise(1, value_bytes);
        let mut left = count;
        while left > 0 {
            let now = left.min(20_000);
            let written = store.environment().write(|transaction, tables| {
                for number in left - now..left {
                    tables.records.put(transaction, &number.to_be_bytes(), &value)?;
                }
                Ok(End::Commit(()))
            });
            written.unwrap();
            left -= now;
        }
        drop(store);
        let file_mib = path.join("data.mdb").metadata().unwrap().len() >> 20;
        for limit_bytes in [LOOKED_AT_BYTES, u64::MAX] {
            let begun = std::time::Instant::now();
            let looked = look(&path, limit_bytes);
            println!("{file_mib} MiB of values of {value_bytes} bytes: {looked:?} in {:?}", begun.elapsed());
        }
    }
}
