//! The node: what a process is in its ensemble. Here actors meet connections: exports and how messages reach them,
//! remote addresses, who is connected, starting and stopping. Bytes and sockets are below, in
//! [`connection`](crate::connection).

mod builder;
mod control;
mod core;
mod exports;
mod handle;
mod invoke;
mod manage;
mod peers;
mod race;
mod remote;
mod restart;
mod supervise;
mod terminated;
#[cfg(test)]
mod tests;
mod warnings;
mod watch;

pub use builder::{NodeBuilder, StartError};
pub use control::{
    ActorInfo, ActorState, ConnectionInfo, ListActors, ListConnections, ListSupervised, NODE_ACTOR, NodeInfo,
    NodeStatus, SupervisedInfo,
};
pub use exports::{ExportError, Exports};
pub use handle::{Node, WeakNode};
pub use manage::{Ping, Shutdown};
pub use remote::{CallFuture, RemoteAddr};
pub use restart::{Restart, RestartPolicy};
pub use terminated::{Terminated, Termination, TerminationReason, WatchGuard};
