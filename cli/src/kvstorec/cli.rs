//! The command line of `kvstorec`, and what carries out which subcommand.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use ensemble::ServerId;
use kvstore::PutOptions;

use super::{apply, get, get_many, get_object, key::Key, list, put, put_object, remove, stat};
use crate::{
    exit::Outcome,
    options::{ClientOptions, GlobalOptions},
    usage,
};

const NAME: &str = "kvstorec";

/// Reads and writes a key-value store of the ensemble
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  $ kvstorec put --input foo.json foo.json
  $ kvstorec get foo.json
  $ echo '((a . 1) (b . 2))' | kvstorec put-object my-alist
  $ kvstorec get-object my-alist

Exit codes:
  0 done; 1 failed; 2 wrong usage; 3 no such key or server; 4 unreachable or timed out;
  5 not authenticated or not authorised; 6 conflict"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    globals: GlobalOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    Get(get::Args),
    Put(put::Args),
    Remove(remove::Args),
    GetObject(get_object::Args),
    PutObject(put_object::Args),
    GetMany(get_many::Args),
    Apply(apply::Args),
    List(list::Args),
    Stat(stat::Args),
}

/// Which store, and which key in it.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The key: 1 to 511 bytes, any bytes
    #[arg(value_name = "KEY", value_parser = clap::value_parser!(std::ffi::OsString))]
    key: std::ffi::OsString,

    #[command(flatten)]
    pub(super) reach: Reach,
}

/// Which store, and the way to it.
#[derive(Debug, Args)]
pub(super) struct Reach {
    /// The server of the store
    #[arg(long, value_name = "SERVER", default_value = "kvstore")]
    pub(super) server: ServerId,

    #[command(flatten)]
    pub(super) client: ClientOptions,
}

impl Place {
    pub(super) fn key(&self) -> Key {
        Key::new(&self.key)
    }
}

/// Where a value comes from.
#[derive(Debug, Args)]
pub(super) struct Input {
    /// File to read; - is standard input
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(super) input: PathBuf,
}

/// When a value is stored.
#[derive(Debug, Args)]
pub(super) struct PutCondition {
    /// Store only where there is no such key
    #[arg(long, conflicts_with = "if_revision")]
    if_absent: bool,

    /// Store only where the key has this revision, which `get --json` shows
    #[arg(long, value_name = "N")]
    if_revision: Option<u64>,
}

impl PutCondition {
    pub(super) fn options(&self) -> PutOptions {
        match self.if_revision {
            Some(revision) => PutOptions::new().if_revision(revision),
            None if self.if_absent => PutOptions::new().if_absent(),
            None => PutOptions::new(),
        }
    }
}

/// Where a value goes to.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// File to write, whole or not at all; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(super) output: PathBuf,
}

/// How an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ObjectFormat {
    Sexp,
    Json,
}

/// Runs `kvstorec` with the arguments of this process.
pub fn main() -> ExitCode {
    let parsed = Cli::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => match execute(cli) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(NAME),
        },
        Err(error) => usage::report(NAME, &error),
    }
}

fn execute(cli: Cli) -> Outcome {
    let globals = &cli.globals;
    match cli.command {
        Command::Get(args) => get::execute(&args, globals),
        Command::Put(args) => put::execute(&args, globals),
        Command::Remove(args) => remove::execute(&args, globals),
        Command::GetObject(args) => get_object::execute(&args, globals),
        Command::PutObject(args) => put_object::execute(&args, globals),
        Command::GetMany(args) => get_many::execute(&args, globals),
        Command::Apply(args) => apply::execute(&args, globals),
        Command::List(args) => list::execute(&args, globals),
        Command::Stat(args) => stat::execute(&args, globals),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
