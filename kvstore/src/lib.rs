//! A durable key-value store as an actor.

pub mod engine;
pub mod object;
pub mod store;
