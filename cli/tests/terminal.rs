//! What commands show on a terminal and nowhere else: tables that fit, color, and what is waited for.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{fs::File, io::Read};

use common::{Ensemble, ensemble, terminal::OnTerminal};
use ensemble_tests::{Proc, Sandbox};
use rustix::process::Signal;

fn on_terminal(sandbox: &Sandbox, columns: u16, args: &[&str]) -> String {
    let (status, shown) = OnTerminal::start(sandbox.ensemble_command(args), columns).finish();
    assert!(status.success(), "{shown}");
    shown
}

#[test]
fn tables_fit_the_terminal_and_are_plain_elsewhere() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let args = ["list", "actors", "kvstore"];
    let piped = sandbox.ensemble(&args).exits(0).out().to_owned();
    let wide = on_terminal(sandbox, 400, &args).replace("\u{1b}[32malive\u{1b}[0m", "alive");
    assert_eq!(wide, piped);
    for columns in [60, 40] {
        let narrow = on_terminal(sandbox, columns, &args).replace("\u{1b}[32malive\u{1b}[0m", "alive");
        let longest = piped.split_whitespace().map(str::len).max().unwrap();
        // Names are never cut: the columns before the last stay as wide as they are.
        let before = piped.lines().next().unwrap().find("MESSAGES").unwrap();
        let limit = usize::from(columns).max(before).max(longest + 4);
        assert!(narrow.lines().all(|line| line.chars().count() <= limit), "{columns}:\n{narrow}");
        assert!(narrow.lines().count() > piped.lines().count(), "{narrow}");
        let words = |text: &str| {
            let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            words.sort();
            words
        };
        assert_eq!(words(&narrow), words(&piped), "nothing is lost");
    }
    // Where there is no room for columns, a row is a block.
    let block = on_terminal(sandbox, 20, &args).replace("\u{1b}[32malive\u{1b}[0m", "alive");
    assert!(
        block.contains("\nkvstore\n    STATE       alive\n    UNANSWERED  0\n    MESSAGES    "),
        "{block}"
    );
}

#[test]
fn color_is_for_terminals_and_can_be_turned_off_and_on() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let args = ["lookup", "kvstore"];
    let is_colored = |shown: &str| shown.contains("\u{1b}[32mreachable\u{1b}[0m");
    assert!(is_colored(&on_terminal(sandbox, 400, &args)));
    assert!(!sandbox.ensemble(&args).exits(0).out().contains('\u{1b}'));
    assert!(is_colored(sandbox.ensemble(&["lookup", "kvstore", "--color", "always"]).exits(0).out()));
    assert!(!on_terminal(sandbox, 200, &["lookup", "kvstore", "--color", "never"]).contains('\u{1b}'));
    for (value, expected) in [("1", false), ("", true)] {
        let mut command = sandbox.ensemble_command(&args);
        command.env("NO_COLOR", value);
        let shown = OnTerminal::start(command, 200).finish().1;
        assert_eq!(is_colored(&shown), expected, "{value:?}: {shown}");
    }
    // What is said explicitly counts more.
    let mut command = sandbox.ensemble_command(&args);
    command.env("NO_COLOR", "1").env("ENSEMBLE_COLOR", "always");
    assert!(is_colored(Proc::start(command, Vec::new()).finish().out()));
}

#[test]
fn what_takes_long_is_shown_while_it_does_and_goes_away() {
    let Ensemble { sandbox, registry: _registry, kvstore } = &ensemble();
    kvstore.signal(Signal::STOP);
    let ping = sandbox.ensemble_command(&["ping", "kvstore", "--timeout", "60"]);
    let ping = OnTerminal::start(ping, 30);
    let value = sandbox.write("value", vec![b'x'; 3 << 20]);
    let put = ["put", "k", "--timeout", "60", "--input", value.to_str().unwrap()];
    let put = OnTerminal::start(sandbox.kvstorec_command(&put), 200);
    ping.shows("\r\u{1b}[Kwaiting for kvstore to answe");
    put.shows("\r\u{1b}[Kstoring 0 B of 3.0 MiB, ");
    kvstore.signal(Signal::CONT);
    let (status, shown) = ping.finish();
    assert!(status.success() && shown.ends_with("\r\u{1b}[KOK\n"), "{shown:?}");
    let (status, shown) = put.finish();
    assert!(status.success() && shown.ends_with("\r\u{1b}[K"), "{shown:?}");
}

#[test]
fn an_export_shows_how_far_it_is() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let header = "{\"format\": \"kvstore-export\", \"version\": 1}\n";
    let value = "x".repeat(900_000);
    let entries = (0..8).map(|key| format!("{{\"key\": \"{key}\", \"value\": \"{value}\"}}\n"));
    let input = entries.fold(header.to_owned(), |input, entry| input + &entry);
    sandbox.kvstorec_with(&["import", "--partial"], input).exits(0);
    // Nobody reads what it writes yet.
    sandbox.shell("mkfifo pipe").succeeds();
    let export = sandbox.kvstorec_command(&["export", "--output", "pipe"]);
    let export = OnTerminal::start(export, 200);
    let mut pipe = File::open(sandbox.file("pipe")).unwrap();
    export.shows("\r\u{1b}[Kexporting [");
    export.shows(" %  ");
    let mut all = Vec::new();
    pipe.read_to_end(&mut all).unwrap();
    let (status, shown) = export.finish();
    assert!(status.success() && all.ends_with(b"\"}\n"), "{shown}");
    let last = shown.rsplit("\r\u{1b}[K").next().unwrap();
    assert!(last.starts_with("pipe: 8 entries, ") && last.ends_with(" bytes, revision 8\n"), "{shown:?}");
}

#[test]
fn what_takes_long_is_not_shown_in_a_pipe() {
    let Ensemble { sandbox, registry: _registry, kvstore } = &ensemble();
    kvstore.signal(Signal::STOP);
    sandbox.ensemble(&["ping", "kvstore", "--timeout", "1.5"]).fails(4, &["did not answer within 1.5 s"]);
    kvstore.signal(Signal::CONT);
}
