//! A durable key-value store as an actor.
