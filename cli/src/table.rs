//! Tables of text, as wide as their cells, or fitted to a terminal: what does not fit is put on lines of its own, so that
//! nothing is lost. Plain code: how wide the terminal is, and whether it has colors, is asked by the printer.

/// Between two columns.
const GAP: usize = 2;

/// Before the lines of a last column that has no room beside the others.
const INDENT: usize = 4;

/// How a cell is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }
}

impl Cell {
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    /// The text, followed by spaces up to `width`.
    fn show(&self, width: usize, is_colored: bool) -> String {
        let padding = " ".repeat(width.saturating_sub(self.width()));
        let color = match self.tone {
            _ if !is_colored => None,
            Tone::Plain => None,
            Tone::Good => Some("32"),
            Tone::Doubtful => Some("33"),
            Tone::Bad => Some("31"),
        };
        match color {
            None => format!("{}{padding}", self.text),
            Some(color) => format!("\u{1b}[{color}m{}\u{1b}[0m{padding}", self.text),
        }
    }
}

/// Where a table is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// The width of the terminal, where it is one.
    pub(crate) width: Option<usize>,
    pub(crate) is_colored: bool,
}

/// Columns under `header`. The last one may have several words, which can be put below each other. Where there is no room
/// even for the others, each row is a block of lines instead.
pub(crate) fn columns<const N: usize>(header: [&str; N], rows: &[[Cell; N]], look: Look) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].width());
        cells.chain([header[column].len()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let last = N.saturating_sub(1);
    let before: usize = widths[..last].iter().map(|width| width + GAP).sum();
    if look.width.is_some_and(|width| width + GAP < before) {
        return blocks(header, rows, look);
    }
    let room = look.width.map(|width| width.saturating_sub(before));
    let longest_word =
        rows.iter().flat_map(|row| row[last].text.split(' ')).map(|word| word.chars().count()).max();
    let place = match room {
        None => Place::Beside { room: usize::MAX },
        Some(room) if longest_word.unwrap_or_default().max(header[last].len()) <= room => {
            Place::Beside { room }
        }
        Some(_) => Place::Below,
    };
    let mut text = String::new();
    let header = header.map(Cell::from);
    for row in [&header].into_iter().chain(rows) {
        let cells: String = row[..last]
            .iter()
            .zip(widths)
            .map(|(cell, width)| cell.show(width, look.is_colored) + &" ".repeat(GAP))
            .collect();
        let (lines, indent) = match place {
            Place::Beside { room } => (wrapped(&row[last].text, room), before),
            Place::Below => (row[last].text.split(' ').map(str::to_owned).collect(), INDENT),
        };
        let mut lines = lines.into_iter();
        let first = match place {
            Place::Beside { .. } => lines.next().unwrap_or_default(),
            Place::Below => String::new(),
        };
        let first = Cell { text: first, tone: row[last].tone }.show(0, look.is_colored);
        text.push_str(format!("{cells}{first}").trim_end());
        text.push('\n');
        for line in lines.filter(|line| !line.is_empty()) {
            text.push_str(&format!("{:indent$}{line}\n", ""));
        }
    }
    text
}

/// Each row as its first cell, and its other cells below that, each with its name.
fn blocks<const N: usize>(header: [&str; N], rows: &[[Cell; N]], look: Look) -> String {
    let width = header.iter().skip(1).map(|name| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for row in rows {
        for (index, (name, cell)) in header.iter().zip(row).enumerate() {
            let shown = cell.show(0, look.is_colored);
            let line = if index == 0 { shown } else { format!("{:INDENT$}{name:width$}  {shown}", "") };
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// Where the last column is shown.
#[derive(Debug, Clone, Copy)]
enum Place {
    Beside { room: usize },
    Below,
}

/// The words of a text in lines of at most `room` characters; a word that is longer has a line of its own.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(width: Option<usize>) -> Look {
        Look { width, is_colored: false }
    }

    fn rows() -> Vec<[Cell; 3]> {
        vec![
            ["a".into(), Cell::toned("alive", Tone::Good), "".into()],
            ["long-name".into(), Cell::toned("dead", Tone::Bad), "one two three four".into()],
        ]
    }

    const HEADER: [&str; 3] = ["ACTOR", "STATE", "MESSAGES"];

    #[test]
    fn columns_are_aligned_and_no_line_ends_in_spaces() {
        let wide = "ACTOR      STATE  MESSAGES\na          alive\nlong-name  dead   one two three four\n";
        for width in [None, Some(36), Some(200)] {
            assert_eq!(columns(HEADER, &rows(), plain(width)), wide);
        }
    }

    #[test]
    fn what_does_not_fit_is_wrapped_under_its_column() {
        let expected = "ACTOR      STATE  MESSAGES\na          alive\nlong-name  dead   one two\n                  \
                        three\n                  four\n";
        assert_eq!(columns(HEADER, &rows(), plain(Some(27))), expected);
    }

    #[test]
    fn what_has_no_room_there_is_put_below() {
        let expected = "ACTOR      STATE\n    MESSAGES\na          alive\nlong-name  dead\n    one\n    two\n    \
                        three\n    four\n";
        assert_eq!(columns(HEADER, &rows(), plain(Some(20))), expected);
    }

    #[test]
    fn where_there_is_no_room_for_columns_each_row_is_a_block() {
        let expected = "a\n    STATE     alive\n    MESSAGES\nlong-name\n    STATE     dead\n    \
                        MESSAGES  one two three four\n";
        assert_eq!(columns(HEADER, &rows(), plain(Some(15))), expected);
    }

    #[test]
    fn only_what_has_a_tone_is_colored_and_the_columns_stay() {
        let shown = columns(HEADER, &rows(), Look { width: None, is_colored: true });
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "ACTOR      STATE  MESSAGES");
        assert_eq!(lines[1], "a          \u{1b}[32malive\u{1b}[0m");
        assert_eq!(lines[2], "long-name  \u{1b}[31mdead\u{1b}[0m   one two three four");
    }
}
