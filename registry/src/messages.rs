//! What the registry can be asked: a struct for each request, with its reply, and [`Denied`] for what it does not do.
//! The bytes are pinned by tests: a message that changes is a new message with another name.
//!
//! # Who may ask what
//! Whoever belongs to the ensemble may look things up. Only a server itself announces itself and keeps its lease: the
//! registry compares what a message says with who has authenticated on the connection, incarnation included. A server
//! also withdraws itself; another peer (a console that cleans up) may withdraw it only when the registry itself finds
//! that nothing answers at its addresses.

use std::fmt;

use actix::Message;
use ensemble::{Address, Caller, Incarnation, RemoteMessage, RoleName, ServerId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Announcement, Changes, Compacted, Heartbeat as Beat, Refusal, Revision, ServerInfo};

/// Most servers in one [`Page`].
pub const MAX_PAGE: u32 = 1000;
/// Most changes in one answer to [`Follow`].
pub const MAX_CHANGES_PER_POLL: u32 = 512;
/// Longest wait of a [`Follow`], in milliseconds.
pub const MAX_WAIT_MS: u32 = 30_000;
/// Most [`Follow`]s that wait at a registry. Each costs about a kilobyte there.
pub const MAX_WAITING_POLLS: usize = 4096;
/// Most [`Follow`]s of one start of a server that wait at a registry: nobody can keep all others out.
pub const MAX_WAITING_POLLS_OF_ONE: usize = 64;

/// The sender announces itself, or what has changed about it. Answered when it is on disk.
#[derive(Debug, Clone, Message, Serialize, Deserialize)]
#[rtype(result = "Result<Lease, Denied>")]
pub struct Announce {
    /// What it says.
    pub server: Announcement,
    #[serde(skip)]
    pub(crate) caller: Option<Caller>,
}

impl Announce {
    /// The message that announces `server`.
    pub fn new(server: Announcement) -> Self {
        Self { server, caller: None }
    }
}

impl RemoteMessage for Announce {
    const NAME: &'static str = "registry.announce";

    fn received_from(&mut self, caller: &Caller) {
        self.caller = Some(caller.clone());
    }
}

/// The reply to [`Announce`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// How long the registry believes in the server without hearing from it, in milliseconds. Heartbeats are due
    /// [`HEARTBEATS_PER_LEASE`](crate::HEARTBEATS_PER_LEASE) times in it.
    pub lease_ms: u64,
    /// The registry's revision.
    pub revision: Revision,
}

/// The sender is alive. The reply says whether it still holds a lease.
#[derive(Debug, Clone, Message, Serialize, Deserialize)]
#[rtype(result = "Result<Beat, Denied>")]
pub struct Heartbeat {
    /// The sender.
    pub id: ServerId,
    /// Which of its starts.
    pub incarnation: Incarnation,
    #[serde(skip)]
    pub(crate) caller: Option<Caller>,
}

impl Heartbeat {
    /// The heartbeat of that incarnation of a server.
    pub fn new(id: ServerId, incarnation: Incarnation) -> Self {
        Self { id, incarnation, caller: None }
    }
}

impl RemoteMessage for Heartbeat {
    const NAME: &'static str = "registry.heartbeat";

    fn received_from(&mut self, caller: &Caller) {
        self.caller = Some(caller.clone());
    }
}

/// Takes a server out. The reply, once it is on disk, says whether there was one.
#[derive(Debug, Clone, Message, Serialize, Deserialize)]
#[rtype(result = "Result<bool, Denied>")]
pub struct Withdraw {
    /// The server.
    pub id: ServerId,
    /// Only this incarnation of it. Without one: the sender itself if it is the server, else whichever there is.
    pub incarnation: Option<Incarnation>,
    #[serde(skip)]
    pub(crate) caller: Option<Caller>,
}

impl Withdraw {
    /// The message that takes out a server, or one incarnation of it.
    pub fn new(id: ServerId, incarnation: Option<Incarnation>) -> Self {
        Self { id, incarnation, caller: None }
    }
}

impl RemoteMessage for Withdraw {
    const NAME: &'static str = "registry.withdraw";

    fn received_from(&mut self, caller: &Caller) {
        self.caller = Some(caller.clone());
    }
}

/// Asks for one server.
#[derive(Debug, Clone, Message, Serialize, Deserialize)]
#[rtype(result = "Option<ServerInfo>")]
pub struct Lookup {
    /// Its id.
    pub id: ServerId,
}

impl RemoteMessage for Lookup {
    const NAME: &'static str = "registry.lookup";
}

