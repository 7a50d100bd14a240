//! What is known of a server: what it announces, what a lookup answers, and what is kept on disk. Plain data;
//! the decisions are in [`Directory`](crate::Directory), the form on disk is in [`Snapshot`](crate::Snapshot).

use std::fmt;

use ensemble::{Address, Incarnation, RoleName, ServerId};
use serde::{Deserialize, Serialize};

/// What a server says of itself when it announces. The directory drops repeated addresses and roles, and keeps
/// the order of the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Its name in the ensemble.
    pub id: ServerId,
    /// Which start of it this is.
    pub incarnation: Incarnation,
    /// Where it can be reached, the preferred one first.
    pub addresses: Vec<Address>,
    /// What it is for.
    pub roles: Vec<RoleName>,
    /// The program and its version, for people to read.
    pub agent: Option<String>,
    /// The process on its own machine, for people to find it.
    pub pid: Option<u32>,
}

/// What the registry believes of a server that holds a lease. One without a lease is not in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Liveness {
    /// It was heard from lately, and its connection stands.
    Reachable,
    /// Its connection broke, its heartbeats are overdue, or the registry restarted and has not heard from it.
    Suspect,
}

impl fmt::Display for Liveness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reachable => "reachable",
            Self::Suspect => "suspect",
        })
    }
}

/// The answer to a lookup. Times are lengths, measured when the answer was made, so that no two clocks are
/// ever compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// Its name in the ensemble.
    pub id: ServerId,
    /// Which start of it this is.
    pub incarnation: Incarnation,
    /// Where it can be reached, the preferred one first.
    pub addresses: Vec<Address>,
    /// What it is for.
    pub roles: Vec<RoleName>,
    /// The program and its version, if it said so.
    pub agent: Option<String>,
    /// The process on its own machine, if it said so.
    pub pid: Option<u32>,
    /// Whether it is believed to be reachable.
    pub liveness: Liveness,
    /// Time since this incarnation first announced, in milliseconds.
    pub age_ms: u64,
    /// Time since it was last heard from, or since the registry restarted, in milliseconds.
    pub unheard_ms: u64,
    /// The lease that each heartbeat renews, in milliseconds.
    pub lease_ms: u64,
    /// What is left of the lease, in milliseconds: how long this answer may be relied on at most.
    pub lease_left_ms: u64,
}

impl From<&ServerInfo> for Announcement {
    fn from(info: &ServerInfo) -> Self {
        Self {
            id: info.id.clone(),
            incarnation: info.incarnation,
            addresses: info.addresses.clone(),
            roles: info.roles.clone(),
            agent: info.agent.clone(),
            pid: info.pid,
        }
    }
}

/// What is kept of an id across a restart of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredEntry {
    /// A server that holds a lease.
    Server {
        /// What it announced.
        server: Announcement,
        /// When this incarnation first announced, in milliseconds of the directory's time.
        announced_at_ms: u64,
        /// The incarnations of this id that were replaced, the oldest first: they stay refused.
        superseded: Vec<Incarnation>,
    },
    /// Nobody holds it any more.
    Gone {
        /// The id.
        id: ServerId,
        /// The incarnations that have had it, the oldest first: all but the last stay refused.
        incarnations: Vec<Incarnation>,
    },
}

impl StoredEntry {
    /// The id.
    pub fn id(&self) -> &ServerId {
        match self {
            Self::Server { server, .. } => &server.id,
            Self::Gone { id, .. } => id,
        }
    }
}
