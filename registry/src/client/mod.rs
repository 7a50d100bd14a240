//! The registry as other programs use it: a [`Client`] asks, and resolves server ids for its node.

mod cache;
mod calls;
mod error;
mod watch;

pub use calls::Client;
pub use error::ClientError;
pub use watch::{WatchEvent, Watcher};
