//! `kvstorec apply`: several writes, all or none.
//!
//! JSON: `{"applied": [{"key": TEXT, "revision": NUMBER | null}, ..]}`, in the order of the input, with the revision that
//! the write was given (of a check: that the key has); null where there was nothing to remove, or no key; `key_hex`
//! instead of `key` where that is no text.

use kvstore::messages::{Condition, Done, Op};
use serde::Serialize;

use super::{
    cli::{Input, Reach},
    key::{JsonKey, Key},
    lines::{LineError, Members},
    store::with_server,
};
use crate::{
    exit::{Code, Failure, Outcome},
    files, human,
    settings::Settings,
};

/// Does several writes, all or none
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The input has a JSON object a line:

  {\"put\": KEY, \"value\": TEXT}      stores a value
  {\"remove\": KEY}                  removes a key
  {\"check\": KEY}                   changes nothing; for a condition

A put may have \"ttl_ms\": NUMBER, after which the key ends by itself. Each may have a condition:
\"if_absent\": true, or \"if_revision\": NUMBER. What is no text is given as hexadecimal digits:
\"put_hex\", \"remove_hex\", \"check_hex\", \"value_hex\".

All conditions are judged before anything is changed. When one does not hold, nothing is changed, the exit
code is 6, and the message says which. A key may come once; there may be 1024 writes.

Examples:
  $ kvstorec apply --input writes.jsonl
  $ echo '{\"put\": \"a\", \"value\": \"1\", \"if_absent\": true}' | kvstorec apply")]
pub(super) struct Args {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    input: Input,
}

/// What a line of the input may have.
const MEMBERS: [&str; 11] = [
    "put",
    "put_hex",
    "remove",
    "remove_hex",
    "check",
    "check_hex",
    "value",
    "value_hex",
    "ttl_ms",
    "if_absent",
    "if_revision",
];

#[derive(Serialize)]
struct Applied<'a> {
    applied: Vec<AppliedWrite<'a>>,
}

#[derive(Serialize)]
struct AppliedWrite<'a> {
    #[serde(flatten)]
    key: JsonKey<'a>,
    revision: Option<u64>,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_server(&args.reach, settings, async |server| {
        let content = files::read(&args.input.input, server.max_value_bytes())?;
        let (numbers, ops) = parse(&content)?;
        let keys: Vec<Key> = ops.iter().map(|op| Key::of(op.key().to_vec())).collect();
        let done = server.apply(ops).await.map_err(|why| server.apply_failure(&why, &numbers, &keys))?;
        let applied = keys.iter().zip(done).map(|(key, done)| {
            let revision = match done {
                Done::Stored { revision, .. } => Some(revision),
                Done::Removed { revision } => revision,
                Done::Checked { current } => current,
            };
            AppliedWrite { key: key.in_json(), revision }
        });
        settings.printer().result(&Applied { applied: applied.collect() }, text)
    })
}

fn text(done: &Applied<'_>) -> String {
    let last = done.applied.iter().filter_map(|write| write.revision).max();
    let last = last.map_or_else(String::new, |last| format!(", revision {last}"));
    let writes = human::counted(done.applied.len() as u64, "write", "writes");
    format!("{writes} done{last}\n")
}

/// The writes, and the line of each.
fn parse(content: &[u8]) -> Outcome<(Vec<u64>, Vec<Op>)> {
    let (mut numbers, mut ops) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let op = Members::parse(line, &MEMBERS).and_then(|members| op(&members)).map_err(|why| {
            Failure::new(Code::Usage, format_args!("{}: {why}", why.place(number)))
                .advise("nothing was changed; see `kvstorec apply --help`")
        })?;
        numbers.push(number);
        ops.push(op);
    }
    Ok((numbers, ops))
}

