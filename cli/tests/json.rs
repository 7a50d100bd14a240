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
    let Ensemble { sandbox, registry, kvstore } = &ensemble();
    let address = format!("unix:{}", common::socket(sandbox, "kvstore").display());
    let server = json!({
        "server": "kvstore", "roles": ["kvstore"], "addresses": [address], "state": "reachable",
        "incarnation": "string", "process_id": kvstore.id(), "age_ms": "number", "unheard_ms": "number",
    });
    let itself = json!({
        "server": "registry", "roles": [], "state": "reachable", "incarnation": "string",
        "addresses": [format!("unix:{}", common::socket(sandbox, "registry").display())],
        "process_id": registry.id(), "age_ms": null, "unheard_ms": 0,
    });
    let known = |args: &[&str]| {
        let mut listed = parse(sandbox.ensemble(args));
        blank(&mut listed, &["incarnation"]);
        for server in listed.as_array_mut().unwrap().iter_mut().filter(|row| row["server"] != "registry") {
            blank(server, &["age_ms", "unheard_ms"]);
        }
        listed
    };
    assert_eq!(known(&["list", "servers", "--json"]), json!([itself, server]));
    assert_eq!(known(&["lookup", "registry", "--json"]), json!([itself]));
    for args in [["lookup", "kvstore", "--json"].as_slice(), &["lookup", "--role", "kvstore", "--json"]] {
        assert_eq!(known(args), json!([server]), "{args:?}");
    }
    let actors = parse(sandbox.ensemble(&["--json", "list", "actors", "kvstore"]));
    let actors = actors.as_array().unwrap();
    assert_eq!((&actors[0]["actor"], &actors[2]["actor"]), (&json!("node"), &json!("roles")));
    assert_eq!(
        actors[1],
        json!({
            "actor": "kvstore", "unanswered": 0, "is_alive": true,
            "messages": [
                "kvstore.apply", "kvstore.backup", "kvstore.changes", "kvstore.compact", "kvstore.get", "kvstore.get-many", "kvstore.limits", "kvstore.list",
                "kvstore.put", "kvstore.put-with", "kvstore.read-begin", "kvstore.read-part", "kvstore.remove",
                "kvstore.remove-if", "kvstore.stat", "kvstore.stat-key", "kvstore.upload-abort", "kvstore.upload-begin",
                "kvstore.upload-finish", "kvstore.upload-part", "kvstore.verify",
            ],
        })
    );
    let mut connections = parse(sandbox.ensemble(&["list", "connections", "kvstore", "--json"]));
    blank(&mut connections, &["incarnation", "received_bytes", "sent_bytes", "calls_in", "calls_out"]);
    let registry = format!("unix:{}", common::socket(sandbox, "registry").display());
    assert_eq!(
        connections[0],
        json!({
            "peer": "registry", "incarnation": "string", "address": registry, "transport": "unix",
            "is_outgoing": true,
            "calls_out": "number", "calls_in": "number", "received_bytes": "number", "sent_bytes": "number",
        })
    );
    let pinged = parse(sandbox.ensemble(&["ping", "kvstore", "--count", "3", "--json"]));
    assert_eq!((&pinged["server"], &pinged["actor"]), (&json!("kvstore"), &json!("node")));
    assert_eq!(pinged["round_trips_ms"].as_array().unwrap().len(), 3);
    assert_eq!([&pinged["sent"], &pinged["answered"], &pinged["lost"]], [3, 3, 0]);
    let statistics = ["min_ms", "median_ms", "mean_ms", "p99_ms", "max_ms"];
    assert!(statistics.iter().all(|name| pinged[name].as_f64().unwrap() > 0.0), "{pinged}");
    let done = parse(sandbox.ensemble(&["shutdown", "-f", "--json"]));
    assert_eq!(done, json!({"shut_down": ["kvstore", "registry"], "withdrawn": [], "remaining": []}));
}

#[test]
fn of_roles_that_are_started() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let mut events = sandbox.start(&["events", "--json"]);
    let mut snapshot: Value = serde_json::from_str(&events.says("snapshot")).unwrap();
    assert_eq!(snapshot["servers"].as_array_mut().unwrap().len(), 1);
    blank(&mut snapshot, &["history"]);
    assert_eq!((&snapshot["revision"], &snapshot["history"]), (&json!(1), &json!("string")));
    let spawned = parse(sandbox.ensemble(&["spawn", "kvstore", "echo", "--json"]));
    assert_eq!(spawned, json!({"server": "kvstore", "role": "echo", "announced": true}));
    let mut updated: Value = serde_json::from_str(&events.says("updated")).unwrap();
    blank(&mut updated, &["time", "history", "incarnation", "process_id"]);
    let address = format!("unix:{}", common::socket(sandbox, "kvstore").display());
    assert_eq!(
        updated,
        json!({
            "time": "string", "event": "updated", "revision": 2, "history": "string", "server": "kvstore",
            "incarnation": "string",
            "roles": ["kvstore", "echo"], "addresses": [address], "process_id": "number",
        })
    );
    let roles = parse(sandbox.ensemble(&["list", "roles", "kvstore", "--json"]));
    assert_eq!(
        roles[0],
        json!({
            "role": "echo", "about": "gives back what it gets, to try an ensemble with", "options": [],
            "is_running": true,
        })
    );
    assert_eq!(roles[1]["options"][0], "path");
}

#[test]
fn of_the_store() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let put = parse(sandbox.kvstorec_with(&["put", "k", "--json"], "v"));
    assert_eq!(put, json!({"key": "k", "stored_bytes": 1, "revision": 1}));
    let got = parse(sandbox.kvstorec(&["get", "k", "--json"]));
    assert_eq!(got, json!({"key": "k", "revision": 1, "value": "v", "value_hex": "76"}));
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
    let mut shown = parse(sandbox.ensemble(&["env", "--json"]));
    let settings = shown["settings"].take();
    assert_eq!(settings["timeout"], json!({"value": "5", "from": "default"}));
    assert_eq!(settings["log-file"], json!({"value": null, "from": "default"}));
    let expected = json!({
        "home": home.to_str().unwrap(), "config": path("config.toml"), "cookie": path("cookie"), "settings": null,
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
