//! What the tests share that kill, stop and cut off servers, and watch what the registry makes of it.
#![allow(dead_code, reason = "every test file uses its own part of this")]

pub(crate) mod bound;
pub(crate) mod observer;
pub(crate) mod traffic;
