//! What goes wrong, one by one: each has one line that names the thing and says what to do, and its exit code. Bad
//! values are in `bad_values.rs`, bad peers in `bad_peers.rs`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
};

use common::{ensemble, kvstore, registry, sandbox, sandbox_with_cookie, serve, socket};
use ensemble_tests::{Proc, Sandbox, skip};

#[test]
fn without_a_cookie() {
    let sandbox = sandbox();
    for args in
        [&["registry"][..], &["run", "--roles", "kvstore"], &["ping", "kvstore"], &["list", "servers"]]
    {
        sandbox.ensemble(args).fails(5, &["there is no cookie at", "`ensemble admin cookie`"]);
    }
    sandbox.kvstorec(&["get", "k"]).fails(5, &["kvstorec: there is no cookie at", "home/cookie"]);
    sandbox.ensemble(&["admin", "cookie", "--view"]).fails(5, &["there is no cookie"]);
}

#[test]
fn with_a_cookie_that_others_can_read() {
    let sandbox = sandbox_with_cookie();
    let cookie = sandbox.home().join("cookie");
    fs::set_permissions(&cookie, fs::Permissions::from_mode(0o644)).unwrap();
    let parts = ["is open to others (mode 0644)", "`chmod 600 "];
    for args in [&["registry"][..], &["up"], &["run", "--roles", "echo"], &["ping", "kvstore"]] {
        sandbox.ensemble(args).fails(5, &parts);
    }
    sandbox.kvstorec(&["get", "k"]).fails(5, &parts);
}

#[test]
fn with_another_cookie_than_the_registry() {
    let sandbox = sandbox_with_cookie();
    let mut registry = registry(&sandbox);
    sandbox.ensemble(&["admin", "cookie", "--force"]).succeeds();
    let parts = ["the registry at unix:", "does not have the cookie of this home", "the same cookie file"];
    sandbox.ensemble(&["ping", "kvstore"]).fails(5, &parts);
    sandbox.kvstorec(&["get", "k"]).fails(5, &parts);
    let run = sandbox.ensemble(&["run", "--roles", "echo", "--log", "error"]).exits(5);
    assert!(parts.iter().all(|part| run.err().contains(part)), "{}", run.err());
    let log = registry.logs("refused a connection");
    assert!(log.contains("console-") && log.contains("does not have the cookie"), "{log}");
}

#[test]
fn with_another_cookie_than_the_server() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    drop(ensemble.registry);
    sandbox.ensemble(&["admin", "cookie", "--force"]).succeeds();
    // The server is in the registry's snapshot, and has the old cookie.
    let _registry = registry(sandbox);
    let parts = ["kvstore does not have the cookie of this home"];
    sandbox.ensemble(&["ping", "kvstore"]).fails(5, &parts);
    sandbox.kvstorec(&["get", "k"]).fails(5, &parts);
}

/// Neither root nor the user who runs the tests.
const OTHER_USER: u32 = 65534;

