//! `kvstorec export` and `kvstorec import`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{
    fs::{self, OpenOptions},
    io::{Read, Write},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use common::{Ensemble, ensemble, kvstore, serve};
use ensemble_tests::{Done, Proc, Sandbox, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

const HEADER: &str = "{\"format\": \"kvstore-export\", \"version\": 1}\n";

const HOUR_MS: u64 = 3_600_000;

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// An input without its last line.
fn lines(entries: impl IntoIterator<Item = Value>) -> String {
    let lines = entries.into_iter().map(|entry| format!("{entry}\n"));
    HEADER.chars().chain(lines.collect::<String>().chars()).collect()
}

fn parsed(export: &[u8]) -> Vec<Value> {
    export
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// The entries of an export: without what differs between stores, their ends apart.
fn entries(export: &[u8]) -> (Vec<Value>, Vec<Option<u64>>) {
    let mut lines = parsed(export);
    assert_eq!(lines.remove(0)["format"], "kvstore-export");
    assert_eq!(lines.pop().unwrap()["entries"], lines.len());
    let ends = lines.iter().map(|line| line["expires_at_ms"].as_u64()).collect();
    for line in &mut lines {
        let members = line.as_object_mut().unwrap();
        assert!(members.remove("revision").is_some());
        members.remove("expires_at_ms");
    }
    (lines, ends)
}

#[track_caller]
fn import(sandbox: &Sandbox, args: &[&str]) -> Value {
    let done = sandbox.kvstorec(&[&["import", "--json"], args].concat()).exits(0);
    serde_json::from_slice(&done.stdout).unwrap()
}

#[track_caller]
fn keys(sandbox: &Sandbox) -> Vec<String> {
    let listed = sandbox.kvstorec(&["list"]).succeeds();
    String::from_utf8(listed).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn thousands_of_entries_come_back_with_all_their_bytes_and_their_ends() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let _second = serve(sandbox, &["run", "--roles", "kvstore", "second"], "second");
    let later_ms = now_ms() + 24 * HOUR_MS;
    let base64 = ["/w==", "/wA=", "gIGC", "AAEC"];
    let entry = |number: usize| {
        let value = match number % 4 {
            0 => json!({"value": format!("\"{number}\"\n\\ grün")}),
            1 => json!({"value_base64": base64[number / 4 % 4]}),
            2 => json!({"value": ""}),
            // Now and then more than what is read and written at once.
            _ => json!({"value": "x".repeat(if number % 100 == 3 { 40_000 } else { number % 700 })}),
        };
        let mut entry = value;
        let members = entry.as_object_mut().unwrap();
        match number % 5 {
            // 255, three bytes of the number.
            0 => {
                let bytes = [255, (number >> 16) as u8, (number >> 8) as u8, number as u8];
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                members.insert("key_hex".to_owned(), json!(hex));
            }
            _ => drop(members.insert("key".to_owned(), json!(format!("key/{number}")))),
        }
        if number.is_multiple_of(7) {
            members.insert("expires_at_ms".to_owned(), json!(later_ms + number as u64));
        }
        entry
    };
    let text = |entry: Value| match entry["key_hex"].as_str() {
        // As the export writes it.
        Some(hex) => {
            let mut entry = entry.clone();
            let bytes: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            entry.as_object_mut().unwrap().remove("key_hex");
            entry["key_base64"] = json!(base64_of(&bytes));
            entry
        }
        None => entry,
    };
    let all: Vec<Value> = (0..5000).map(|number| text(entry(number))).collect();
    sandbox.write("first.jsonl", lines(all.clone()));
    let done = import(sandbox, &["-i", "first.jsonl", "--partial"]);
    assert_eq!(done, json!({"imported": 5000, "kept": 0, "ended": 0, "left_out": 0, "dry_run": false}));

    let said = sandbox.kvstorec(&["export", "-o", "one.jsonl"]).succeeds();
    let said = String::from_utf8(said).unwrap();
    assert!(
        said.starts_with("one.jsonl: 5000 entries, ") && said.ends_with(" bytes, revision 5000\n"),
        "{said}"
    );
    let one = fs::read(sandbox.file("one.jsonl")).unwrap();
    let (got, ends) = entries(&one);
    let mut expected = all;
    let by_key = |entry: &Value| (entry["key"].to_string(), entry["key_base64"].to_string());
    expected.sort_by_key(by_key);
    let mut sorted: Vec<(Value, Option<u64>)> = got.iter().cloned().zip(ends.iter().copied()).collect();
    sorted.sort_by_key(|(entry, _)| by_key(entry));
    for (mut expected, (mut got, end)) in expected.into_iter().zip(sorted) {
        let end_was = expected.as_object_mut().unwrap().remove("expires_at_ms").and_then(|end| end.as_u64());
        // Control characters are written in base64 whatever they came as.
        if got["value_base64"] == "AAEC" {
            got = json!({"key": got["key"], "key_base64": got["key_base64"], "value_base64": "AAEC"});
            expected = json!({"key": expected["key"], "key_base64": expected["key_base64"], "value_base64": expected["value_base64"]});
        }
        assert_eq!(got, expected);
        assert_eq!(end.is_some(), end_was.is_some(), "{got}");
        assert!(end.unwrap_or(0).abs_diff(end_was.unwrap_or(0)) < HOUR_MS, "{got}");
    }

    // Through a pipe into another store.
    let piped = "set -o pipefail; kvstorec export | kvstorec import --server second";
    assert_eq!(sandbox.shell(piped).succeeds(), b"5000 entries imported\n");
    let two = sandbox.kvstorec(&["export", "--server", "second"]).succeeds();
    assert_eq!(entries(&two).0, got);
    // Once more changes nothing but revisions.
    sandbox.shell(piped).succeeds();
    let again = sandbox.kvstorec(&["export", "--server", "second"]).succeeds();
    assert_eq!(entries(&again).0, got);
    let revision = &parsed(&again)[0]["revision"];
    assert_eq!(*revision, 10_000);

    let some = sandbox.kvstorec(&["export", "key/12"]).succeeds();
    let lines = parsed(&some);
    assert_eq!((&lines[0]["prefix"], &lines[0]["version"]), (&json!("key/12"), &json!(1)));
    let of_prefix = |entry: &&Value| entry["key"].as_str().is_some_and(|key| key.starts_with("key/12"));
    assert_eq!(entries(&some).0, got.iter().filter(of_prefix).cloned().collect::<Vec<_>>());
    let nothing = sandbox.kvstorec(&["export", "nothing"]).succeeds();
    assert_eq!(parsed(&nothing).len(), 2);
    assert_eq!(sandbox.kvstorec_with(&["import"], nothing).succeeds(), b"0 entries imported\n");
}

fn base64_of(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for digit in 0..4 {
            let sextet = (number >> (18 - 6 * digit)) & 63;
            text.push(if digit > three.len() { '=' } else { DIGITS[sextet as usize] as char });
        }
    }
    text
}

#[test]
fn a_file_that_was_cut_or_altered_is_refused_and_nothing_of_it_is_stored() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let entries = (0..2000).map(|number| json!({"key": format!("{number:04}"), "value": "v".repeat(50)}));
    sandbox.write("made", lines(entries));
    import(sandbox, &["-i", "made", "--partial"]);
    let whole = sandbox.kvstorec(&["export"]).succeeds();
    sandbox.shell("kvstorec list | while read key; do echo \"{\\\"remove\\\": \\\"$key\\\"}\"; done | split -l 1000 - part; \
        for part in part*; do kvstorec apply -i $part >/dev/null || exit 1; done").succeeds();
    assert_eq!(keys(sandbox), [""; 0]);

    let refused = |content: &[u8], part: &str| {
        sandbox.write("bad", content);
        for extra in [&[][..], &["--dry-run"], &["--if-absent"]] {
            let args = [&["import", "-i", "bad"], extra].concat();
            sandbox.kvstorec(&args).fails(1, &[part, "nothing was imported"]);
        }
        assert_eq!(keys(sandbox), [""; 0]);
    };
    let cut = "bad has been cut off: its last line is missing";
    refused(&whole[..whole.len() / 2], cut);
    let last_line = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    refused(&whole[..last_line], cut);
    let altered = String::from_utf8(whole.clone()).unwrap().replacen("vv", "vw", 1);
    refused(altered.as_bytes(), "bad is not as it was exported: its checksum is another");
    let fewer: String = altered
        .split_inclusive('\n')
        .enumerate()
        .filter(|(index, _)| *index != 5)
        .map(|(_, line)| line)
        .collect();
    refused(fewer.as_bytes(), "it has 1999 entries, and its last line says 2000");

    // What comes through a pipe is stored as it comes, and the end is told.
    sandbox.kvstorec_with(&["import"], &whole[..last_line]).fails(
        1,
        &["standard input has been cut off", "2000 entries are imported, all up to line 2001 among them"],
    );
    assert_eq!(keys(sandbox).len(), 2000);
    // Who wants what there is gets it, and is told.
    sandbox.write("bad", &whole[..whole.len() / 2]);
    let done = sandbox.kvstorec(&["import", "-i", "bad", "--partial"]).exits(0);
    assert!(
        done.err().contains("bad has been cut off") && done.out().contains(" entries imported"),
        "{done:?}"
    );
}

