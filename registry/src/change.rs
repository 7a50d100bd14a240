//! What a watcher is told: revisions, and the changes that lead from one to the next. How many changes are
//! kept is decided in the directory; [`View`](crate::View) puts them together again.

use std::{fmt, sync::Arc};

use ensemble::{Incarnation, ServerId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Announcement;

/// A point in the life of a directory. Numbers of different histories have nothing to do with each other, so a
/// watcher that resumes after a restart of the registry is told to take a snapshot instead of missing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Revision {
    /// The incarnation of the registry that counts.
    pub history: Incarnation,
    /// How many changes there were. Each change gets the next number.
    pub number: u64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.number, self.history)
    }
}

/// One change of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The revision that this change made.
    pub revision: Revision,
    /// The server.
    pub id: ServerId,
    /// The incarnation of it that the event is about.
    pub incarnation: Incarnation,
    /// What happened.
    pub event: Event,
}

/// What happened to a server. On the wire these are told apart by their order: new ones go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It announced: a new id, or a new incarnation in the place of `replaced`. It is reachable.
    Announced {
        /// What it announced.
        server: Arc<Announcement>,
        /// The incarnation that had the id until now.
        replaced: Option<Incarnation>,
    },
    /// The same incarnation announced other addresses, roles or particulars. It is reachable.
    Updated {
        /// What it announced.
        server: Arc<Announcement>,
    },
    /// It became suspect.
    Suspected {
        /// Why.
        reason: SuspectReason,
    },
    /// It was suspect, and was heard from again.
    Recovered,
    /// It is no longer in the directory.
    Gone {
        /// Why.
        reason: GoneReason,
    },
}

/// Why a server became suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SuspectReason {
    /// Its connection to the registry broke.
    Disconnected,
    /// Its heartbeats are overdue.
    Unheard,
}

/// Why a server went from the directory without another incarnation in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GoneReason {
    /// Its lease ended.
    Expired,
    /// It was withdrawn, by itself or by an operator.
    Withdrawn,
}

/// Changes in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// The revision that they lead to: where to go on from.
    pub revision: Revision,
    /// Whether there were more than asked for.
    pub more: bool,
}

impl Changes {
    /// None, from `at` to there.
    pub(crate) fn none(at: Revision) -> Self {
        Self { changes: Vec::new(), revision: at, more: false }
    }
}

/// The changes since a revision are no longer kept: take a snapshot and go on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("the changes since that revision are no longer kept; a snapshot is needed")]
pub struct Compacted {
    /// The revision of now.
    pub current: Revision,
}
