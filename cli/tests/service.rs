//! A server as a service: its log file is moved away and opened anew, and the service manager is told how it is.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{env, fs, os::unix::net::UnixDatagram, path::Path, process::Command, thread, time::Duration};

use common::{registry, sandbox, sandbox_with_cookie, serve};
use ensemble::{Role, RoleContext, Starting};
use ensemble_cli::App;
use ensemble_tests::{DEADLINE, Proc, Sandbox, eventually};
use rustix::process::Signal;
use serde_json::Value;

/// A role that logs numbers, from 1 on, one after the other.
struct Chatty;

impl Role for Chatty {
    fn name(&self) -> &'static str {
        "chatty"
    }

    fn about(&self) -> &'static str {
        "logs numbers"
    }

    fn start(&self, _: RoleContext) -> Starting<'_> {
        thread::spawn(|| {
            for number in 1_u64.. {
                tracing::info!(number, "chat");
                thread::sleep(Duration::from_millis(1));
            }
        });
        Box::pin(async { Ok(()) })
    }
}

#[test]
#[ignore = "a server, which another test starts as a process of its own"]
fn server_that_chats() {
    let log = env::var("TEST_LOG").unwrap();
    let args = ["ensemble", "run", "--roles", "chatty", "--log-format", "json", "--log-file", &log];
    // The exit code is that of the command, and not of the test.
    let code = App::new("ensemble").role(Chatty).run_with(args.map(Into::into));
    assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::SUCCESS));
}

fn numbers(log: &str) -> Vec<u64> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["message"] == "chat").map(|line| line["number"].as_u64().unwrap()).collect()
}

#[test]
fn a_log_that_is_moved_away_loses_no_line() {
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    let log = sandbox.file("chatty.log");
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "server_that_chats", "--ignored", "--nocapture"]);
    command.env("ENSEMBLE_HOME", sandbox.home()).env("TEST_LOG", &log);
    let mut server = Proc::start(command, Vec::new());
    server.says("chatty is ready at ");
    let has_chats = |path: &Path| fs::read_to_string(path).ok().filter(|log| log.contains("\"chat\""));
    let mut moved = Vec::new();
    for number in 0..3 {
        eventually("the log has lines", || has_chats(&log));
        let away = sandbox.file(&format!("chatty.log.{number}"));
        fs::rename(&log, &away).unwrap();
        server.signal(Signal::HUP);
        moved.push(away);
    }
    let last = eventually("the new log has lines", || has_chats(&log));
    assert!(last.contains("opened the log file anew"), "{last}");
    server.terminate().exits(0);
    let all: Vec<u64> =
        moved.iter().chain([&log]).flat_map(|path| numbers(&fs::read_to_string(path).unwrap())).collect();
    assert!(all.len() > 3);
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_log_that_cannot_be_opened_anew_is_kept() {
    let sandbox = sandbox_with_cookie();
    let logs = sandbox.file("logs");
    fs::create_dir(&logs).unwrap();
    let log = logs.join("log");
    let server = serve(&sandbox, &["registry", "--log-file", log.to_str().unwrap()], "registry");
    let moved = sandbox.file("moved");
    fs::rename(&logs, &moved).unwrap();
    server.signal(Signal::HUP);
    eventually("it says so", || {
        let text = fs::read_to_string(moved.join("log")).unwrap();
        text.contains("cannot open the log file anew").then_some(())
    });
    server.terminate().exits(0);
    assert!(fs::read_to_string(moved.join("log")).unwrap().contains("stopped"));
}

#[test]
fn a_server_without_a_log_file_ends_in_good_order_when_its_terminal_goes() {
    let sandbox = sandbox_with_cookie();
    let registry = serve(&sandbox, &["registry"], "registry");
    // The tests themselves may have been started to outlive theirs.
    let mut command = sandbox.as_ensemble("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_ensemble"), "run", "--roles", "echo"]);
    let mut server = Proc::start(command, Vec::new());
    server.says("echo is ready at ");
    server.signal(Signal::HUP);
    server.finish().exits(0);
    sandbox.ensemble(&["lookup", "echo"]).fails(3, &["echo"]);
    registry.terminate().exits(0);

    // Unless it was started to outlive it.
    let mut command = sandbox.as_ensemble("nohup");
    command.args([env!("CARGO_BIN_EXE_ensemble"), "registry"]);
    let mut registry = Proc::start(command, Vec::new());
    registry.says("registry is ready at ");
    registry.signal(Signal::HUP);
    let log = registry.terminate().exits(0);
    assert!(log.err().contains("SIGTERM") && !log.err().contains("SIGHUP"), "{}", log.err());
}

/// The socket of a service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn start(sandbox: &Sandbox, args: &[&str]) -> (Self, Proc) {
        let path = sandbox.file("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut command = sandbox.ensemble_command(args);
        command.env("NOTIFY_SOCKET", path);
        (Self(socket), Proc::start(command, Vec::new()))
    }

    #[track_caller]
    fn is_told(&self, expected: &str) {
        let mut buffer = [0; 4096];
        let bytes = self.0.recv(&mut buffer).unwrap();
        assert_eq!(str::from_utf8(&buffer[..bytes]).unwrap(), expected);
    }
}

#[test]
fn a_service_manager_is_told_when_it_is_ready_and_when_it_stops() {
    let sandbox = sandbox();
    let socket = |id: &str| common::socket(&sandbox, id).display().to_string();
    let (manager, up) = Manager::start(&sandbox, &["up"]);
    manager.is_told(&format!("READY=1\nSTATUS=kvstore is ready at unix:{}\n", socket("kvstore")));
    // It is ready, and not only about to be.
    sandbox.kvstorec_with(&["put", "k"], "v").succeeds();
    // The process goes on without this server of it.
    sandbox.ensemble(&["shutdown", "-f", "kvstore"]).succeeds();
    up.signal(Signal::TERM);
    manager.is_told("STOPPING=1\nSTATUS=shutting down\n");
    up.finish().exits(0);
}

#[test]
fn of_a_registry_and_of_a_server_that_is_shut_down() {
    let sandbox = sandbox_with_cookie();
    let address = |id: &str| format!("unix:{}", common::socket(&sandbox, id).display());
    let (manager, registry) = Manager::start(&sandbox, &["registry"]);
    manager.is_told(&format!("READY=1\nSTATUS=registry is ready at {}\n", address("registry")));
    fs::remove_file(sandbox.file("notify")).unwrap();
    let (other, echo) = Manager::start(&sandbox, &["run", "--roles", "echo"]);
    other.is_told(&format!("READY=1\nSTATUS=echo is ready at {}\n", address("echo")));
    sandbox.ensemble(&["shutdown", "-f", "echo"]).succeeds();
    other.is_told("STOPPING=1\nSTATUS=shutting down\n");
    echo.finish().exits(0);
    // A manager that has gone is no reason to fail.
    registry.terminate().exits(0);
}
