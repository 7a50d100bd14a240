//! The registry as other programs use it: a [`Client`] asks, and resolves server ids for its node;
//! a [`Watcher`] follows what changes; a [`RoleAddr`] sends by role.

mod cache;
mod calls;
mod error;
mod members;
mod rendezvous;
mod role;
mod watch;

pub use calls::Client;
pub use error::ClientError;
pub use role::{AnyAddr, MAX_BROADCAST_CALLS, RoleAddr};
pub use watch::{WatchEvent, Watcher};
