//! `kvstorec put`: stores bytes under a key.
//!
//! JSON: `{"key": TEXT, "stored_bytes": NUMBER, "revision": NUMBER}`; `key_hex` instead of `key` where that is no text.

use serde::Serialize;

use super::{
    cli::{Input, Place, PutCondition},
    key::JsonKey,
    store::{Store, with_store},
};
use crate::{exit::Outcome, files, printer::Printer, settings::Settings};

/// Stores bytes under a key
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Done when the bytes are on disk. The exit code is 6 when a condition does not hold: nothing is stored then.
A put without --ttl makes the key stay, whatever time it had left.

Examples:
  $ kvstorec put --input foo.json foo.json
  $ echo hello | kvstorec put greeting
  $ echo moin | kvstorec put greeting --if-revision 7
  $ echo token | kvstorec put session --ttl 30m")]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    condition: PutCondition,
}

#[derive(Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    key: JsonKey<'a>,
    stored_bytes: u64,
    revision: u64,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_store(&args.place, settings, async |store| {
        let value = files::read(&args.input.input, store.max_value_bytes())?;
        show(&store, &store.put(value, args.condition.options()).await?, settings.printer())
    })
}

/// Says nothing, as the people of the first kvstore are used to, except in JSON.
pub(super) fn show(store: &Store, done: &kvstore::messages::PutDone, printer: Printer) -> Outcome {
    let stored =
        Stored { key: store.key.in_json(), stored_bytes: done.stored_bytes, revision: done.revision };
    printer.result(&stored, |_| String::new())
}
