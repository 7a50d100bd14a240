//! The end of servers: by the command in all its forms and by signals, also when some are dead or will not go.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{env, process::Command};

use common::{
    Ensemble, ensemble, kvstore, registry, sandbox, sandbox_with_cookie, serve, terminal::OnTerminal,
};
use ensemble::{Role, RoleContext, Starting};
use ensemble_cli::App;
use ensemble_tests::{Proc, eventually};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn it_asks_first() {
    let mut ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    let answer = |answer: &str, args: &[&str]| {
        let mut terminal = OnTerminal::start(sandbox.ensemble_command(args), 200);
        terminal.shows("? [y/N] ");
        terminal.types(answer);
        let (status, shown) = terminal.finish();
        (status.code().unwrap(), shown)
    };
    // The second is the key that ends the input.
    for no in ["n\n", "\u{4}", "\n", "maybe\n"] {
        let (code, shown) = answer(no, &["shutdown"]);
        assert!(shown.starts_with("Shut down all servers and the registry? [y/N] "), "{shown}");
        assert!(shown.ends_with("nothing was shut down; answer y, or use --force to be asked nothing\n"));
        assert_eq!(code, 1);
    }
    assert!(ensemble.kvstore.is_running() && ensemble.registry.is_running());
    let (code, shown) = answer("y\n", &["shutdown", "kvstore"]);
    assert!(shown.starts_with("Shut down the server kvstore? [y/N] "), "{shown}");
    assert!(shown.ends_with("\n... shutting down kvstore\n"), "{shown}");
    assert_eq!(code, 0);
    assert!(!ensemble.kvstore.is_running() && ensemble.registry.is_running());
}

#[test]
fn it_cannot_ask_where_nobody_sits() {
    let mut ensemble = ensemble();
    let piped = Proc::start(ensemble.sandbox.ensemble_command(&["shutdown"]), b"y\n".to_vec());
    piped.finish().fails(2, &["standard input is no terminal", "use --force"]);
    assert!(ensemble.kvstore.is_running() && ensemble.registry.is_running());
}

#[test]
fn what_hangs_is_named_with_its_process() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    let (kvstore, registry) = (ensemble.kvstore.id(), ensemble.registry.id());
    ensemble.kvstore.signal(Signal::STOP);
    let advice = |id: u32| format!("wait longer with --timeout, or kill its process {id}");
    let shutdown = |args: &[&str]| sandbox.ensemble(&[&["shutdown", "-f", "--timeout", "1"], args].concat());
    let done = shutdown(&["kvstore"]).exits(4);
    assert_eq!(done.out(), "... shutting down kvstore\n");
    assert!(done.err().contains("kvstore has not gone within 1 s") && done.err().contains(&advice(kvstore)));
    let done: Value = serde_json::from_str(shutdown(&["kvstore", "--json"]).exits(4).out()).unwrap();
    assert_eq!(done["remaining"][0]["process_id"], kvstore);
    // Also without a registry that could say so, and of a registry.
    let at = format!("unix:{}", common::socket(sandbox, "kvstore").display());
    let done = shutdown(&["kvstore", "--at", &at]).exits(4);
    assert!(done.err().contains(&advice(kvstore)), "{}", done.err());
    ensemble.registry.signal(Signal::STOP);
    let at = format!("unix:{}", common::socket(sandbox, "registry").display());
    let done = shutdown(&["registry", "--at", &at]).exits(4);
    assert!(done.err().contains(&advice(registry)), "{}", done.err());
    ensemble.registry.signal(Signal::CONT);
    ensemble.kvstore.signal(Signal::CONT);
}

