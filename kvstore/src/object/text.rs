//! What the two text readers share: a cursor over the text, and errors that say where they are. Neither grammar
//! is here.

use thiserror::Error;

use super::MAX_DEPTH;

/// How many characters of the user's text an error repeats.
const MAX_QUOTED_CHARS: usize = 40;

/// Text that is not one object, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {kind}")]
pub struct ParseError {
    kind: ParseErrorKind,
    line: usize,
    column: usize,
}

impl ParseError {
    /// What is wrong.
    pub fn kind(&self) -> &ParseErrorKind {
        &self.kind
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column, from 1, in characters.
    pub fn column(&self) -> usize {
        self.column
    }
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// There is no datum in it, at most blanks and comments.
    #[error("there is nothing to read")]
    Empty,
    /// It goes on after the datum.
    #[error("there is more after the end of the datum")]
    Trailing,
    /// It ends within something.
    #[error("the text ends inside {what}, which began at line {line}, column {column}")]
    Unclosed {
        /// Within what.
        what: &'static str,
        /// The line where that began, from 1.
        line: usize,
        /// The column where that began, from 1.
        column: usize,
    },
    /// A character that cannot be there.
    #[error("unexpected {found:?}")]
    Unexpected {
        /// The character.
        found: char,
    },
    /// A word that cannot be there.
    #[error("unexpected {found:?}: {hint}")]
    UnexpectedWord {
        /// The word, cut when it is long.
        found: String,
        /// What could be there.
        hint: &'static str,
    },
    /// Something is not written as it should be.
    #[error("{0}")]
    Malformed(&'static str),
    /// A map has the same key twice.
    #[error("the key is in the map already")]
    DuplicateKey,
    /// An integer outside of the range of [`Object::Integer`](super::Object::Integer).
    #[error("the integer does not fit in 128 bits with a sign")]
    IntegerRange,
    /// A finite float that is greater than the greatest there is.
    #[error("the number is too large for a float")]
    FloatRange,
    /// More than [`MAX_DEPTH`] levels.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// What is wrong and the byte where: an error before its line is known.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: ParseErrorKind,
    pub(super) offset: usize,
}

/// A place in a text.
pub(super) struct Cursor<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Cursor<'a> {
    /// The start of the text, or what is after its byte order mark.
    pub(super) fn new(text: &'a str) -> Cursor<'a> {
        let offset = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Cursor { text, offset }
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.offset..).expect("the offset is on a character's boundary")
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.offset += next.len_utf8();
        Some(next)
    }

    /// Goes past `expected` if it is next.
    pub(super) fn eat(&mut self, expected: &str) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.offset += expected.len();
        }
        found
    }

    /// Goes past all characters that `accepts`, which it returns.
    pub(super) fn eat_while(&mut self, accepts: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let word = rest.split_once(|c| !accepts(c)).map_or(rest, |(word, _)| word);
        self.offset += word.len();
        word
    }

    /// The fault that the text ends inside of `what`, which began at `start`.
    pub(super) fn unclosed(&self, what: &'static str, start: usize) -> Fault {
        let (line, column) = position(self.text, start);
        Fault { kind: ParseErrorKind::Unclosed { what, line, column }, offset: self.text.len() }
    }

    /// The fault that the next character cannot be there, or that the text ends inside of `what`.
    pub(super) fn unexpected(&self, what: &'static str, start: usize) -> Fault {
        match self.peek() {
            Some(found) => Fault { kind: ParseErrorKind::Unexpected { found }, offset: self.offset },
            None => self.unclosed(what, start),
        }
    }

    /// The error for the user.
    pub(super) fn error(&self, fault: Fault) -> ParseError {
        let (line, column) = position(self.text, fault.offset);
        ParseError { kind: fault.kind, line, column }
    }
}

/// The fault that `word` cannot be there.
pub(super) fn unexpected_word(word: &str, hint: &'static str, offset: usize) -> Fault {
    let mut found: String = word.chars().take(MAX_QUOTED_CHARS).collect();
    if found.len() < word.len() {
        found.push('…');
    }
    Fault { kind: ParseErrorKind::UnexpectedWord { found, hint }, offset }
}

/// The line and the column of a byte, both from 1, the column in characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let (lines, line_start) = before
        .rfind('\n')
        .map_or((0, 0), |last| (before.bytes().filter(|byte| *byte == b'\n').count(), last + 1));
    let column = before[line_start..].trim_start_matches('\u{feff}').chars().count();
    (lines + 1, column + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "ab\nüx\n";
        let found: Vec<_> = text.char_indices().map(|(offset, _)| position(text, offset)).collect();
        assert_eq!(found, [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]);
        assert_eq!(position(text, text.len()), (3, 1));
    }

    #[test]
    fn a_long_word_is_cut_in_the_message() {
        let fault = unexpected_word(&"x".repeat(1000), "no", 0);
        assert!(fault.kind.to_string().chars().count() < 60, "{}", fault.kind);
    }
}
