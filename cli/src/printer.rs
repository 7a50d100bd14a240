//! Everything that the commands write: results to standard output, for people or as JSON; complaints to standard
//! error. Results stop in silence when nobody reads them any more.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
};

use rustix::termios::tcgetwinsize;
use serde::Serialize;

use crate::{
    exit::{Code, Failure, Outcome},
    options::Color,
    table::{self, Cell, Look},
};

/// Writes the results of one command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    json: bool,
    is_colored: bool,
}

impl Printer {
    pub(crate) fn new(json: bool, color: Color) -> Self {
        Self { json, is_colored: color.is_on(io::stdout().is_terminal()) }
    }

    /// Whether results are to be JSON.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// A result: `value` as one line of JSON, or what `human` makes of it.
    pub(crate) fn result<T: Serialize>(self, value: &T, human: impl FnOnce(&T) -> String) -> Outcome {
        if self.json { self.json(value) } else { self.bytes(human(value).as_bytes()) }
    }

    /// A table for people: fitted to the terminal, or as wide as it is where there is none.
    pub(crate) fn columns<const N: usize>(self, header: [&str; N], rows: &[[Cell; N]]) -> String {
        let stdout = io::stdout();
        let size = tcgetwinsize(&stdout).ok().filter(|_| stdout.is_terminal());
        let width = size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0);
        table::columns(header, rows, Look { width, is_colored: self.is_colored })
    }

    /// One line of JSON.
    pub(crate) fn json<T: Serialize>(self, value: &T) -> Outcome {
        self.bytes(&json_line(value)?)
    }

    /// Bytes as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Outcome {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|cause| output_failure(&cause))
    }
}

/// A value as one line of JSON.
pub(crate) fn json_line<T: Serialize>(value: &T) -> Outcome<Vec<u8>> {
    let mut text = serde_json::to_vec(value).map_err(|cause| Failure::of(Code::Failed, &cause))?;
    text.push(b'\n');
    Ok(text)
}

/// Why standard output takes no more.
pub(crate) fn output_failure(cause: &io::Error) -> Failure {
    if cause.kind() == io::ErrorKind::BrokenPipe {
        return Failure::OutputClosed;
    }
    Failure::new(Code::Failed, format_args!("cannot write to standard output: {cause}"))
}

/// One line to standard error. That nobody reads it must not change how the command ends.
pub(crate) fn complain(line: fmt::Arguments<'_>) {
    if writeln!(io::stderr(), "{line}").is_err() {
        tracing::debug!(%line, "nobody reads standard error");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_problem_and_a_full_disk_is() {
        assert!(matches!(output_failure(&io::ErrorKind::BrokenPipe.into()), Failure::OutputClosed));
        assert!(matches!(output_failure(&io::ErrorKind::StorageFull.into()), Failure::Problem { .. }));
    }
}