#[test]
fn without_a_registry() {
    let Ensemble { sandbox, registry, kvstore } = ensemble();
    drop(registry.crash());
    let at = format!("unix:{}", common::socket(&sandbox, "kvstore").display());
    let line = format!("`ensemble shutdown kvstore --at {at}`");
    sandbox.ensemble(&["shutdown", "-f", "kvstore"]).fails(4, &["the registry is not running", &line]);
    let all = ["shutdown", "-f"];
    sandbox.ensemble(&all).fails(4, &["the registry is not running", "--at ADDRESS`", "home/run"]);
    // What it says can be typed.
    let shown = sandbox.shell(&line.trim_matches('`').replace("shutdown", "shutdown -f")).succeeds();
    assert_eq!(shown, b"... shutting down kvstore\n");
    kvstore.finish().exits(0);
    let again = sandbox.ensemble(&["shutdown", "-f", "kvstore", "--at", &at]).exits(4);
    assert!(again.err().contains("the server kvstore is not running at unix:"), "{}", again.err());
    sandbox.ensemble(&["shutdown", "-f", "--at", &at]).fails(2, &["<SERVER>"]);
}

#[test]
fn of_an_actor() {
    let mut ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    let shown = sandbox.ensemble(&["shutdown", "-f", "kvstore", "kvstore"]).succeeds();
    assert_eq!(shown, b"... shutting down kvstore/kvstore\n");
    sandbox.ensemble(&["ping", "kvstore", "kvstore"]).fails(3, &["has no actor kvstore"]);
    assert_eq!(sandbox.ensemble(&["ping", "kvstore"]).succeeds(), b"OK\n");
    assert!(ensemble.kvstore.is_running());
}

#[test]
fn of_an_actor_that_is_its_server() {
    let Ensemble { sandbox, mut registry, mut kvstore } = ensemble();
    for (server, actor) in [("kvstore", "node"), ("registry", "registry"), ("registry", "node")] {
        let what = format!("the actor {actor} of {server} is a part of the server, and ends with it");
        let advice = format!("`ensemble shutdown {server}`");
        sandbox.ensemble(&["shutdown", "-f", server, actor]).fails(2, &[&what, &advice]);
    }
    assert!(kvstore.is_running() && registry.is_running());
}

#[test]
fn of_a_server_that_is_dead_already() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    let echo = serve(sandbox, &["run", "--roles", "echo"], "echo");
    ensemble.kvstore.crash();
    let shown = sandbox.ensemble(&["shutdown", "-f"]).succeeds();
    let expected = "... shutting down echo\n... shutting down kvstore\n\
                    ... kvstore was dead: withdrawn from the registry\n... shutting down registry\n";
    assert_eq!(String::from_utf8(shown).unwrap(), expected);
    echo.finish().exits(0);
    ensemble.registry.finish().exits(0);
}

#[test]
fn of_a_server_that_is_dead_already_alone() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    ensemble.kvstore.crash();
    let shown = sandbox.ensemble(&["shutdown", "-f", "kvstore", "--json"]).succeeds();
    let expected = "{\"shut_down\":[],\"withdrawn\":[\"kvstore\"],\"remaining\":[]}\n";
    assert_eq!(String::from_utf8(shown).unwrap(), expected);
    sandbox.ensemble(&["lookup", "kvstore"]).fails(3, &["no server kvstore"]);
}

#[test]
fn of_a_server_that_will_not_go() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    let echo = serve(sandbox, &["run", "--roles", "echo"], "echo");
    ensemble.kvstore.signal(Signal::STOP);
    let done = sandbox.ensemble(&["shutdown", "-f", "--timeout", "1"]).exits(4);
    let expected = "... shutting down echo\n... shutting down kvstore\n... shutting down registry\n";
    assert_eq!(done.out(), expected);
    assert!(done.err().starts_with("ensemble: still there: kvstore ("), "{}", done.err());
    assert_eq!(done.err().lines().count(), 1);
    echo.finish().exits(0);
    ensemble.registry.finish().exits(0);
    ensemble.kvstore.signal(Signal::CONT);
}

#[test]
fn of_a_server_that_leaves_meanwhile() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    let slow = serve(sandbox, &["run", "--roles", "echo", "a-slow"], "a-slow");
    let echo = serve(sandbox, &["run", "--roles", "echo"], "echo");
    slow.signal(Signal::STOP);
    let mut shutdown = sandbox.start(&["shutdown", "-f"]);
    shutdown.says("shutting down a-slow");
    echo.terminate().exits(0);
    slow.signal(Signal::CONT);
    let shown = String::from_utf8(shutdown.finish().succeeds()).unwrap();
    assert_eq!(shown, "... shutting down a-slow\n... shutting down kvstore\n... shutting down registry\n");
    slow.finish().exits(0);
    ensemble.kvstore.finish().exits(0);
    ensemble.registry.finish().exits(0);
}

