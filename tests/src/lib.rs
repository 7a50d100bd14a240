//! Fixtures for tests on real processes.
//!
//! - [`Sandbox`]: a home directory of its own with the two programs, and nothing of the user's environment.
//! - [`Proc`]: a program that runs until the test ends, its output captured.
//! - [`Finished`]: how a program has ended.
//! - [`eventually`]: waits for a condition, with a deadline.
//! - [`skip`]: says that a test is not possible here.
//!
//! Nothing here knows what the programs do.

mod process;
mod sandbox;
mod skip;
mod wait;

pub use process::{Finished, Proc};
pub use sandbox::Sandbox;
pub use skip::skip;
pub use wait::{DEADLINE, eventually, eventually_within};
