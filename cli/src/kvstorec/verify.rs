//! `kvstorec verify`: checks every record.
//!
//! JSON: `{"records": NUMBER, "bytes": NUMBER, "damaged": [{"key": TEXT, "why": TEXT}, ..]}`; `key_hex` instead of `key`
//! where that is no text.

use serde::Serialize;

use super::{
    cli::Reach,
    key::{JsonKey, Key},
    store::with_server,
};
use crate::{
    exit::{Code, Failure, Outcome},
    settings::Settings,
};

/// Checks every record, and names the damaged ones
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads and writes go on meanwhile. The exit code is 1 when a record is damaged. A damaged record is never
returned; it can be put anew, or removed.

Example:
  $ kvstorec verify")]
pub(super) struct Args {
    #[command(flatten)]
    reach: Reach,
}

#[derive(Serialize)]
struct Found<'a> {
    records: u64,
    bytes: u64,
    damaged: Vec<Damaged<'a>>,
}

#[derive(Serialize)]
struct Damaged<'a> {
    #[serde(flatten)]
    key: JsonKey<'a>,
    why: &'a str,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_server(&args.reach, settings, async |server| {
        let (mut records, mut bytes, mut damaged) = (0, 0, Vec::new());
        let mut after = Some(Default::default());
        while let Some(last) = after {
            let part = server.waiting(server.client.verify(&last)).await;
            let part = part.map_err(|why| server.failure(&why, &Key::default()))?;
            records += part.records;
            bytes += part.bytes;
            damaged.extend(part.damaged.into_iter().map(|it| (Key::of(it.key.to_vec()), it.why)));
            after = part.next;
        }
        let of = damaged.iter().map(|(key, why)| Damaged { key: key.in_json(), why });
        let found = Found { records, bytes, damaged: of.collect() };
        settings.printer().result(&found, |_| {
            let lines = damaged.iter().map(|(key, why)| format!("{}: {why}\n", key.in_list()));
            lines
                .chain([format!("{records} records of {bytes} bytes, {} damaged\n", damaged.len())])
                .collect()
        })?;
        if damaged.is_empty() {
            return Ok(());
        }
        Err(Failure::new(Code::Failed, format_args!("damaged records: {}", damaged.len()))
            .advise("put their keys anew, or remove them"))
    })
}
