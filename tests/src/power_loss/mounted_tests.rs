//! The disk through the kernel, used by other processes.

use std::{fs, path::Path, process::Command};

use super::{Cut, Event, PowerLoss};
use crate::process::Proc;

/// Runs a shell with the disk as its directory.
fn run(disk: &PowerLoss, script: &str) -> i32 {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(disk.path());
    Proc::start(command, Vec::new()).finish().code()
}

fn left(disk: &PowerLoss) -> Vec<(String, Vec<u8>)> {
    let copy = tempfile::tempdir().unwrap();
    disk.copy_to(copy.path());
    fn files(directory: &Path, into: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, into);
            } else {
                into.push((path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    files(copy.path(), &mut found);
    found.sort();
    found
}

#[test]
fn a_synchronous_write_is_durable_when_it_has_returned() {
    for seed in 0..20 {
        let Some(disk) = PowerLoss::new(seed) else { return };
        let flags = if seed % 2 == 0 { "dsync" } else { "sync" };
        let script = format!("printf %8192s x | dd of=file oflag={flags} bs=8192 2>/dev/null; sync .");
        assert_eq!(run(&disk, &script), 0);
        disk.cut();
        let mut expected = vec![b' '; 8191];
        expected.push(b'x');
        assert_eq!(left(&disk), [("file".to_owned(), expected)]);
    }
}

#[test]
fn what_was_not_synced_can_be_lost_and_nothing_of_it_is_cached() {
    let mut lost = 0;
    for seed in 0..20 {
        let Some(mut disk) = PowerLoss::new(seed) else { return };
        assert_eq!(run(&disk, "mkdir d; printf old > d/file; sync d/file d .; printf newer > d/file"), 0);
        disk.cut();
        assert_eq!(run(&disk, "cat d/file"), 1, "no power");
        let left = left(&disk);
        disk.power_on();
        // What processes read now is what the disk has.
        assert_eq!(run(&disk, "cp d/file d/copy; sync d/copy d"), 0);
        disk.cut();
        let again = self::left(&disk);
        assert_eq!((again[0].0.as_str(), &again[0].1), ("copy", &left[0].1));
        lost += u32::from(left[0].1 != b"newer");
    }
    assert!((1..20).contains(&lost), "{lost}");
}

#[test]
fn what_is_said_has_its_place_among_the_syncs() {
    let Some(disk) = PowerLoss::new(1) else { return };
    disk.cut_at(Cut::AtLine(2));
    let script = "echo one >console; echo x >file; sync file; echo two >console; echo three >console";
    assert_ne!(run(&disk, script), 0);
    assert!(!disk.is_on());
    let said = |line: &str| Event::Said(line.to_owned());
    assert_eq!(disk.take_events(), [said("one"), Event::Synced("file".into()), said("two")]);
}