#[test]
fn bad_input_is_named_by_line_and_column_before_anything_is_stored() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let long_key = "k".repeat(512);
    let bad = [
        HEADER,
        "{\"key\": \"good\", \"value\": \"1\"}\n",
        "{\"key\": \"a\", \"value\": 1}\n",
        "{\"key\": \"a\", \"value_base64\": \"*\"}\n",
        "{\"key\": \"\", \"value\": \"1\"}\n",
        &format!("{{\"key\": \"{long_key}\", \"value\": \"1\"}}\n"),
        "nonsense\n",
        "{\"key\": \"better\", \"value\": \"1\"}\n",
    ]
    .concat();
    sandbox.write("bad", &bad);
    for args in [&["import", "-i", "bad", "--partial"][..], &["import", "-i", "bad", "--dry-run"]] {
        let done = sandbox.kvstorec(args).exits(2);
        assert_eq!(done.out(), "");
        let expected = [
            "kvstorec: bad, line 3, column 23: value must be text, in double quotes",
            "kvstorec: bad, line 4, column 31: value_base64 is no base64: '*' does not belong there",
            "kvstorec: bad, line 5: the key has 0 bytes; a key has 1 to 511",
            "kvstorec: bad, line 6: the key has 512 bytes; a key has 1 to 511",
            "kvstorec: bad, line 7, column 2: this is no JSON",
            "kvstorec: 5 lines of bad cannot be imported; nothing was imported; correct what is named above",
        ];
        assert_eq!(done.err().lines().collect::<Vec<_>>(), expected);
        assert_eq!(keys(sandbox), [""; 0]);
    }
    // Of a pipe, what came before is stored.
    sandbox.kvstorec_with(&["import"], &bad).fails(
        2,
        &[
            "standard input, line 3, column 23: value must be",
            "1 entry is imported, all up to line 2 among them",
        ],
    );
    assert_eq!(keys(sandbox), ["good"]);
    let many = lines((0..100).map(|_| json!({"key": "a"})));
    sandbox.write("many", many);
    let done = sandbox.kvstorec(&["import", "-i", "many"]).exits(2);
    assert_eq!(done.err().lines().count(), 21);
    for (content, part) in
        [("", "does not begin as an export does"), ("{\"put\": \"a\"}\n", "does not begin as")]
    {
        sandbox.write("none", content);
        sandbox.kvstorec(&["import", "-i", "none"]).fails(2, &[part, "nothing was imported"]);
        sandbox.kvstorec_with(&["import"], content).fails(2, &[part]);
    }
    sandbox.kvstorec_with(&["import"], HEADER.replace('1', "2")).fails(2, &["version 2", "reads version 1"]);
    sandbox.kvstorec(&["import", "-i", "nowhere"]).fails(1, &["cannot read nowhere", "--input"]);
}