fn op(members: &Members<'_>) -> Result<Op, LineError> {
    let condition = match (members.flag("if_absent")?, members.number("if_revision")?) {
        (Some(true), None) => Condition::Absent,
        (None, Some(revision)) => Condition::Revision(revision),
        (None | Some(false), None) => Condition::Always,
        _ => return Err(members.wrong("if_revision", "if_absent and if_revision do not go together")),
    };
    let bytes = |name: &str| {
        let in_hex = format!("{name}_hex");
        match (members.text(name)?, members.hex(&in_hex)?) {
            (Some(text), None) => Ok(Some(text.into_owned().into_bytes())),
            (None, bytes) => Ok(bytes),
            (Some(_), Some(_)) => {
                Err(members.wrong(&in_hex, format!("{name} and {in_hex} do not go together")))
            }
        }
    };
    let ttl_ms = members.number("ttl_ms")?;
    match (bytes("put")?, bytes("remove")?, bytes("check")?, bytes("value")?) {
        _ if ttl_ms == Some(0) => Err(members.wrong("ttl_ms", "ttl_ms must be at least 1")),
        (Some(key), None, None, Some(value)) => {
            Ok(Op::Put { key: key.into(), value: value.into(), condition, ttl_ms })
        }
        _ if ttl_ms.is_some() => Err(members.wrong("ttl_ms", "ttl_ms goes only with put")),
        (Some(_), None, None, None) => Err(LineError::new("a put needs a value")),
        (None, Some(key), None, None) => Ok(Op::Remove { key: key.into(), condition }),
        (None, None, Some(key), None) => Ok(Op::Check { key: key.into(), condition }),
        _ => Err(LineError::new("it must have one of put, remove and check, and a value only with put")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let content = br#"
{"put": "a", "value": "1", "if_absent": true, "ttl_ms": 5}

{"put_hex": "ff00", "value_hex": "0a", "if_revision": 7}
{"remove": "b"}
{"check": "c", "if_absent": false}"#;
        let (numbers, ops) = parse(content).unwrap();
        assert_eq!(numbers, [2, 4, 5, 6]);
        let expected = [
            Op::Put { key: "a".into(), value: "1".into(), condition: Condition::Absent, ttl_ms: Some(5) },
            Op::Put {
                key: vec![255, 0].into(),
                value: "\n".into(),
                condition: Condition::Revision(7),
                ttl_ms: None,
            },
            Op::Remove { key: "b".into(), condition: Condition::Always },
            Op::Check { key: "c".into(), condition: Condition::Always },
        ];
        assert_eq!(ops, expected);
    }

    #[test]
    fn what_is_no_write_is_told_with_its_line() {
        for (line, expected) in [
            (r#"{"put": "a"}"#, "line 2: a put needs a value"),
            (
                r#"{"put": "a", "value": "1", "ttl": 5}"#,
                "line 2, column 35: there is no member \"ttl\"; those are put, ",
            ),
            (r#"{"put": "a", "value": "1", "ttl_ms": 0}"#, "line 2, column 38: ttl_ms must be at least 1"),
            (r#"{"put": "a", "value": 1}"#, "line 2, column 23: value must be text, in double quotes"),
            (
                r#"{"put": "a", "value": "1", "ttl_ms": "5"}"#,
                "line 2, column 38: ttl_ms must be a whole number",
            ),
            (r#"{"remove": "a", "ttl_ms": 5}"#, "line 2, column 27: ttl_ms goes only with put"),
            (
                r#"{"put": "a", "remove": "b", "value": "1"}"#,
                "line 2: it must have one of put, remove and check",
            ),
            (r#"{"remove": "a", "value": "1"}"#, "and a value only with put"),
            (
                r#"{"put": "a", "put_hex": "61", "value": ""}"#,
                "line 2, column 25: put and put_hex do not go together",
            ),
            (
                r#"{"put": "a", "value_hex": "6"}"#,
                "line 2, column 27: value_hex: an even number of hexadecimal digits",
            ),
            (
                r#"{"check": "a", "if_absent": true, "if_revision": 1}"#,
                "line 2, column 50: if_absent and if_revision do",
            ),
            (r#"{"check": "a""#, "line 2, column 13: it ends within its JSON"),
            ("[]", "line 2: it must be a JSON object"),
        ] {
            let text = parse(format!("\n{line}\n").as_bytes()).unwrap_err().to_string();
            assert!(text.contains(expected), "{line}: {text}");
        }
    }
}
