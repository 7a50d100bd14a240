//! A durable key-value store as an actor.

pub mod object;