#[test]
fn values_over_the_limit_are_named_and_a_full_store_says_how_far_it_got() {
    let Ensemble { sandbox, registry: _registry, kvstore } = ensemble();
    let sandbox = &sandbox;
    kvstore.terminate().exits(0);
    let small = ["run", "--roles", "kvstore", "-o", "kvstore.max-value=1KiB", "-o", "kvstore.max-size=1MiB"];
    let server = serve(sandbox, &small, "kvstore");
    let long = json!({"key": "long", "value": "x".repeat(1025)});
    sandbox.write("long", lines([json!({"key": "a", "value": "1"}), long]));
    let done = sandbox.kvstorec(&["import", "-i", "long", "--partial"]).exits(2);
    assert!(
        done.err().contains("long, line 3: the value of \"long\" has 1025 bytes; the limit is 1024"),
        "{}",
        done.err()
    );
    assert_eq!(keys(sandbox), [""; 0]);

    // Digits that hardly compress.
    let mut state = 1_u64;
    let mut digits = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{state:016x}")
    };
    let entries: Vec<Value> = (0..6000)
        .map(|number| json!({"key": format!("{number:04}"), "value": (0..60).map(|_| digits()).collect::<String>()}))
        .collect();
    sandbox.write("much", lines(entries));
    let done = sandbox.kvstorec(&["import", "-i", "much", "--partial"]).exits(1);
    for part in ["the store is full", "entries are imported, all up to line ", "it can be run again"] {
        assert!(done.err().contains(part), "{}", done.err());
    }
    let stored = keys(sandbox).len();
    assert!(stored > 0 && stored < 6000, "{stored}");
    let said = format!(" {stored} entries are imported, all up to line {}", stored + 1);
    assert!(done.err().contains(&said), "{stored}: {}", done.err());
    assert_eq!(sandbox.kvstorec(&["get", "0000"]).succeeds().len(), 960);
    server.terminate().exits(0);
    // With more room it is run again.
    let _server = kvstore_again(sandbox);
    let done = import(sandbox, &["-i", "much", "--partial", "--if-absent"]);
    assert_eq!((&done["imported"], &done["kept"]), (&json!(6000 - stored), &json!(stored)));
}

