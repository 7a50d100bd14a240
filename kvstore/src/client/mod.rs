//! The typed client: how programs use a store.

mod error;
mod handle;

pub use error::ClientError;
pub use handle::{Client, put_time};
