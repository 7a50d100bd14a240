//! `kvstorec list` and `kvstorec stat`, for people and as JSON.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use common::{Ensemble, ensemble, registry, sandbox_with_cookie, serve};
use ensemble_tests::{Done, Sandbox};
use serde_json::{Value, json};

#[track_caller]
fn json_of(sandbox: &Sandbox, args: &[&str]) -> Value {
    let text = sandbox.kvstorec(&[args, &["--json"]].concat()).succeeds();
    assert!(text.ends_with(b"\n") && text.iter().filter(|byte| **byte == b'\n').count() == 1);
    serde_json::from_slice(&text).unwrap()
}

#[track_caller]
fn text_of(sandbox: &Sandbox, args: &[&str]) -> String {
    String::from_utf8(sandbox.kvstorec(args).succeeds()).unwrap()
}

#[test]
fn keys_are_listed_in_order_by_prefix_and_in_pages() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    assert_eq!(text_of(sandbox, &["list"]), "");
    assert_eq!(json_of(sandbox, &["list"]), json!({"keys": [], "next": null}));
    for key in ["b/2", "a", "b/1", "c", "b/10"] {
        sandbox.kvstorec_with(&["put", key], "x".repeat(key.len() * 100)).succeeds();
    }
    assert_eq!(text_of(sandbox, &["list"]), "a\nb/1\nb/10\nb/2\nc\n");
    assert_eq!(text_of(sandbox, &["list", "b/1"]), "b/1\nb/10\n");
    assert_eq!(text_of(sandbox, &["list", "nothing"]), "");
    assert_eq!(text_of(sandbox, &["list", "--after", "b/1", "--limit", "9"]), "b/10\nb/2\nc\n");
    assert_eq!(text_of(sandbox, &["list", "b/", "--after", "a"]), "b/1\nb/10\nb/2\n");
    let first = sandbox.kvstorec(&["list", "--limit", "2"]).exits(0);
    assert_eq!((first.out(), first.err()), ("a\nb/1\n", "kvstorec: there are more keys: go on behind b/1\n"));
    let entry = |key: &str, revision: u64, value_bytes: u64, stored_bytes: &Value| {
        json!({
            "key": key, "revision": revision, "value_bytes": value_bytes, "stored_bytes": stored_bytes,
            "expires_in_ms": null,
        })
    };
    let page = json_of(sandbox, &["list", "--limit", "2"]);
    let compressed = &page["keys"][1]["stored_bytes"];
    assert!(compressed.as_u64().unwrap() < 100);
    let expected = [entry("a", 2, 100, &json!(100)), entry("b/1", 3, 300, compressed)];
    assert_eq!(page, json!({"keys": expected, "next": "b/1"}));
    let long = text_of(sandbox, &["list", "a", "--long"]);
    assert_eq!(
        long,
        "  REVISION        SIZE      STORED    TIME LEFT  KEY\n         2         100         100            -  a\n"
    );
    sandbox.kvstorec(&["list", "--limit", "0"]).fails(2, &["--limit"]);
    sandbox.kvstorec(&["list", &"k".repeat(512)]).fails(2, &["the key has 512 bytes"]);
}

#[test]
fn keys_that_are_no_text_are_told_byte_by_byte() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let binary = OsString::from_vec(b"\xff\x1b[2J\n\\".to_vec());
    sandbox.kvstorec_with(&[OsString::from("put"), binary], "v").succeeds();
    sandbox.kvstorec_with(&["put", "text"], "v").succeeds();
    assert_eq!(text_of(sandbox, &["list"]), "text\n\\xff\\x1b[2J\\x0a\\\\\n");
    let page = json_of(sandbox, &["list", "--after", "text", "--limit", "1"]);
    assert_eq!(page["keys"][0]["key_hex"], "ff1b5b324a0a5c");
    assert_eq!(text_of(sandbox, &["list", "--after-hex", "74"]), text_of(sandbox, &["list"]));
    assert_eq!(text_of(sandbox, &["list", "--after-hex", "ff1b5b324a0a5c"]), "");
    sandbox.kvstorec(&["list", "--after-hex", "7"]).fails(2, &["hexadecimal"]);
}