fn kvstore_again(sandbox: &Sandbox) -> Proc {
    kvstore(sandbox)
}

#[test]
fn what_is_there_is_kept_or_overwritten_and_what_has_ended_is_not_stored() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    for key in ["0001", "0700"] {
        sandbox.kvstorec_with(&["put", key, "--ttl", "1d"], "mine").succeeds();
    }
    let entries = (0..1000).map(|number| match number {
        10 => json!({"key": "ended", "value": "1", "expires_at_ms": 1}),
        _ => json!({"key": format!("{number:04}"), "value": "theirs"}),
    });
    sandbox.write("made", lines(entries));
    let args = ["-i", "made", "--partial"];
    let tried = import(sandbox, &["-i", "made", "--partial", "--dry-run"]);
    assert_eq!(tried, json!({"imported": 999, "kept": 0, "ended": 1, "left_out": 0, "dry_run": true}));
    assert_eq!(keys(sandbox), ["0001", "0700"]);
    let shown = sandbox.kvstorec(&["import", "-i", "made", "--partial", "--if-absent"]).exits(0);
    assert_eq!(shown.out(), "997 entries imported, 2 kept as they were, 1 ended\n");
    assert_eq!(sandbox.kvstorec(&["get", "0700"]).succeeds(), b"mine");
    assert_eq!(sandbox.kvstorec(&["get", "0002"]).succeeds(), b"theirs");
    sandbox.kvstorec(&["get", "ended"]).fails(3, &[]);
    let done = import(sandbox, &args);
    assert_eq!((&done["imported"], &done["kept"], &done["ended"]), (&json!(999), &json!(0), &json!(1)));
    assert_eq!(sandbox.kvstorec(&["get", "0700"]).succeeds(), b"theirs");
    let stat: Value =
        serde_json::from_slice(&sandbox.kvstorec(&["stat", "0700", "--json"]).succeeds()).unwrap();
    assert_eq!(stat["expires_in_ms"], Value::Null);
    // The later of two lines of one key counts.
    sandbox.write("twice", lines((0..50).map(|number| json!({"key": "k", "value": number.to_string()}))));
    assert_eq!(import(sandbox, &["-i", "twice", "--partial"])["imported"], 50);
    assert_eq!(sandbox.kvstorec(&["get", "k"]).succeeds(), b"49");
}

/// A pipe with a name, which an import reads while the test still writes.
fn fifo(sandbox: &Sandbox) -> PathBuf {
    sandbox.shell("mkfifo pipe").succeeds();
    sandbox.file("pipe")
}

