//! A registry, servers and consoles in one process, as they work together.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod authority;
mod by_role;
mod common;
mod contests;
mod finding;
mod full_disk;
mod homes;
mod keeping;
mod liveness;
mod restarts;
mod rounds;
mod watching;
