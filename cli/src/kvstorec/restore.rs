//! `kvstorec restore`: makes a store of a backup, without a server.
//!
//! JSON: `{"directory": PATH, "entries": NUMBER, "revision": NUMBER}`.

use std::{
    fs::{File, TryLockError},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use ensemble::{Address, ServerId};
use kvstore::store::{BackupError, restore};
use serde::Serialize;

use crate::{
    console,
    exit::{Code, Failure, Outcome},
    settings::Settings,
};

/// The store's directory in the server's own, unless its role has another.
const STORE_DIRECTORY: &str = "kvstore.db";

/// The file in it that is locked for as long as a process has the store open.
const LOCK_FILE: &str = "store.lock";

/// Makes a store of a backup, all of which is checked before
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Works on this machine, without a server: the one whose store it is must not run. Where there is a store
already, or the server runs, nothing is done: shut it down, and move its store away first.

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
    if args.directory.is_none() && is_listening(settings, &args.server) {
        let what = format_args!("the server {} is running, and has its store open", args.server);
        return Err(Failure::new(Code::Failed, what).advise(format_args!(
            "nothing was made: shut it down with `ensemble shutdown {}`, and move its store away",
            args.server
        )));
    }
    if is_open(&directory) {
        let what = format_args!("a server that is running has the store in {} open", directory.display());
        return Err(Failure::new(Code::Failed, what)
            .advise("nothing was made: shut the server down, and move its store away"));
    }
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

/// Whether the server answers at the socket that it has unless it was told otherwise.
fn is_listening(settings: &Settings, server: &ServerId) -> bool {
    match settings.home().socket(server) {
        Ok(Address::Unix(path)) => UnixStream::connect(path).is_ok(),
        _ => false,
    }
}

/// Whether a process has the store open. Whether there is one is not asked.
fn is_open(directory: &Path) -> bool {
    let lock = File::open(directory.join(LOCK_FILE));
    // What is locked here is given back at once, with the file.
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}
