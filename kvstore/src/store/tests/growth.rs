//! The map that grows, the maximum, and what still works there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{bare, noise, open, take_every_page};
use crate::store::{Applied, Durability, Full, Store, StoreOptions, Write, WriteError};

fn options(max_size_bytes: usize) -> StoreOptions {
    StoreOptions { initial_map_bytes: 64 << 10, max_size_bytes, ..StoreOptions::default() }
}

/// Puts noise of `length` bytes under numbered keys until the store is full; says how many fitted.
fn fill(store: &Store, length: usize) -> u32 {
    for number in 0.. {
        match store.put(number.to_string(), noise(number.into(), length)) {
            Ok(_) => {}
            Err(WriteError::StoreFull(Full::MaxSize { .. })) => return number,
            Err(other) => panic!("{other:?}"),
        }
    }
    unreachable!("the store is never full")
}

#[test]
fn the_map_grows_under_puts_and_keeps_everything() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options(256 << 20)).unwrap();
    for number in 0..100_u32 {
        store.put(number.to_string(), noise(number.into(), 40_000)).unwrap();
    }
    // More at once than doubling the map gives.
    store.put("large", noise(7, 30 << 20)).unwrap();
    assert!(store.environment().map_bytes() > 34 << 20);
    for number in 0..100_u32 {
        assert_eq!(
            store.get(number.to_string().as_bytes()).unwrap().unwrap().value,
            noise(number.into(), 40_000)
        );
    }
    drop(store);

    let store = Store::open(directory.path(), options(256 << 20)).unwrap();
    assert_eq!(store.get(b"large").unwrap().unwrap().value, noise(7, 30 << 20));
    store.put("more", noise(8, 1 << 20)).unwrap();
}

#[test]
fn a_batch_is_replayed_whole_when_the_map_grows() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options(256 << 20)).unwrap();
    let batch = (0..500_u32).map(|number| Write::put(number.to_string(), noise(1, 5000))).collect();
    let revisions: Vec<u64> = store
        .apply(batch)
        .into_iter()
        .map(|result| match result {
            Ok(Applied::Stored(stored)) => stored.revision,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(revisions, (1..=500).collect::<Vec<u64>>());
}

#[test]
fn readers_see_sound_values_while_the_map_moves() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options(64 << 20)).unwrap();
    let value = noise(3, 10_000);
    store.put("k", value.clone()).unwrap();
    let written = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !written.load(Ordering::Relaxed) {
                    assert_eq!(store.get(b"k").unwrap().unwrap().value, value);
                }
            });
        }
        for number in 0..200_u32 {
            store.put(number.to_string(), noise(number.into(), 50_000)).unwrap();
        }
        written.store(true, Ordering::Relaxed);
    });
    assert!(store.environment().map_bytes() > 10_000_000);
}

#[test]
fn a_full_store_says_so_and_still_reads_and_removes() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options(2 << 20)).unwrap();
    let count = fill(&store, 10_000);
    assert!(count > 100, "{count}");
    let full = store.put("one more", noise(1, 10_000)).unwrap_err();
    assert!(matches!(full, WriteError::StoreFull(Full::MaxSize { max_size_bytes: 2_097_152 })));
    assert_eq!(full.to_string(), "the store is full: it has reached its maximum of 2097152 bytes");
    let file_bytes = || directory.path().join("data.mdb").metadata().unwrap().len();
    assert!(file_bytes() <= 2 << 20, "{}", file_bytes());
    for number in 0..count {
        let key = number.to_string();
        assert_eq!(store.get(key.as_bytes()).unwrap().unwrap().value, noise(number.into(), 10_000));
        assert!(store.remove(key).unwrap());
    }
    assert!(file_bytes() <= 2 << 20, "{}", file_bytes());
}

#[test]
fn a_full_store_takes_puts_again_after_a_remove_and_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let store = Store::open(directory.path(), options(2 << 20)).unwrap();
        let count = fill(&store, 10_000);
        // The values were replaced to the last, so what is free now is what this frees.
        assert!(store.remove((count / 2).to_string()).unwrap());
        store.put("another", noise(1, 9_000)).unwrap();
        assert!(store.remove("another").unwrap());
    }
}

#[test]
fn many_small_removes_go_through_at_the_maximum() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options(1 << 20)).unwrap();
    let mut count = 0;
    // As full as it gets, with small pages everywhere.
    for length in [2000, 200, 20, 0] {
        while store.put(format!("key {count}"), noise(count, length)).is_ok() {
            count += 1;
        }
    }
    let removes = (0..count).map(|number| Write::remove(format!("key {number}"))).collect();
    for (number, result) in store.apply(removes).into_iter().enumerate() {
        assert!(matches!(result, Ok(Applied::Removed { revision: Some(_) })), "{number}: {result:?}");
    }
    store.put("again", noise(1, 100_000)).unwrap();
}

