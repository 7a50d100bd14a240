//! `kvstorec import`: `command` is the subcommand, `input` reads lines, `check` reads all of them before anything is written,
//! and `writes` has the store write them.

mod check;
mod command;
mod input;
mod writes;

pub(super) use command::{Args, execute};
