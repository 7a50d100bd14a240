//! The commands `ensemble` and `kvstorec` as a library.
//!
//! A program of your own gets the whole command line of `ensemble`, with its own roles, in a few lines:
//!
//! ```no_run
//! use ensemble_cli::{App, EchoRole, KvStoreRole};
//!
//! fn main() -> std::process::ExitCode {
//!     App::new("my-ensemble").role(KvStoreRole).role(EchoRole).main()
//! }
//! ```

mod app;
mod command;
mod console;
mod echo;
mod exit;
mod files;
mod following;
mod human;
mod input;
mod kvstorec;
mod log_file;
mod logging;
mod options;
mod pieces;
mod printer;
mod progress;
mod roles;
mod server;
mod settings;
mod signals;
mod spawning;
mod systemd;
mod table;
mod translate;
mod usage;

pub use app::App;
pub use echo::{Echo, EchoRole};
pub use kvstore::KvStoreRole;
pub use kvstorec::main as kvstorec_main;
pub use spawning::{ListRoles, ROLES_ACTOR, RoleInfo, SpawnError, SpawnRole, Spawned};
