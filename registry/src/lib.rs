//! The registry of an ensemble: which servers there are, where they listen, and what they are for.
//!
//! - [`Directory`] decides, in plain code: the map of servers, roles, leases, and the changes for watchers.
//! - [`Snapshot`] keeps on disk what has to survive a restart of the registry.
//! - [`View`] is the watcher's side: a snapshot, kept up to date by changes.
//! - [`serve`] runs a registry in a node, around these three; [`messages`] is what it can be asked.
//! - [`Client`] asks it, and resolves server ids for its node. [`Client::watch`] follows what changes,
//!   and [`Client::role`] sends to servers by what they are for.
//! - [`Join`] makes a node part of an ensemble: `Node::builder("counter-1").join().await?`. [`connect`] is for those
//!   that only call.

mod backoff;
mod change;
pub mod client;
mod directory;
mod entry;
mod join;
pub mod messages;
mod server;
mod snapshot;
mod view;

/// The server id of a registry.
pub const SERVER: &str = "registry";
/// The name of a registry's actor.
pub const ACTOR: &str = "registry";

fn server_id() -> ensemble::ServerId {
    ensemble::ServerId::new(SERVER).expect("the constant is a name")
}

pub use change::{Change, Changes, Compacted, Event, GoneReason, Revision, SuspectReason};
pub use client::{AnyAddr, Client, ClientError, MAX_BROADCAST_CALLS, RoleAddr, WatchEvent, Watcher};
pub use directory::{
    Announced, Contest, DEFAULT_LEASE_MS, DEFAULT_MAX_ADDRESSES, DEFAULT_MAX_CHANGES, DEFAULT_MAX_REMEMBERED,
    DEFAULT_MAX_ROLES, DEFAULT_MAX_SERVERS, Directory, HEARTBEATS_PER_LEASE, Heartbeat, MAX_AGENT_BYTES,
    MAX_CONTEST_ROUNDS, MAX_PREDECESSORS, Options, Refusal, Restored, Write,
};
pub use entry::{Announcement, Liveness, ServerInfo, StoredEntry};
pub use join::{Join, JoinError, Joining, connect, console, enter};
pub use server::{ServeError, serve, serve_with};
pub use snapshot::{DatabaseError, FORMAT_VERSION, MAP_BYTES, Snapshot, SnapshotError};
pub use view::{Gap, Seen, View};