#[test]
fn two_at_once() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    let echoes: Vec<Proc> = ["echo-1", "echo-2", "echo-3"]
        .into_iter()
        .map(|id| serve(sandbox, &["run", "--roles", "echo", id], id))
        .collect();
    let shutdowns: Vec<Proc> = (0..3).map(|_| sandbox.start(&["shutdown", "-f"])).collect();
    let done: Vec<_> = shutdowns.into_iter().map(Proc::finish).collect();
    assert!(done.iter().any(|done| done.status.success()), "{done:?}");
    for done in &done {
        // One may come so late that the registry has gone already.
        assert!(done.status.success() || done.code() == 4, "{done:?}");
        assert!(!done.err().contains("still there"), "{done:?}");
    }
    for server in echoes.into_iter().chain([ensemble.kvstore, ensemble.registry]) {
        server.finish().exits(0);
    }
}

#[test]
fn of_what_does_not_go_in_json() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    let nothing = "{\"shut_down\":[],\"withdrawn\":[],\"remaining\":[]}\n";
    for args in [&["kvstore", "nope"][..], &["nope", "kvstore"], &["nope"]] {
        let all = [&["shutdown", "-f"], args].concat();
        sandbox.ensemble(&all).fails(3, &[" nope"]);
        assert_eq!(sandbox.ensemble(&[&all[..], &["--json"]].concat()).exits(3).out(), nothing, "{args:?}");
    }
    ensemble.kvstore.signal(Signal::STOP);
    for (args, name, why) in [
        (&["kvstore", "kvstore"][..], "kvstore/kvstore", "did not answer"),
        (&["kvstore"], "kvstore", "has not gone within 1 s"),
    ] {
        let all = [&["shutdown", "-f", "--json", "--timeout", "1"], args].concat();
        let done = sandbox.ensemble(&all).exits(4);
        let start = format!(
            "{{\"shut_down\":[],\"withdrawn\":[],\"remaining\":[{{\"name\":\"{name}\",\"why\":\"kvstore {why}"
        );
        assert!(done.out().starts_with(&start), "{}", done.out());
    }
    ensemble.kvstore.signal(Signal::CONT);
}

#[test]
fn by_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let ensemble = ensemble();
        let sandbox = &ensemble.sandbox;
        ensemble.kvstore.signal(signal);
        ensemble.kvstore.finish().exits(0);
        sandbox.ensemble(&["lookup", "kvstore"]).fails(3, &["no server kvstore"]);
        ensemble.registry.signal(signal);
        ensemble.registry.finish().exits(0);
        assert!(!common::socket(sandbox, "registry").exists(), "the socket is still there");
    }
}

/// A role that keeps its server from ending.
struct Stuck;

impl Role for Stuck {
    fn name(&self) -> &'static str {
        "stuck"
    }

    fn about(&self) -> &'static str {
        "never stops"
    }

    fn start(&self, context: RoleContext) -> Starting<'_> {
        context.node.at_stop(std::future::pending());
        Box::pin(async { Ok(()) })
    }
}

#[test]
#[ignore = "a server, which another test starts as a process of its own"]
fn server_that_is_stuck() {
    let args = ["ensemble", "run", "--roles", "stuck"].map(Into::into);
    // It ends by a signal, or not at all.
    panic!("{:?}", App::new("ensemble").role(Stuck).run_with(args));
}

#[test]
fn by_a_second_signal_at_once() {
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    for (first, second, name) in
        [(Signal::TERM, Signal::TERM, "SIGTERM"), (Signal::TERM, Signal::INT, "SIGINT")]
    {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "server_that_is_stuck", "--ignored", "--nocapture"]);
        command.env("ENSEMBLE_HOME", sandbox.home());
        let mut server = Proc::start(command, Vec::new());
        server.says("stuck is ready at ");
        server.signal(first);
        server.logs("shutting down server=stuck");
        server.signal(second);
        let done = server.finish().exits(1);
        let line = format!("ensemble: ended at once by a second signal, {name}\n");
        assert!(done.err().ends_with(&line), "{}", done.err());
    }
}

