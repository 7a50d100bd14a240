//! Wrong usage, and help: what clap says, in the form in which this project says things.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::exit::{Code, Failure};

/// Prints help that was asked for, or says in one line what is wrong with the arguments.
pub(crate) fn report(program: &str, error: &clap::Error) -> ExitCode {
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
            .advise(format_args!("see `{} --help`", command_of(program, error)))
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

/// The command whose usage was wrong: the words of the usage before its first argument.
fn command_of(program: &str, error: &clap::Error) -> String {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else {
        return program.to_owned();
    };
    let usage = usage.to_string();
    let is_word = |word: &&str| !word.starts_with(['[', '<', '-', '(']) && *word != "Usage:";
    let words: Vec<&str> =
        usage.split_whitespace().skip_while(|word| *word == "Usage:").take_while(is_word).collect();
    if words.is_empty() { program.to_owned() } else { words.join(" ") }
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
