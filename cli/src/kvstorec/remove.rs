//! `kvstorec remove`: removes a key.
//!
//! JSON: `{"key": TEXT, "removed": BOOL}`; `key_hex` instead of `key` where that is no text.

use serde::Serialize;

use super::{cli::Place, key::JsonKey, store::with_store};
use crate::{exit::Outcome, settings::Settings};

/// Removes a key; that there is none is no error
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  $ kvstorec remove my-alist")]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
}

#[derive(Serialize)]
struct Removed<'a> {
    #[serde(flatten)]
    key: JsonKey<'a>,
    removed: bool,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_store(&args.place, settings, async |store| {
        let done =
            store.getting(store.client.remove(store.key.bytes())).await.map_err(|why| store.failure(&why))?;
        let removed = Removed { key: store.key.in_json(), removed: done.existed() };
        settings.printer().result(&removed, |_| String::new())
    })
}
