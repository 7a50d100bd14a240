//! `kvstorec get`: the bytes under a key.
//!
//! JSON: `{"key": TEXT, "revision": NUMBER, "value_hex": HEX}`; `key_hex` instead of `key` where that is no text.

use serde::Serialize;

use super::{
    cli::{Output, Place},
    key::{JsonKey, hex},
    store::with_store,
};
use crate::{exit::Outcome, files, printer, settings::Settings};

/// Gets the bytes stored under a key
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The exit code is 3 when there is no such key, and 0 when its value is empty.

Examples:
  $ kvstorec get foo.json
  $ kvstorec get foo.json --output foo.json")]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Got<'a> {
    #[serde(flatten)]
    key: JsonKey<'a>,
    revision: u64,
    value_hex: String,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_store(&args.place, settings, async |store| {
        let got =
            store.getting(store.client().get(store.key.bytes())).await.map_err(|why| store.failure(&why))?;
        let value = got.ok_or_else(|| store.no_such_key())?;
        let printer = settings.printer();
        let output = &args.output.output;
        if printer.is_json() {
            let value_hex = hex(&value.bytes);
            let got = Got { key: store.key.in_json(), revision: value.revision, value_hex };
            return files::write(output, &printer::json_line(&got)?, printer);
        }
        files::write(output, &value.bytes, printer)
    })
}
