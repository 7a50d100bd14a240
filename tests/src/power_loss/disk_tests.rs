//! The disk without a file system over it.

use std::{collections::BTreeSet, ffi::OsStr};

use super::disk::{CONSOLE, Cut, Disk, Event, ROOT, Refused};

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

fn create(disk: &mut Disk, directory: u64, text: &str) -> u64 {
    disk.create(directory, name(text), 0o600, false).unwrap().number
}

fn names(disk: &Disk) -> String {
    let listed = disk.list(ROOT).unwrap();
    listed.iter().map(|(name, _)| name.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

/// The names in the root that cuts with many seeds leave.
fn left(change: impl Fn(&mut Disk)) -> BTreeSet<String> {
    (0..300)
        .map(|seed| {
            let mut disk = Disk::new(seed);
            change(&mut disk);
            disk.cut_now();
            disk.power_on();
            names(&disk)
        })
        .collect()
}

fn set<const N: usize>(states: [&str; N]) -> BTreeSet<String> {
    states.map(str::to_owned).into()
}

#[test]
fn a_name_is_durable_with_its_directory_and_not_with_its_file() {
    let file_only = left(|disk| {
        let file = create(disk, ROOT, "a");
        disk.sync(file).unwrap();
    });
    assert_eq!(file_only, set(["", "a"]));
    let directory = left(|disk| {
        create(disk, ROOT, "a");
        disk.sync_names(ROOT).unwrap();
        create(disk, ROOT, "b");
    });
    assert_eq!(directory, set(["a", "a b"]));
}

#[test]
fn a_renamed_file_has_the_old_name_or_the_new_one() {
    let found = left(|disk| {
        create(disk, ROOT, "a");
        disk.sync_names(ROOT).unwrap();
        disk.rename((ROOT, name("a")), (ROOT, name("b"))).unwrap();
    });
    assert_eq!(found, set(["a", "b"]));
}

#[test]
fn what_is_removed_can_be_back_and_what_takes_its_place_is_whole() {
    for seed in 0..100 {
        let mut disk = Disk::new(seed);
        let old = create(&mut disk, ROOT, "a");
        disk.write(old, 0, b"old").unwrap();
        disk.sync(old).unwrap();
        disk.sync_names(ROOT).unwrap();
        let new = create(&mut disk, ROOT, "a.new");
        disk.write(new, 0, b"newer").unwrap();
        disk.sync(new).unwrap();
        disk.rename((ROOT, name("a.new")), (ROOT, name("a"))).unwrap();
        disk.cut_now();
        assert_eq!(disk.read(new, 0, 10).map(<[u8]>::to_vec), Err(Refused::NoPower));
        disk.power_on();
        let found = disk.find(ROOT, name("a")).unwrap().number;
        let bytes = disk.read(found, 0, 10).unwrap().to_vec();
        assert!(bytes == b"old" || bytes == b"newer", "{bytes:?}");
    }
}

#[test]
fn a_directory_is_lost_with_all_in_it_when_its_own_name_is() {
    let found = left(|disk| {
        let inner = disk.create(ROOT, name("d"), 0o700, true).unwrap().number;
        let file = create(disk, inner, "f");
        disk.sync(file).unwrap();
        disk.sync_names(inner).unwrap();
    });
    assert_eq!(found, set(["", "d"]));
}

#[test]
fn the_power_goes_at_the_change_or_the_line_that_was_named() {
    let mut disk = Disk::new(7);
    disk.cut_at(Cut::AtChange(3));
    let file = create(&mut disk, ROOT, "a");
    disk.write(file, 0, b"x").unwrap();
    disk.write(CONSOLE, 0, b"one\ntwo\n").unwrap();
    assert_eq!(disk.sync(file), Err(Refused::NoPower));
    assert!(!disk.is_on());
    assert_eq!(disk.take_events(), [Event::Said("one".to_owned()), Event::Said("two".to_owned())]);
    disk.power_on();
    disk.cut_at(Cut::AtLine(2));
    disk.write(CONSOLE, 0, b"one\n").unwrap();
    let file = create(&mut disk, ROOT, "b");
    disk.sync(file).unwrap();
    disk.sync_names(ROOT).unwrap();
    disk.write(CONSOLE, 0, b"two\n").unwrap();
    assert_eq!(disk.write(CONSOLE, 0, b"three\n"), Err(Refused::NoPower));
    let said = |line: &str| Event::Said(line.to_owned());
    let synced = Event::Synced("b".into());
    assert_eq!(disk.take_events(), [said("one"), synced, Event::NamesSynced, said("two")]);
}

#[test]
fn a_disk_that_ignores_syncs_loses_what_it_has_confirmed() {
    let found = left(|disk| {
        disk.ignore_syncs();
        create(disk, ROOT, "a");
        disk.sync_names(ROOT).unwrap();
    });
    assert_eq!(found, set(["", "a"]));
}

#[test]
fn what_cannot_be_is_refused() {
    let mut disk = Disk::new(1);
    let inner = disk.create(ROOT, name("d"), 0o700, true).unwrap().number;
    let file = create(&mut disk, inner, "f");
    assert_eq!(disk.create(inner, name("f"), 0o600, false), Err(Refused::Exists));
    assert_eq!(disk.remove(ROOT, name("d")), Err(Refused::NotEmpty));
    assert_eq!(disk.find(ROOT, name("f")), Err(Refused::Missing));
    assert_eq!(disk.find(file, name("f")), Err(Refused::IsNoDirectory));
    assert_eq!(disk.write(inner, 0, b"x"), Err(Refused::IsDirectory));
}
