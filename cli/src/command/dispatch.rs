//! All commands of `ensemble`, and what carries out which.

use clap::Subcommand;

use super::{admin, completions, env, events, list, lookup, man, ping, registry, run, shutdown, spawn, up};
use crate::{app::Context, exit::Outcome};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    OfEnsemble(OfEnsemble),
    #[command(flatten)]
    OfProgram(OfProgram),
}

/// What is about an ensemble: it needs to know the home, and what is set there.
#[derive(Debug, Subcommand)]
pub(crate) enum OfEnsemble {
    Up(up::Args),
    Admin(admin::Args),
    Registry(registry::Args),
    Run(run::Args),
    List(list::Args),
    Lookup(lookup::Args),
    Spawn(spawn::Args),
    Ping(ping::Args),
    Events(events::Args),
    Shutdown(shutdown::Args),
    Env(env::Args),
}

/// What is about the program itself: it works also without a home, and with a configuration that is wrong.
#[derive(Debug, Subcommand)]
pub(crate) enum OfProgram {
    #[command(after_help = "\
Examples:
  $ ensemble completions bash > ~/.local/share/bash-completion/completions/ensemble
  $ ensemble completions zsh > ~/.zfunc/_ensemble
  $ ensemble completions fish > ~/.config/fish/completions/ensemble.fish")]
    Completions(completions::Args),
    #[command(after_help = "\
Examples:
  $ ensemble man | man -l -
  $ ensemble man ~/.local/share/man/man1")]
    Man(man::Args),
}

pub(crate) fn execute(command: OfEnsemble, context: Context<'_>) -> Outcome {
    match command {
        OfEnsemble::Up(args) => up::execute(args, context),
        OfEnsemble::Admin(args) => admin::execute(args, context),
        OfEnsemble::Registry(args) => registry::execute(args, context),
        OfEnsemble::Run(args) => run::execute(args, context),
        OfEnsemble::List(args) => list::execute(args, context),
        OfEnsemble::Lookup(args) => lookup::execute(args, context),
        OfEnsemble::Spawn(args) => spawn::execute(args, context),
        OfEnsemble::Ping(args) => ping::execute(args, context),
        OfEnsemble::Events(args) => events::execute(args, context),
        OfEnsemble::Shutdown(args) => shutdown::execute(args, context),
        OfEnsemble::Env(args) => env::execute(args, context),
    }
}

/// Carries out a command about `program`, as clap knows it.
pub(crate) fn execute_of_program(command: OfProgram, program: clap::Command) -> Outcome {
    match command {
        OfProgram::Completions(args) => completions::execute(&args, program),
        OfProgram::Man(args) => man::execute(&args, program),
    }
}
