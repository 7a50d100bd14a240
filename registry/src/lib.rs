//! The registry of an ensemble: which servers there are, where they listen, and what they are for.
//!
//! - [`Directory`] decides, in plain code: the map of servers, roles, leases, and the changes for watchers.
//! - [`Snapshot`] keeps on disk what has to survive a restart of the registry.
//! - [`View`] is the watcher's side: a snapshot, kept up to date by changes.

mod change;
mod directory;
mod entry;
mod snapshot;
mod view;

pub use change::{Change, Changes, Compacted, Event, GoneReason, Revision, SuspectReason};
pub use directory::{
    Announced, Contest, DEFAULT_LEASE_MS, DEFAULT_MAX_ADDRESSES, DEFAULT_MAX_CHANGES, DEFAULT_MAX_REMEMBERED,
    DEFAULT_MAX_ROLES, DEFAULT_MAX_SERVERS, Directory, HEARTBEATS_PER_LEASE, Heartbeat, MAX_AGENT_BYTES,
    MAX_CONTEST_ROUNDS, MAX_PREDECESSORS, Options, Refusal, Restored, Write,
};
pub use entry::{Announcement, Liveness, ServerInfo, StoredEntry};
pub use snapshot::{DatabaseError, FORMAT_VERSION, MAP_BYTES, Snapshot, SnapshotError};
pub use view::{Gap, Seen, View};
