//! `kvstorec put --ttl`: keys that end by themselves.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use common::{Ensemble, ensemble, kvstore};
use ensemble_tests::{Sandbox, eventually};
use serde_json::Value;

fn stat(sandbox: &Sandbox, args: &[&str]) -> Value {
    serde_json::from_slice(&sandbox.kvstorec(&[&["stat", "--json"], args].concat()).succeeds()).unwrap()
}

#[test]
fn a_key_ends_by_itself_and_its_room_is_given_back() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    sandbox.kvstorec_with(&["put", "short", "--ttl", "300ms"], "v").succeeds();
    sandbox.kvstorec_with(&["put-object", "object", "--ttl", "1h"], "(1 2)").succeeds();
    sandbox.kvstorec_with(&["put", "kept", "--ttl", "300ms"], "v").succeeds();
    sandbox.kvstorec_with(&["put", "kept"], "w").succeeds();
    sandbox.kvstorec_with(&["apply"], r#"{"put": "also", "value": "v", "ttl_ms": 300}"#).succeeds();
    let left = stat(sandbox, &["object"])["expires_in_ms"].as_u64().unwrap();
    assert!((3_000_000..=3_600_000).contains(&left), "{left}");
    assert!(stat(sandbox, &["kept"])["expires_in_ms"].is_null());
    let long = String::from_utf8(sandbox.kvstorec(&["list", "--long"]).succeeds()).unwrap();
    assert!(long.lines().any(|line| line.contains("  59m") || line.contains("  1h0m  object")), "{long}");
    for key in ["short", "also"] {
        eventually("the key has ended", || (sandbox.kvstorec(&["get", key]).code() == 3).then_some(()));
        sandbox.kvstorec(&["stat", key]).fails(3, &[]);
    }
    assert_eq!(sandbox.kvstorec(&["list"]).succeeds(), b"kept\nobject\n");
    sandbox.kvstorec_with(&["put", "short", "--if-absent"], "anew").succeeds();
    // Six puts, of which one has taken the place of what had ended; the collection of "also" is the seventh write.
    let collected = || (stat(sandbox, &[])["revision"].as_u64().unwrap() >= 7).then_some(());
    eventually("what has ended is collected", collected);
    assert_eq!(stat(sandbox, &[])["entries"], 3);
}

#[test]
fn a_time_goes_on_while_the_server_is_down() {
    let Ensemble { sandbox, registry: _registry, kvstore: first } = ensemble();
    sandbox.kvstorec_with(&["put", "short", "--ttl", "1500ms"], "v").succeeds();
    sandbox.kvstorec_with(&["put", "long", "--ttl", "10m"], "v").succeeds();
    first.crash();
    let _second = kvstore(&sandbox);
    sandbox.kvstorec(&["get", "long"]).succeeds();
    eventually("the key has ended", || (sandbox.kvstorec(&["get", "short"]).code() == 3).then_some(()));
}

#[test]
fn a_time_that_is_none_is_refused() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    for ttl in ["0s", "5", "-1s", "1w", "99999999999d"] {
        sandbox.kvstorec(&["put", "k", &format!("--ttl={ttl}")]).fails(2, &["--ttl"]);
    }
}
