//! `ensemble completions`: what a shell needs to complete the commands.

use clap_complete::Shell;

use crate::{app::Context, exit::Outcome};

/// Prints the completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  $ ensemble completions bash > ~/.local/share/bash-completion/completions/ensemble
  $ ensemble completions zsh > ~/.zfunc/_ensemble
  $ ensemble completions fish > ~/.config/fish/completions/ensemble.fish")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn execute(args: Args, context: Context<'_>) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut context.roles.command(context.name), context.name, &mut script);
    context.globals.printer().bytes(&script)
}
