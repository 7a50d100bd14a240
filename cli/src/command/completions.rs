//! `completions`: what a shell needs to complete the commands. Of `ensemble` and of `kvstorec`.

use clap_complete::Shell;

use crate::{exit::Outcome, options::Color, printer::Printer};

/// Prints the completions for a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn execute(args: &Args, mut program: clap::Command) -> Outcome {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, name, &mut script);
    Printer::new(false, Color::Never).bytes(&script)
}
