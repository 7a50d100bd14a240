//! The help of every command, as it is shown, in `tests/help/`: so that it is read when it changes. Written anew with
//! `UPDATE_HELP=1 cargo test -p ensemble-cli --test help`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use ensemble_tests::{Finished, Sandbox};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help")
}

/// The commands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let lines =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn run(sandbox: &Sandbox, command: &[String]) -> Finished {
    let args: Vec<&str> = command[1..].iter().map(String::as_str).chain(["--help"]).collect();
    if command[0] == "ensemble" { sandbox.ensemble(&args) } else { sandbox.kvstorec(&args) }
}

/// Checks the help of a command and of those below it; notes the files.
fn check(sandbox: &Sandbox, command: &[String], seen: &mut BTreeSet<PathBuf>) {
    let help = String::from_utf8(run(sandbox, command).succeeds()).unwrap();
    let name = command.join(" ");
    let path = directory().join(format!("{}.txt", command.join("-")));
    if env::var_os("UPDATE_HELP").is_some() {
        fs::write(&path, &help).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{} is missing", path.display()));
    assert_eq!(
        help,
        expected,
        "the help of `{name}` has changed; read it, and write {} anew",
        path.display()
    );
    let subcommands = subcommands(&help);
    assert!(help.contains("\n  $ "), "an example is missing: {name}\n{help}");
    let longest = help.lines().map(|line| line.chars().count()).max().unwrap_or_default();
    assert!(longest <= 120, "a line of the help of `{name}` has {longest} characters");
    assert!(seen.insert(path));
    for subcommand in subcommands {
        check(sandbox, &[command, &[subcommand]].concat(), seen);
    }
}

#[test]
fn the_help_of_every_command() {
    let sandbox = common::sandbox();
    let mut seen = BTreeSet::new();
    for program in ["ensemble", "kvstorec"] {
        check(&sandbox, &[program.to_owned()], &mut seen);
    }
    let files: BTreeSet<PathBuf> =
        fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(seen, files, "there are files of commands that are gone");
}

/// Checks that the text behind the options flows: a line ends where the next word has no room.
fn flows(help: &str, width: usize) -> Result<(), String> {
    let lines: Vec<&str> = help.lines().collect();
    if let Some(long) = lines.iter().find(|line| line.chars().count() > width) {
        return Err(format!("it is longer than {width}: {long}"));
    }
    for pair in lines.windows(2) {
        let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
        let is_paragraph = is_prose(pair[0]) && is_prose(pair[1]) && !pair[0].ends_with(':');
        let next = pair[1].split(' ').next().unwrap_or_default();
        if is_paragraph && pair[0].chars().count() + 1 + next.chars().count() <= width {
            return Err(format!("{next:?} had room on the line before:\n{}\n{}", pair[0], pair[1]));
        }
    }
    Ok(())
}

#[test]
fn help_flows_at_the_width_of_the_terminal() {
    let sandbox = common::sandbox();
    let names = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    for name in names.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()) {
        // Some commands have two words.
        let words = name.replace("get-", "get_").replace("put-", "put_").replace('-', " ").replace('_', "-");
        for width in [80, 100] {
            let shown = sandbox.shell(&format!("COLUMNS={width} {words} --help")).succeeds();
            if let Err(why) = flows(&String::from_utf8(shown).unwrap(), width) {
                panic!("the help of `{words}` at {width}: {why}");
            }
        }
    }
}

#[test]
fn help_is_a_command_too() {
    let sandbox = common::sandbox();
    let by_option = sandbox.ensemble(&["list", "servers", "--help"]).succeeds();
    assert_eq!(sandbox.ensemble(&["help", "list", "servers"]).succeeds(), by_option);
    let by_option = sandbox.kvstorec(&["put", "--help"]).succeeds();
    assert_eq!(sandbox.kvstorec(&["help", "put"]).succeeds(), by_option);
    for program in [sandbox.ensemble::<&str>(&[]), sandbox.kvstorec::<&str>(&[])] {
        assert!(program.exits(2).err().contains("Commands:"));
    }
    let version = String::from_utf8(sandbox.ensemble(&["--version"]).succeeds()).unwrap();
    assert_eq!(version, format!("ensemble {}\n", env!("CARGO_PKG_VERSION")));
}

/// Shells of which the scripts are tried: those that are installed here.
fn is_installed(sandbox: &Sandbox, shell: &str) -> bool {
    sandbox.shell(&format!("command -v {shell}")).code() == 0
}

#[test]
fn shells_take_the_completions() {
    let sandbox = common::sandbox();
    for (program, word) in [("ensemble", "lookup"), ("kvstorec", "get-object")] {
        for shell in ["bash", "zsh", "fish"] {
            let script = sandbox.shell(&format!("{program} completions {shell}")).succeeds();
            let file = sandbox.write(&format!("{program}.{shell}"), &script);
            assert!(String::from_utf8(script).unwrap().contains(word), "{program} {shell}");
            if is_installed(&sandbox, shell) {
                let shown = sandbox.shell(&format!("{shell} -n {}", file.display())).succeeds();
                assert_eq!(String::from_utf8(shown).unwrap(), "", "{program} {shell}");
            }
        }
    }
    for (program, words, expected) in [
        ("ensemble", "sh", "shutdown\n"),
        ("ensemble", "list s", "servers\n"),
        ("kvstorec", "get-o", "get-object\n"),
    ] {
        let count = words.split(' ').count();
        let last = words.rsplit(' ').next().unwrap();
        let script = format!(
            "source <({program} completions bash)\nCOMP_WORDS=({program} {words}) COMP_CWORD={count}\n\
             _{program} {program} {last} {program}; echo \"${{COMPREPLY[@]}}\""
        );
        let shown = sandbox.shell(&script).succeeds();
        assert_eq!(String::from_utf8(shown).unwrap(), expected, "{program} {words}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let sandbox = common::sandbox();
    sandbox.shell("ensemble man man1 && kvstorec man man1").succeeds();
    let pages: BTreeSet<String> = fs::read_dir(sandbox.file("man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let helps = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let expected: BTreeSet<String> =
        helps.map(|path| format!("{}.1", path.file_stem().unwrap().to_str().unwrap())).collect();
    assert_eq!(pages, expected);
    let printed = sandbox.ensemble(&["man"]).succeeds();
    assert_eq!(printed, fs::read(sandbox.file("man1/ensemble.1")).unwrap());
    let page = fs::read_to_string(sandbox.file("man1/ensemble-run.1")).unwrap();
    for part in [".TH ensemble-run 1", "Runs a server with roles", "kvstore.max", "$ ensemble run"] {
        assert!(page.replace('\\', "").contains(part), "{part:?} is missing in {page}");
    }
    sandbox.write("file", "");
    sandbox.ensemble(&["man", "file"]).fails(1, &["cannot write manual pages to file", "another directory"]);
}
