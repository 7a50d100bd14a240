//! An authenticated, multiplexed, framed stream to one peer: the shell of tokio around [`wire`](crate::wire) and
//! [`handshake`](crate::handshake). It knows bytes, tasks and time, and no actor: what arrives goes to a
//! [`Dispatch`].

mod alive;
mod authenticate;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod inflight;
mod link;
mod pump;

pub(crate) use authenticate::{Failed, accept, connect, refuse};
pub(crate) use inflight::PendingReply;
pub(crate) use link::{Link, LinkInfo, lock, now};

use bytes::Bytes;
use std::pin::Pin;

use crate::{
    message::Caller,
    wire::{frame::Route, status::Status},
};

/// Where a connection hands over what its peer sends.
pub(crate) trait Dispatch: Send + Sync {
    /// Begins to deal with one message. Must not block.
    fn dispatch(&self, peer: &Caller, route: &Route<'_>, payload: Bytes) -> Dispatched;

    /// The connection to `peer` has ended.
    fn closed(&self, link: &Link);
}

/// What became of a message.
pub(crate) enum Dispatched {
    /// It is on its way.
    Pending(Pin<Box<dyn PendingReply>>),
    /// There is nothing to wait for.
    Settled(Status),
}