#[test]
fn a_key_that_stays_is_listed_exactly_once_among_writers() {
    const KEPT: usize = 300;
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let kept: BTreeSet<String> =
        (0..KEPT).map(|number| format!("k{number:04}-{}", "x".repeat(400))).collect();
    // Long keys, of which a page has few.
    let script: String = kept.iter().map(|key| format!("kvstorec put {key} </dev/null\n")).collect();
    sandbox.shell(&script).succeeds();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if is_done.load(Ordering::Relaxed) {
                    return;
                }
                let key = format!("k{:04}-y", number * 7 % KEPT);
                sandbox.kvstorec_with(&["put", &key], "v").succeeds();
                sandbox.kvstorec(&["remove", &key]).succeeds();
            }
        });
        let _done = Done::at_the_end(&is_done);
        for _ in 0..5 {
            let listed = text_of(sandbox, &["list"]);
            let long: Vec<&str> = listed.lines().filter(|key| !key.ends_with('y')).collect();
            assert!(long.is_sorted());
            assert_eq!(long.len(), KEPT);
            assert_eq!(long.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), kept);
        }
    });
}

#[test]
fn a_key_and_the_store_are_described() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    sandbox.kvstorec(&["stat", "k"]).fails(3, &["kvstore has no key \"k\""]);
    sandbox.kvstorec_with(&["put", "k"], "abc").succeeds();
    sandbox.kvstorec_with(&["put", "z"], "z".repeat(1000)).succeeds();
    let stat = json_of(sandbox, &["stat", "k"]);
    let expected = json!({
        "key": "k", "revision": 1, "value_bytes": 3, "stored_bytes": 3, "codec": "raw", "expires_in_ms": null,
    });
    assert_eq!(stat, expected);
    let stat = json_of(sandbox, &["stat", "z"]);
    assert_eq!((&stat["codec"], &stat["value_bytes"]), (&json!("zstd"), &json!(1000)));
    assert_eq!(
        text_of(sandbox, &["stat", "k"]),
        "key         k\nrevision    1\nsize        3 bytes\nstored      3 bytes, raw\ntime left   -\n"
    );

    let mut stat = json_of(sandbox, &["stat"]);
    let members = stat.as_object_mut().unwrap();
    for name in ["used_bytes", "file_bytes", "page_bytes", "map_bytes", "max_readers"] {
        assert!(members.remove(name).unwrap().as_u64().unwrap() > 0, "{name}");
    }
    for name in ["free_pages", "readers"] {
        assert!(members.remove(name).unwrap().is_u64(), "{name}");
    }
    let expected = json!({
        "entries": 2, "revision": 2, "max_size_bytes": 64_u64 << 30, "full": "no", "durability": "sync",
        "changes": 2, "first_change": 1,
    });
    assert_eq!(stat, expected);
    assert!(
        text_of(sandbox, &["stat"])
            .starts_with("entries     2\nrevision    2\ndurability  sync\nchanges     2 kept, from revision 1 on\nfull        no\n")
    );
}

#[test]
fn a_store_at_its_maximum_says_so_until_there_is_room() {
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    let mut kvstore =
        serve(&sandbox, &["run", "--roles", "kvstore", "-o", "kvstore.max-size=1MiB"], "kvstore");
    let mut state = 1_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let noise: Vec<u8> = (0..300_000).map(|_| random()).collect();
    let full =
        (0..10).find(|number| sandbox.kvstorec_with(&["put", &number.to_string()], &noise).code() != 0);
    assert!(full.is_some());
    assert_eq!(json_of(&sandbox, &["stat"])["full"], "max-size");
    assert!(text_of(&sandbox, &["stat"]).contains("full        yes, at its maximum size"));
    kvstore.logs("the store is full: reads and removes go on");
    for number in 0..full.unwrap() {
        sandbox.kvstorec(&["remove", &number.to_string()]).succeeds();
    }
    sandbox.kvstorec_with(&["put", "again"], &noise).succeeds();
    assert_eq!(json_of(&sandbox, &["stat"])["full"], "no");
    kvstore.logs("the store has room again");
}
