//! Losses of power under each durability: a file of which only some pages have reached the disk.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{Write as _, stdout};
use std::path::Path;
use std::process::Command;

use bytes::Bytes;

use super::{noise, open};
use crate::store::{Durability, OpenError, Store, StoreOptions, Write, restore};

const PAGE_BYTES: usize = 4096;
const ROUNDS: u64 = 60;
/// Rounds in which the file is read without the note too.
const BARE_ROUNDS: u64 = 10;

const DIRECTORY_VARIABLE: &str = "STORE_DURABILITY_TEST_DIRECTORY";

fn unsynced(directory: &Path) -> Store {
    let options = StoreOptions {
        durability: Durability::Interval { ms: 1000 },
        // It must not grow between a sync and the loss: growing syncs too.
        initial_map_bytes: 8 << 20,
        ..StoreOptions::default()
    };
    Store::open(directory, options).unwrap()
}

fn contents(store: &Store) -> Result<BTreeMap<Bytes, Bytes>, String> {
    let mut all = BTreeMap::new();
    let mut after: Option<Bytes> = None;
    loop {
        let page = store.list(b"", after.as_deref(), 1000).map_err(|error| error.to_string())?;
        for listed in page.keys {
            let entry = store.get(&listed.key).map_err(|error| error.to_string())?;
            all.insert(listed.key, entry.ok_or("it was listed")?.value);
        }
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

/// Puts and removes in many small commits, the same for the same seed.
fn write(store: &Store, seed: u64, commits: u64) {
    for commit in 0..commits {
        let random = u64::from_le_bytes(noise(seed * 1000 + commit, 8).try_into().unwrap());
        let key = (random % 40).to_string();
        let write = match random % 5 {
            0 => Write::remove(key),
            1 => Write::put(key, noise(random, 9000)),
            _ => Write::put(key, noise(random, (random % 700) as usize)),
        };
        assert!(store.apply(vec![write]).iter().all(Result::is_ok));
    }
}

/// Of each page, the one that was written or the one that was there before, at random.
fn mixture(before: &[u8], after: &[u8], seed: u64) -> Vec<u8> {
    let pages = after.len().max(before.len()) / PAGE_BYTES;
    let kept = noise(seed, pages);
    let empty = [0; PAGE_BYTES];
    let page = |file: &'static str, bytes: &[u8], number: usize| -> Vec<u8> {
        let at = number * PAGE_BYTES;
        bytes
            .get(at..at + PAGE_BYTES)
            .unwrap_or_else(|| {
                assert!(file == "before" || before.len() > after.len());
                &empty
            })
            .to_vec()
    };
    (0..pages)
        .flat_map(|number| {
            if kept[number].is_multiple_of(2) {
                page("before", before, number)
            } else {
                page("after", after, number)
            }
        })
        .collect()
}

#[test]
fn what_a_loss_of_power_leaves_is_the_state_of_the_last_sync() {
    let mut damaged_without = 0;
    for round in 1..=ROUNDS {
        let directory = tempfile::tempdir().unwrap();
        let store = unsynced(directory.path());
        write(&store, round, 30 + round);
        store.sync().unwrap();
        let synced = contents(&store).unwrap();
        let revision = store.revision().unwrap();
        let data = directory.path().join("data.mdb");
        let before = fs::read(&data).unwrap();
        write(&store, round + 500, 50);
        let after = fs::read(&data).unwrap();
        assert_ne!(before, after);

        let crashed = tempfile::tempdir().unwrap();
        fs::write(crashed.path().join("data.mdb"), mixture(&before, &after, round)).unwrap();
        fs::copy(directory.path().join("synced"), crashed.path().join("synced")).unwrap();
        let found = if round % 2 == 0 { open(crashed.path()) } else { unsynced(crashed.path()) };
        assert_eq!(contents(&found), Ok(synced.clone()), "round {round}");
        assert_eq!(found.revision().unwrap(), revision, "round {round}");
        // It goes on from there.
        write(&found, round, 20);
        let goes_on = contents(&found).unwrap();
        drop(found);
        assert_eq!(contents(&open(crashed.path())), Ok(goes_on), "round {round}");

        // The test is one only if the same pages without the note are another state, or none.
        if round <= BARE_ROUNDS {
            let bare = tempfile::tempdir().unwrap();
            fs::write(bare.path().join("data.mdb"), mixture(&before, &after, round)).unwrap();
            let latest = contents(&store).unwrap();
            let state = contents_by_another(bare.path());
            let states = [&synced, &latest].map(|state| format!("{state:?}"));
            damaged_without += u64::from(state.is_none_or(|state| !states.contains(&state)));
        }
    }
    assert!(damaged_without > BARE_ROUNDS / 2, "{damaged_without}");
}

/// What another process finds in a store; it may die of it.
fn contents_by_another(directory: &Path) -> Option<String> {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "store::tests::durability::reader", "--ignored", "--nocapture"]);
    let output = command.env(DIRECTORY_VARIABLE, directory).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let found = text.lines().find_map(|line| line.strip_prefix("found "))?;
    output.status.success().then(|| found.to_owned())
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn reader() {
    let Some(directory) = env::var_os(DIRECTORY_VARIABLE) else { return };
    let found = contents(&open(directory.as_ref())).unwrap();
    let mut output = stdout().lock();
    writeln!(output, "\nfound {found:?}").unwrap();
}

