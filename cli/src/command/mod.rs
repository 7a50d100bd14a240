//! The commands, a file each, and the way to them.

mod admin;
pub(crate) mod completions;
mod env;
mod events;
mod list;
mod lookup;
pub(crate) mod man;
mod ping;
mod registry;
mod run;
mod servers;
mod shutdown;
mod spawn;
mod stop;
mod up;

mod dispatch;

pub(crate) use dispatch::{Command, execute, execute_of_program};
