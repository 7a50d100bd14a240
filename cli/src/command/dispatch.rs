//! All commands of `ensemble`, and what carries out which.

use clap::Subcommand;

use super::{admin, completions, env, list, lookup, ping, registry, run, shutdown, up};
use crate::{app::Context, exit::Outcome};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(up::Args),
    Admin(admin::Args),
    Registry(registry::Args),
    Run(run::Args),
    List(list::Args),
    Lookup(lookup::Args),
    Ping(ping::Args),
    Shutdown(shutdown::Args),
    Env(env::Args),
    Completions(completions::Args),
}

pub(crate) fn execute(command: Command, context: Context<'_>) -> Outcome {
    match command {
        Command::Up(args) => up::execute(args, context),
        Command::Admin(args) => admin::execute(args, context),
        Command::Registry(args) => registry::execute(args, context),
        Command::Run(args) => run::execute(args, context),
        Command::List(args) => list::execute(args, context),
        Command::Lookup(args) => lookup::execute(args, context),
        Command::Ping(args) => ping::execute(args, context),
        Command::Shutdown(args) => shutdown::execute(args, context),
        Command::Env(args) => env::execute(args, context),
        Command::Completions(args) => completions::execute(args, context),
    }
}
