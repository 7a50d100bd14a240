//! `kvstorec watch`: what changes in a store, as it happens.
//!
//! With `--json`, an object a line. First `{"event": "watching", "revision": NUMBER, "history": TEXT}`, and then for each change
//! `{"event": TEXT, "revision": NUMBER, "history": TEXT, "key": TEXT}` with the event `put`, `removed` or `expired`; `key_hex`
//! where the key is no text. A put has `value_bytes` too, and with `--values` its `value`, or `value_hex` where that is no text;
//! where it has none, `missing` is `replaced` or `unreadable`.

use std::{ffi::OsString, str::FromStr};

use kvstore::{
    ClientError, History, Position, WatchError, WatchFrom,
    messages::{Attached, Change, ChangeKind, StoreError},
};
use serde::Serialize;

use super::{
    cli::Reach,
    key::{JsonKey, Key, hex},
    store::{Server, with_server},
};
use crate::{
    exit::{Code, Failure, Outcome},
    following::until_stopped,
    printer::Printer,
    settings::Settings,
};

/// Shows what changes, as it happens
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each change is a line that begins with its revision: a key was put, removed, or has expired. They
come in their order, each once. It goes on until Ctrl-C, also while the server is away or restarts.

The store keeps the last changes, as many as `kvstorec stat` says. When those that come next are
no longer kept, or when the server has lost writes in a crash or was restored from a backup, it
says so and the exit code is 6.

A value is shown as keys are. It is that of the put: one that was replaced meanwhile is not shown.

Examples:
  $ kvstorec watch users/ --values
  $ kvstorec watch --from 0                every change that the store still has
  $ kvstorec watch --from 42 --count 1     the first one after revision 42")]
pub(super) struct Args {
    /// What the keys begin with [default: all keys]
    #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: OsString,

    /// Begin behind this revision, as 42, or 42@HISTORY where it has to be of that history [default: now]
    #[arg(long, value_name = "REVISION")]
    from: Option<From>,

    /// Show the values that were put
    #[arg(long)]
    values: bool,

    /// End after so many changes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    #[command(flatten)]
    reach: Reach,
}

/// A revision as it is typed: a number, or `NUMBER@HISTORY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct From {
    revision: u64,
    history: Option<History>,
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, history) = match text.split_once('@') {
            None => (text, None),
            Some((number, history)) => {
                (number, Some(history.parse().map_err(|_| "behind @ there must be the id of a history")?))
            }
        };
        let revision = number.parse().map_err(|_| "it must be a number, as in 42".to_owned())?;
        Ok(Self { revision, history })
    }
}

#[derive(Serialize)]
struct Begun {
    event: &'static str,
    revision: u64,
    history: String,
}

#[derive(Serialize)]
struct Changed<'a> {
    event: &'static str,
    revision: u64,
    history: String,
    #[serde(flatten)]
    key: JsonKey<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<&'static str>,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_server(&args.reach, settings, async |server| {
        let prefix = Key::new(&args.prefix);
        let printer = settings.printer();
        let from = match args.from {
            None => WatchFrom::Now,
            Some(From { revision, history: None }) => WatchFrom::Revision(revision),
            Some(From { revision, history: Some(history) }) => {
                WatchFrom::Position(Position { revision, history })
            }
        };
        let follow = async {
            let watching = server.client.watch(prefix.bytes(), from).await;
            let watching = watching.map_err(|why| failure(&server, &why, &prefix))?;
            let mut watching = if args.values { watching.with_values() } else { watching };
            let Position { revision, history } = watching.position();
            if printer.is_json() {
                printer.json(&Begun { event: "watching", revision, history: history.to_string() })?;
            }
            let mut left = args.count;
            while left != Some(0) {
                let change = watching.next().await.map_err(|why| failure(&server, &why, &prefix))?;
                show(&change, watching.position().history, args.values, printer)?;
                left = left.map(|left| left - 1);
            }
            Ok(())
        };
        until_stopped(follow).await
    })
}

fn failure(server: &Server, why: &WatchError, prefix: &Key) -> Failure {
    match why {
        WatchError::Compacted { first, .. } => {
            let from = first.saturating_sub(1);
            Failure::new(Code::Conflict, why)
                .advise(format_args!("what came before is lost to watchers: begin with --from {from}"))
        }
        WatchError::Ahead { .. } => Failure::new(Code::Usage, why).advise("choose an earlier one"),
        WatchError::HistoryChanged { .. } => Failure::new(Code::Conflict, why)
            .advise("see what is there now, and begin anew without a history"),
        WatchError::Damaged { revision } => Failure::new(Code::Failed, why)
            .advise(format_args!("go on behind it with --from {revision}, and see the log of the server")),
        WatchError::Client(ClientError::Store(why @ StoreError::KeyLength { .. })) => {
            Failure::of(Code::Usage, why).advise("shorten the prefix")
        }
        WatchError::Client(cause) => server.failure(cause, prefix),
        other => Failure::of(Code::Failed, other),
    }
}

fn show(change: &Change, history: History, values: bool, printer: Printer) -> Outcome {
    let key = Key::of(change.key.to_vec());
    let (event, value_bytes) = match change.kind {
        ChangeKind::Put { value_bytes } => ("put", Some(value_bytes)),
        ChangeKind::Removed => ("removed", None),
        ChangeKind::Expired => ("expired", None),
    };
    let missing = match change.value {
        Attached::Replaced => Some("replaced"),
        Attached::ToBeRead => Some("unreadable"),
        Attached::Nothing | Attached::Value(_) => None,
    };
    let bytes = match &change.value {
        Attached::Value(value) => Some(&value[..]),
        _ => None,
    };
    let value = bytes.and_then(|bytes| str::from_utf8(bytes).ok());
    let changed = Changed {
        event,
        revision: change.revision,
        history: history.to_string(),
        key: key.in_json(),
        value_bytes,
        value,
        value_hex: bytes.filter(|_| value.is_none()).map(hex),
        missing,
    };
    printer.result(&changed, |_| {
        let line = format!("{} {event} {}", change.revision, key.in_list());
        match (bytes, missing) {
            (Some(bytes), _) => format!("{line} = {}\n", Key::of(bytes.to_vec()).in_list()),
            (None, Some(why)) if values => format!("{line} ({why})\n"),
            _ => line + "\n",
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_a_number_and_may_have_a_history() {
        let history = History::fresh();
        let full = format!("7@{history}").parse();
        assert_eq!(full, Ok(From { revision: 7, history: Some(history) }));
        assert_eq!("7".parse(), Ok(From { revision: 7, history: None }));
        for wrong in ["", "x", "-1", "7@", "7@x"] {
            assert!(wrong.parse::<From>().is_err(), "{wrong}");
        }
    }
}
