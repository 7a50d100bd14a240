//! `kvstorec apply`: several writes, all or none.
//!
//! JSON: `{"applied": [{"key": TEXT, "revision": NUMBER | null}, ..]}`, in the order of the input, with the revision that
//! the write was given (of a check: that the key has); null where there was nothing to remove, or no key; `key_hex`
//! instead of `key` where that is no text.

use kvstore::messages::{Condition, Done, Op};
use serde::{Deserialize, Serialize};

use super::{
    cli::{Input, Reach},
    key::{JsonKey, Key, parse_hex},
    store::with_server,
};
use crate::{
    exit::{Code, Failure, Outcome},
    files,
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

/// A line of the input.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    put: Option<String>,
    put_hex: Option<String>,
    remove: Option<String>,
    remove_hex: Option<String>,
    check: Option<String>,
    check_hex: Option<String>,
    value: Option<String>,
    value_hex: Option<String>,
    ttl_ms: Option<u64>,
    if_absent: Option<bool>,
    if_revision: Option<u64>,
}

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
        settings.printer().result(&Applied { applied: applied.collect() }, |_| String::new())
    })
}

/// The writes, and the line of each.
fn parse(content: &[u8]) -> Outcome<(Vec<usize>, Vec<Op>)> {
    let (mut numbers, mut ops) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let op = serde_json::from_slice(line).map_err(|why| why.to_string()).and_then(op);
        let op = op.map_err(|why| {
            Failure::new(Code::Failed, format_args!("line {number} is no write: {why}"))
                .advise("nothing was changed; see `kvstorec apply --help`")
        })?;
        numbers.push(number);
        ops.push(op);
    }
    Ok((numbers, ops))
}

fn op(line: Line) -> Result<Op, String> {
    let condition = match (line.if_absent, line.if_revision) {
        (Some(true), None) => Condition::Absent,
        (None, Some(revision)) => Condition::Revision(revision),
        (None | Some(false), None) => Condition::Always,
        _ => return Err("if_absent and if_revision do not go together".to_owned()),
    };
    let bytes = |text: Option<String>, hex: Option<String>| match (text, hex) {
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(hex)) => parse_hex(&hex).map(|bytes| Some(bytes.bytes().to_vec())),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err("text and hexadecimal digits do not go together".to_owned()),
    };
    let put = bytes(line.put, line.put_hex)?;
    let remove = bytes(line.remove, line.remove_hex)?;
    let check = bytes(line.check, line.check_hex)?;
    let value = bytes(line.value, line.value_hex)?;
    match (put, remove, check, value) {
        _ if line.ttl_ms == Some(0) => Err("ttl_ms must be at least 1".to_owned()),
        (Some(key), None, None, Some(value)) => {
            Ok(Op::Put { key: key.into(), value: value.into(), condition, ttl_ms: line.ttl_ms })
        }
        _ if line.ttl_ms.is_some() => Err("ttl_ms goes only with put".to_owned()),
        (Some(_), None, None, None) => Err("a put needs a value".to_owned()),
        (None, Some(key), None, None) => Ok(Op::Remove { key: key.into(), condition }),
        (None, None, Some(key), None) => Ok(Op::Check { key: key.into(), condition }),
        _ => Err("it must have one of put, remove and check, and a value only with put".to_owned()),
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
        for (line, part) in [
            (r#"{"put": "a"}"#, "a put needs a value"),
            (r#"{"put": "a", "value": "1", "ttl": 5}"#, "unknown field `ttl`"),
            (r#"{"put": "a", "value": "1", "ttl_ms": 0}"#, "ttl_ms must be at least 1"),
            (r#"{"remove": "a", "ttl_ms": 5}"#, "ttl_ms goes only with put"),
            (r#"{"put": "a", "remove": "b", "value": "1"}"#, "one of put, remove and check"),
            (r#"{"remove": "a", "value": "1"}"#, "a value only with put"),
            (r#"{"put": "a", "put_hex": "61", "value": ""}"#, "do not go together"),
            (r#"{"put": "a", "value_hex": "6"}"#, "hexadecimal digits"),
            (r#"{"check": "a", "if_absent": true, "if_revision": 1}"#, "do not go together"),
            (r#"{"check": "a""#, "EOF"),
            ("[]", "invalid length 0"),
        ] {
            let text = parse(format!("\n{line}\n").as_bytes()).unwrap_err().to_string();
            assert!(text.contains("line 2 is no write") && text.contains(part), "{line}: {text}");
        }
    }
}
