//! A file system without room, made small for the test in a mount namespace of its own.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use super::{bare, noise, open, take_every_page};
use crate::store::{Durability, Full, Store, StoreOptions, WriteError};

const DIRECTORY_VARIABLE: &str = "STORE_FULL_DISK_TEST_DIRECTORY";

/// Not a test of its own: what the other one runs, in a directory on a file system of 8 MiB.
#[test]
#[ignore = "run by the test below in a mount namespace of its own"]
fn child() {
    let Some(directory) = env::var_os(DIRECTORY_VARIABLE) else { return };
    let directory = Path::new(&directory);
    // What the first program left, with its room kept back for removes.
    let old = directory.join("old");
    fs::create_dir(&old).unwrap();
    let old_count = bare::fill_old_store(&old, 1 << 20, &[0; 20]);
    fs::write(old.join("reserve"), vec![0; 1 << 20]).unwrap();
    let store = open(&directory.join("store"));
    let mut count = 0_u32;
    let full = loop {
        match store.put(count.to_string(), noise(count.into(), 50_000)) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(count > 50, "{count}");
    assert!(matches!(full, WriteError::StoreFull(Full::Disk)), "{full:?}");
    // Somebody else takes what is left, to the last byte.
    let mut filler = File::create(directory.join("filler")).unwrap();
    while filler.write(&[1; 512]).is_ok_and(|written| written > 0) {}
    take_every_page(&store);

    // On the same disk, without a table that is made when it is opened.
    let opened = open(&old);
    for number in 1..old_count {
        assert!(opened.remove(number.to_string()).unwrap());
    }
    drop(opened);
    fs::remove_dir_all(&old).unwrap();
    while filler.write_all(&[0; 512]).is_ok() {}
    // A note of the last sync needs room too.
    drop(store);
    let unsynced = StoreOptions { durability: Durability::Interval { ms: 1000 }, ..StoreOptions::default() };
    drop(Store::open(&directory.join("store"), unsynced).unwrap());
    let store = open(&directory.join("store"));

    for number in 0..count {
        assert_eq!(
            store.get(number.to_string().as_bytes()).unwrap().unwrap().value,
            noise(number.into(), 50_000)
        );
    }
    let mut names: Vec<u32> = (0..count).collect();
    assert!(matches!(store.put("more", noise(1, 500_000)), Err(WriteError::StoreFull(Full::Disk))));
    // A long read, such as a backup's, keeps LMDB from using again what the removes free.
    let first = names.drain(..count as usize / 4).collect();
    store.environment().read(|_, _| remove_all(&store, first)).unwrap();
    remove_all(&store, names.drain(..count as usize / 4).collect());
    store.put("in the room of what was removed", noise(1, 40_000)).unwrap();

    drop(filler);
    fs::remove_file(directory.join("filler")).unwrap();
    store.put("more", noise(1, 500_000)).unwrap();
    drop(store);
    let store = open(&directory.join("store"));
    assert_eq!(store.get(b"more").unwrap().unwrap().value, noise(1, 500_000));
    for number in names {
        assert!(store.get(number.to_string().as_bytes()).unwrap().is_some());
    }
}

fn remove_all(store: &Store, numbers: Vec<u32>) {
    for number in numbers {
        let removed = store.remove(number.to_string());
        assert!(matches!(removed, Ok(true)), "{number}: {removed:?}");
    }
}

#[test]
fn a_full_disk_is_told_and_reads_and_removes_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let mount = |script: &str| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .env(DIRECTORY_VARIABLE, directory.path())
            .env("TEST_PROGRAM", env::current_exe().unwrap())
            .output()
    };
    let mount_it = format!("mount -t tmpfs -o size=8m none \"${DIRECTORY_VARIABLE}\"");
    if !mount(&mount_it).is_ok_and(|output| output.status.success()) {
        println!("not tested: this system lets nobody but root mount a file system");
        return;
    }
    let run = "exec \"$TEST_PROGRAM\" store::tests::full_disk::child --exact --ignored --nocapture";
    let output = mount(&format!("{mount_it} && {run}")).unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