#[test]
fn as_another_user_than_the_registry() {
    if !rustix::process::geteuid().is_root() {
        return skip("two users were not tested, since starting a process as another one needs root");
    }
    let sandbox = sandbox_with_cookie();
    fs::set_permissions(sandbox.dir(), fs::Permissions::from_mode(0o711)).unwrap();
    // The other user has the same cookie in a home of its own.
    let theirs = sandbox.file("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::copy(sandbox.home().join("cookie"), theirs.join("cookie")).unwrap();
    for path in [&theirs, &theirs.join("cookie")] {
        std::os::unix::fs::chown(path, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
    }
    let program = sandbox.ensemble_command(&["--version"]);
    let own = theirs.join("ensemble");
    // Where it was built, the other user may not be allowed to look.
    fs::copy(program.get_program(), &own).unwrap();
    let mut command = Command::new(own);
    command.arg("registry").env("ENSEMBLE_HOME", &theirs).current_dir("/").uid(OTHER_USER).gid(OTHER_USER);
    let mut registry = Proc::start(command, Vec::new());
    let line = registry.says("registry is ready at ");
    let address = line.rsplit(' ').next().unwrap();
    let parts =
        ["the registry at unix:", "runs as another user", "run the command as the user of the server"];
    sandbox.ensemble(&["list", "servers", "-r", address]).fails(5, &parts);
    sandbox.kvstorec(&["get", "k", "-r", address]).fails(5, &parts);
}

#[test]
fn a_second_cookie() {
    let sandbox = sandbox_with_cookie();
    let cookie = fs::read(sandbox.home().join("cookie")).unwrap();
    sandbox.ensemble(&["admin", "cookie"]).fails(1, &["there is already a cookie at", "--view", "--force"]);
    assert_eq!(sandbox.ensemble(&["admin", "cookie", "--view"]).succeeds(), cookie);
    assert_eq!(sandbox.ensemble(&["admin", "cookie", "--force"]).succeeds(), b"");
    assert_ne!(fs::read(sandbox.home().join("cookie")).unwrap(), cookie);
}

#[test]
fn without_a_registry() {
    let sandbox = sandbox_with_cookie();
    let parts = ["the registry is not running at unix:", "registry.sock", "`ensemble registry`"];
    for args in [&["ping", "kvstore"][..], &["list", "servers"], &["lookup", "kvstore"], &["shutdown", "-f"]]
    {
        sandbox.ensemble(args).fails(4, &parts);
    }
    sandbox.kvstorec(&["get", "k"]).fails(4, &parts);
    sandbox.ensemble(&["run", "--roles", "kvstore", "--log", "error"]).fails(4, &parts);
    // The server has not stayed behind, nor its database open.
    let _registry = registry(&sandbox);
    let _kvstore = kvstore(&sandbox);
    sandbox.ensemble(&["ping", "-r", "tcp:127.0.0.1:1", "kvstore"]).fails(4, &["tcp:127.0.0.1:1"]);
}

#[test]
fn servers_and_actors_and_roles_that_there_are_not() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    let no_server = ["the registry knows no server nope", "`ensemble list servers`"];
    for args in [
        &["ping", "nope"][..],
        &["lookup", "nope"],
        &["list", "actors", "nope"],
        &["list", "connections", "nope"],
        &["shutdown", "-f", "nope"],
        &["shutdown", "-f", "nope", "kvstore"],
    ] {
        let done = sandbox.ensemble(args).exits(3);
        assert!(no_server.iter().all(|part| done.err().contains(part)), "{args:?}: {}", done.err());
    }
    sandbox.kvstorec(&["get", "k", "--server", "nope"]).fails(3, &no_server);
    let no_actor = ["the server kvstore has no actor nope", "`ensemble list actors kvstore`"];
    sandbox.ensemble(&["ping", "kvstore", "nope"]).fails(3, &no_actor);
    sandbox.ensemble(&["lookup", "--role", "nope"]).fails(3, &["no server has the role nope"]);
    let no_role = ["there is no role nope", "echo, kvstore"];
    sandbox.ensemble(&["run", "--roles", "nope"]).fails(3, &no_role);
    sandbox.ensemble(&["up", "--roles", "kvstore,nope"]).fails(3, &no_role);
}

#[test]
fn a_server_that_is_dead() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    ensemble.kvstore.crash();
    let parts = ["the server kvstore is not running where the registry has it"];
    sandbox.ensemble(&["ping", "kvstore"]).fails(4, &parts);
    sandbox.kvstorec(&["get", "k"]).fails(4, &parts);
    sandbox.kvstorec_with(&["put", "k"], "v").fails(4, &parts);
}

