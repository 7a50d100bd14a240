//! `kvstorec get`: the bytes under a key.
//!
//! JSON: `{"key": TEXT, "revision": NUMBER, "value": TEXT, "value_hex": HEX}`, as of [`get_many`](super::get_many).

use super::{
    cli::{Output, Place},
    get_many::Got,
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

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_store(&args.place, settings, async |store| {
        let got =
            store.getting(store.client().get(store.key.bytes())).await.map_err(|why| store.failure(&why))?;
        let value = got.ok_or_else(|| store.no_such_key())?;
        let printer = settings.printer();
        let output = &args.output.output;
        if printer.is_json() {
            let got = Got::new(&store.key, Ok(Some(&value)));
            return files::write(output, &printer::json_line(&got)?, printer);
        }
        files::write(output, &value.bytes, printer)
    })
}
