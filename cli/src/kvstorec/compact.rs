//! `kvstorec compact`: makes the store's file as small as its data.
//!
//! JSON: `{"before_bytes": NUMBER, "after_bytes": NUMBER}`.

use std::time::Duration;

use serde::Serialize;

use super::{cli::Reach, key::Key, store::with_server};
use crate::{exit::Outcome, settings::Settings};

/// How long it may take unless `--timeout` says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Gives free room in the store's file back to the file system
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Free room is used again by itself: this is for a store that has become much smaller for good. Writes wait for it,
reads go on. There must be room for a second file of the size of the data.

Example:
  $ kvstorec compact")]
pub(super) struct Args {
    #[command(flatten)]
    reach: Reach,
}

#[derive(Serialize)]
struct Done {
    before_bytes: u64,
    after_bytes: u64,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_server(&args.reach, settings, async |server| {
        let client = server.client.clone().with_timeout(settings.timeout_or(DEFAULT_TIMEOUT));
        let done =
            server.waiting(client.compact()).await.map_err(|why| server.failure(&why, &Key::default()))?;
        let done = Done { before_bytes: done.before_bytes, after_bytes: done.after_bytes };
        settings.printer().result(&done, |done| {
            format!("{} bytes before, {} bytes now\n", done.before_bytes, done.after_bytes)
        })
    })
}
