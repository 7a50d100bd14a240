//! The store for asynchronous callers: threads of its own behind bounded queues.
//!
//! Here live the hand-over to the threads, group commit and back-pressure. What a write does, and how it comes
//! to the disk, does not: see [`crate::store`].

mod error;
mod handle;
mod keeper;
mod options;
mod pending;
mod readers;
mod writer;

#[cfg(test)]
mod tests;

pub use error::EngineError;
pub use handle::Engine;
#[cfg(test)]
pub(crate) use keeper::run as run_keeper;
pub use options::EngineOptions;
pub use pending::Pending;
