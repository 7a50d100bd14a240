//! Clients that use a store all the time and record what they saw, for tests that kill the server, back it up, or take its
//! room away meanwhile.
#![allow(dead_code, reason = "every test file uses its own part of this")]

mod clients;
mod keys;
mod mistakes;

pub(crate) use clients::{Recorded, Traffic};
pub(crate) use keys::Keys;
pub(crate) use mistakes::Mistake;
