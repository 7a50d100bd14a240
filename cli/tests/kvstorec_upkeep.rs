//! `kvstorec verify`, `backup` and `restore`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use common::{Ensemble, ensemble, kvstore};
use ensemble_tests::{Done, Sandbox};
use serde_json::{Value, json};

#[track_caller]
fn json_of(sandbox: &Sandbox, args: &[&str]) -> Value {
    serde_json::from_slice(&sandbox.kvstorec(&[args, &["--json"]].concat()).succeeds()).unwrap()
}

#[test]
fn a_backup_under_writes_restores_to_a_state_that_existed() {
    let Ensemble { sandbox, registry: _registry, kvstore: server } = ensemble();
    let sandbox = &sandbox;
    sandbox.kvstorec_with(&["put", "kept"], "x".repeat(100_000)).succeeds();
    let is_done = AtomicBool::new(false);
    let made = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if is_done.load(Ordering::Relaxed) {
                    return;
                }
                // Together, or the state never existed.
                let both = format!(
                    "{{\"put\": \"a\", \"value\": \"{number}\"}}\n{{\"put\": \"b\", \"value\": \"{number}\"}}"
                );
                sandbox.kvstorec_with(&["apply"], both).succeeds();
            }
        });
        let _done = Done::at_the_end(&is_done);
        let backup = |number| json_of(sandbox, &["backup", &format!("backup-{number}")]);
        (0..5).map(backup).collect::<Vec<Value>>()
    });
    let file = sandbox.file("backup-0").canonicalize().unwrap();
    assert_eq!(made[0]["file"], file.to_str().unwrap());
    assert_eq!(made[0]["bytes"], fs::metadata(&file).unwrap().len());
    sandbox
        .kvstorec(&["backup", "backup-0"])
        .fails(1, &["backup-0 is there already", "nothing is written over"]);
    sandbox.kvstorec(&["backup", "nowhere/backup"]).fails(1, &["could not be written: No such file"]);
    let store = sandbox.home().join("server/kvstore/kvstore.db");
    let path = store.to_str().unwrap();
    sandbox.kvstorec(&["restore", "backup-0"]).fails(
        1,
        &[
            "the server kvstore is running, and has its store open",
            "`ensemble shutdown kvstore`",
            "move its store away",
        ],
    );
    sandbox
        .kvstorec(&["restore", "backup-0", "--directory", path])
        .fails(1, &["a server that is running has the store in ", "kvstore.db open", "shut the server down"]);
    // One that would not be seen before the server's next start.
    fs::rename(&store, sandbox.file("away")).unwrap();
    sandbox.kvstorec(&["restore", "backup-0"]).fails(1, &["the server kvstore is running"]);
    assert!(!store.exists());
    fs::rename(sandbox.file("away"), &store).unwrap();

    server.terminate().exits(0);
    sandbox
        .kvstorec(&["restore", "backup-0"])
        .fails(1, &["kvstore.db is there already", "move that store away"]);
    for number in 0..5 {
        fs::remove_dir_all(&store).unwrap();
        let restored = json_of(sandbox, &["restore", &format!("backup-{number}")]);
        assert_eq!(restored["directory"], store.to_str().unwrap());
        let server = kvstore(sandbox);
        let both = json_of(sandbox, &["get-many", "a", "b"]);
        assert_eq!(both[0]["value"], both[1]["value"], "{number}");
        assert_eq!(json_of(sandbox, &["stat"])["revision"], restored["revision"]);
        assert_eq!(sandbox.kvstorec(&["get", "kept"]).succeeds(), "x".repeat(100_000).as_bytes());
        assert_eq!(json_of(sandbox, &["verify"])["damaged"], json!([]));
        server.terminate().exits(0);
    }
    let left = fs::read_dir(sandbox.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(
        left.into_iter().all(|name| !name.to_str().unwrap().contains(".part")),
        "something is left behind"
    );
}

#[test]
fn what_is_no_whole_backup_is_refused() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    sandbox.kvstorec_with(&["put", "k"], "v").succeeds();
    let said = sandbox.kvstorec(&["backup", "good"]).succeeds();
    let good = fs::read(sandbox.file("good")).unwrap();
    let path = sandbox.file("good").canonicalize().unwrap();
    let expected = format!("{}: 1 entry, {} bytes, revision 1\n", path.display(), good.len());
    assert_eq!(String::from_utf8(said).unwrap(), expected);
    let target = sandbox.file("restored");
    let target = target.to_str().unwrap();
    let refuse = |bytes: &[u8], part: &str| {
        sandbox.write("bad", bytes);
        sandbox.kvstorec(&["restore", "bad", "--directory", target]).fails(1, &[part]);
        assert!(!sandbox.file("restored").exists());
    };
    refuse(b"short", "bad is no backup: it is too short");
    refuse(&good[..good.len() - 1], "it may have been cut off");
    for at in (0..good.len() - 24).step_by(good.len() / 20) {
        let mut damaged = good.clone();
        damaged[at] ^= 4;
        refuse(&damaged, "its checksum is another");
    }
    let mut newer = good.clone();
    newer[good.len() - 16] = 2;
    refuse(&newer, "another version");
    sandbox
        .kvstorec(&["restore", "bad", "--server", "registry"])
        .fails(2, &["is the registry, which has no store"]);
    sandbox.kvstorec(&["restore", "nowhere", "--directory", target]).fails(1, &["nowhere could not be read"]);
    let restored = sandbox.kvstorec(&["restore", "good", "--directory", target]).succeeds();
    assert_eq!(String::from_utf8(restored).unwrap(), "entries 1, revision 1\n");
    sandbox.kvstorec(&["restore", "good", "--directory", target]).fails(1, &["is there already"]);
}

