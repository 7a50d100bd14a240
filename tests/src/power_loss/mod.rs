//! A disk whose power a test cuts.
//!
//! - `content` and `disk` decide what is durable and what a cut leaves, as plain code.
//! - `shell` shows that to the kernel, through FUSE, and `mounted` gives it a place.
//!
//! What programs write there, and what must be left of it, is not known here.

mod content;
mod disk;
mod mounted;
mod shell;

#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod mounted_tests;

pub use disk::{Cut, Event};
pub use mounted::PowerLoss;
