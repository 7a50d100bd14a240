//! What commands show, kept in files of `tests/output/` and compared with them, so that it is read when it changes.
//! Written anew with `UPDATE_OUTPUT=1 cargo test -p ensemble-cli --test output`.
//!
//! A file has each command as it was typed after `$`, then its output, with `! ` before the lines of standard error, and
//! its exit code where that is not 0. What differs from run to run is replaced by a word in capitals.

use std::{env, fmt::Write, fs, path::Path};

use ensemble_tests::{Finished, Sandbox};

/// Names in JSON whose numbers differ from run to run.
const VARIABLE: [&str; 13] = [
    "process_id",
    "age_ms",
    "unheard_ms",
    "received_bytes",
    "sent_bytes",
    "calls_in",
    "calls_out",
    "min_ms",
    "median_ms",
    "mean_ms",
    "p99_ms",
    "max_ms",
    "number",
];

/// Commands and what they have shown.
pub(crate) struct Transcript<'a> {
    sandbox: &'a Sandbox,
    text: String,
}

impl<'a> Transcript<'a> {
    /// An empty one of commands in that sandbox.
    pub(crate) fn new(sandbox: &'a Sandbox) -> Self {
        Self { sandbox, text: String::new() }
    }

    /// Types a line into a shell, and notes what it shows.
    #[track_caller]
    pub(crate) fn types(&mut self, line: &str) {
        let done = self.sandbox.shell(line);
        self.note(line, &done);
    }

    /// Notes what a command has shown that was started otherwise.
    #[track_caller]
    pub(crate) fn note(&mut self, line: &str, done: &Finished) {
        writeln!(self.text, "$ {}", line.replace(self.sandbox.dir().to_str().unwrap(), "DIR")).unwrap();
        for line in done.out().lines() {
            writeln!(self.text, "{}", normalised(line, self.sandbox)).unwrap();
        }
        for line in done.err().lines() {
            writeln!(self.text, "! {}", normalised(line, self.sandbox)).unwrap();
        }
        if done.code() != 0 {
            writeln!(self.text, "[exit code {}]", done.code()).unwrap();
        }
        self.text.push('\n');
    }

    /// Compares all of it with the file.
    #[track_caller]
    pub(crate) fn is(self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/output").join(format!("{name}.txt"));
        if env::var_os("UPDATE_OUTPUT").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &self.text).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{} is missing", path.display()));
        assert_eq!(self.text, expected, "read it, and write {} anew", path.display());
    }
}

/// A line with what differs from run to run replaced. Columns are one gap apart, since their widths differ with it.
fn normalised(line: &str, sandbox: &Sandbox) -> String {
    let line = line.replace(sandbox.dir().to_str().unwrap(), "DIR");
    if line.starts_with(['{', '[']) && line.contains('"') {
        return json(&line);
    }
    let mut text = String::new();
    for (index, column) in line.split("  ").filter(|column| !column.is_empty()).enumerate() {
        let indent = if index == 0 && line.starts_with("  ") { "  " } else { "" };
        let gap = if index == 0 { indent } else { "  " };
        let words: Vec<String> = column.trim().split(' ').map(str::to_owned).collect();
        let word = |index: usize| match words[index].as_str() {
            _ if is_variable(&words, index) => "N".to_owned(),
            word @ ("KiB" | "MiB") if index == 1 && words.len() == 2 => word.replace(['K', 'M', 'i'], ""),
            word => normalised_word(word),
        };
        let words: Vec<String> = (0..words.len()).map(word).collect();
        write!(text, "{gap}{}", words.join(" ")).unwrap();
    }
    text
}

/// Whether such a number differs from run to run: one of bytes, or of what is in flight.
fn is_variable(words: &[String], index: usize) -> bool {
    let is_unit = |word: &String| ["B", "KiB", "MiB", "out,", "in"].contains(&word.as_str());
    // Some incarnations could be read as numbers too, such as 79614e27.
    let is_number = words[index].len() < 8 && words[index].parse::<f64>().is_ok();
    is_number && words.get(index + 1).is_some_and(is_unit)
}

fn normalised_word(word: &str) -> String {
    let stem = word.trim_end_matches([',', ')', ';', ':']);
    let end = &word[stem.len()..];
    let is_hex = |text: &str| text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    let is_moment = |text: &str| text.len() == 24 && text.as_bytes()[10] == b'T' && text.ends_with('Z');
    let is_time = |text: &str| {
        text.ends_with(['s', 'm', 'h']) && text.chars().all(|c| c.is_ascii_digit() || ".smhd".contains(c))
    };
    let stem = if stem.len() == 36 && stem.matches('-').count() == 4 && is_hex(&stem.replace('-', "")) {
        "UUID"
    } else if stem.len() == 8 && is_hex(stem) {
        "INCARNATION"
    } else if is_moment(stem) {
        "MOMENT"
    } else if stem.starts_with(|c: char| c.is_ascii_digit()) && is_time(stem) {
        "TIME"
    } else if stem.parse::<f64>().is_ok() && (stem.contains('.') || stem.len() > 2) {
        "N"
    } else if let Some(id) = stem.strip_prefix("console-") {
        return format!("console-{}{end}", normalised_word(id));
    } else {
        stem
    };
    format!("{stem}{end}")
}

/// JSON with the same order of its members, its variable numbers replaced by `"N"`.
fn json(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(quote) = rest.find('"') {
        let (before, from) = rest.split_at(quote);
        let end = from[1..].find('"').map_or(from.len(), |end| end + 2);
        let (string, behind) = from.split_at(end);
        out.push_str(before);
        let content = string.trim_matches('"');
        let words: Vec<String> = content.split(' ').map(normalised_word).collect();
        out.push_str(&format!("\"{}\"", words.join(" ")));
        rest = behind;
        if VARIABLE.contains(&content) && rest.starts_with(':') {
            let number = rest[1..].chars().take_while(|c| c.is_ascii_digit() || ".e-".contains(*c)).count();
            if number > 0 {
                out.push_str(":N");
                rest = &rest[1 + number..];
            }
        } else if content == "round_trips_ms" {
            let list = rest.find(']').unwrap();
            let times = rest[..list].matches('.').count();
            out.push_str(&format!(":[{}", vec!["N"; times].join(",")));
            rest = &rest[list..];
        }
    }
    out + rest
}