/// Asks for the servers with a role, a page at a time.
#[derive(Debug, Clone, Message, Serialize, Deserialize)]
#[rtype(result = "Page")]
pub struct ByRole {
    /// The role.
    pub role: RoleName,
    /// Begin behind this id; `None` begins with the first.
    pub after: Option<ServerId>,
    /// At most so many, and at most [`MAX_PAGE`].
    pub limit: u32,
}

impl RemoteMessage for ByRole {
    const NAME: &'static str = "registry.by_role";
}

/// Asks for all servers, a page at a time.
#[derive(Debug, Clone, Message, Serialize, Deserialize)]
#[rtype(result = "Page")]
pub struct All {
    /// Begin behind this id; `None` begins with the first.
    pub after: Option<ServerId>,
    /// At most so many, and at most [`MAX_PAGE`].
    pub limit: u32,
}

impl RemoteMessage for All {
    const NAME: &'static str = "registry.all";
}

/// Servers in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The servers.
    pub servers: Vec<ServerInfo>,
    /// Whether there are more: ask again with the last id.
    pub more: bool,
    /// The registry's revision. Who follows changes goes on from that of the first page.
    pub revision: Revision,
}

/// Asks for what has changed after a revision. Where nothing has, the answer waits for the next change, and is empty
/// when the wait is over or the registry shuts down.
///
/// The registry keeps nothing for a watcher but this question: one that asks late gets what has changed meanwhile, or
/// is told that it is no longer kept.
#[derive(Debug, Clone, Message, Serialize, Deserialize)]
#[rtype(result = "Result<Changes, NotFollowed>")]
pub struct Follow {
    /// The revision that the sender has seen: that of a [`Page`], or the one that the last answer led to.
    pub since: Revision,
    /// At most so many, and at most [`MAX_CHANGES_PER_POLL`].
    pub limit: u32,
    /// How long to wait for a change, in milliseconds; at most [`MAX_WAIT_MS`], and less than the call's deadline.
    pub wait_ms: u32,
    #[serde(skip)]
    pub(crate) caller: Option<Caller>,
}

impl Follow {
    /// The message that asks for at most `limit` changes after `since`, and waits `wait_ms` for the first.
    pub fn new(since: Revision, limit: u32, wait_ms: u32) -> Self {
        Self { since, limit, wait_ms, caller: None }
    }
}

impl RemoteMessage for Follow {
    const NAME: &'static str = "registry.changes";

    fn received_from(&mut self, caller: &Caller) {
        self.caller = Some(caller.clone());
    }
}

/// Why there are no changes. On the wire these are told apart by their order: new ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum NotFollowed {
    /// They are no longer kept, or the revision is of another history: a snapshot is needed.
    #[error("a snapshot is needed")]
    Compacted(#[source] Compacted),
    /// Too many wait already, of all or of the sender. Ask again later.
    #[error("too many wait for changes already")]
    TooManyWaiting,
}

/// Why the registry does not do what it was asked for. On the wire these are told apart by their order: new ones go to
/// the end.
///
/// After [`Busy`](Self::Busy) and [`NotStored`](Self::NotStored) an announcement or a withdrawal may have been done in
/// memory all the same, and is then what lookups answer; it is on disk with the next write that succeeds, unless the
/// registry restarts before. The registry does not undo it by itself: the dead server that an announcement replaced
/// cannot come back, and others may have seen the new one already. Who gives up on an announcement withdraws it, as
/// [`enter`](crate::enter) and [`Join`](crate::Join) do; otherwise the server is listed until its lease ends, and is
/// suspect as soon as its connection has ended.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Denied {
    /// Only the server itself may do that.
    #[error("only {id} itself may do that, in the incarnation that the message names")]
    NotAuthorized {
        /// The server that the message was about.
        id: ServerId,
    },
    /// The announcement cannot be accepted.
    #[error("the announcement is refused")]
    Refused(#[source] Refusal),
    /// Another peer wanted to withdraw a server that answers.
    #[error("{id} is alive{}: shut it down instead", At(addresses))]
    Alive {
        /// The server.
        id: ServerId,
        /// Where it listens.
        addresses: Vec<Address>,
    },
    /// The registry has too much to do, or is about to shut down. Nothing has changed for good; ask again later.
    #[error("the registry is too busy to do that now")]
    Busy,
    /// It could not be written to the registry's disk; the registry's log says why. Ask again later.
    #[error("the registry could not write that to its disk")]
    NotStored,
}

/// Addresses at the end of a sentence.
pub(crate) struct At<'a>(pub(crate) &'a [Address]);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.0.iter().enumerate() {
            write!(f, "{}{address}", if index == 0 { " at " } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
