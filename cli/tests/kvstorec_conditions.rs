//! Writes on a condition: create, compare and swap, and what a conflict says.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::thread;

use common::{Ensemble, ensemble};
use ensemble_tests::Sandbox;
use serde_json::{Value, json};

fn revision(sandbox: &Sandbox, key: &str) -> u64 {
    let got: Value = serde_json::from_slice(&sandbox.kvstorec(&["get", key, "--json"]).succeeds()).unwrap();
    got["revision"].as_u64().unwrap()
}

#[test]
fn a_conflict_changes_nothing_and_says_the_current_revision() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    sandbox.kvstorec_with(&["put", "k", "--if-revision", "1"], "v").fails(6, &["there is no key \"k\""]);
    sandbox.kvstorec(&["remove", "k", "--if-revision", "1"]).fails(6, &["there is no key \"k\""]);
    let put = sandbox.kvstorec_with(&["put", "k", "--if-absent", "--json"], "first").succeeds();
    let put: Value = serde_json::from_slice(&put).unwrap();
    assert_eq!(put, json!({"key": "k", "stored_bytes": 5, "revision": 1}));
    for args in [&["put", "k", "--if-absent"], &["put-object", "k", "--if-absent"]] {
        sandbox.kvstorec_with(args, "1").fails(6, &["the key \"k\" has revision 1", "nothing was changed"]);
    }
    assert_eq!(sandbox.kvstorec_with(&["put", "k", "--if-revision", "1"], "second").succeeds(), b"");
    let parts = ["the key \"k\" has revision 2"];
    sandbox.kvstorec_with(&["put", "k", "--if-revision", "1", "--json"], "third").fails(6, &parts);
    sandbox.kvstorec(&["remove", "k", "--if-revision", "1"]).fails(6, &parts);
    assert_eq!(sandbox.kvstorec(&["get", "k"]).succeeds(), b"second");
    let removed = sandbox.kvstorec(&["remove", "k", "--if-revision", "2", "--json"]).succeeds();
    assert_eq!(serde_json::from_slice::<Value>(&removed).unwrap(), json!({"key": "k", "removed": true}));
    sandbox.kvstorec(&["get", "k"]).fails(3, &[]);
}

#[test]
fn wrong_usage_is_told_before_anything_is_read() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    sandbox.kvstorec(&["put", "k", "--if-absent", "--if-revision", "1"]).fails(2, &["--if-revision"]);
    sandbox.kvstorec(&["put", "k", "--if-revision", "-1"]).fails(2, &["-1"]);
    sandbox.kvstorec(&["get", "k"]).fails(3, &[]);
}

#[test]
fn of_many_that_swap_at_once_one_wins_each_revision() {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 5;
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    sandbox.kvstorec_with(&["put", "counter"], "0").succeeds();
    let increment = || {
        // Until it is the one that wins.
        loop {
            let at = revision(sandbox, "counter").to_string();
            let value = String::from_utf8(sandbox.kvstorec(&["get", "counter"]).succeeds()).unwrap();
            let next = (value.parse::<usize>().unwrap() + 1).to_string();
            let done = sandbox.kvstorec_with(&["put", "counter", "--if-revision", &at], next);
            match done.code() {
                0 => return,
                code => assert_eq!(code, 6, "{}", done.err()),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| (0..ROUNDS).for_each(|_| increment()));
        }
    });
    assert_eq!(sandbox.kvstorec(&["get", "counter"]).succeeds(), (WRITERS * ROUNDS).to_string().as_bytes());
}
