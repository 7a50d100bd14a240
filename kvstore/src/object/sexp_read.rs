//! The reader of S-expressions: without recursion, so that no text can exhaust the stack. Numbers are in
//! `sexp_atom`, the printer is in `sexp_write`.

use super::{
    MAX_DEPTH, Object,
    map::MapBuilder,
    sexp_atom::{self, is_delimiter},
    text::{Cursor, Fault, ParseError, ParseErrorKind, unexpected_word},
};

const HINT_HASH: &str = "there are #t, #f, #( … ), #u8( … ), #map( … ), #x, #b, #o and #d";
const HINT_CHARACTER: &str = "there is no character type; write a string of one letter";
const ENTRY_FORM: &str = "an entry of a map is written (key . value)";
const DOT_PLACE: &str = "a dot stands between the last item of a list and one more datum";

impl Object {
    /// Reads the one datum of an S-expression.
    ///
    /// The syntax is that of R7RS Scheme: `()`, `#t`, `#f`, numbers, `"strings"`, `symbols`, `|odd symbols|`,
    /// `(a b)`, `(a . b)`, `#(a b)`, `#u8(1 2)`, `'a` and its kin, and comments with `;`, `#|…|#` and `#;`. A map
    /// is written `#map((key . value) …)`, in any order. Characters, exact fractions and complex numbers are
    /// refused.
    ///
    /// ```
    /// use kvstore::object::Object;
    ///
    /// assert_eq!(Object::parse_sexp("(a . (b . ()))")?.to_sexp(), "(a b)");
    /// let failed = Object::parse_sexp("(1 2\n 3/4)").unwrap_err();
    /// assert_eq!((failed.line(), failed.column()), (2, 2));
    /// # Ok::<(), kvstore::object::ParseError>(())
    /// ```
    ///
    /// # Errors
    /// When the text holds no datum, or more than one, or what is no datum, or one that is nested deeper than
    /// [`MAX_DEPTH`]. A list that is written as the end of
    /// another, `(a . (b))`, counts as a level too.
    pub fn parse_sexp(text: &str) -> Result<Object, ParseError> {
        let mut reader = Reader { cursor: Cursor::new(text), open: Vec::new(), depth: 0, datum: None };
        reader.read().map_err(|fault| reader.cursor.error(fault))
    }
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    open: Vec<Frame>,
    /// How many of the open frames count as a level.
    depth: usize,
    /// The one datum, once it is read.
    datum: Option<Object>,
}

struct Frame {
    start: usize,
    partial: Partial,
}

/// What is read so far of something that is not complete.
enum Partial {
    List {
        items: Vec<Object>,
        dot: bool,
        tail: Option<Object>,
    },
    Vector(Vec<Object>),
    Bytes(Vec<u8>),
    Map(MapBuilder),
    Entry {
        key: Option<Object>,
        dot: bool,
        value: Option<Object>,
    },
    /// `'x`, which is short for a list of this name and the next datum.
    Quote(&'static str),
    /// `#;`, which drops the next datum.
    Discard,
}

impl Partial {
    fn what(&self) -> &'static str {
        match self {
            Partial::List { .. } => "a list",
            Partial::Vector(_) => "a vector",
            Partial::Bytes(_) => "bytes",
            Partial::Map(_) => "a map",
            Partial::Entry { .. } => "an entry of a map",
            Partial::Quote(_) => "a quotation",
            Partial::Discard => "a datum comment",
        }
    }

    /// Whether what is in it is a level deeper: an entry belongs to its map's level, and bytes hold no objects.
    fn is_level(&self) -> bool {
        !matches!(self, Partial::Entry { .. } | Partial::Bytes(_))
    }
}

fn fault(kind: ParseErrorKind, offset: usize) -> Fault {
    Fault { kind, offset }
}

fn malformed(message: &'static str, offset: usize) -> Fault {
    fault(ParseErrorKind::Malformed(message), offset)
}

