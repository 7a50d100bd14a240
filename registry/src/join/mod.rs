//! How a node becomes part of an ensemble: it finds the registry, announces itself, and keeps its lease until it
//! leaves. What the registry makes of it is not decided here.

mod enter;
mod error;
mod keeper;
mod pulse;

pub use enter::{Join, Joining, connect, console, enter};
pub use error::JoinError;
