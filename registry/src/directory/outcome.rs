//! What the directory decides: the results of its operations.

use ensemble::{Address, Incarnation, ServerId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Directory;
use crate::{Announcement, Revision, ServerInfo, StoredEntry, messages::At};

/// How often a contest may be opened again because its holder was heard from while the caller found it dead.
pub const MAX_CONTEST_ROUNDS: u32 = 3;

/// What becomes of an announcement that is not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Announced {
    /// The server is in the directory as it announced, which it was not before.
    Accepted {
        /// The lease: heartbeats are due [`HEARTBEATS_PER_LEASE`](crate::HEARTBEATS_PER_LEASE) times in it.
        lease_ms: u64,
        /// The revision that this made.
        revision: Revision,
    },
    /// It was there already, just so; its lease starts anew.
    Renewed {
        /// The lease, as above.
        lease_ms: u64,
        /// The revision of now.
        revision: Revision,
    },
    /// Another incarnation holds the id: find out whether that one lives, and call
    /// [`Directory::resolve_contest`].
    Contested(Box<Contest>),
}

/// A question to the caller: does this holder live? It lives when a node at one of its addresses authenticates
/// with its id and its incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Contest {
    pub(super) announcement: Announcement,
    pub(super) holder: ServerInfo,
    /// The holder's count of signs of life when the question was asked.
    pub(super) signs_of_life: u64,
    pub(super) round: u32,
}

impl Contest {
    /// Who wants the id.
    pub fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    /// Who has it.
    pub fn holder(&self) -> &ServerInfo {
        &self.holder
    }

    /// How often this was asked before because the holder was heard from meanwhile.
    pub fn round(&self) -> u32 {
        self.round
    }
}

/// Why an announcement is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// The id belongs to another incarnation, which is alive.
    #[error("the server id {id} is held by incarnation {incarnation}, which is alive{}", At(addresses))]
    Held {
        /// The id.
        id: ServerId,
        /// Who holds it.
        incarnation: Incarnation,
        /// Where the holder listens.
        addresses: Vec<Address>,
    },
    /// A newer incarnation has had the id since.
    #[error("incarnation {incarnation} of {id} was replaced by a newer one")]
    Superseded {
        /// The id.
        id: ServerId,
        /// The incarnation that is refused.
        incarnation: Incarnation,
    },
    /// The directory is full.
    #[error("the registry has its most servers: {limit}")]
    TooManyServers {
        /// The limit.
        limit: usize,
    },
    /// There are too many addresses.
    #[error("the server announces {found} addresses; the limit is {limit}")]
    TooManyAddresses {
        /// How many there are.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// There are too many roles.
    #[error("the server announces {found} roles; the limit is {limit}")]
    TooManyRoles {
        /// How many there are.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The text about the program is too long.
    #[error("the name of the server's program has {bytes} bytes; the limit is {limit}")]
    AgentTooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// An address is too long or cannot be written as text.
    #[error("an address of the server is too long, or has no text form")]
    BadAddress,
}

/// The answer to a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub enum Heartbeat {
    /// The lease starts anew.
    Renewed {
        /// Its length in milliseconds.
        lease_ms: u64,
    },
    /// This incarnation holds no lease: it must announce.
    Unknown,
    /// A newer incarnation has had the id since: this one will not get it back.
    Superseded,
}

/// What to keep on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// This entry, in the place of any other of its id.
    Put(StoredEntry),
    /// Nothing of this id.
    Remove(ServerId),
}

/// A directory made from what was kept on disk.
#[derive(Debug)]
pub struct Restored {
    /// The directory.
    pub directory: Directory,
    /// What is not in it, because the bounds changed since. It is still on disk.
    pub refused: Vec<(ServerId, Refusal)>,
}
