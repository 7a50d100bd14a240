//! `kvstorec backup`: the server writes a copy of its store.
//!
//! JSON: `{"file": PATH, "entries": NUMBER, "revision": NUMBER, "bytes": NUMBER}`.

use std::{
    path::{self, PathBuf},
    time::Duration,
};

use kvstore::{ClientError, messages::BackupRefused};
use serde::Serialize;

use super::{cli::Reach, key::Key, store::with_server};
use crate::{
    exit::{Code, Failure, Outcome},
    human,
    settings::Settings,
};

/// How long it may take unless `--timeout` says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Writes a backup of the store to a file, while it is in use
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The server writes the file, so that the path is one of its own machine. The file has the store as it is at one
moment, without free room; it appears whole or not at all, and nothing is written over.

Examples:
  $ kvstorec backup /backups/monday.kvbackup
  $ kvstorec restore /backups/monday.kvbackup")]
pub(super) struct Args {
    /// The file to make, at the server's machine
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    reach: Reach,
}

#[derive(Serialize)]
struct Done {
    file: String,
    entries: u64,
    revision: u64,
    bytes: u64,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_server(&args.reach, settings, async |server| {
        let file = path::absolute(&args.file).map_err(|cause| Failure::of(Code::Usage, &cause))?;
        let client = server.client.clone().with_timeout(settings.timeout_or(DEFAULT_TIMEOUT));
        let done = server.waiting(client.backup(&file)).await.map_err(|why| match why {
            ClientError::Backup(BackupRefused::Exists) => {
                Failure::new(Code::Failed, format_args!("{} is there already", file.display()))
                    .advise("choose another file: nothing is written over")
            }
            ClientError::Backup(BackupRefused::Io(cause)) => {
                Failure::new(Code::Failed, format_args!("{} could not be written: {cause}", file.display()))
                    .advise("see whether the server may write there, and whether there is room")
            }
            ClientError::Backup(BackupRefused::Busy) => {
                Failure::new(Code::Unreachable, "another backup is being written").advise("try again later")
            }
            ClientError::Backup(BackupRefused::Store(why)) => server.failure(&why.into(), &Key::default()),
            other => server.failure(&other, &Key::default()),
        })?;
        let file = file.display().to_string();
        let done = Done { file, entries: done.entries, revision: done.revision, bytes: done.bytes };
        settings.printer().result(&done, |done| {
            let Done { file, entries, revision, bytes } = done;
            let entries = human::counted(*entries, "entry", "entries");
            format!("{file}: {entries}, {bytes} bytes, revision {revision}\n")
        })
    })
}
