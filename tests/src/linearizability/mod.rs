//! Whether what concurrent clients of a store have seen can be explained: as if each operation had been done at one moment between
//! its beginning and its end (linearizability; Herlihy and Wing 1990).
//!
//! A `history` is what was recorded. `register` is what a store should do, of one key. `search` looks for an explanation, key by
//! key, and `revisions` holds the revisions of all keys against each other. Nothing here knows how the operations were
//! done.

mod history;
mod register;
mod revisions;
mod search;
#[cfg(test)]
mod tests;

pub use history::{Call, Condition, Operation, Outcome};
pub use revisions::{RevisionFault, check_revisions};
pub use search::{Checked, Unexplained, check};
