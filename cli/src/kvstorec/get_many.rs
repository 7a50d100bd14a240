//! `kvstorec get-many`: what is under many keys at one moment.
//!
//! A line of JSON for each key: `{"key": TEXT, "revision": NUMBER, "value": TEXT, "value_hex": HEX}`; `key_hex` instead of
//! `key`, and no `value`, where that is no text; `revision`, `value` and `value_hex` are null where there is no such key;
//! `{"key": TEXT, "error": TEXT}` where the record cannot be read. With `--json`, an array of these.

use std::ffi::OsString;

use kvstore::messages::{StoreError, Value};
use serde::Serialize;

use super::{
    cli::Reach,
    key::{JsonKey, Key, hex},
    store::with_server,
};
use crate::{
    exit::{Code, Failure, Outcome},
    printer,
    settings::Settings,
};

/// Gets what is stored under many keys, as it is at one moment
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints a JSON object a line, in the order of the keys. A key that is not there has the value null, and is no
error. There may be 1024 keys, and their values may be as long together as one value may be.

Example:
  $ kvstorec get-many name address missing")]
pub(super) struct Args {
    /// The keys
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<OsString>,

    #[command(flatten)]
    reach: Reach,
}

/// What is under a key, in JSON: also that of `get`.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Got<'a> {
    Text {
        #[serde(flatten)]
        key: JsonKey<'a>,
        revision: Option<u64>,
        value: Option<&'a str>,
        value_hex: Option<String>,
    },
    Bytes {
        #[serde(flatten)]
        key: JsonKey<'a>,
        revision: u64,
        value_hex: String,
    },
    Unreadable {
        #[serde(flatten)]
        key: JsonKey<'a>,
        error: String,
    },
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_server(&args.reach, settings, async |server| {
        let keys: Vec<Key> = args.keys.iter().map(|key| Key::new(key)).collect();
        let values = server.client.get_many(keys.iter().map(Key::bytes)).await;
        let values = values.map_err(|why| server.failure(&why, &Key::default()))?;
        let got: Vec<Got<'_>> = keys
            .iter()
            .zip(&values)
            .map(|(key, value)| Got::new(key, value.as_ref().map(Option::as_ref).map_err(|why| *why)))
            .collect();
        let printer = settings.printer();
        if printer.is_json() {
            printer.json(&got)?;
        } else {
            let lines: Vec<_> = got.iter().map(printer::json_line).collect::<Outcome<_>>()?;
            printer.bytes(&lines.concat())?;
        }
        match values.iter().filter(|value| value.is_err()).count() {
            0 => Ok(()),
            count => Err(Failure::new(Code::Failed, format_args!("{count} of the keys cannot be read"))
                .advise("put them anew, or remove them")),
        }
    })
}

impl<'a> Got<'a> {
    pub(super) fn new(key: &'a Key, value: Result<Option<&'a Value>, StoreError>) -> Self {
        let key = key.in_json();
        match value {
            Err(why) => Self::Unreadable { key, error: why.to_string() },
            Ok(None) => Self::Text { key, revision: None, value: None, value_hex: None },
            Ok(Some(Value { bytes, revision, .. })) => match str::from_utf8(bytes) {
                Ok(text) => Self::Text {
                    key,
                    revision: Some(*revision),
                    value: Some(text),
                    value_hex: Some(hex(bytes)),
                },
                Err(_) => Self::Bytes { key, revision: *revision, value_hex: hex(bytes) },
            },
        }
    }
}