impl Reader<'_> {
    fn read(&mut self) -> Result<Object, Fault> {
        loop {
            self.skip_blanks()?;
            let start = self.cursor.offset();
            let Some(next) = self.cursor.peek() else { break };
            if self.cursor.eat("#;") {
                self.push(Partial::Discard, start)?;
                continue;
            }
            if self.open.is_empty() && next == ')' {
                return Err(fault(ParseErrorKind::Unexpected { found: next }, start));
            }
            if self.open.is_empty() && self.datum.is_some() {
                return Err(fault(ParseErrorKind::Trailing, start));
            }
            if self.in_map() && !matches!(next, '(' | ')') {
                return Err(malformed(ENTRY_FORM, start));
            }
            self.read_next(next, start)?;
        }
        match (self.open.last(), self.datum.take()) {
            (Some(frame), _) => Err(self.cursor.unclosed(frame.partial.what(), frame.start)),
            (None, Some(datum)) => Ok(datum),
            (None, None) => Err(fault(ParseErrorKind::Empty, self.cursor.offset())),
        }
    }

    fn in_map(&self) -> bool {
        matches!(self.open.last(), Some(Frame { partial: Partial::Map(_), .. }))
    }

    /// Reads an atom, or goes into or out of something that holds others.
    fn read_next(&mut self, next: char, start: usize) -> Result<(), Fault> {
        match next {
            '(' => {
                self.cursor.bump();
                let partial = if self.in_map() {
                    Partial::Entry { key: None, dot: false, value: None }
                } else {
                    Partial::List { items: Vec::new(), dot: false, tail: None }
                };
                self.push(partial, start)
            }
            ')' => {
                self.cursor.bump();
                self.close(start)
            }
            '\'' => self.read_quote("'", "quote", start),
            '`' => self.read_quote("`", "quasiquote", start),
            ',' if self.cursor.rest().starts_with(",@") => self.read_quote(",@", "unquote-splicing", start),
            ',' => self.read_quote(",", "unquote", start),
            '"' => {
                let text = sexp_atom::read_quoted(&mut self.cursor)?;
                self.add(Object::String(text), start)
            }
            '|' => {
                let name = sexp_atom::read_quoted(&mut self.cursor)?;
                match self.cursor.peek() {
                    Some(after) if after == '|' || !is_delimiter(after) => {
                        Err(malformed("a symbol's bars go around all of it", self.cursor.offset()))
                    }
                    _ => self.add(Object::Symbol(name), start),
                }
            }
            '#' => self.read_hash(start),
            other if is_delimiter(other) => Err(fault(ParseErrorKind::Unexpected { found: other }, start)),
            _ => {
                let word = self.cursor.eat_while(|c| !is_delimiter(c));
                if self.cursor.peek() == Some('|') {
                    return Err(malformed("a symbol's bars go around all of it", self.cursor.offset()));
                }
                if word == "." {
                    self.dot(start)
                } else {
                    self.add(sexp_atom::read_word(word, start)?, start)
                }
            }
        }
    }

    fn read_quote(&mut self, mark: &str, name: &'static str, start: usize) -> Result<(), Fault> {
        self.cursor.eat(mark);
        self.push(Partial::Quote(name), start)
    }

    fn read_hash(&mut self, start: usize) -> Result<(), Fault> {
        self.cursor.bump();
        let word = self.cursor.eat_while(|c| !is_delimiter(c));
        let before_bracket = self.cursor.peek() == Some('(');
        let partial = match word {
            "" if before_bracket => Partial::Vector(Vec::new()),
            "u8" if before_bracket => Partial::Bytes(Vec::new()),
            "map" if before_bracket => Partial::Map(MapBuilder::default()),
            _ if word.starts_with('\\') => return Err(unexpected_word("#\\", HINT_CHARACTER, start)),
            _ => {
                let atom = match sexp_atom::read_hash_word(word, start)? {
                    Some(atom) => atom,
                    None => return Err(unexpected_word(&format!("#{word}"), HINT_HASH, start)),
                };
                return self.add(atom, start);
            }
        };
        self.cursor.bump();
        self.push(partial, start)
    }

    fn push(&mut self, partial: Partial, start: usize) -> Result<(), Fault> {
        if partial.is_level() {
            // A list below the deepest level may still turn out to be nil, which is no level.
            let may_be_nil = self.depth == MAX_DEPTH && matches!(partial, Partial::List { .. });
            if self.depth >= MAX_DEPTH && !may_be_nil {
                return Err(self.too_deep(start));
            }
            self.depth += 1;
        }
        self.open.push(Frame { start, partial });
        Ok(())
    }

    fn pop(&mut self) -> Option<Frame> {
        let frame = self.open.pop()?;
        if frame.partial.is_level() {
            self.depth -= 1;
        }
        Some(frame)
    }

    fn too_deep(&self, start: usize) -> Fault {
        let first_too_deep = if self.depth > MAX_DEPTH { self.open.last() } else { None };
        fault(ParseErrorKind::TooDeep, first_too_deep.map_or(start, |frame| frame.start))
    }

    fn dot(&mut self, start: usize) -> Result<(), Fault> {
        match self.open.last_mut().map(|frame| &mut frame.partial) {
            Some(Partial::List { items, dot, .. }) if !items.is_empty() && !*dot => *dot = true,
            Some(Partial::Entry { key: Some(_), dot, .. }) if !*dot => *dot = true,
            _ => return Err(malformed(DOT_PLACE, start)),
        }
        Ok(())
    }

    /// Puts a complete datum where it belongs.
    fn add(&mut self, mut datum: Object, start: usize) -> Result<(), Fault> {
        loop {
            let too_deep = self.depth > MAX_DEPTH;
            let Some(frame) = self.open.last_mut() else {
                self.datum = Some(datum);
                return Ok(());
            };
            if too_deep && frame.partial.is_level() {
                return Err(fault(ParseErrorKind::TooDeep, frame.start));
            }
            match &mut frame.partial {
                Partial::List { items, dot: false, .. } | Partial::Vector(items) => items.push(datum),
                Partial::List { tail: tail @ None, .. } => *tail = Some(datum),
                Partial::List { .. } => return Err(malformed(DOT_PLACE, start)),
                Partial::Bytes(bytes) => match datum {
                    Object::Integer(byte @ 0..=255) => bytes.push(byte as u8),
                    _ => return Err(malformed("a byte is an integer from 0 to 255", start)),
                },
                Partial::Entry { key: key @ None, .. } => *key = Some(datum),
                Partial::Entry { dot: true, value: value @ None, .. } => *value = Some(datum),
                Partial::Map(_) | Partial::Entry { .. } => return Err(malformed(ENTRY_FORM, start)),
                Partial::Quote(name) => {
                    datum = Object::list([Object::symbol(*name), datum]);
                    self.pop();
                    continue;
                }
                Partial::Discard => {
                    self.pop();
                }
            }
            return Ok(());
        }
    }

    /// A closing bracket at `end`.
    fn close(&mut self, end: usize) -> Result<(), Fault> {
        let unexpected = || fault(ParseErrorKind::Unexpected { found: ')' }, end);
        let Frame { start, partial } = self.pop().ok_or_else(unexpected)?;
        let datum = match partial {
            Partial::List { dot: true, tail: None, .. } => return Err(malformed(DOT_PLACE, end)),
            Partial::List { items, tail, .. } => Object::dotted(items, tail.unwrap_or_default()),
            Partial::Vector(items) => Object::Vector(items),
            Partial::Bytes(bytes) => Object::Bytes(bytes),
            Partial::Map(entries) => match entries.finish() {
                Ok(map) => Object::Map(map),
                Err(place) => return Err(fault(ParseErrorKind::DuplicateKey, place)),
            },
            Partial::Entry { key: Some(key), value: Some(value), .. } => {
                return self.add_entry(key, value, start);
            }
            Partial::Entry { .. } => return Err(malformed(ENTRY_FORM, start)),
            Partial::Quote(_) | Partial::Discard => return Err(unexpected()),
        };
        self.add(datum, start)
    }

    fn add_entry(&mut self, key: Object, value: Object, start: usize) -> Result<(), Fault> {
        let Some(Frame { partial: Partial::Map(entries), .. }) = self.open.last_mut() else {
            return Err(malformed(ENTRY_FORM, start));
        };
        entries.add(key, value, start);
        Ok(())
    }

    /// Goes past blanks and comments. A datum comment is no blank: its datum has to be read.
    fn skip_blanks(&mut self) -> Result<(), Fault> {
        loop {
            self.cursor.eat_while(char::is_whitespace);
            let start = self.cursor.offset();
            if self.cursor.eat(";") {
                self.cursor.eat_while(|c| c != '\n');
            } else if self.cursor.eat("#|") {
                let mut depth = 1_usize;
                while depth > 0 {
                    if self.cursor.eat("#|") {
                        depth += 1;
                    } else if self.cursor.eat("|#") {
                        depth -= 1;
                    } else if self.cursor.bump().is_none() {
                        return Err(self.cursor.unclosed("a comment", start));
                    }
                }
            } else {
                return Ok(());
            }
        }
    }
}
