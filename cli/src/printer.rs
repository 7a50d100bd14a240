//! Everything that the commands write: results to standard output, for people or as JSON; complaints to standard
//! error. Results stop in silence when nobody reads them any more.

use std::{
    fmt,
    io::{self, Write},
};

use serde::Serialize;

use crate::exit::{Code, Failure, Outcome};

/// Writes the results of one command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    json: bool,
}

impl Printer {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether results are to be JSON.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// A result: `value` as one line of JSON, or what `human` makes of it.
    pub(crate) fn result<T: Serialize>(self, value: &T, human: impl FnOnce(&T) -> String) -> Outcome {
        if self.json { self.json(value) } else { self.bytes(human(value).as_bytes()) }
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

fn output_failure(cause: &io::Error) -> Failure {
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

/// Columns of text, the last one as long as it is, under `header`.
pub(crate) fn columns<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].len()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        let mut row = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            row.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    };
    line(header);
    for row in rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_no_line_ends_in_spaces() {
        let rows = [["a".to_owned(), String::new()], ["long-name".to_owned(), "x y".to_owned()]];
        assert_eq!(columns(["SERVER", "ROLES"], &rows), "SERVER     ROLES\na\nlong-name  x y\n");
    }

    #[test]
    fn a_closed_pipe_is_no_problem_and_a_full_disk_is() {
        assert!(matches!(output_failure(&io::ErrorKind::BrokenPipe.into()), Failure::OutputClosed));
        assert!(matches!(output_failure(&io::ErrorKind::StorageFull.into()), Failure::Problem { .. }));
    }
}