#[test]
fn damaged_records_are_named_and_the_server_lives() {
    let Ensemble { sandbox, registry: _registry, kvstore: server } = ensemble();
    let sandbox = &sandbox;
    for key in ["a", "b", "c"] {
        sandbox.kvstorec_with(&["put", key], format!("the value of {key}")).succeeds();
    }
    let found = sandbox.kvstorec(&["verify"]).succeeds();
    assert_eq!(String::from_utf8(found).unwrap(), "3 records of 102 bytes, 0 damaged\n");
    server.terminate().exits(0);
    let data = sandbox.home().join("server/kvstore/kvstore.db/data.mdb");
    let mut bytes = fs::read(&data).unwrap();
    // In every copy of the page that there is.
    let text = b"the value of b";
    let places: Vec<usize> =
        bytes.windows(text.len()).enumerate().filter(|(_, at)| at == text).map(|(at, _)| at).collect();
    for at in places {
        bytes[at] ^= 1;
    }
    fs::write(&data, bytes).unwrap();
    let _server = kvstore(sandbox);
    let found = sandbox.kvstorec(&["verify"]).exits(1);
    assert!(found.out().starts_with("b: the record is damaged: its checksum is 0x"), "{}", found.out());
    assert!(found.out().ends_with("3 records of 102 bytes, 1 damaged\n"), "{}", found.out());
    assert!(found.err().contains("damaged records: 1"), "{}", found.err());
    let json: Value = serde_json::from_slice(&{
        let done = sandbox.kvstorec(&["verify", "--json"]).exits(1);
        done.out().as_bytes().to_vec()
    })
    .unwrap();
    assert_eq!((&json["records"], &json["damaged"][0]["key"]), (&json!(3), &json!("b")));
    sandbox.kvstorec(&["get", "b"]).fails(1, &["the stored record is damaged"]);
    let many = sandbox.kvstorec(&["get-many", "a", "b"]).exits(1);
    assert!(
        many.out().contains("{\"key\":\"b\",\"error\":\"the stored record is damaged\"}"),
        "{}",
        many.out()
    );
    // A backup keeps what is there; a restore refuses it.
    sandbox.kvstorec(&["backup", "damaged"]).succeeds();
    let target = sandbox.file("restored");
    let parts = ["damaged records in the backup: 1, the first of the key b"];
    sandbox.kvstorec(&["restore", "damaged", "--directory", target.to_str().unwrap()]).fails(1, &parts);
    sandbox.kvstorec_with(&["put", "b"], "anew").succeeds();
    sandbox.kvstorec(&["verify"]).succeeds();
}

#[test]
fn a_compaction_gives_room_back() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    for number in 0..5 {
        // Text that hardly compresses.
        let text: String = (0..30_000_u64)
            .map(|n| (n * n * n + number).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string())
            .collect();
        sandbox.kvstorec_with(&["put", &number.to_string()], text).succeeds();
    }
    for number in 1..5 {
        sandbox.kvstorec(&["remove", &number.to_string()]).succeeds();
    }
    let value = sandbox.kvstorec(&["get", "0"]).succeeds();
    let done = json_of(sandbox, &["compact"]);
    let (before, after) = (done["before_bytes"].as_u64().unwrap(), done["after_bytes"].as_u64().unwrap());
    assert!(after * 3 < before, "{done}");
    let data = sandbox.home().join("server/kvstore/kvstore.db/data.mdb");
    assert_eq!(fs::metadata(data).unwrap().len(), after);
    assert_eq!(sandbox.kvstorec(&["get", "0"]).succeeds(), value);
    sandbox.kvstorec_with(&["put", "more"], "v").succeeds();
    let text = String::from_utf8(sandbox.kvstorec(&["compact"]).succeeds()).unwrap();
    assert!(text.contains(" bytes before, ") && text.ends_with(" bytes now\n"), "{text}");
    assert_eq!(sandbox.kvstorec(&["list"]).succeeds(), b"0\nmore\n");
}
