//! Roles that are started in a server that runs.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use common::{Ensemble, ensemble, sandbox, sandbox_with_cookie, serve, transcript::Transcript};
use ensemble_tests::eventually;

#[test]
fn a_store_in_a_server_that_was_started_without_one() {
    let sandbox = sandbox_with_cookie();
    let _registry = common::registry(&sandbox);
    let server = serve(&sandbox, &["run", "--roles", "echo", "a"], "a");
    sandbox.ensemble(&["lookup", "--role", "kvstore"]).fails(3, &["no server has the role kvstore"]);
    let mut events = sandbox.start(&["events"]);
    events.says(" servers: a");
    let shown = sandbox.ensemble(&["spawn", "a", "kvstore", "-o", "kvstore.max-value=1KiB"]).succeeds();
    assert_eq!(String::from_utf8(shown).unwrap(), "... a has the role kvstore\n");
    // It is announced when the command has returned, and its options hold.
    let found = sandbox.ensemble(&["lookup", "--role", "kvstore"]).exits(0);
    assert!(found.out().contains("echo,kvstore"), "{}", found.out());
    sandbox.kvstorec_with(&["put", "k", "--server", "a"], "v").succeeds();
    assert_eq!(sandbox.kvstorec(&["get", "k", "--server", "a"]).succeeds(), b"v");
    sandbox.kvstorec_with(&["put", "k", "--server", "a"], [0; 1025]).fails(2, &["1025 bytes"]);
    events.says("a updated: roles echo,kvstore");
    // The store is closed with the server.
    server.terminate().exits(0);
    let again = serve(&sandbox, &["run", "--roles", "kvstore", "a"], "a");
    assert_eq!(sandbox.kvstorec(&["get", "k", "--server", "a"]).succeeds(), b"v");
    again.terminate().exits(0);
}

#[test]
fn of_spawn_and_of_what_it_refuses() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let _a = serve(sandbox, &["run", "--roles", "echo", "a"], "a");
    let taken = sandbox.home().join("server/kvstore/kvstore.db");
    let mut transcript = Transcript::new(sandbox);
    transcript.types("ensemble list roles a");
    transcript.types("ensemble spawn a nope");
    transcript.types("ensemble spawn a echo");
    transcript.types("ensemble spawn a kvstore -o kvstore.nope=1");
    transcript.types("ensemble spawn a kvstore -o kvstore.level=high");
    transcript.types("ensemble spawn a kvstore -o echo.x=1");
    transcript.types("ensemble spawn a kvstore -o kvstore.level=1 -o kvstore.level=2");
    transcript.types(&format!("ensemble spawn a kvstore -o kvstore.path={}", taken.display()));
    transcript.types("ensemble spawn nope kvstore");
    transcript.types("ensemble spawn registry kvstore");
    transcript.types("ensemble list roles registry");
    // None of that has changed anything.
    transcript.types("ensemble lookup a");
    transcript.types("ensemble spawn a kvstore --json");
    transcript.types("ensemble spawn a kvstore");
    transcript.types("ensemble list roles a --json");
    transcript.types("ensemble list actors a");
    transcript.is("spawn");
}

#[test]
fn two_at_once_start_it_once() {
    let sandbox = sandbox();
    let _up = serve(&sandbox, &["up", "--roles", "echo", "a"], "a");
    let both = [(); 2].map(|()| sandbox.start(&["spawn", "a", "kvstore"]));
    let mut codes = both.map(|spawn| spawn.finish().code());
    codes.sort_unstable();
    assert_eq!(codes, [0, 1]);
    sandbox.kvstorec_with(&["put", "k", "--server", "a"], "v").succeeds();
    let listed = sandbox.ensemble(&["list", "roles", "a"]).exits(0);
    assert!(listed.out().lines().all(|line| line.contains("running") || line.starts_with("ROLE")));
}

#[test]
fn what_was_shut_down_can_be_started_again() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    sandbox.kvstorec_with(&["put", "k"], "v").succeeds();
    for _ in 0..2 {
        sandbox.ensemble(&["spawn", "kvstore", "kvstore"]).fails(1, &["already"]);
        sandbox.ensemble(&["shutdown", "-f", "kvstore", "kvstore"]).succeeds();
        sandbox.kvstorec(&["get", "k"]).fails(3, &["kvstore"]);
        // Who looks for the role does not find it there any more.
        eventually("the role has left the registry", || {
            (sandbox.ensemble(&["lookup", "--role", "kvstore"]).code() == 3).then_some(())
        });
        let found = sandbox.ensemble(&["lookup", "kvstore"]).exits(0);
        assert!(found.out().lines().nth(1).unwrap().starts_with("kvstore  -  "), "{}", found.out());
        sandbox.ensemble(&["spawn", "kvstore", "kvstore"]).succeeds();
        assert_eq!(sandbox.kvstorec(&["get", "k"]).succeeds(), b"v");
        sandbox.ensemble(&["lookup", "--role", "kvstore"]).exits(0);
    }
    // At once, too.
    for _ in 0..5 {
        sandbox.shell("ensemble shutdown -f kvstore kvstore && ensemble spawn kvstore kvstore").exits(0);
        sandbox.ensemble(&["lookup", "--role", "kvstore"]).exits(0);
    }
}
