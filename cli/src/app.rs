//! A program with the command line of `ensemble`: its name, its roles, and the way from arguments to an exit code.

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser};
use ensemble::Role;

use crate::{
    command::{self, Command},
    exit::Outcome,
    options::GlobalOptions,
    roles::RoleSet,
    settings::Settings,
    usage,
};

/// The name of the program whose command line this is, as the help writes it.
const HELP_NAME: &str = "ensemble";

/// Runs an ensemble of actor servers, and manages it
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    infer_long_args = false,
    after_help = "\
Examples:
  $ ensemble up                        a registry and a key-value store, in one process
  $ ensemble list servers              from another terminal
  $ ensemble shutdown -f

Options can also be set in config.toml in the home directory, and by variables: ENSEMBLE_TIMEOUT
for --timeout, and so on. `ensemble env` shows what is set, and where.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 no such key, server, actor or role; 4 unreachable
or timed out; 5 not authenticated or not authorised; 6 conflict."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    globals: GlobalOptions,
}

/// A program with the command line of `ensemble` and the roles that it is given.
///
/// ```no_run
/// use ensemble_cli::{App, EchoRole};
///
/// fn main() -> std::process::ExitCode {
///     App::new("my-ensemble").role(EchoRole).main()
/// }
/// ```
#[derive(Debug)]
#[must_use]
pub struct App {
    name: &'static str,
    roles: RoleSet,
}

/// What every command gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) name: &'static str,
    pub(crate) roles: &'a RoleSet,
    pub(crate) settings: &'a Settings,
}

impl App {
    /// A program named `name`, without roles.
    pub fn new(name: &'static str) -> Self {
        Self { name, roles: RoleSet::default() }
    }

    /// Adds a role, which `run` and `up` can then start.
    ///
    /// # Panics
    /// When there is a role of that name already.
    pub fn role(mut self, role: impl Role) -> Self {
        self.roles.add(role);
        self
    }

    /// Runs the command that the process was started with.
    pub fn main(self) -> ExitCode {
        self.run_with(std::env::args_os())
    }

    /// Runs the command that `args` say; the first of them is the program.
    pub fn run_with(self, args: impl IntoIterator<Item = OsString>) -> ExitCode {
        let args: Vec<OsString> = args.into_iter().collect();
        match self.parse(&args) {
            Ok(cli) => match self.execute(cli) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => failure.report(self.name),
            },
            Err(error) => usage::report(self.name, &usage::command_of(&self.command(), &args), &error),
        }
    }

    fn parse(&self, args: &[OsString]) -> Result<Cli, clap::Error> {
        let matches = self.command().try_get_matches_from(args)?;
        Cli::from_arg_matches(&matches)
    }

    fn execute(&self, cli: Cli) -> Outcome {
        let command = match cli.command {
            Command::OfProgram(command) => return command::execute_of_program(command, self.command()),
            Command::OfEnsemble(command) => command,
        };
        let settings = Settings::load(&cli.globals)?;
        let context = Context { name: self.name, roles: &self.roles, settings: &settings };
        self.roles.check(settings.file())?;
        command::execute(command, context)
    }

    /// The command line as clap knows it, with this program's name and roles.
    pub(crate) fn command(&self) -> clap::Command {
        self.roles.command(self.name)
    }
}

impl RoleSet {
    /// As [`App::command`].
    pub(crate) fn command(&self, name: &'static str) -> clap::Command {
        let mut command = usage::rename_examples(Cli::command().name(name).bin_name(name), HELP_NAME, name);
        let default = self.default_roles();
        command = command.mut_subcommand("up", |up| {
            up.mut_arg("roles", |roles| roles.required(false).default_value(default))
        });
        for starts_roles in ["run", "up"] {
            command = command.mut_subcommand(starts_roles, |subcommand| {
                let examples = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
                subcommand.after_help(format!("{}\n{examples}", self.help()))
            });
        }
        usage::flowing(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EchoRole;

    #[test]
    fn the_command_line_is_consistent() {
        App::new("ensemble").role(EchoRole).command().debug_assert();
    }

    #[test]
    fn a_program_of_another_name_says_that_name_in_its_help() {
        let mut command = App::new("mine").role(EchoRole).command();
        let ping = command.find_subcommand_mut("ping").unwrap();
        let help = ping.render_help().to_string();
        assert!(help.contains("$ mine ping") && !help.contains("$ ensemble"), "{help}");
    }
}
