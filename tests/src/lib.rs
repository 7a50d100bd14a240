//! Fixtures for tests on real processes.
//!
//! - [`Sandbox`]: a home directory of its own with the two programs, and nothing of the user's environment.
//! - [`Proc`]: a program that runs until the test ends, its output captured.
//! - [`Finished`]: how a program has ended.
//! - [`history`]: what writers do with a store that is stopped at any moment, and whether what is left fits.
//! - [`Network`]: hosts with a network between them that loses what a test wants lost.
//! - [`Mount`]: a small file system, or one whose disk fails.
//! - [`PowerLoss`]: a disk whose power a test cuts.
//! - [`Random`]: chance that a seed repeats.
//! - [`Relay`]: a slow way to a TCP port, which can be cut.
//! - [`linearizability`]: whether what clients of a store saw can be explained.
//! - [`eventually`]: waits for a condition, with a deadline.
//! - [`Done`]: ends the threads that go on while a test works, also when it fails.
//! - [`skip`]: says that a test is not possible here.
//!
//! Nothing here knows what the programs do, but for the histories, which know what a key-value store is.

pub mod history;
pub mod linearizability;
mod mount;
mod network;
mod power_loss;
mod process;
mod random;
mod relay;
mod sandbox;
mod skip;
mod wait;

pub use mount::Mount;
pub use network::{Host, Network, Reception};
pub use power_loss::{Cut, Event, PowerLoss};
pub use process::{Finished, Proc};
pub use random::Random;
pub use relay::{Pace, Relay};
pub use sandbox::Sandbox;
pub use skip::skip;
pub use wait::{DEADLINE, Done, eventually, eventually_within};
