//! `kvstorec watch`: what it shows, how it ends, and what it says of revisions that it cannot begin behind.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::process::Stdio;

use common::{Ensemble, ensemble, serve, transcript::Transcript};
use ensemble_tests::{Proc, Sandbox, eventually};
use rustix::{
    io::ioctl_fionread,
    process::{Pid, Signal, kill_process},
};
use serde_json::{Value, json};

fn start(sandbox: &Sandbox, args: &[&str]) -> Proc {
    Proc::start(sandbox.kvstorec_command(args), Vec::new())
}

#[test]
fn changes_are_shown_as_they_come_until_it_is_told_to_end() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let mut people = start(sandbox, &["watch", "a/", "--from", "0", "--values"]);
    let mut programs = start(sandbox, &["watch", "--json", "--from", "0"]);
    programs.says("\"watching\"");
    let put = |key: &str, value: &[u8]| drop(sandbox.kvstorec_with(&["put", key], value).succeeds());
    put("a/1", b"one\n");
    people.says("1 put a/1 = one");
    put("b/2", b"two");
    put("a/3", b"\xff");
    sandbox.kvstorec(&["remove", "a/1"]).succeeds();
    people.says("4 removed a/1");
    sandbox.kvstorec_with(&["put", "a/5", "--ttl", "1ms"], "short").succeeds();
    people.says("6 expired a/5");
    programs.says("\"expired\"");

    people.signal(Signal::INT);
    programs.signal(Signal::TERM);
    let people = people.finish().exits(0);
    let lines: Vec<&str> = people.out().lines().collect();
    assert_eq!(lines[..3], ["1 put a/1 = one\\x0a", "3 put a/3 = \\xff", "4 removed a/1"]);
    assert!(lines[3].starts_with("5 put a/5 ") && lines.len() == 5, "{lines:?}");
    assert_eq!(people.err(), "");
    let programs = programs.finish().exits(0);
    let mut lines: Vec<Value> =
        programs.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let history = lines[0]["history"].clone();
    assert!(
        lines.iter_mut().all(|line| line.as_object_mut().unwrap().remove("history") == Some(history.clone()))
    );
    let put = |revision: u64, key: &str, bytes: u64| json!({"event": "put", "revision": revision, "key": key, "value_bytes": bytes});
    let expected = [
        json!({"event": "watching", "revision": 0}),
        put(1, "a/1", 4),
        put(2, "b/2", 3),
        put(3, "a/3", 1),
        json!({"event": "removed", "revision": 4, "key": "a/1"}),
        put(5, "a/5", 5),
        json!({"event": "expired", "revision": 6, "key": "a/5"}),
    ];
    assert_eq!(lines, expected);

    // What is there is attached, and what is not is said.
    let seen = sandbox.kvstorec(&["watch", "--json", "--values", "--from", "0", "--count", "3"]).succeeds();
    let lines: Vec<Value> =
        String::from_utf8(seen).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[1]["missing"], "replaced");
    assert_eq!((&lines[2]["value"], &lines[3]["value_hex"]), (&json!("two"), &json!("ff")));
}

/// It was held up by its output, and SIGINT and SIGTERM with it.
#[test]
fn it_ends_when_it_is_told_to_while_nobody_takes_what_it_shows() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let writes: String = (0..500)
        .map(|number| json!({"put": format!("{number:0400}"), "value": ""}).to_string() + "\n")
        .collect();
    sandbox.kvstorec_with(&["apply"], writes).exits(0);
    for signal in [Signal::TERM, Signal::INT] {
        let mut command = sandbox.kvstorec_command(&["watch", "--from", "0"]);
        let mut watch = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = watch.stdout.take().unwrap();
        let mut before = 0;
        eventually("the pipe is full", || {
            let waiting = ioctl_fionread(&output).unwrap();
            (std::mem::replace(&mut before, waiting) == waiting && waiting > 50_000).then_some(())
        });
        kill_process(Pid::from_child(&watch), signal).unwrap();
        let status = eventually("it has ended", || watch.try_wait().unwrap());
        assert_eq!(status.code(), Some(0));
        drop(output);
    }
}

#[test]
fn what_cannot_be_followed_is_said_with_what_can() {
    let Ensemble { sandbox, registry: _registry, kvstore } = ensemble();
    let puts = |count: usize| {
        (0..count).for_each(|_| assert_eq!(sandbox.kvstorec_with(&["put", "k"], "v").succeeds(), b""));
    };
    puts(3);
    kvstore.terminate().exits(0);
    let few = ["run", "--roles", "kvstore", "-o", "kvstore.changes=0"];
    let kvstore = serve(&sandbox, &few, "kvstore");
    puts(1);
    let mut transcript = Transcript::new(&sandbox);
    transcript.types("kvstorec watch --from 3");
    transcript.types("kvstorec watch --from 5");
    transcript.types("kvstorec watch --from yesterday");
    transcript.types("kvstorec watch --from 4@2f1d");
    transcript.is("watch");
    let other = "4@00000000-0000-4000-8000-000000000000";
    sandbox.kvstorec(&["watch", "--from", other]).fails(6, &["the store has begun a new history"]);
    let mut watch = start(&sandbox, &["watch", "--json"]);
    watch.says("\"watching\"");
    kvstore.terminate().exits(0);
    let kvstore = serve(&sandbox, &["run", "--roles", "kvstore"], "kvstore");
    let mut behind = start(&sandbox, &["watch", "--from", "4"]);
    puts(1);
    behind.says("5 put k");
    watch.says("\"put\"");
    watch.signal(Signal::INT);
    watch.finish().exits(0);
    behind.signal(Signal::INT);
    behind.finish().exits(0);
    kvstore.terminate().exits(0);
    sandbox.kvstorec(&["watch"]).fails(3, &["the registry knows no server kvstore"]);
}

#[test]
fn it_ends_when_nobody_reads_it() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    sandbox.kvstorec_with(&["put", "k"], "v").succeeds();
    let shown = sandbox.shell("set -o pipefail; kvstorec watch --from 0 | head -n 1").succeeds();
    assert_eq!(String::from_utf8(shown).unwrap(), "1 put k\n");
}
