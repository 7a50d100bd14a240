//! The role option `durability`, with servers that are killed.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use common::{kvstore, registry, sandbox_with_cookie, serve};
use ensemble_tests::{Proc, Sandbox, eventually};
use serde_json::Value;

fn start(sandbox: &Sandbox, durability: &str) -> Proc {
    let option = format!("kvstore.durability={durability}");
    serve(sandbox, &["run", "--roles", "kvstore", "-o", &option], "kvstore")
}

fn durability(sandbox: &Sandbox) -> String {
    let stat = sandbox.kvstorec(&["stat", "--json"]).succeeds();
    serde_json::from_slice::<Value>(&stat).unwrap()["durability"].as_str().unwrap().to_owned()
}

#[test]
fn what_was_synced_survives_a_crash_and_what_is_closed_has_everything() {
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    let server = start(&sandbox, "none");
    assert_eq!(durability(&sandbox), "none");
    sandbox.kvstorec_with(&["put", "closed"], "v").succeeds();
    server.terminate().exits(0);

    let server = start(&sandbox, "interval=20");
    assert_eq!(durability(&sandbox), "interval=20");
    let note = sandbox.home().join("server/kvstore/kvstore.db/synced");
    let noted = || std::fs::read(&note).ok();
    let before = noted();
    sandbox.kvstorec_with(&["put", "synced"], "v").succeeds();
    eventually("it is synced", || (noted().is_some() && noted() != before).then_some(()));
    server.crash();

    let server = start(&sandbox, "none");
    let text = sandbox.kvstorec(&["stat"]).succeeds();
    assert!(String::from_utf8(text).unwrap().contains("durability  none\n"));
    sandbox.kvstorec_with(&["put", "perhaps"], "v").succeeds();
    server.crash();

    let _server = kvstore(&sandbox);
    assert_eq!(durability(&sandbox), "sync");
    for key in ["closed", "synced"] {
        assert_eq!(sandbox.kvstorec(&["get", key]).succeeds(), b"v");
    }
    sandbox.kvstorec_with(&["put", "more"], "v").succeeds();
}

#[test]
fn another_word_is_wrong_usage() {
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    let parts = ["kvstore.durability", "sync, none, or interval=MS"];
    let done = sandbox.ensemble(&["run", "--roles", "kvstore", "-o", "kvstore.durability=fast"]).exits(2);
    assert!(parts.iter().all(|part| done.err().contains(part)), "{}", done.err());
}
