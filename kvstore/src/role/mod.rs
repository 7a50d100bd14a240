//! The role `kvstore`: how a server offers a store.

mod options;
mod start;

pub use start::KvStoreRole;
