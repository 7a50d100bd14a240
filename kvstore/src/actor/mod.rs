//! The actor that offers a store: it takes messages, hands them to an engine, and answers.
//!
//! What a message means and how it travels is in [`crate::messages`]; how the store does it, in [`crate::engine`] and
//! [`crate::store`].

mod answers;
mod handlers;
mod looks;
mod many;
mod places;
mod reads;
mod scans;
mod streams;
mod upkeep;
mod waiters;
mod watching;

pub use handlers::{ACTOR, KvStore};
