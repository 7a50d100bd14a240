//! `ensemble events`: what it shows while servers come and go, and how it ends.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use common::{Ensemble, ensemble, serve, transcript::Transcript};
use ensemble_tests::{Proc, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Ends it as a person does.
fn interrupted(events: Proc) -> ensemble_tests::Finished {
    events.signal(Signal::INT);
    let done = events.finish().exits(0);
    assert_eq!(done.err(), "");
    done
}

#[test]
fn servers_come_and_go() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let mut people = sandbox.start(&["events"]);
    let mut programs = sandbox.start(&["events", "--json"]);
    people.says(" servers: kvstore");
    programs.says("\"snapshot\"");
    let mut both = |part: &str, json: &str| {
        people.says(part);
        programs.says(json);
    };
    let echo = serve(sandbox, &["run", "--roles", "echo"], "echo");
    both("echo announced", "\"announced\"");
    drop(echo.crash());
    both("echo suspect: its connection broke", "\"disconnected\"");
    let echo = serve(sandbox, &["run", "--roles", "echo"], "echo");
    both("in place of", "\"replaced\":\"");
    echo.terminate().exits(0);
    both("echo gone: withdrawn", "\"withdrawn\"");
    let mut transcript = Transcript::new(sandbox);
    transcript.note("ensemble events", &interrupted(people));
    transcript.note("ensemble events --json", &interrupted(programs));
    transcript.types("ensemble events --from 99999");
    transcript.types("ensemble events --from yesterday");
    transcript.is("events");
}

#[test]
fn from_an_earlier_revision_nothing_is_missing() {
    let Ensemble { sandbox, registry, kvstore: _kvstore } = ensemble();
    serve(&sandbox, &["run", "--roles", "echo"], "echo").terminate().exits(0);
    let mut events = sandbox.start(&["events", "--json", "--from", "0"]);
    events.says("\"withdrawn\"");
    let done = interrupted(events);
    let lines: Vec<Value> = done.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown: Vec<_> =
        lines.iter().map(|line| (&line["event"], &line["server"], &line["revision"])).collect();
    let expected = [json!("announced"), json!("announced"), json!("gone")];
    assert_eq!(shown.iter().map(|(event, ..)| (*event).clone()).collect::<Vec<_>>(), expected);
    assert_eq!(shown.iter().map(|(_, server, _)| *server).collect::<Vec<_>>(), ["kvstore", "echo", "echo"]);
    assert_eq!(shown.iter().map(|(.., revision)| revision.as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    // A registry that was restarted counts anew: what it had is a snapshot.
    let from = format!("2@{}", lines[1]["history"].as_str().unwrap());
    registry.terminate().exits(0);
    let _registry = common::registry(&sandbox);
    let mut events = sandbox.start(&["events", "--json", "--from", &from]);
    let line: Value = serde_json::from_str(&events.says("\"snapshot\"")).unwrap();
    assert_eq!(line["servers"][0]["server"], "kvstore");
    assert_ne!(line["history"], lines[1]["history"]);
    interrupted(events);
}

#[test]
fn it_goes_on_when_the_registry_restarts() {
    let Ensemble { sandbox, registry, kvstore: _kvstore } = ensemble();
    let mut events = sandbox.start(&["events"]);
    events.says(" servers: kvstore");
    drop(registry.crash());
    events.says("... the registry is away");
    let _registry = common::registry(&sandbox);
    events.says("... the registry is back");
    let is_snapshot = |line: &&str| line.contains(" servers: ");
    eventually("it has a new snapshot", || {
        (events.stdout().lines().filter(is_snapshot).count() == 2).then_some(())
    });
    let echo = serve(&sandbox, &["run", "--roles", "echo"], "echo");
    events.says("echo announced");
    echo.terminate().exits(0);
    events.says("echo gone");
    interrupted(events);
}

#[test]
fn it_ends_when_nobody_reads_it() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let shown = sandbox.shell("set -o pipefail; ensemble events | head -n 1").succeeds();
    assert!(String::from_utf8(shown).unwrap().ends_with(" servers: kvstore\n"));
    sandbox.ensemble(&["shutdown", "-f"]).succeeds();
    sandbox.ensemble(&["events"]).fails(4, &["the registry is not running"]);
}
