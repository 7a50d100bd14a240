//! How a node finds out where a server is. The registry's client is one implementation.

use std::{future::Future, pin::Pin};

use thiserror::Error;

use crate::{address::Address, id::ServerId};

/// Why a server id could not be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// Nobody knows the server.
    #[error("no such server is known")]
    Unknown,
    /// Whoever knows could not be asked.
    #[error("the registry cannot be reached")]
    Unavailable,
}

/// What [`Resolve::resolve`] returns.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = Result<Vec<Address>, ResolveError>> + Send + 'a>>;

/// Finds out where servers are. A node asks when it has something to send and no connection.
pub trait Resolve: Send + Sync + 'static {
    /// Where `server` is to be reached, the best address first.
    fn resolve<'a>(&'a self, server: &'a ServerId) -> Resolving<'a>;

    /// Nothing answered at the addresses that were given for `server`: a cache must forget them.
    fn failed(&self, server: &ServerId);
}
