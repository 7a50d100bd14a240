//! What a command is told besides its arguments: by variables, by the file `config.toml` of the home, and by defaults.

mod file;
mod keys;
mod resolve;
mod sourced;

pub(crate) use file::ConfigFile;
pub(crate) use keys::KEYS;
pub(crate) use resolve::{LogSetup, ServerSetup, Settings, joined};
pub(crate) use sourced::{Origin, Sourced};