#[test]
fn a_store_that_is_closed_has_everything() {
    let directory = tempfile::tempdir().unwrap();
    let all = [Durability::None, Durability::Interval { ms: 5 }, Durability::Sync];
    for round in 0..5 {
        for (index, durability) in (0..).zip(all) {
            let options = StoreOptions { durability, ..StoreOptions::default() };
            let store = Store::open(directory.path(), options).unwrap();
            assert_eq!(store.status().unwrap().durability, durability);
            let before = contents(&store).unwrap();
            write(&store, 3 * round + index, 10);
            assert_ne!(contents(&store).unwrap(), before);
            assert_eq!(directory.path().join("synced").exists(), durability != Durability::Sync);
            let written = contents(&store).unwrap();
            drop(store);
            assert!(!directory.path().join("synced").exists());
            assert_eq!(contents(&open(directory.path())), Ok(written));
        }
    }
}

#[test]
fn the_map_grows_and_fills_without_syncs_too() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        durability: Durability::None,
        initial_map_bytes: 64 << 10,
        max_size_bytes: 4 << 20,
        ..StoreOptions::default()
    };
    let store = Store::open(directory.path(), options).unwrap();
    let fitted = (0..1000_u64).find(|key| store.put(key.to_string(), noise(*key, 20_000)).is_err()).unwrap();
    assert!(fitted > 50, "{fitted}");
    for round in 0..5 {
        for key in 0..fitted {
            assert!(store.remove(key.to_string()).unwrap(), "{round} {key}");
        }
        for key in 0..fitted / 2 {
            store.put(key.to_string(), noise(key, 20_000)).unwrap();
        }
        for key in fitted / 2..fitted {
            store.put(key.to_string(), "").unwrap();
        }
    }
    // Written over again and again, it does not outgrow what a sync point frees.
    for round in 0..500_u64 {
        store.put("0", noise(round, 20_000)).unwrap();
    }
    assert_eq!(store.get(b"0").unwrap().unwrap().value, noise(499, 20_000));
}

#[test]
fn a_note_that_is_damaged_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let store = unsynced(directory.path());
    write(&store, 1, 10);
    let note = fs::read(directory.path().join("synced")).unwrap();
    drop(store);
    fs::write(directory.path().join("synced"), &note[..100]).unwrap();
    let refused = Store::open(directory.path(), StoreOptions::default()).unwrap_err();
    assert!(matches!(refused, OpenError::NotAStore { .. }), "{refused:?}");
}

#[test]
fn a_note_beside_another_database_is_refused_and_nothing_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let crash = |store: &str, to: &str| {
        fs::create_dir(at(to)).unwrap();
        for file in ["data.mdb", "synced"] {
            fs::copy(at(store).join(file), at(to).join(file)).unwrap();
        }
    };
    let store = unsynced(&at("store"));
    write(&store, 1, 40);
    store.sync().unwrap();
    crash("store", "earlier");
    write(&store, 2, 40);
    store.sync().unwrap();
    let synced = contents(&store).unwrap();
    write(&store, 3, 10);
    crash("store", "crashed");
    let other = unsynced(&at("other"));
    write(&other, 4, 40);
    store.backup(&at("backup")).unwrap();
    restore(&at("backup"), &at("restored")).unwrap();

    let note = fs::read(at("crashed/synced")).unwrap();
    for database in ["other", "earlier", "restored"] {
        let mixed = at(&format!("mixed {database}"));
        fs::create_dir(&mixed).unwrap();
        fs::copy(at(database).join("data.mdb"), mixed.join("data.mdb")).unwrap();
        fs::write(mixed.join("synced"), &note).unwrap();
        let before = fs::read(mixed.join("data.mdb")).unwrap();
        for _ in 0..2 {
            let refused = Store::open(&mixed, StoreOptions::default()).unwrap_err();
            assert!(matches!(refused, OpenError::SyncedApart { .. }), "{database}: {refused:?}");
        }
        assert_eq!(fs::read(mixed.join("data.mdb")).unwrap(), before);
        // Who says that the database counts gets it.
        fs::remove_file(mixed.join("synced")).unwrap();
        assert!(!contents(&open(&mixed)).unwrap().is_empty());
    }
    assert_eq!(contents(&open(&at("crashed"))), Ok(synced));
}

#[test]
fn a_note_of_the_first_version_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = unsynced(&at("store"));
    write(&store, 1, 40);
    store.sync().unwrap();
    let synced = contents(&store).unwrap();
    write(&store, 2, 10);
    fs::create_dir(at("crashed")).unwrap();
    fs::copy(at("store/data.mdb"), at("crashed/data.mdb")).unwrap();
    let note = fs::read(at("store/synced")).unwrap();
    let mut first = [&note[..8], &[1, 0, 0, 0], &note[12..16], &note[24..24 + 2 * PAGE_BYTES]].concat();
    first.extend(crc32fast::hash(&first).to_le_bytes());
    fs::write(at("crashed/synced"), first).unwrap();
    assert_eq!(contents(&open(&at("crashed"))), Ok(synced));
}

#[test]
fn a_database_that_was_not_made_whole_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (data, new) = (directory.path().join("data.mdb"), directory.path().join("data.mdb.new"));
    // What a loss of power leaves of the first opening, now and with an older program.
    fs::write(&new, noise(1, 5000)).unwrap();
    fs::write(&data, "").unwrap();
    let store = open(directory.path());
    store.put("key", "value").unwrap();
    drop(store);
    assert!(!new.exists());
    assert_eq!(open(directory.path()).get(b"key").unwrap().unwrap().value, "value");
}
