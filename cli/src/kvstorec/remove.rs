//! `kvstorec remove`: removes a key.
//!
//! JSON: `{"key": TEXT, "removed": BOOL}`; `key_hex` instead of `key` where that is no text.

use serde::Serialize;

use super::{cli::Place, key::JsonKey, store::with_store};
use crate::{exit::Outcome, options::number_from, settings::Settings};

/// Removes a key; that there is none is no error
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --if-revision, the exit code is 6 when the key has another revision, or is not there.

Examples:
  $ kvstorec remove my-alist
  $ kvstorec remove greeting --if-revision 7")]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,

    /// Remove only where the key has this revision, which `get --json` shows
    #[arg(long, value_name = "N", value_parser = number_from(0))]
    if_revision: Option<u64>,
}

#[derive(Serialize)]
struct Removed<'a> {
    #[serde(flatten)]
    key: JsonKey<'a>,
    removed: bool,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_store(&args.place, settings, async |store| {
        let key = store.key.bytes();
        let done = match args.if_revision {
            None => store.getting(store.client().remove(key)).await,
            Some(revision) => store.getting(store.client().remove_if(key, revision)).await,
        };
        let done = done.map_err(|why| store.failure(&why))?;
        let removed = Removed { key: store.key.in_json(), removed: done.existed() };
        settings.printer().result(&removed, |_| String::new())
    })
}
