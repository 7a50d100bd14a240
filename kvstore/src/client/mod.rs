//! The typed client: how programs use a store.

mod error;
mod handle;
mod look;
mod many;
mod options;
mod upkeep;
mod watch;

pub use error::ClientError;
pub use handle::{Client, put_time};
pub use options::PutOptions;
pub use watch::{Position, WatchError, WatchFrom, Watching};
