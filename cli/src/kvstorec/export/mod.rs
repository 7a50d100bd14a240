//! `kvstorec export`: `command` is the subcommand, `pages` reads the store.

mod command;
mod pages;

pub(super) use command::{Args, execute};