#[test]
fn of_one_process_by_a_signal() {
    let sandbox = sandbox();
    let up = serve(&sandbox, &["up", "--log", "info"], "kvstore");
    let done = up.terminate().exits(0);
    // The server leaves the registry before that goes.
    let at = |part: &str| done.err().find(part).unwrap_or_else(|| panic!("no {part:?} in {}", done.err()));
    assert!(at("withdrawn server=kvstore") < at("shutting down server=registry"));
    assert!(at("stopped server=kvstore") < at("shutting down server=registry"));
    assert!(at("shutting down server=registry") < at("stopped server=registry"));
}

#[test]
fn of_half_of_one_process() {
    let sandbox = sandbox();
    let mut up = serve(&sandbox, &["up"], "kvstore");
    let shown = sandbox.ensemble(&["shutdown", "-f", "kvstore"]).succeeds();
    assert_eq!(shown, b"... shutting down kvstore\n");
    assert_eq!(sandbox.ensemble(&["ping", "registry"]).succeeds(), b"OK\n");
    // Its store is closed, so that another process can have it.
    let again = kvstore(&sandbox);
    assert_eq!(sandbox.ensemble(&["ping", "kvstore", "kvstore"]).succeeds(), b"OK\n");
    assert!(up.is_running());
    assert_eq!(again.terminate().exits(0).out().lines().count(), 1);
    sandbox.ensemble(&["shutdown", "-f", "registry"]).succeeds();
    up.finish().exits(0);
}

#[test]
fn of_the_registry_takes_the_server_in_its_process_along() {
    let sandbox = sandbox();
    let up = serve(&sandbox, &["up"], "kvstore");
    let mut echo = serve(&sandbox, &["run", "--roles", "echo"], "echo");
    let shown = sandbox.ensemble(&["shutdown", "-f", "registry"]).succeeds();
    assert_eq!(String::from_utf8(shown).unwrap(), "... shutting down kvstore\n... shutting down registry\n");
    up.finish().exits(0);
    assert!(echo.is_running());
    // It has left the registry in good order, which knows it no more after a restart.
    let _registry = registry(&sandbox);
    sandbox.ensemble(&["lookup", "kvstore"]).fails(3, &["no server kvstore"]);
    sandbox.ensemble(&["lookup", "echo"]).exits(0);
}

#[test]
fn a_server_goes_on_while_the_registry_restarts() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    sandbox.ensemble(&["shutdown", "-f", "registry"]).succeeds();
    ensemble.registry.finish().exits(0);
    sandbox.ensemble(&["ping", "kvstore"]).fails(4, &["the registry is not running"]);
    let _registry = registry(sandbox);
    eventually("the server is back in the registry", || {
        let listed = sandbox.ensemble(&["lookup", "kvstore"]);
        (listed.code() == 0 && listed.out().contains("reachable")).then_some(())
    });
    assert_eq!(sandbox.ensemble(&["ping", "kvstore"]).succeeds(), b"OK\n");
}

#[test]
fn a_command_over_tcp() {
    let sandbox = sandbox_with_cookie();
    let mut registry = serve(&sandbox, &["registry", "-l", "tcp:127.0.0.1:0"], "registry");
    let line = registry.says("is ready at tcp:127.0.0.1:");
    let address = line.rsplit(' ').next().unwrap();
    let args = ["run", "--roles", "kvstore", "-r", address, "-l", "tcp:127.0.0.1:0"];
    let server = serve(&sandbox, &args, "kvstore");
    sandbox.kvstorec_with(&["put", "k", "-r", address], "v").succeeds();
    assert_eq!(sandbox.kvstorec(&["get", "k", "-r", address]).succeeds(), b"v");
    sandbox.ensemble(&["shutdown", "-f", "-r", address]).succeeds();
    server.finish().exits(0);
    registry.finish().exits(0);
}
