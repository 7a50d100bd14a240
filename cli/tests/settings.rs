//! What is set in `config.toml` and in variables, and what comes before what, on real processes.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::fs;

use common::{sandbox, sandbox_with_cookie, serve, transcript::Transcript};
use ensemble_tests::{Finished, Proc, Sandbox};
use serde_json::{Value, json};

fn configure(sandbox: &Sandbox, text: &str) {
    fs::create_dir_all(sandbox.home()).unwrap();
    fs::write(sandbox.home().join("config.toml"), text).unwrap();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(sandbox.home(), closed).unwrap();
}

/// Runs `ensemble ARGS` with a variable set.
fn with_variable(sandbox: &Sandbox, variable: (&str, &str), args: &[&str]) -> Finished {
    let mut command = sandbox.ensemble_command(args);
    command.env(variable.0, variable.1);
    Proc::start(command, Vec::new()).finish()
}

fn setting(shown: Finished, key: &str) -> Value {
    let shown: Value = serde_json::from_slice(&shown.succeeds()).unwrap();
    shown["settings"][key].clone()
}

#[test]
fn a_flag_comes_before_a_variable_before_the_file_before_the_default() {
    let sandbox = sandbox();
    let of_env = ["env", "--json"];
    let shown = setting(sandbox.ensemble(&of_env), "timeout");
    assert_eq!(shown, json!({"value": "5", "from": "default"}));
    configure(&sandbox, "log = \"warn\"\ntimeout = \"2s\"\n");
    let shown = setting(sandbox.ensemble(&of_env), "timeout");
    assert_eq!(shown, json!({"value": "2s", "from": "config.toml:2"}));
    let variable = ("ENSEMBLE_TIMEOUT", "700ms");
    let shown = setting(with_variable(&sandbox, variable, &of_env), "timeout");
    assert_eq!(shown, json!({"value": "700ms", "from": "$ENSEMBLE_TIMEOUT"}));
    let shown =
        setting(with_variable(&sandbox, variable, &["env", "--json", "--timeout", "0.25"]), "timeout");
    assert_eq!(shown, json!({"value": "0.25", "from": "--timeout"}));
    // An empty variable counts as missing.
    let shown = setting(with_variable(&sandbox, ("ENSEMBLE_TIMEOUT", ""), &of_env), "timeout");
    assert_eq!(shown["from"], "config.toml:2");
}

#[test]
fn of_env_and_of_what_is_wrong() {
    let sandbox = sandbox();
    let mut transcript = Transcript::new(&sandbox);
    transcript.types("ensemble env");
    configure(
        &sandbox,
        "registry = \"tcp:127.0.0.1:7700\"\nlisten = [\"tcp:127.0.0.1:0\"]\ncolor = \"never\"\n\n[roles.kvstore]\n\
         max-value = \"1MiB\"\n\n[roles.other]\nkey = 1\n\n[server.registry]\nlisten = [\"tcp:127.0.0.1:7700\"]\n",
    );
    transcript.types("ensemble env");
    transcript.types("ENSEMBLE_ROLES_KVSTORE_LEVEL=7 ENSEMBLE_COLOR=auto ensemble env --json --timeout 1m");
    transcript.types("ENSEMBLE_TIMEOUT=soon ensemble list servers");
    transcript.types("ENSEMBLE_LISTEN=tcp:127.0.0.1:0,x ensemble registry");
    for (number, wrong) in [
        "timeot = 5",
        "\ntimeout = \"soon\"",
        "[server.kvstore]\nregistry = \"tcp:127.0.0.1:7700\"",
        "[roles.kvstore]\nmax-valu = 5",
        "listen = ",
    ]
    .into_iter()
    .enumerate()
    {
        configure(&sandbox, wrong);
        let command = ["list servers", "ping kvstore", "env", "run --roles kvstore", "up"][number];
        transcript.types(&format!("ensemble {command}"));
    }
    transcript.types("kvstorec get k");
    transcript.types("ensemble completions bash | head -n 1");
    transcript.is("settings");
}

