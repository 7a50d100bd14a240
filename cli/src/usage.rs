//! Wrong usage, and help: what clap says, in the form in which this project says things.

use std::{ffi::OsString, process::ExitCode};

use clap::error::ErrorKind;

use crate::exit::{Code, Failure};

/// Prints help that was asked for, or says in one line what is wrong with the arguments of `command`.
pub(crate) fn report(program: &str, command: &str, error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match error.print() {
            Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
                let what = format_args!("cannot write to standard output: {cause}");
                Failure::new(Code::Failed, what).report(program)
            }
            _ => ExitCode::SUCCESS,
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            crate::printer::complain(format_args!("{}", error.to_string().trim_end()));
            ExitCode::from(Code::Usage as u8)
        }
        _ => Failure::new(Code::Usage, in_one_line(error))
            .advise(format_args!("see `{command} --help`"))
            .report(program),
    }
}

/// What clap says in several lines, without its usage, for which there is the help.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim);
    let said =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let mut line = String::new();
    for part in said.filter(|part| !part.is_empty()) {
        let part = part.strip_prefix("error: ").unwrap_or(part);
        match part.strip_prefix("tip: ") {
            Some(tip) => line.push_str(&format!(" ({tip})")),
            None if line.is_empty() => line.push_str(part),
            None => line.push_str(&format!(" {part}")),
        }
    }
    line
}

/// The command that `args` are for, as in `ensemble list servers`: whose help says how it is used.
pub(crate) fn command_of(program: &clap::Command, args: &[OsString]) -> String {
    let mut words = vec![program.get_name()];
    let mut current = program;
    for arg in args.iter().skip(1) {
        if let Some(subcommand) = arg.to_str().and_then(|arg| current.find_subcommand(arg)) {
            words.push(subcommand.get_name());
            current = subcommand;
        }
    }
    words.join(" ")
}

/// Has what comes behind the options in the help of `command`, and of those below it, flow at any width: the lines of a
/// paragraph are joined, and only those that are indented stay as they are.
pub(crate) fn flowing(command: clap::Command) -> clap::Command {
    let after = command.get_after_help().map(|help| joined(&help.to_string()));
    let command = match after {
        Some(after) => command.after_help(after),
        None => command,
    };
    command.mut_subcommands(flowing)
}

fn joined(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = "";
    for line in text.lines() {
        let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
        let goes_on = is_prose(before) && is_prose(line) && !before.ends_with(':');
        if !out.is_empty() {
            out.push(if goes_on { ' ' } else { '\n' });
        }
        out.push_str(line);
        before = line;
    }
    out
}

/// Writes the examples in the help of `command` for a program named `new` instead of `old`.
pub(crate) fn rename_examples(command: clap::Command, old: &str, new: &str) -> clap::Command {
    if old == new {
        return command;
    }
    let rename = |text: String| text.replace(&format!("$ {old} "), &format!("$ {new} "));
    let after = command.get_after_help().map(|help| rename(help.to_string()));
    let command = match after {
        Some(after) => command.after_help(after),
        None => command,
    };
    command.mut_subcommands(|subcommand| rename_examples(subcommand, old, new))
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    #[test]
    fn paragraphs_are_joined_and_examples_are_not() {
        let text = "One paragraph\nin two lines.\n\nAnother:\n  $ a\n  $ b\nThe\nend.";
        let expected = "One paragraph in two lines.\n\nAnother:\n  $ a\n  $ b\nThe end.";
        assert_eq!(joined(text), expected);
        let top = Command::new("e").subcommand(Command::new("list").after_help(text));
        let list = flowing(top).find_subcommand("list").unwrap().clone();
        assert_eq!(list.get_after_help().unwrap().to_string(), expected);
    }

    #[test]
    fn the_command_is_found_among_the_arguments() {
        let list = Command::new("list").subcommand(Command::new("servers"));
        let program = Command::new("e").subcommand(list).subcommand(Command::new("ping"));
        for (args, command) in [
            ("e", "e"),
            ("e nope", "e"),
            ("e --home x list --y servers z", "e list servers"),
            ("e ping list", "e ping"),
            ("/usr/bin/e list nope", "e list"),
        ] {
            let args: Vec<OsString> = args.split(' ').map(Into::into).collect();
            assert_eq!(command_of(&program, &args), command);
        }
    }
}
