//! The registry as a running actor: a shell around the [`Directory`](crate::Directory), which decides. Here are its
//! clock, its timer, its disk and its questions to servers over the network; no decision about who has which id.

mod actor;
mod followers;
mod probe;
mod serve;
mod writer;

pub use serve::{ServeError, serve, serve_with};
