//! A store without room: on a disk that is full, at its maximum size, and on a file system that takes no writes. It says so, what needs no room
//! goes on, and when there is room again so does the rest, without a restart.
//!
//! The file systems are the test's own, which needs root.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;
mod store_traffic;

use std::{fs, path::Path, time::Duration};

use common::{registry, sandbox_with_cookie, serve};
use ensemble_tests::{
    Mount, Proc, Sandbox, eventually_within,
    linearizability::{check, check_revisions},
};
use serde_json::Value;
use store_traffic::{
    clients::Traffic,
    keys::{Keys, noise},
};

const DISK_BYTES: u64 = 24 << 20;
const PUT_BYTES: usize = 1 << 20;
const FULL_DISK: &str = "the store is full: there is no room left on its disk";
/// How often a store is filled up and given room again, while clients are at work.
const ROUNDS: usize = 4;
/// Longer than what the clients put, and than what fillers leave.
const LONG_BYTES: usize = 2_000_000;
/// The machine may be busy with other tests.
const DEADLINE: Duration = Duration::from_secs(120);

/// A server whose store is in a directory there.
fn server_at(sandbox: &Sandbox, disk: &Path) -> Proc {
    let option = format!("kvstore.path={}", disk.join("store").display());
    serve(sandbox, &["run", "--roles", "kvstore", "-o", &option], "kvstore")
}

/// What is full, as `stat` says.
fn full(sandbox: &Sandbox) -> String {
    let stat: Value = serde_json::from_slice(&sandbox.kvstorec(&["stat", "--json"]).succeeds()).unwrap();
    stat["full"].as_str().unwrap().to_owned()
}

/// Puts until there is no room; says how many keys there are.
fn fill_up(sandbox: &Sandbox, bytes: usize, refusal: &str) -> u64 {
    for number in 0.. {
        let key = format!("filler-{number}-of-{bytes}");
        let put = sandbox.kvstorec_with(&["put", &key], noise(number, bytes));
        if put.status.code() != Some(0) {
            put.fails(1, &[refusal, "remove something"]);
            return number;
        }
    }
    unreachable!("there is an end to all room")
}

#[test]
fn a_full_disk_is_told_and_what_needs_no_room_goes_on() {
    let sandbox = &sandbox_with_cookie();
    let Some(mount) = Mount::in_memory(sandbox.file("disk"), DISK_BYTES) else { return };
    let _registry = registry(sandbox);
    let mut server = server_at(sandbox, mount.path());
    assert_eq!(full(sandbox), "no");
    let count = fill_up(sandbox, PUT_BYTES, FULL_DISK);
    assert!(count > 10, "{count}");
    let filler = mount.fill("filler");
    assert_eq!(full(sandbox), "disk");
    let text = String::from_utf8(sandbox.kvstorec(&["stat"]).succeeds()).unwrap();
    assert!(text.contains("yes, its disk is full: reads and removes go on"), "{text}");
    server.logs("the store is full: reads and removes go on");

    let name = |number: u64| format!("filler-{number}-of-{PUT_BYTES}");
    for number in 0..count {
        let got = sandbox.kvstorec(&["get", &name(number)]).succeeds();
        assert!(got == noise(number, PUT_BYTES), "{number}");
    }
    sandbox.kvstorec(&["verify"]).succeeds();
    for number in 0..count / 2 {
        sandbox.kvstorec(&["remove", &name(number)]).succeeds();
        sandbox.kvstorec(&["get", &name(number)]).fails(3, &[]);
    }
    // Longer than all that was removed.
    let long = noise(1, DISK_BYTES as usize);
    sandbox.kvstorec_with(&["put", "long"], &long).fails(1, &[FULL_DISK]);
    assert_eq!(full(sandbox), "disk");
    // A backup finds no room there either, leaves nothing behind, and is written elsewhere.
    let there = mount.path().join("backup");
    let parts = ["could not be written", "No space left on device"];
    sandbox.kvstorec(&["backup", there.to_str().unwrap()]).fails(1, &parts);
    sandbox.kvstorec(&["backup", "backup"]).succeeds();

    fs::remove_file(filler).unwrap();
    let names = fs::read_dir(mount.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["store"]);
    sandbox.kvstorec_with(&["put", "after"], noise(9, PUT_BYTES)).succeeds();
    assert_eq!(full(sandbox), "no");
    server.logs("the store has room again");
    assert!(sandbox.kvstorec(&["get", "after"]).succeeds() == noise(9, PUT_BYTES));
    server.terminate().exits(0);
}

