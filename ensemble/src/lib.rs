//! Actix actors across processes and machines.
//!
//! A *node* is a process, or a part of one, that hosts actors. It *exports* actors under names, and sends to actors of
//! other nodes with actix's verbs:
//!
//! ```
//! use actix::prelude::*;
//! use ensemble::{Cookie, Exports, MemoryNetwork, Node, RemoteMessage};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Message, Serialize, Deserialize)]
//! #[rtype(result = "u64")]
//! struct Add(u64);
//!
//! impl RemoteMessage for Add {
//!     const NAME: &'static str = "counter.add";
//! }
//!
//! struct Counter(u64);
//!
//! impl Actor for Counter {
//!     type Context = Context<Self>;
//! }
//!
//! impl Handler<Add> for Counter {
//!     type Result = u64;
//!
//!     fn handle(&mut self, add: Add, _: &mut Context<Self>) -> u64 {
//!         self.0 += add.0;
//!         self.0
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! actix::System::new().block_on(async {
//!     let network = MemoryNetwork::new();
//!     let cookie = Cookie::generate()?;
//!
//!     let there = Node::builder("counter-1").cookie(cookie.clone()).memory(network.clone());
//!     let there = there.listen("mem:counter-1".parse()?).start().await?;
//!     there.export("counter", Exports::start(Counter(0)).message::<Add>())?;
//!
//!     let here = Node::builder("client").cookie(cookie).memory(network).start().await?;
//!     here.set_route("counter-1".parse()?, there.addresses());
//!     assert_eq!(here.remote("counter-1", "counter").send(Add(2)).await?, 2);
//!     Ok(())
//! })
//! # }
//! ```
//!
//! In a real ensemble nodes find each other through a registry; the crate `ensemble-registry` adds
//! `Node::builder(..).join()`.

mod address;
pub mod codec;
mod connection;
mod cookie;
mod error;
pub mod handshake;
mod home;
mod id;
mod message;
mod node;
mod resolve;
mod role;
mod trace;
mod transport;
mod wire;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use connection::fuzzing;

#[cfg(feature = "benching")]
#[doc(hidden)]
pub use wire::benching;

pub use address::{Address, AddressError, HostPort, MAX_ADDRESS_BYTES, MAX_SOCKET_PATH_BYTES};
pub use cookie::{COOKIE_BYTES, Cookie, CookieError};
pub use error::{CallError, ConnectFailure, Failure, NotSent, Refusal, Unknown};
pub use home::{Home, HomeError};
pub use id::{
    ActorName, Incarnation, MAX_NAME_BYTES, MAX_SERVER_ID_BYTES, NameError, Reference, RoleName, ServerId,
};
pub use message::{Caller, RemoteMessage};
pub use node::{
    ActorInfo, ActorState, CallFuture, ConnectionInfo, ExportError, Exports, ListActors, ListConnections,
    ListSupervised, NODE_ACTOR, Node, NodeBuilder, NodeInfo, NodeStatus, Ping, RemoteAddr, Restart,
    RestartPolicy, Shutdown, StartError, SupervisedInfo, Terminated, Termination, TerminationReason,
    WatchGuard, WeakNode,
};
pub use resolve::{Resolve, ResolveError, Resolving};
pub use role::{Role, RoleContext, RoleError, RoleOption, Starting};
pub use trace::{TraceContext, TraceError};
pub use transport::{MemoryNetwork, TransportError};
pub use wire::limits::{CHUNK_BYTES, Limits, MAX_FRAME_BYTES, MAX_OPEN_STREAMS};