#[test]
fn a_server_id_that_is_running() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    let again = ["run", "--roles", "kvstore", "--log", "error"];
    sandbox.ensemble(&again).fails(1, &["kvstore.sock is in use by a running server", "another server id"]);
    let elsewhere = format!("unix:{}", sandbox.file("other.sock").display());
    let _echo = serve(sandbox, &["run", "--roles", "echo"], "echo");
    let args = ["run", "--roles", "echo", "--log", "error", "-l", &elsewhere];
    let parts = ["the server echo is running already at unix:", "another server id"];
    sandbox.ensemble(&args).fails(1, &parts);
    let in_use = "registry.sock is in use by a running server";
    sandbox
        .ensemble(&["registry", "--log", "error"])
        .fails(1, &[in_use, "choose another --home or --listen address"]);
    sandbox
        .ensemble(&["up", "--log", "error"])
        .fails(1, &[in_use, "choose another --home or --listen-registry address"]);
    assert_eq!(sandbox.ensemble(&["ping", "echo"]).succeeds(), b"OK\n");
    assert_eq!(sandbox.ensemble(&["ping", "kvstore"]).succeeds(), b"OK\n");
}

#[test]
fn sockets_that_a_crash_left_behind() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    ensemble.kvstore.crash();
    ensemble.registry.crash();
    assert!(socket(sandbox, "kvstore").exists() && socket(sandbox, "registry").exists());
    let mut registry = registry(sandbox);
    registry.logs("removing the socket that a crashed server left behind");
    let _kvstore = kvstore(sandbox);
    assert_eq!(sandbox.ensemble(&["ping", "kvstore"]).succeeds(), b"OK\n");
}

#[test]
fn a_home_that_cannot_be_made() {
    let sandbox = sandbox();
    let file = sandbox.write("file", "");
    for home in [file.join("home"), "/proc/ensemble".into()] {
        for command in [&["admin", "cookie"][..], &["up"], &["registry"]] {
            let args: Vec<&str> = [&["--home", home.to_str().unwrap()], command].concat();
            sandbox.ensemble(&args).fails(1, &["cannot make the directory", "--home"]);
        }
    }
    let file = file.to_str().unwrap();
    sandbox.ensemble(&["--home", file, "admin", "cookie"]).fails(1, &["no directory", "--home"]);
}

#[test]
fn a_home_that_others_can_write_to() {
    let sandbox = sandbox_with_cookie();
    fs::set_permissions(sandbox.home(), fs::Permissions::from_mode(0o777)).unwrap();
    sandbox.ensemble(&["registry"]).fails(5, &["others can write to the directory", "`chmod go-w`"]);
}

#[test]
fn a_path_too_long_for_a_socket() {
    let sandbox = sandbox();
    let home = sandbox.file(&"h".repeat(100));
    let home = home.to_str().unwrap();
    sandbox.ensemble(&["--home", home, "admin", "cookie"]).succeeds();
    let parts = ["bytes, and the system allows 107", "$XDG_RUNTIME_DIR", "--home", "--listen"];
    for command in [&["registry"][..], &["up"], &["run", "--roles", "kvstore"], &["ping", "kvstore"]] {
        let args: Vec<&str> = [&["--home", home], command].concat();
        sandbox.ensemble(&args).fails(2, &parts);
    }
    let long = format!("unix:/tmp/{}", "x".repeat(110));
    let args = ["registry", "--log", "error", "--listen", &long];
    sandbox.ensemble(&[&["--home", home], &args[..]].concat()).fails(2, &["the limit is 107"]);
}

#[test]
fn a_database_that_another_process_has_open() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    let database = sandbox.home().join("server/kvstore/kvstore.db");
    assert!(database.is_dir());
    let option = format!("kvstore.path={}", database.display());
    let args = ["run", "--roles", "kvstore", "-o", &option, "--log", "off", "second"];
    sandbox.ensemble(&args).fails(1, &["kvstore.db is in use", "-o kvstore.path="]);
    assert_eq!(sandbox.ensemble(&["ping", "kvstore", "kvstore"]).succeeds(), b"OK\n");
    sandbox.ensemble(&["ping", "second"]).fails(3, &["no server second"]);
}

