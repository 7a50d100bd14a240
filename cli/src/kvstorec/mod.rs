//! The command `kvstorec`: the key-value store on the command line, a file per subcommand.

mod apply;
mod backup;
mod cli;
mod compact;
mod export;
mod get;
mod get_many;
mod get_object;
mod import;
mod key;
mod lines;
mod list;
mod put;
mod put_object;
mod remove;
mod restore;
mod stat;
mod store;
mod verify;
mod watch;

pub use cli::main;
