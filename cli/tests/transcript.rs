//! The tutorial's transcript, typed into a shell line by line, with servers that were started in each of the ways in
//! which it can be done. What is shown is compared byte for byte.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::path::Path;

use common::{sandbox, serve};
use ensemble_tests::{Proc, Sandbox};

const FOO: &str =
    "{\n  \"head\": \"I am a walrus~\",\n  \"body\": {\n    \"value\": \"and this is my body\"\n  }\n}\n";

/// A line of the transcript, and what it must show.
fn shows(sandbox: &Sandbox, line: &str, expected: &str) {
    let shown = sandbox.shell(line).succeeds();
    assert_eq!(String::from_utf8_lossy(&shown), expected, "{line}");
}

/// A line of the transcript, and the server that must be in the table that it shows.
fn shows_server(sandbox: &Sandbox, line: &str, id: &str, roles: &str, socket: &Path) {
    let shown = String::from_utf8(sandbox.shell(line).succeeds()).unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut lines = shown.lines().map(words);
    let header = ["SERVER", "ROLES", "STATE", "AGE", "HEARD", "INCARNATION", "PID", "ADDRESSES"];
    assert_eq!(lines.next().unwrap(), header, "{shown}");
    let row = lines.find(|row| row[0] == id).unwrap_or_else(|| panic!("{id} is missing: {shown}"));
    assert_eq!(row[..3], [id, roles, "reachable"], "{shown}");
    assert_eq!(row[7], format!("unix:{}", socket.display()), "{shown}");
}

fn type_transcript(sandbox: &Sandbox) {
    sandbox.write("foo.json", FOO);
    shows(sandbox, "kvstorec put --input foo.json foo.json", "");
    shows(sandbox, "kvstorec get foo.json", FOO);
    shows(sandbox, "echo '((a . 1) (b . 2) (c . 3))' | kvstorec put-object my-alist", "");
    shows(sandbox, "kvstorec get-object my-alist", "((a . 1) (b . 2) (c . 3))\n");
    shows(sandbox, "kvstorec get my-alist | base64", "+09iAQgDCQEGAWEDAgkBBgFiAwQJAQYBYwMG\n");
    shows(sandbox, "kvstorec remove my-alist", "");
    let socket = common::socket(sandbox, "kvstore");
    for line in ["ensemble lookup --role kvstore", "ensemble lookup kvstore"] {
        shows_server(sandbox, line, "kvstore", "kvstore", &socket);
    }
    shows_server(sandbox, "ensemble list servers", "kvstore", "kvstore", &socket);
    shows_server(sandbox, "ensemble list servers", "registry", "-", &common::socket(sandbox, "registry"));
    shows(sandbox, "ensemble ping kvstore; ensemble ping kvstore kvstore", "OK\nOK\n");
    sandbox.kvstorec(&["get", "my-alist"]).fails(3, &["kvstore has no key \"my-alist\""]);
    shows(sandbox, "ensemble shutdown -f", "... shutting down kvstore\n... shutting down registry\n");
}

/// When the shutdown has returned, all have ended, and well.
fn all_have_ended(servers: Vec<Proc>) {
    for mut server in servers {
        assert!(!server.is_running(), "the shutdown returned too early");
        server.finish().exits(0);
    }
}

#[test]
fn with_a_registry_and_a_server() {
    let sandbox = sandbox();
    shows(&sandbox, "ensemble admin cookie", "");
    let registry = serve(&sandbox, &["registry"], "registry");
    let server = serve(&sandbox, &["run", "--roles", "kvstore"], "kvstore");
    type_transcript(&sandbox);
    all_have_ended(vec![registry, server]);
}

#[test]
fn with_the_roles_as_scheme_writes_them() {
    let sandbox = sandbox();
    shows(&sandbox, "ensemble admin cookie", "");
    let registry = serve(&sandbox, &["registry"], "registry");
    let server = serve(&sandbox, &["run", "--roles", "(kvstore)", "kvstore"], "kvstore");
    type_transcript(&sandbox);
    all_have_ended(vec![registry, server]);
}

#[test]
fn with_one_command() {
    let sandbox = sandbox();
    let up = serve(&sandbox, &["up"], "kvstore");
    type_transcript(&sandbox);
    all_have_ended(vec![up]);
}

/// Starts `ensemble up ARGS`, types what it says into another terminal, and returns what that shows.
fn type_what_up_says(sandbox: &Sandbox, args: &[&str], id: &str) -> (String, String) {
    let up = [&["up"], args].concat();
    let mut up = serve(sandbox, &up, id);
    up.says(" shutdown -f");
    let said = up.stdout();
    let lines: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("  $ ")).collect();
    assert!(lines[0].starts_with("export ENSEMBLE_HOME="), "{said}");
    let script = format!("set -e -o pipefail\n{}", lines.join("\n"));
    let mut terminal = sandbox.shell_command(&script);
    terminal.env_remove("ENSEMBLE_HOME");
    let shown = Proc::start(terminal, Vec::new()).finish().succeeds();
    // Over TCP a shutdown cannot see the end of the process.
    up.finish().exits(0);
    let shown = String::from_utf8(shown).unwrap();
    let end = format!("... shutting down {id}\n... shutting down registry\n");
    assert!(shown.ends_with(&end), "{args:?}: {shown}");
    (said, shown)
}

#[test]
fn what_up_says_to_type_next_works_as_it_stands() {
    let socket = |sandbox: &Sandbox| format!("unix:{}", sandbox.file("a registry.sock").display());
    let cases: [(&[&str], &str); 6] = [
        (&[], "kvstore"),
        (&["--roles", "kvstore,echo", "store-1"], "store-1"),
        (&["--roles", "echo,kvstore"], "echo"),
        (&["--listen-registry", "tcp:127.0.0.1:0"], "kvstore"),
        (&["--listen-registry", "SOCKET", "--listen", "tcp:127.0.0.1:0"], "kvstore"),
        (&["--listen-registry", "tcp:127.0.0.1:0", "--roles", "echo,kvstore", "s"], "s"),
    ];
    for (args, id) in cases {
        let sandbox = sandbox();
        let socket = socket(&sandbox);
        let args: Vec<&str> = args.iter().map(|arg| if *arg == "SOCKET" { &socket } else { *arg }).collect();
        let (_, shown) = type_what_up_says(&sandbox, &args, id);
        assert!(shown.starts_with("hello\nSERVER "), "{args:?}: {shown}");
    }
}

#[test]
fn up_says_nothing_of_a_store_that_there_is_not() {
    let sandbox = sandbox();
    let (said, shown) = type_what_up_says(&sandbox, &["--roles", "echo"], "echo");
    assert!(!said.contains("kvstorec"), "{said}");
    assert!(shown.starts_with("SERVER    ROLES  STATE"), "{shown}");
}