/// Starts an import from a pipe, writes so many entries to it, and waits until some are stored. What is still to be written
/// keeps the pipe open.
fn begun(sandbox: &Sandbox, entries: usize, options: &[&str]) -> (Proc, fs::File) {
    let pipe = fifo(sandbox);
    let args = [&["import", "-i", "pipe"], options].concat();
    let import = Proc::start(sandbox.kvstorec_command(&args), Vec::new());
    let mut pipe = OpenOptions::new().write(true).open(pipe).unwrap();
    let text = lines((0..entries).map(|number| json!({"key": format!("{number:06}"), "value": "v"})));
    pipe.write_all(text.as_bytes()).unwrap();
    eventually("some are stored", || (keys(sandbox).len() >= 512).then_some(()));
    (import, pipe)
}

#[test]
fn an_interrupted_import_says_how_far_it_got() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let (import, _pipe) = begun(sandbox, 600, &[]);
    import.signal(Signal::INT);
    import
        .finish()
        .fails(1, &["interrupted; 512 entries are imported, all up to line 513 among them", "run again"]);
    assert_eq!(keys(sandbox).len(), 512);
}

#[test]
fn an_import_whose_server_is_killed_says_how_far_it_got_and_can_be_run_again() {
    let Ensemble { sandbox, registry: _registry, kvstore: server } = ensemble();
    let sandbox = &sandbox;
    let (importing, mut pipe) = begun(sandbox, 600, &["--timeout", "10"]);
    server.crash();
    let rest = (600..3000).map(|number| json!({"key": format!("{number:06}"), "value": "v"}));
    let rest: String = rest.map(|line| format!("{line}\n")).collect();
    // It may have ended already.
    drop(pipe.write_all(rest.as_bytes()));
    drop(pipe);
    let parts = ["pipe, lines 514 to 1025: ", "512 entries are imported, all up to line 513 among them"];
    importing.finish().fails(4, &parts);
    let _server = kvstore(sandbox);
    assert!(keys(sandbox).len() >= 512);
    let all = (0..3000).map(|number| json!({"key": format!("{number:06}"), "value": "v"}));
    sandbox.write("all", lines(all));
    assert_eq!(import(sandbox, &["-i", "all", "--partial"])["imported"], 3000);
    assert_eq!(keys(sandbox).len(), 3000);
}

#[test]
fn an_export_leaves_damaged_entries_out_and_names_them() {
    let Ensemble { sandbox, registry: _registry, kvstore: server } = ensemble();
    let sandbox = &sandbox;
    for key in ["a", "b", "c"] {
        sandbox.kvstorec_with(&["put", key], format!("the value of {key}")).succeeds();
    }
    server.terminate().exits(0);
    let data = sandbox.home().join("server/kvstore/kvstore.db/data.mdb");
    let mut bytes = fs::read(&data).unwrap();
    let text = b"the value of b";
    let places: Vec<usize> =
        bytes.windows(text.len()).enumerate().filter(|(_, at)| at == text).map(|(at, _)| at).collect();
    for at in places {
        bytes[at] ^= 1;
    }
    fs::write(&data, bytes).unwrap();
    let _server = kvstore(sandbox);
    let done = sandbox.kvstorec(&["export", "-o", "out"]).exits(1);
    let expected = "kvstorec: \"b\" is left out: the stored record is damaged\n\
        kvstorec: 1 of 3 keys have no value in the export; they are named above, each with the reason\n";
    assert_eq!(done.err(), expected);
    assert!(
        done.out().starts_with("out: 2 entries, ") && done.out().ends_with(", 1 left out\n"),
        "{}",
        done.out()
    );
    let export = fs::read(sandbox.file("out")).unwrap();
    assert_eq!(parsed(&export)[2], json!({"key": "b", "error": "the stored record is damaged"}));
    let _second = serve(sandbox, &["run", "--roles", "kvstore", "second"], "second");
    let done = sandbox.kvstorec(&["import", "-i", "out", "--server", "second"]).exits(0);
    assert_eq!(done.out(), "2 entries imported, 1 without a value\n");
    assert_eq!(
        done.err(),
        "kvstorec: out, line 3: the export has no value of \"b\": the stored record is damaged\n"
    );
    assert_eq!(sandbox.kvstorec(&["get", "c", "--server", "second"]).succeeds(), b"the value of c");
}

