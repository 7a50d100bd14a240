//! `kvstorec put`: stores bytes under a key.
//!
//! JSON: `{"key": TEXT, "stored_bytes": NUMBER, "revision": NUMBER}`; `key_hex` instead of `key` where that is no text.

use serde::Serialize;

use super::{
    cli::{self, Place, PutCondition},
    key::JsonKey,
    store::{Store, with_store},
};
use crate::{
    exit::Outcome,
    input::{self, Input},
    printer::Printer,
    settings::Settings,
};

/// What is longer goes to the store part by part.
pub(super) const WHOLE_BYTES: u64 = 4 << 20;

/// Stores bytes under a key
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Done when the bytes are on disk. The exit code is 6 when a condition does not hold: nothing is stored then.
How long a value may be, the server's option max-value says; one that is longer than the memory is no matter.
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
    input: cli::Input,
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
        let options = args.condition.options();
        let done = match input::begin(&args.input.input, WHOLE_BYTES)? {
            Input::Whole(value) => store.put(value, options).await?,
            Input::Long(long) => store.put_stream(long, options).await?,
        };
        show(&store, &done, settings.printer())
    })
}

/// Says nothing, as the people of the first kvstore are used to, except in JSON.
pub(super) fn show(store: &Store, done: &kvstore::messages::PutDone, printer: Printer) -> Outcome {
    let stored =
        Stored { key: store.key.in_json(), stored_bytes: done.stored_bytes, revision: done.revision };
    printer.result(&stored, |_| String::new())
}
