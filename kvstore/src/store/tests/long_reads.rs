//! Reads that last while much is written: how far the file grows meanwhile.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use ensemble_tests::Done;

use super::{noise, open};
use crate::store::copies::CopyError;
use crate::store::{BackupError, Full, Store, StoreOptions, WriteError, restore};

const MIB: u64 = 1 << 20;

fn file_bytes(store: &Store) -> u64 {
    store.status().unwrap().file_bytes
}

/// Puts 100 values of 50,000 bytes over the last ones.
fn overwrite(store: &Store, round: u64) -> Result<(), WriteError> {
    for number in 0..100 {
        store.put(format!("key {number:03}"), noise(round * 100 + number, 50_000))?;
    }
    Ok(())
}

/// Runs `work` while a copy of the store stands still after its first piece.
fn while_a_copy_stands_still<R>(store: &Store, work: impl FnOnce() -> R) -> (R, Result<(), CopyError>) {
    let (entered, has_entered) = channel();
    let (release, released) = channel::<()>();
    thread::scope(|scope| {
        let copying = scope.spawn(move || {
            let mut stuck = Stuck(|| {
                entered.send(()).ok();
                released.recv().ok();
            });
            store.copy_out(&mut stuck).map(drop)
        });
        has_entered.recv().unwrap();
        let result = work();
        drop(release);
        (result, copying.join().unwrap())
    })
}

/// A file on a disk that does not go on.
struct Stuck<F>(F);

impl<F: FnMut()> io::Write for Stuck<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_copy_that_stands_still_is_given_up_when_the_file_has_grown_by_256_mib() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    overwrite(&store, 0).unwrap();
    let before = file_bytes(&store);
    let value = noise(1, 4 << 20);
    let ((), copied) = while_a_copy_stands_still(&store, || {
        let mut largest = before;
        for _ in 0..100 {
            store.put("large", value.clone()).unwrap();
            largest = largest.max(file_bytes(&store));
        }
        assert!(largest > before + 200 * MIB, "nothing kept the pages: {largest}");
        assert!(largest < before + (256 + 16) * MIB, "{before} {largest}");
    });
    assert!(matches!(copied, Err(CopyError::GivenUp)), "{copied:?}");
}

#[test]
fn a_write_that_finds_no_room_has_a_copy_given_up_and_finds_it() {
    let directory = tempfile::tempdir().unwrap();
    for initial_map_bytes in [64 << 10, 32 << 20] {
        let options = StoreOptions { initial_map_bytes, max_size_bytes: 32 << 20, ..StoreOptions::default() };
        let store = Store::open(&directory.path().join(initial_map_bytes.to_string()), options).unwrap();
        overwrite(&store, 0).unwrap();
        let (written, copied) =
            while_a_copy_stands_still(&store, || (1..10).try_for_each(|round| overwrite(&store, round)));
        written.unwrap();
        assert!(matches!(copied, Err(CopyError::GivenUp)), "{copied:?}");
        assert_eq!(store.get(b"key 007").unwrap().unwrap().value, noise(907, 50_000));
    }
}

#[test]
fn a_copy_that_keeps_no_room_from_writes_goes_on_in_a_full_store() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let options =
        StoreOptions { initial_map_bytes: 64 << 10, max_size_bytes: 32 << 20, ..StoreOptions::default() };
    let store = Store::open(&at("store"), options).unwrap();
    let mut count = 0;
    while store.put(count.to_string(), noise(count, 100_000)).is_ok() {
        count += 1;
    }
    let (refused, copied) = while_a_copy_stands_still(&store, || {
        (0..20).map(|number| store.put("more", noise(number, 100_000))).collect::<Vec<_>>()
    });
    for refused in refused {
        assert!(matches!(refused, Err(WriteError::StoreFull(Full::MaxSize { .. }))), "{refused:?}");
    }
    copied.unwrap();
    assert_eq!(store.backup(&at("backup")).unwrap().entries, count);
}

#[test]
fn backups_verifications_and_lists_under_a_load_of_writes_leave_the_file_within_its_bound() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for round in 0..3 {
        overwrite(&store, round).unwrap();
    }
    let before = file_bytes(&store);
    let is_done = AtomicBool::new(false);
    let rounds = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut round = 3;
            while !is_done.load(Ordering::Relaxed) {
                overwrite(&store, round).unwrap();
                round += 1;
            }
            round
        });
        let done = Done::at_the_end(&is_done);
        for number in 0..10 {
            let file = directory.path().join(format!("backup {number}"));
            store.backup(&file).unwrap();
            let (mut after, mut records) = (None, 0);
            loop {
                let part = store.verify(after.as_deref()).unwrap();
                assert!(part.damaged.is_empty());
                records += part.records;
                after = part.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(records, 100);
            assert_eq!(store.list(b"key ", None, 1000).unwrap().keys.len(), 100);
            // What was copied under the load is a store.
            let restored = directory.path().join(format!("restored {number}"));
            assert_eq!(restore(&file, &restored).unwrap().entries, 100);
            fs::remove_dir_all(restored).unwrap();
            fs::remove_file(file).unwrap();
        }
        drop(done);
        writer.join().unwrap()
    });
    let after = file_bytes(&store);
    assert!(rounds > 3 && after < before + 64 * MIB, "{rounds} rounds, from {before} to {after} bytes");
    assert_eq!(store.verify(None).unwrap().records, 100);
}

#[test]
fn a_backup_to_a_full_disk_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    overwrite(&store, 0).unwrap();
    // A device that is always full.
    let mut full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    match store.copy_out(&mut full) {
        Err(CopyError::Io(cause)) => assert_eq!(cause.kind(), io::ErrorKind::StorageFull),
        other => panic!("{other:?}"),
    }
    overwrite(&store, 1).unwrap();
    let missing = store.backup(&directory.path().join("no such directory/backup")).unwrap_err();
    assert!(matches!(missing, BackupError::Io { .. }), "{missing:?}");
}