/// Clients work all the time, while room comes and goes, and the server is killed once when there is none.
fn soak(
    sandbox: &Sandbox,
    rounds: usize,
    start: impl Fn() -> Proc,
    what: &str,
    fill: impl Fn(),
    free: impl Fn(),
) {
    let mut server = start();
    let traffic = Traffic::begin(sandbox, Keys::new(30, 20).with_noise(3_000), None);
    traffic.await_recorded(1_000);
    for round in 0..rounds {
        fill();
        let before = traffic.without_room();
        eventually_within(DEADLINE, "puts find no room", || {
            (traffic.without_room() > before + 5).then_some(())
        });
        // A short put may still find room that another write has given back, and then nothing is full until the next long one.
        eventually_within(DEADLINE, "the store says so", || {
            sandbox
                .kvstorec_with(&["put", "filler-long"], noise(1, LONG_BYTES))
                .fails(1, &["the store is full"]);
            (full(sandbox) == what).then_some(())
        });
        traffic.await_recorded(traffic.recorded() + 300);
        if round == rounds / 2 {
            drop(server.crash());
            server = start();
            traffic.await_recorded(traffic.recorded() + 300);
        }
        free();
        eventually_within(DEADLINE, "there is room again", || (full(sandbox) == "no").then_some(()));
        traffic.await_recorded(traffic.recorded() + 300);
    }
    let recorded = traffic.end();
    eprintln!(
        "{} operations, {} more found no room, {} were not done for another reason",
        recorded.history.len(),
        recorded.without_room,
        recorded.not_done - recorded.without_room
    );
    check(&recorded.history).unwrap_or_else(|why| panic!("{why}"));
    check_revisions(&recorded.history).unwrap_or_else(|why| panic!("{why}"));
    sandbox.kvstorec(&["verify"]).succeeds();
    server.terminate().exits(0);
}

#[test]
fn a_disk_that_is_full_now_and_then_costs_no_write_that_was_answered() {
    let sandbox = &sandbox_with_cookie();
    let Some(mount) = Mount::in_memory(sandbox.file("disk"), 16 << 20) else { return };
    let _registry = registry(sandbox);
    let fill = || drop(mount.fill("filler"));
    let free = || fs::remove_file(mount.path().join("filler")).unwrap();
    soak(sandbox, ROUNDS, || server_at(sandbox, mount.path()), "disk", fill, free);
}

#[test]
fn a_store_that_is_at_its_maximum_now_and_then_loses_nothing() {
    let sandbox = &sandbox_with_cookie();
    let _registry = registry(sandbox);
    let args = ["run", "--roles", "kvstore", "-o", "kvstore.max-size=24MiB"];
    let refusal = "the store is full: it has reached its maximum of 25165824 bytes";
    // What is free lies scattered after a while, so the last room is found in small pieces.
    let fill = || {
        for bytes in [2_000_000, 200_000, 20_000] {
            fill_up(sandbox, bytes, refusal);
        }
    };
    let free = || {
        let list = sandbox.kvstorec(&["list", "filler-"]).succeeds();
        let list = String::from_utf8(list).unwrap();
        let removes: String = list.lines().map(|key| format!("{{\"remove\": \"{key}\"}}\n")).collect();
        sandbox.kvstorec_with(&["apply"], removes).succeeds();
    };
    soak(sandbox, ROUNDS / 2, || serve(sandbox, &args, "kvstore"), "max-size", fill, free);
}

#[test]
fn a_disk_that_fails_leaves_a_store_that_is_read() {
    let sandbox = &sandbox_with_cookie();
    let Some(mount) = Mount::on_disk(sandbox.file("disk"), 64 << 20) else { return };
    let _registry = registry(sandbox);
    let mut server = server_at(sandbox, mount.path());
    for number in 0..5 {
        sandbox.kvstorec_with(&["put", &format!("key-{number}")], noise(number, 10_000)).succeeds();
    }
    mount.fail();
    let parts = ["the store takes no writes: its file system is read-only", "mount it for writing again"];
    for _ in 0..2 {
        sandbox.kvstorec_with(&["put", "key-0"], "other").fails(1, &parts);
        sandbox.kvstorec(&["remove", "key-1"]).fails(1, &parts);
    }
    server.logs("the store takes no writes: reads go on");
    assert_eq!(full(sandbox), "read-only");
    let read_all = || {
        for number in 0..5 {
            let got = sandbox.kvstorec(&["get", &format!("key-{number}")]).succeeds();
            assert!(got == noise(number, 10_000), "{number}");
        }
        sandbox.kvstorec(&["verify"]).succeeds();
    };
    read_all();
    assert_eq!(sandbox.kvstorec(&["list"]).succeeds(), b"key-0\nkey-1\nkey-2\nkey-3\nkey-4\n");
    // What is left can be saved.
    sandbox.kvstorec(&["backup", "backup"]).succeeds();
    let target = sandbox.file("restored");
    sandbox.kvstorec(&["restore", "backup", "--directory", target.to_str().unwrap()]).succeeds();
    drop(server.crash());

    // No store is opened there.
    let option = format!("kvstore.path={}", mount.path().join("store").display());
    let refused = sandbox.ensemble(&["run", "--roles", "kvstore", "-o", &option]).exits(1);
    assert!(refused.err().contains("Read-only file system"), "{}", refused.err());
    mount.mount_anew();
    let server = server_at(sandbox, mount.path());
    read_all();
    sandbox.kvstorec_with(&["put", "key-0"], "other").succeeds();
    assert_eq!(full(sandbox), "no");
    server.terminate().exits(0);
}