#[test]
fn an_address_that_cannot_be_listened_at() {
    let sandbox = sandbox_with_cookie();
    let missing = format!("unix:{}", sandbox.file("missing/r.sock").display());
    // Reserved for documentation: no machine has it.
    let foreign = "tcp:192.0.2.1:0";
    for (address, advice) in
        [(missing.as_str(), "make its directory"), (foreign, "an address of this machine")]
    {
        let cannot = format!("{address} cannot be used: ");
        for (command, option, other) in [
            ("registry", "--listen", "--home or --listen address"),
            ("up", "--listen-registry", "--home or --listen-registry address"),
            ("up", "--listen", "server id or --listen address"),
        ] {
            let args = [command, option, address, "--insecure-tcp", "--log", "off"];
            sandbox.ensemble(&args).fails(1, &[&cannot, advice, other]);
        }
    }
}

#[test]
fn wrong_usage() {
    let sandbox = sandbox_with_cookie();
    let cases: &[(&[&str], &[&str])] = &[
        (&["pnig"], &["'pnig'", "'ping'", "`ensemble --help`"]),
        (&["ping"], &["<SERVER>", "`ensemble ping --help`"]),
        (&["ping", "no spaces"], &["no spaces", "the name has the character ' '"]),
        (&["ping", "kvstore", "--timeout", "soon"], &["--timeout"]),
        (&["ping", "kvstore", "--count", "0"], &["--count"]),
        (&["lookup"], &["<SERVER|--role <ROLE>>"]),
        (&["lookup", "a", "--role", "b"], &["--role"]),
        (&["run"], &["--roles"]),
        (&["run", "--roles", "()"], &["at least one role"]),
        (&["run", "--roles", "kvstore", "-o", "kvstore.color=red"], &["no option \"color\"", "kvstore.path"]),
        (&["run", "--roles", "kvstore", "-o", "echo.x=1"], &["a role that is not to run", "kvstore"]),
        (&["registry", "--log", "loud"], &["\"loud\" is no level", "debug"]),
        (&["registry", "-l", "udp:1.2.3.4:5"], &["unix:, tcp: or tls:"]),
        (&["registry", "--log", "off", "-l", "tcp:0.0.0.0:0"], &["beyond this machine", "--insecure-tcp"]),
        (&["run", "--roles", "kvstore", "registry"], &["registry is that of the registry itself"]),
        (&["list"], &[]),
    ];
    for (args, parts) in cases {
        let done = sandbox.ensemble(args).exits(2);
        assert!(parts.iter().all(|part| done.err().contains(part)), "{args:?}: {}", done.err());
        assert_eq!(done.out(), "");
    }
    let bad_value = ["run", "--roles", "kvstore", "--log", "off", "-o", "kvstore.max-value=much"];
    let _registry = registry(&sandbox);
    sandbox.ensemble(&bad_value).fails(2, &["kvstore.max-value", "\"much\"", "number of bytes"]);
}

#[test]
fn a_role_that_does_not_start_takes_the_registry_beside_it_along() {
    let sandbox = sandbox();
    let args = ["up", "--log", "off", "-o", "kvstore.max-value=much"];
    sandbox.ensemble(&args).fails(2, &["kvstore.max-value"]);
    assert!(!socket(&sandbox, "registry").exists() && !socket(&sandbox, "kvstore").exists());
    let _up = serve(&sandbox, &["up"], "kvstore");
}

#[test]
fn a_log_that_cannot_be_opened() {
    let sandbox: Sandbox = sandbox_with_cookie();
    let args = ["registry", "--log-file", "/proc/no/log"];
    sandbox.ensemble(&args).fails(1, &["cannot open the log /proc/no/log", "--log-file"]);
}
