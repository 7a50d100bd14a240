//! How a registry is started in a node and closed with it.

use std::{
    io,
    path::Path,
    time::{Duration, SystemTime},
};

use ensemble::{ExportError, Exports, Node};
use thiserror::Error;
use tokio::sync::watch;

use super::{
    actor::{Clock, Registry},
    writer::Writer,
};
use crate::{ACTOR, Directory, Options, Snapshot, SnapshotError, messages};

/// Time that the node gives the snapshot to be closed when it shuts down.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a registry does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// What it had cannot be read.
    #[error("the registry's snapshot cannot be used")]
    Snapshot(#[from] SnapshotError),
    /// The node exports another actor under the name, or is shutting down.
    #[error("the registry cannot be exported")]
    Export(#[from] ExportError),
    /// There is no thread for its disk.
    #[error("the registry's writer cannot be started")]
    Thread(#[source] io::Error),
}

/// Runs the registry in `node`, whose id should be [`SERVER`](crate::SERVER), from now until the node ends. What it had
/// in `dir` is there again, suspect until each server is heard from.
///
/// # Errors
/// When another registry uses `dir`, it cannot be read or made, or the node has an actor named [`ACTOR`].
pub async fn serve(node: &Node, dir: &Path) -> Result<(), ServeError> {
    serve_with(node, dir, Options::default()).await
}

/// As [`serve`], with other bounds than the default.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with(node: &Node, dir: &Path, options: Options) -> Result<(), ServeError> {
    let path = dir.to_owned();
    let load = move || {
        let snapshot = Snapshot::open(&path)?;
        let entries = snapshot.load()?;
        Ok::<_, SnapshotError>((snapshot, entries))
    };
    let loaded = tokio::task::spawn_blocking(load).await;
    let (snapshot, entries) = loaded.map_err(|cause| ServeError::Thread(io::Error::other(cause)))??;

    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let clock = Clock::starting_at(since_epoch);
    let restored = Directory::restore(clock.now(), node.incarnation(), options, entries);
    for (id, refusal) in &restored.refused {
        tracing::warn!(server = %id, %refusal, "an entry of the registry's snapshot is not taken over");
    }
    tracing::info!(dir = %dir.display(), servers = restored.directory.len(), "the registry is up");
    let (writer, closed) = Writer::start(snapshot).map_err(ServeError::Thread)?;
    let (open, closing) = watch::channel(());
    let registry = Registry::new(node, restored.directory, clock, writer, closing);
    let exports = Exports::start(registry)
        .message::<messages::Announce>()
        .message::<messages::Heartbeat>()
        .message::<messages::Withdraw>()
        .message::<messages::Lookup>()
        .message::<messages::ByRole>()
        .message::<messages::All>()
        .message::<messages::Follow>();
    node.export(ACTOR, exports)?;
    // Whoever waits for a change is answered first: the node waits for all answers.
    node.at_leave(async move { drop(open) });
    node.at_stop(async move {
        // The actor is gone by now, and with it the queue to the writer, which ends when it has written the rest.
        if tokio::time::timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::error!("the registry's snapshot could not be closed in time");
        }
    });
    Ok(())
}
