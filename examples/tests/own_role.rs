//! A user's own program with the command line of `ensemble` and a role of its own.

use ensemble_tests::{Proc, Sandbox};

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_my-ensemble"), env!("CARGO_BIN_EXE_counter-client"))
}

fn serve(sandbox: &Sandbox, args: &[&str], id: &str) -> Proc {
    let mut server = sandbox.start(args);
    server.says(&format!("... {id} is ready at "));
    server
}

#[test]
fn it_runs_with_its_options() {
    let sandbox = sandbox();
    let up =
        serve(&sandbox, &["up", "--roles", "counter", "-o", "counter.begin=40", "counter-1"], "counter-1");
    assert_eq!(sandbox.kvstorec(&["2"]).succeeds(), b"42\n");
    let listed = sandbox.ensemble(&["lookup", "--role", "counter"]).exits(0);
    assert!(listed.out().contains("counter-1"), "{}", listed.out());
    sandbox.ensemble(&["shutdown", "-f"]).succeeds();
    up.finish().exits(0);
}

#[test]
fn it_is_started_in_a_server_that_runs() {
    let sandbox = sandbox();
    let up = serve(&sandbox, &["up", "--roles", "echo", "counter-1"], "counter-1");
    let spawn = ["spawn", "counter-1", "counter", "-o", "counter.begin=7"];
    assert_eq!(sandbox.ensemble(&spawn).succeeds(), b"... counter-1 has the role counter\n");
    assert_eq!(sandbox.kvstorec(&["1"]).succeeds(), b"8\n");
    up.terminate().exits(0);
}

#[test]
fn what_is_wrong_is_told_with_what_is_right() {
    let sandbox = sandbox();
    let help = String::from_utf8(sandbox.ensemble(&["run", "--help"]).succeeds()).expect("help is text");
    assert!(help.contains("-o counter.begin=...: the number to begin with"), "{help}");
    for (option, parts) in [
        ("counter.bgin=1", ["no option \"bgin\"", "it has: counter.begin"]),
        ("counter.begin=x", ["counter.begin cannot be \"x\"", "a whole number from 0 on"]),
        ("kvstore.level=1", ["not to run", "counter"]),
    ] {
        for command in ["run", "up"] {
            sandbox.ensemble(&[command, "--roles", "counter", "-o", option]).fails(2, &parts);
        }
    }
    sandbox.ensemble(&["run", "--roles", "countr"]).fails(3, &["no role countr", "counter, echo, kvstore"]);
    assert!(!sandbox.home().exists(), "nothing was touched");
}
