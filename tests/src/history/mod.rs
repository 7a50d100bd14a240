//! What several writers do with a key-value store that is stopped at any moment, and whether what is left of it fits what
//! they were answered.
//!
//! - `workload`: what each writer does, which follows from a seed: so nobody has to note what was asked.
//! - `answer`: what they were answered, and what was found, as lines of text.
//! - `judge`: holds the one against the other.
//!
//! How a store is asked, stopped and opened again is not known here.

mod answer;
mod judge;
mod workload;

#[cfg(test)]
mod judge_tests;

pub use answer::{Answer, Digest, Found, Outcome};
pub use judge::History;
pub use workload::{Change, Step, WRITERS, Wanted, Workload};
