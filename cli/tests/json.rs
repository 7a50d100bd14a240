//! The JSON of every command: one line each, in the form that the command's module documents.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use common::{Ensemble, ensemble, sandbox_with_cookie};
use ensemble_tests::Finished;
use serde_json::{Value, json};

#[track_caller]
fn parse(done: Finished) -> Value {
    let text = String::from_utf8(done.succeeds()).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Replaces what differs from run to run by its type.
fn blank(value: &mut Value, names: &[&str]) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if names.contains(&name.as_str()) {
                    let kind = if member.is_string() { "string" } else { "number" };
                    assert!(member.is_string() || member.is_number(), "{name}: {member}");
                    *member = kind.into();
                } else {
                    blank(member, names);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| blank(item, names)),
        _ => {}
    }
}

#[test]
fn of_the_commands_about_servers() {
    let Ensemble { sandbox, registry: _registry, kvstore } = &ensemble();
    let address = format!("unix:{}", common::socket(sandbox, "kvstore").display());
    let server = json!([{
        "server": "kvstore", "roles": ["kvstore"], "addresses": [address], "state": "reachable",
        "incarnation": "string", "process_id": kvstore.id(), "age_ms": "number",
    }]);
    for args in [
        &["list", "servers", "--json"][..],
        &["lookup", "kvstore", "--json"],
        &["lookup", "--role", "kvstore", "--json"],
    ] {
        let mut listed = parse(sandbox.ensemble(args));
        blank(&mut listed, &["incarnation", "age_ms"]);
        assert_eq!(listed, server, "{args:?}");
    }
    let actors = parse(sandbox.ensemble(&["--json", "list", "actors", "kvstore"]));
    let actors = actors.as_array().unwrap();
    assert_eq!(actors[0]["actor"], "node");
    assert_eq!(
        actors[1],
        json!({
            "actor": "kvstore", "unanswered": 0, "is_alive": true,
            "messages": [
                "kvstore.apply", "kvstore.backup", "kvstore.compact", "kvstore.get", "kvstore.get-many", "kvstore.limits", "kvstore.list",
                "kvstore.put", "kvstore.put-with", "kvstore.remove", "kvstore.remove-if", "kvstore.stat",
                "kvstore.stat-key", "kvstore.verify",
            ],
        })
    );
    let mut connections = parse(sandbox.ensemble(&["list", "connections", "kvstore", "--json"]));
    blank(&mut connections, &["incarnation", "received_bytes", "sent_bytes", "calls_in", "calls_out"]);
    let registry = format!("unix:{}", common::socket(sandbox, "registry").display());
    assert_eq!(
        connections[0],
        json!({
            "peer": "registry", "incarnation": "string", "address": registry, "is_outgoing": true,
            "calls_out": "number", "calls_in": "number", "received_bytes": "number", "sent_bytes": "number",
        })
    );
    let pinged = parse(sandbox.ensemble(&["ping", "kvstore", "--count", "3", "--json"]));
    assert_eq!((&pinged["server"], &pinged["actor"]), (&json!("kvstore"), &json!("node")));
    assert_eq!(pinged["round_trips_ms"].as_array().unwrap().len(), 3);
    let done = parse(sandbox.ensemble(&["shutdown", "-f", "--json"]));
    assert_eq!(done, json!({"shut_down": ["kvstore", "registry"], "withdrawn": [], "remaining": []}));
}

#[test]
fn of_the_store() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let put = parse(sandbox.kvstorec_with(&["put", "k", "--json"], "v"));
    assert_eq!(put, json!({"key": "k", "stored_bytes": 1, "revision": 1}));
    let got = parse(sandbox.kvstorec(&["get", "k", "--json"]));
    assert_eq!(got, json!({"key": "k", "revision": 1, "value_hex": "76"}));
    let put = parse(sandbox.kvstorec_with(&["put-object", "o", "--json"], "#(1 \"x\")"));
    assert_eq!((&put["key"], &put["revision"]), (&json!("o"), &json!(2)));
    let got = parse(sandbox.kvstorec(&["get-object", "o", "--json"]));
    assert_eq!(got, json!({"key": "o", "object": [1, "x"]}));
    assert_eq!(parse(sandbox.kvstorec(&["remove", "k", "--json"])), json!({"key": "k", "removed": true}));
    assert_eq!(parse(sandbox.kvstorec(&["remove", "k", "--json"])), json!({"key": "k", "removed": false}));
}

#[test]
fn of_what_needs_no_server() {
    let sandbox = sandbox_with_cookie();
    let home = sandbox.home();
    let path = |name: &str| home.join(name).to_str().unwrap().to_owned();
    let shown = parse(sandbox.ensemble(&["env", "--json"]));
    let expected = json!({
        "home": home.to_str().unwrap(), "cookie": path("cookie"),
        "servers": path("server"), "sockets": path("run"),
        "registry": format!("unix:{}", path("run/registry.sock")),
    });
    assert_eq!(shown, expected);
    let made = parse(sandbox.ensemble(&["admin", "cookie", "--force", "--json"]));
    assert_eq!(made, json!({"file": path("cookie")}));
    let seen = parse(sandbox.ensemble(&["admin", "cookie", "--view", "--json"]));
    assert_eq!(seen["cookie"].as_str().unwrap().len(), 64);
}

#[test]
fn of_a_server_that_is_ready() {
    let sandbox = sandbox_with_cookie();
    let mut registry = sandbox.start(&["registry", "--json"]);
    let ready: Value = serde_json::from_str(&registry.says("ready")).unwrap();
    let address = format!("unix:{}", common::socket(&sandbox, "registry").display());
    assert_eq!(ready, json!({"ready": "registry", "addresses": [address]}));
}

#[test]
fn of_a_log() {
    let sandbox = sandbox_with_cookie();
    let args = ["registry", "--log-file", "-", "--log-format", "json"];
    let registry = common::serve(&sandbox, &args, "registry");
    let done = registry.terminate().exits(0);
    assert_eq!(done.err(), "");
    let log = std::fs::read_to_string(sandbox.home().join("server/registry/log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines.iter().find(|line| line["message"] == "listening").unwrap();
    assert_eq!((&line["level"], &line["server"]), (&json!("INFO"), &json!("registry")));
    // It is appended to.
    let own = ["registry", "--log-file", "-", "--log", "warn"];
    common::serve(&sandbox, &own, "registry").terminate().exits(0);
    assert!(std::fs::read_to_string(sandbox.home().join("server/registry/log")).unwrap().starts_with(&log));
}
