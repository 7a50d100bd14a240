//! The node: what a process is in its ensemble. Here actors meet connections: exports and how messages reach them,
//! remote addresses, who is connected, starting and stopping. Bytes and sockets are below, in
//! [`connection`](crate::connection).

mod builder;
mod control;
mod core;
mod exports;
mod failing;
mod handle;
mod invoke;
mod manage;
mod peers;
mod race;
mod remote;
mod restart;
mod span;
mod supervise;
mod terminated;
mod warnings;
mod watch;

#[cfg(test)]
mod moving_tests;
#[cfg(test)]
mod silence_tests;
#[cfg(test)]
mod test_net;
#[cfg(test)]
mod tests;

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
