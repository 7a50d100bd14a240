//! The typed client: how programs use a store.

mod error;
mod get_stream;
mod handle;
mod look;
mod many;
mod options;
mod patience;
mod put_stream;
mod upkeep;
mod watch;
mod window;

pub use error::ClientError;
pub use get_stream::ValueStream;
pub use handle::{Client, put_time};
pub use options::PutOptions;
pub use watch::{Position, WatchError, WatchFrom, Watching};