#[test]
fn role_options_come_from_all_of_them() {
    let sandbox = sandbox_with_cookie();
    configure(&sandbox, "[roles.kvstore]\nmax-value = \"1KiB\"\n");
    let _registry = common::registry(&sandbox);
    let limit = |variable: Option<&str>, args: &[&str]| {
        let mut command = sandbox.ensemble_command(&[&["run", "--roles", "kvstore"], args].concat());
        command.envs(variable.map(|value| ("ENSEMBLE_ROLES_KVSTORE_MAX_VALUE", value)));
        let mut server = Proc::start(command, Vec::new());
        server.says("kvstore is ready at ");
        let done = sandbox.kvstorec_with(&["put", "k"], vec![b'x'; 5000]);
        done.fails(2, &["5000 bytes"]);
        let fits = [4096, 2048, 1024]
            .into_iter()
            .find(|bytes| sandbox.kvstorec_with(&["put", "k"], vec![b'x'; *bytes]).code() == 0);
        server.terminate().exits(0);
        fits.unwrap()
    };
    assert_eq!(limit(None, &[]), 1024);
    assert_eq!(limit(Some("2KiB"), &[]), 2048);
    assert_eq!(limit(Some("2KiB"), &["-o", "kvstore.max-value=4KiB"]), 4096);
}

#[test]
fn a_wrong_option_of_a_role_touches_nothing() {
    let sandbox = sandbox();
    let run = ["run", "--roles", "kvstore"];
    for (option, parts) in [
        ("kvstore.max-value=1025GiB", ["max-value cannot be \"1025GiB\"", "from 1 to 1099511627776"]),
        ("kvstore.level=x", ["level cannot be \"x\"", "a whole number"]),
        ("kvstore.nope=x", ["no option \"nope\"", "kvstore.path, kvstore.max-value"]),
    ] {
        sandbox.ensemble(&[&run[..], &["-o", option]].concat()).fails(2, &parts);
        sandbox.ensemble(&["up", "-o", option]).fails(2, &parts);
        assert!(!sandbox.home().exists(), "{option}");
    }
    configure(&sandbox, "[roles.kvstore]\nlevel = 99\n");
    sandbox.ensemble(&run).fails(2, &["level cannot be \"99\"", "correct it in config.toml:2"]);
    let variable = ("ENSEMBLE_ROLES_KVSTORE_LEVEL", "98");
    let done = with_variable(&sandbox, variable, &run);
    done.fails(2, &["level cannot be \"98\"", "correct it in $ENSEMBLE_ROLES_KVSTORE_LEVEL"]);
    assert_eq!(fs::read_dir(sandbox.home()).unwrap().count(), 1);
}

#[test]
fn servers_listen_and_log_as_the_file_says() {
    let sandbox = sandbox_with_cookie();
    configure(
        &sandbox,
        "log-file = \"-\"\nlog-format = \"json\"\nlisten = [\"tcp:127.0.0.1:0\"]\n[server.registry]\nlog = \"error\"\n",
    );
    let mut registry = serve(&sandbox, &["registry"], "registry");
    let line = registry.says("is ready at tcp:127.0.0.1:");
    configure(&sandbox, &format!("registry = \"{}\"\nlog-file = \"-\"\n", line.rsplit(' ').next().unwrap()));
    let server = serve(&sandbox, &["run", "--roles", "kvstore"], "kvstore");
    sandbox.kvstorec_with(&["put", "k"], "v").succeeds();
    assert_eq!(sandbox.kvstorec(&["get", "k"]).succeeds(), b"v");
    let listed = sandbox.ensemble(&["list", "servers"]).exits(0);
    assert!(listed.out().contains("kvstore"), "{}", listed.out());
    server.terminate().exits(0);
    registry.terminate().exits(0);
    let log = |id: &str| fs::read_to_string(sandbox.home().join("server").join(id).join("log")).unwrap();
    assert_eq!(log("registry"), "");
    assert!(log("kvstore").contains(" INFO "));
}