#[test]
fn an_interrupted_export_has_no_end() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let entries = (0..20).map(|number| json!({"key": number.to_string(), "value": "x".repeat(500_000)}));
    sandbox.write("made", lines(entries));
    import(sandbox, &["-i", "made", "--partial"]);
    let pipe = fifo(sandbox);
    let export = Proc::start(sandbox.kvstorec_command(&["export", "-o", "pipe"]), Vec::new());
    let mut pipe = fs::File::open(pipe).unwrap();
    let mut begin = [0; 1000];
    pipe.read_exact(&mut begin).unwrap();
    export.signal(Signal::INT);
    export.finish().fails(1, &["interrupted after ", "has no last line, and an import notices that"]);
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest).unwrap();
    let parts = ["standard input has been cut off"];
    sandbox.kvstorec_with(&["import"], [&begin[..], &rest].concat()).fails(1, &parts);
}

#[test]
fn what_stays_is_exported_exactly_once_while_other_keys_come_and_go() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let stay =
        (0..3000).map(|number| json!({"key": format!("stays/{number:04}"), "value": number.to_string()}));
    let change =
        (0..200).map(|number| json!({"key": format!("stays/{:04}x", number * 15), "value": "changes"}));
    sandbox.write("made", lines(stay.chain(change)));
    import(sandbox, &["-i", "made", "--partial"]);
    let change = |value: &str, removed: &str| {
        let line = |number: usize| match number % 2 {
            0 => format!(
                "{{\"put\": \"stays/{:04}x\", \"value\": \"{value}\", \"ttl_ms\": 99999999}}\n",
                number * 15
            ),
            _ => format!(
                "{{\"{removed}\": \"stays/{:04}x\"{}}}\n",
                number * 15,
                if removed == "put" { ", \"value\": \"\"" } else { "" }
            ),
        };
        (0..200).map(line).collect::<String>()
    };
    let changes = [change("one", "remove"), change("two", "put")];
    let is_done = AtomicBool::new(false);
    let exports: Vec<Vec<u8>> = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if is_done.load(Ordering::Relaxed) {
                    return;
                }
                sandbox.kvstorec_with(&["apply"], &changes[number % 2]).succeeds();
            }
        });
        let _done = Done::at_the_end(&is_done);
        (0..8).map(|_| sandbox.kvstorec(&["export"]).succeeds()).collect()
    });
    for export in exports {
        let (entries, ends) = entries(&export);
        let stayed = entries.iter().filter(|entry| !entry["key"].as_str().unwrap().ends_with('x'));
        let expected =
            (0..3000).map(|number| json!({"key": format!("stays/{number:04}"), "value": number.to_string()}));
        assert!(stayed.cloned().eq(expected));
        for (entry, end) in entries.iter().zip(ends) {
            // A value and its end are of the same write.
            let has_end = matches!(entry["value"].as_str().unwrap(), "one" | "two");
            assert_eq!(end.is_some(), has_end, "{entry}");
        }
    }
}

#[test]
fn an_export_appears_whole_or_not_at_all() {
    let Ensemble { sandbox, registry: _registry, kvstore: server } = ensemble();
    let sandbox = &sandbox;
    sandbox.kvstorec_with(&["put", "k"], "v").succeeds();
    sandbox.write("out", "what was there");
    sandbox.kvstorec(&["export", "-o", "nowhere/out"]).fails(1, &["cannot write nowhere/out", "--output"]);
    sandbox.kvstorec(&["export", "-o", "/dev/full"]).fails(1, &["cannot write /dev/full"]);
    server.signal(Signal::STOP);
    sandbox.kvstorec(&["export", "-o", "out", "--timeout", "0.2"]).fails(4, &["did not answer"]);
    server.signal(Signal::CONT);
    assert_eq!(fs::read(sandbox.file("out")).unwrap(), b"what was there");
    sandbox.kvstorec(&["export", "-o", "out"]).succeeds();
    assert_eq!(parsed(&fs::read(sandbox.file("out")).unwrap()).len(), 3);
    let names: Vec<String> = fs::read_dir(sandbox.dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| !name.contains(".tmp")), "{names:?}");
    // Nobody reads it to its end, which is no failure.
    let entries = (0..5000).map(|number| json!({"key": number.to_string(), "value": "x".repeat(200)}));
    sandbox.write("made", lines(entries));
    import(sandbox, &["-i", "made", "--partial"]);
    sandbox.shell("set -o pipefail; kvstorec export | head -n 1 >/dev/null").succeeds();
}
