//! The command line of `kvstorec`, and what carries out which subcommand.

use std::{env, ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use ensemble::ServerId;
use kvstore::PutOptions;

use super::{
    apply, backup, compact, export, get, get_many, get_object, import, key::Key, list, put, put_object,
    remove, restore, stat, verify, watch,
};
use crate::{
    command::{completions, man},
    exit::Outcome,
    options::{ClientOptions, GlobalOptions, number_from},
    settings::Settings,
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

Options can also be set in config.toml in the home directory, and by variables: ENSEMBLE_TIMEOUT
for --timeout, and so on. `ensemble env` shows what is set, and where.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 no such key or server; 4 unreachable or timed out;
5 not authenticated or not authorised; 6 conflict."
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
    Watch(watch::Args),
    Export(export::Args),
    Import(import::Args),
    Verify(verify::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Compact(compact::Args),
    #[command(flatten)]
    OfProgram(OfProgram),
}

/// What is about the program itself, and needs no store.
#[derive(Debug, Subcommand)]
enum OfProgram {
    #[command(after_help = "\
Examples:
  $ kvstorec completions bash > ~/.local/share/bash-completion/completions/kvstorec
  $ kvstorec completions zsh > ~/.zfunc/_kvstorec
  $ kvstorec completions fish > ~/.config/fish/completions/kvstorec.fish")]
    Completions(completions::Args),
    #[command(after_help = "\
Examples:
  $ kvstorec man | man -l -
  $ kvstorec man ~/.local/share/man/man1")]
    Man(man::Args),
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

/// When a value is stored, and for how long.
#[derive(Debug, Args)]
pub(super) struct PutCondition {
    /// Store only where there is no such key
    #[arg(long, conflicts_with = "if_revision")]
    if_absent: bool,

    /// Store only where the key has this revision, which `get --json` shows
    #[arg(long, value_name = "N", value_parser = number_from(0))]
    if_revision: Option<u64>,

    /// Have the key end by itself after so long, as in 30s, 500ms, 10m, 12h or 7d [default: it stays]
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    ttl: Option<Duration>,
}

impl PutCondition {
    pub(super) fn options(&self) -> PutOptions {
        let options = match self.if_revision {
            Some(revision) => PutOptions::new().if_revision(revision),
            None if self.if_absent => PutOptions::new().if_absent(),
            None => PutOptions::new(),
        };
        match self.ttl {
            Some(ttl) => options.expires_in(ttl),
            None => options,
        }
    }
}

/// Reads a time to live: a whole number with a unit.
fn parse_ttl(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("a whole number with a unit is expected: ms, s, m, h or d".to_owned()),
    };
    let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
    match ms {
        Some(0) => Err("it must be more than 0".to_owned()),
        Some(ms) if ms <= LONGEST_TTL_MS => Ok(Duration::from_millis(ms)),
        _ => Err("it must be at most 36500d".to_owned()),
    }
}

/// A hundred years: what is meant to be longer is meant to stay.
const LONGEST_TTL_MS: u64 = 36_500 * 86_400_000;

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
    let args: Vec<OsString> = env::args_os().collect();
    let matches = command().try_get_matches_from(&args);
    let parsed = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => match execute(cli) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(NAME),
        },
        Err(error) => usage::report(NAME, &usage::command_of(&command(), &args), &error),
    }
}

fn command() -> clap::Command {
    usage::flowing(Cli::command())
}

fn execute(cli: Cli) -> Outcome {
    let load = || Settings::load(&cli.globals);
    match cli.command {
        Command::Get(args) => get::execute(&args, &load()?),
        Command::Put(args) => put::execute(&args, &load()?),
        Command::Remove(args) => remove::execute(&args, &load()?),
        Command::GetObject(args) => get_object::execute(&args, &load()?),
        Command::PutObject(args) => put_object::execute(&args, &load()?),
        Command::GetMany(args) => get_many::execute(&args, &load()?),
        Command::Apply(args) => apply::execute(&args, &load()?),
        Command::List(args) => list::execute(&args, &load()?),
        Command::Stat(args) => stat::execute(&args, &load()?),
        Command::Watch(args) => watch::execute(&args, &load()?),
        Command::Export(args) => export::execute(&args, &load()?),
        Command::Import(args) => import::execute(&args, &load()?),
        Command::Verify(args) => verify::execute(&args, &load()?),
        Command::Backup(args) => backup::execute(&args, &load()?),
        Command::Restore(args) => restore::execute(&args, &load()?),
        Command::Compact(args) => compact::execute(&args, &load()?),
        Command::OfProgram(OfProgram::Completions(args)) => completions::execute(&args, command()),
        Command::OfProgram(OfProgram::Man(args)) => man::execute(&args, command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live_have_units() {
        for (text, ms) in
            [("1ms", 1), ("30s", 30_000), ("2m", 120_000), ("12h", 43_200_000), ("36500d", LONGEST_TTL_MS)]
        {
            assert_eq!(parse_ttl(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "0s",
            "1.5s",
            "1 s",
            "1w",
            "36501d",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert!(parse_ttl(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
