//! The directory: which servers hold a lease, and what to answer to whoever announces, asks or watches. Plain
//! code: no sockets, no disk, no clock. Each operation is a decision that says what to do, and the actor does it.
//!
//! `state` holds the parts and keeps them in step, `decisions` and `queries` are what callers use, and the rest
//! are the parts.

mod changes;
mod decisions;
mod lineage;
mod options;
mod outcome;
mod queries;
mod roles;
mod state;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

pub use lineage::MAX_PREDECESSORS;
pub use options::{
    DEFAULT_LEASE_MS, DEFAULT_MAX_ADDRESSES, DEFAULT_MAX_CHANGES, DEFAULT_MAX_REMEMBERED, DEFAULT_MAX_ROLES,
    DEFAULT_MAX_SERVERS, HEARTBEATS_PER_LEASE, MAX_AGENT_BYTES, Options,
};
pub use outcome::{Announced, Contest, Heartbeat, MAX_CONTEST_ROUNDS, Refusal, Restored, Write};
pub use state::Directory;
