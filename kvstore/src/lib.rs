//! A durable key-value store as an actor.
//!
//! - [`Client`] is how programs use a store from anywhere in the ensemble: keys, values, and objects of any serde
//!   type.
//! - [`KvStoreRole`] is how a server offers one: `ensemble run --roles kvstore`.
//! - [`KvStore`] is the actor between the two, and [`messages`] what it is sent.
//! - [`object`] has the self-describing values, which people read as S-expressions or JSON.
//! - [`store`] is the store itself, plain and synchronous, and [`engine`] the threads that give it to asynchronous
//!   code.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use ensemble::{Cookie, MemoryNetwork, Node, Role, RoleContext};
//! use kvstore::{Client, KvStoreRole};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! actix::System::new().block_on(async {
//!     let dir = tempfile::tempdir()?;
//!     let network = MemoryNetwork::new();
//!     let cookie = Cookie::generate()?;
//!
//!     let server = Node::builder("kvstore").cookie(cookie.clone()).memory(network.clone());
//!     let server = server.listen("mem:kvstore".parse()?).start().await?;
//!     let context = RoleContext::new(server.clone(), dir.path().into(), BTreeMap::new());
//!     KvStoreRole.start(context).await?;
//!
//!     let program = Node::builder("program").cookie(cookie).memory(network).start().await?;
//!     program.set_route("kvstore".parse()?, server.addresses());
//!     let store = Client::new(&program, "kvstore");
//!     store.put("greeting", "hello").await?;
//!     assert_eq!(store.get("greeting").await?.expect("it was put").bytes, "hello");
//!     store.put_object("primes", &[2, 3, 5, 7]).await?;
//!     assert_eq!(store.get_object::<Vec<u64>>("primes").await?, Some(vec![2, 3, 5, 7]));
//!
//!     server.shutdown();
//!     server.run().await?;
//!     Ok(())
//! })
//! # }
//! ```

mod actor;
mod client;
#[cfg(test)]
mod crashes;
pub mod engine;
mod failpoint;
mod history;
pub mod messages;
pub mod object;
mod role;
pub mod store;

pub use actor::{ACTOR, KvStore};
pub use client::{
    Client, ClientError, Position, PutOptions, ValueStream, WatchError, WatchFrom, Watching, put_time,
};
pub use history::{History, NoHistory};
pub use role::KvStoreRole;
