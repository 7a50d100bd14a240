//! Clients that use a store all the time and record what they saw, for tests that kill the server, back it up, or take its
//! room away meanwhile.
#![allow(dead_code, reason = "every test file uses its own part of this")]

pub(crate) mod clients;
pub(crate) mod keys;
pub(crate) mod mistakes;
