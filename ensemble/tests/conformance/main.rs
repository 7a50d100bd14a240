//! What holds over every transport, on nodes in one process.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod calls;
mod common;
mod failures;
mod hostile;
mod large;
mod lifecycle;
mod local;
mod supervision;
mod threads;
mod watching;