#[test]
fn removes_go_through_when_puts_have_taken_every_page() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options(1 << 20)).unwrap();
    let count = fill(&store, 10_000);
    take_every_page(&store);
    for number in 0..count {
        let removed = store.remove(number.to_string());
        assert!(matches!(removed, Ok(true)), "{number}: {removed:?}");
        assert!(directory.path().join("data.mdb").metadata().unwrap().len() <= 1 << 20);
    }
    store.put("again", noise(1, 100_000)).unwrap();
}

#[test]
fn in_a_full_store_only_what_does_not_fit_fails() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options(2 << 20)).unwrap();
    fill(&store, 10_000);
    let results = store.apply(vec![
        Write::put("too large", noise(1, 1 << 20)),
        Write::remove("0"),
        Write::put("1", "short"),
        Write::put("too large", noise(1, 1 << 20)),
        Write::remove("2"),
    ]);
    assert!(matches!(results[0], Err(WriteError::StoreFull(_))), "{:?}", results[0]);
    assert!(matches!(results[1], Ok(Applied::Removed { revision: Some(_) })), "{:?}", results[1]);
    assert!(matches!(results[2], Ok(Applied::Stored(_))), "{:?}", results[2]);
    assert!(matches!(results[3], Err(WriteError::StoreFull(_))), "{:?}", results[3]);
    assert!(matches!(results[4], Ok(Applied::Removed { revision: Some(_) })), "{:?}", results[4]);
    assert_eq!(store.get(b"too large").unwrap(), None);
    assert_eq!(store.get(b"1").unwrap().unwrap().value, "short");
}

#[test]
fn a_lower_maximum_than_the_file_still_opens_reads_and_removes() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options(64 << 20)).unwrap();
    for number in 0..100_u32 {
        store.put(number.to_string(), noise(number.into(), 100_000)).unwrap();
    }
    drop(store);
    let store = Store::open(directory.path(), options(1 << 20)).unwrap();
    assert!(matches!(store.put("more", noise(1, 1 << 20)), Err(WriteError::StoreFull(_))));
    assert_eq!(store.get(b"99").unwrap().unwrap().value, noise(99, 100_000));
    for number in 0..100_u32 {
        let removed = store.remove(number.to_string());
        assert!(matches!(removed, Ok(true)), "{number}: {removed:?}");
    }
}

#[test]
fn a_full_store_of_the_first_program_opens_reads_and_removes() {
    let record = {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        store.put("0", "value").unwrap();
        let read = store
            .environment()
            .read(|transaction, tables| tables.records.get(transaction, b"0").unwrap().unwrap().to_vec());
        read.unwrap()
    };
    for durability in [Durability::Sync, Durability::Interval { ms: 1000 }] {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { durability, ..options(1 << 20) };
        let count = bare::fill_old_store(directory.path(), options.put_ceiling(), &record);
        assert!(count > 50, "{count}");
        let store = Store::open(directory.path(), options.clone()).unwrap();
        assert_eq!(store.get(b"0").unwrap().unwrap().value, "value");
        assert!(matches!(store.put("more", noise(1, 100_000)), Err(WriteError::StoreFull(_))));
        assert!(store.environment().map_bytes() <= 1 << 20);
        for number in 1..count {
            let removed = store.remove(number.to_string());
            assert!(matches!(removed, Ok(true)), "{number}: {removed:?}");
        }
        store.put("more", noise(1, 100_000)).unwrap();
        drop(store);
        let store = Store::open(directory.path(), options).unwrap();
        assert_eq!(store.status().unwrap().entries, 2);
        assert!(directory.path().join("data.mdb").metadata().unwrap().len() <= 1 << 20);
    }
}

#[test]
fn puts_among_removes_leave_what_is_kept_back_for_removes() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(32 << 20);
    let store = Store::open(directory.path(), options.clone()).unwrap();
    fill(&store, 100_000);
    let too_large = bytes::Bytes::from(noise(1, 8 << 20));
    for round in 0..40_u32 {
        let results = store.apply(vec![
            Write::put("too large", too_large.clone()),
            Write::remove(round.to_string()),
            Write::put(format!("more {round}"), noise(round.into(), 500_000)),
        ]);
        assert!(matches!(results[0], Err(WriteError::StoreFull(_))), "{:?}", results[0]);
        assert!(results[1].is_ok(), "{:?}", results[1]);
    }
    // A few pages of what is kept back may have been taken by removes.
    let file_bytes = store.status().unwrap().file_bytes;
    assert!(file_bytes <= options.put_ceiling() as u64 + (1 << 20), "{file_bytes}");
}
