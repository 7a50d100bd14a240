//! `kvstorec get-many` and `kvstorec apply`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use common::{Ensemble, ensemble};
use serde_json::{Value, json};

#[test]
fn many_are_written_all_or_none_and_read_together() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let writes = "{\"put\": \"a\", \"value\": \"1\", \"if_absent\": true}\n\n{\"put_hex\": \"ff\", \"value_hex\": \"fe\"}\n";
    let done = sandbox.kvstorec_with(&["apply", "--json"], writes).succeeds();
    assert_eq!(
        serde_json::from_slice::<Value>(&done).unwrap(),
        json!({"applied": [{"key": "a", "revision": 1}, {"key_hex": "ff", "revision": 2}]})
    );
    // Now the first condition does not hold.
    sandbox
        .kvstorec_with(&["apply"], writes)
        .fails(6, &["line 1: the key \"a\" has revision 1", "nothing was changed"]);
    sandbox.write(
        "more",
        "{\"remove\": \"a\"}\n{\"put\": \"b\", \"value\": \"2\"}\n{\"check\": \"c\", \"if_revision\": 9}\n",
    );
    sandbox.kvstorec(&["apply", "-i", "more"]).fails(6, &["line 3: there is no key \"c\""]);
    assert_eq!(sandbox.kvstorec(&["get", "a"]).succeeds(), b"1");
    sandbox.kvstorec(&["get", "b"]).fails(3, &[]);
    sandbox.write(
        "fewer",
        "{\"remove\": \"a\"}\n{\"put\": \"b\", \"value\": \"2\"}\n{\"check\": \"c\", \"if_absent\": true}\n",
    );
    assert_eq!(sandbox.kvstorec(&["apply", "-i", "fewer"]).succeeds(), b"3 writes done, revision 4\n");

    let lines = sandbox.shell("kvstorec get-many b a $'\\xff'").succeeds();
    assert_eq!(
        String::from_utf8(lines).unwrap(),
        "{\"key\":\"b\",\"revision\":4,\"value\":\"2\",\"value_hex\":\"32\"}\n\
         {\"key\":\"a\",\"revision\":null,\"value\":null,\"value_hex\":null}\n\
         {\"key_hex\":\"ff\",\"revision\":2,\"value_hex\":\"fe\"}\n"
    );
    let all = sandbox.kvstorec(&["get-many", "b", "a", "--json"]).succeeds();
    assert_eq!(
        serde_json::from_slice::<Value>(&all).unwrap(),
        json!([
            {"key": "b", "revision": 4, "value": "2", "value_hex": "32"},
            {"key": "a", "revision": null, "value": null, "value_hex": null},
        ])
    );
    // One key has the same form by itself.
    let text = sandbox.kvstorec(&["get", "b", "--json"]).succeeds();
    assert_eq!(text, b"{\"key\":\"b\",\"revision\":4,\"value\":\"2\",\"value_hex\":\"32\"}\n");
    let bytes = sandbox.shell("kvstorec get $'\\xff' --json").succeeds();
    assert_eq!(bytes, b"{\"key_hex\":\"ff\",\"revision\":2,\"value_hex\":\"fe\"}\n");
}

#[test]
fn bad_input_changes_nothing() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let good = "{\"put\": \"a\", \"value\": \"1\"}\n";
    for (line, code, part) in [
        ("{\"put\": \"b\"}", 2, "line 2: a put needs a value"),
        ("put b", 2, "line 2, column 1: this is no JSON"),
        ("{\"remove\": \"a\"}", 2, "line 2: the key \"a\" has come before"),
        ("{\"remove\": \"\"}", 2, "line 2: the key has 0 bytes"),
    ] {
        sandbox.kvstorec_with(&["apply"], [good, line].concat()).fails(code, &[part]);
        sandbox.kvstorec(&["get", "a"]).fails(3, &[]);
    }
    let many: String = (0..1025).map(|key| format!("{{\"remove\": \"{key}\"}}\n")).collect();
    sandbox.kvstorec_with(&["apply"], many).fails(2, &["the call is of 1025 keys; the limit is 1024"]);
    assert_eq!(sandbox.kvstorec_with(&["apply", "--json"], "").succeeds(), b"{\"applied\":[]}\n");
    sandbox.kvstorec(&["get-many"]).fails(2, &["<KEY>"]);
    sandbox.kvstorec(&["get-many", "a", ""]).fails(2, &["the key has 0 bytes"]);
}
