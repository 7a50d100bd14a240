//! `kvstorec restore`: makes a store of a backup, without a server.
//!
//! JSON: `{"directory": PATH, "entries": NUMBER, "revision": NUMBER}`.

use std::path::PathBuf;

use ensemble::ServerId;
use kvstore::store::{BackupError, restore};
use serde::Serialize;

use crate::{
    console,
    exit::{Code, Failure, Outcome},
    settings::Settings,
};

/// The store's directory in the server's own, unless its role has another.
const STORE_DIRECTORY: &str = "kvstore.db";

/// Makes a store of a backup, all of which is checked before
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Works on this machine, without a server: the one whose store it is must not run. Where there is a store
already nothing is done: move it away first.

Examples:
  $ kvstorec restore monday.kvbackup
  $ kvstorec restore monday.kvbackup --server kvstore-2
  $ kvstorec restore monday.kvbackup --directory /var/lib/store")]
pub(super) struct Args {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The server whose store it is to be
    #[arg(long, value_name = "SERVER", default_value = "kvstore")]
    server: ServerId,

    /// The directory to make, when the store is not in the server's own
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    directory: Option<PathBuf>,
}

#[derive(Serialize)]
struct Done {
    directory: String,
    entries: u64,
    revision: u64,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    if args.directory.is_none() && args.server == console::registry_id() {
        let what = format_args!("{} is the registry, which has no store", args.server);
        return Err(Failure::new(Code::Usage, what).advise("name a server that is to have the store"));
    }
    let directory = match &args.directory {
        Some(directory) => directory.clone(),
        None => settings.home().ensure_server_dir(&args.server)?.join(STORE_DIRECTORY),
    };
    let done = restore(&args.file, &directory).map_err(|why| {
        let failure = Failure::of(Code::Failed, &why);
        match why {
            BackupError::Exists { .. } => {
                failure.advise("move that store away first: nothing is written over")
            }
            BackupError::NotABackup { .. } | BackupError::Damaged { .. } => {
                failure.advise("nothing was made of it; use another backup")
            }
            _ => failure.advise("nothing was made"),
        }
    })?;
    let directory = directory.display().to_string();
    let done = Done { directory, entries: done.entries, revision: done.revision };
    settings.printer().result(&done, |done| format!("entries {}, revision {}\n", done.entries, done.revision))
}
