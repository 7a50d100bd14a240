//! The reader of JSON: without recursion, so that no text can exhaust the stack. The tagged forms are in
//! `tagged`, the writer is in `json_write`.

use super::{
    MAX_DEPTH, Object,
    map::MapBuilder,
    tagged::{self, TagFault},
    text::{Cursor, Fault, ParseError, ParseErrorKind, unexpected_word},
};

/// How deep the brackets of a text may go: no object within [`MAX_DEPTH`] needs more. A level of a map whose keys
/// are no strings takes three, and a value at the bottom that has a tagged form takes one.
const MAX_BRACKETS: usize = 3 * MAX_DEPTH + 1;

const HINT_WORD: &str = "there are true, false, null, numbers, strings, arrays and objects";
const HINT_NUMBER: &str = "that begins like a number and is none";
const BAD_ESCAPE: &str =
    "after a backslash there is one of \" \\ / b f n r t or u and four hexadecimal digits";
const LONE_SURROGATE: &str = "half of a surrogate pair";
const RAW_CONTROL: &str = "control characters in a string are written with a backslash";

impl Object {
    /// Reads JSON text.
    ///
    /// `null` is nil, an array is a vector, an object is a map with strings as keys. A number with a point or an
    /// exponent is a float, and so is `-0`; any other is an integer, exactly. What JSON has no form for is read
    /// from the tagged forms that [`Object::to_json`] writes.
    ///
    /// ```
    /// use kvstore::object::Object;
    ///
    /// let object = Object::from_json(r#"{"name": {"$symbol": "ada"}, "years": [1815, 1852]}"#)?;
    /// assert_eq!(object.to_sexp(), r#"#map(("name" . ada) ("years" . #(1815 1852)))"#);
    /// let failed = Object::from_json("[1,\n 2,]").unwrap_err();
    /// assert_eq!((failed.line(), failed.column()), (2, 4));
    /// # Ok::<(), kvstore::object::ParseError>(())
    /// ```
    ///
    /// # Errors
    /// When the text is not JSON (RFC 8259), or has something after it; an object has a key twice; a number is
    /// outside of the range of its kind; a tagged form is malformed; the value is nested deeper than
    /// [`MAX_DEPTH`].
    pub fn from_json(text: &str) -> Result<Object, ParseError> {
        let mut reader = Reader { cursor: Cursor::new(text), open: Vec::new() };
        reader.read().map_err(|fault| reader.cursor.error(fault))
    }
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    open: Vec<Frame>,
}

struct Frame {
    start: usize,
    /// The depth of the deepest value in it.
    deepest: usize,
    partial: Partial,
}

enum Partial {
    Array(Vec<Object>),
    Object { entries: MapBuilder, key: Object, key_start: usize },
}

impl Partial {
    fn what(&self) -> &'static str {
        match self {
            Partial::Array(_) => "an array",
            Partial::Object { .. } => "an object",
        }
    }
}

/// A value that is complete, and how deep it is.
struct Done {
    value: Object,
    depth: usize,
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
            let Some(mut done) = self.begin_value()? else { continue };
            loop {
                let Some(frame) = self.open.last_mut() else {
                    self.skip_blanks();
                    return match self.cursor.peek() {
                        None => Ok(done.value),
                        Some(_) => Err(fault(ParseErrorKind::Trailing, self.cursor.offset())),
                    };
                };
                frame.add(done);
                match self.after_item()? {
                    Some(outer) => done = outer,
                    None => break,
                }
            }
        }
    }

    /// Reads an atom or an empty array or object; of another one it reads up to the first value.
    fn begin_value(&mut self) -> Result<Option<Done>, Fault> {
        self.skip_blanks();
        let start = self.cursor.offset();
        let atom = match self.cursor.peek() {
            None => {
                return Err(match self.open.last() {
                    None => fault(ParseErrorKind::Empty, start),
                    Some(frame) => self.cursor.unclosed(frame.partial.what(), frame.start),
                });
            }
            Some('[') => return self.begin_array(start),
            Some('{') => return self.begin_object(start),
            Some('"') => Object::String(self.string()?),
            Some(c) if c == '-' || c.is_ascii_digit() => self.number(start)?,
            Some(found) => match self.cursor.eat_while(|c| c.is_alphanumeric() || c == '_') {
                "null" => Object::Nil,
                "true" => Object::Boolean(true),
                "false" => Object::Boolean(false),
                "" => return Err(fault(ParseErrorKind::Unexpected { found }, start)),
                word => return Err(unexpected_word(word, HINT_WORD, start)),
            },
        };
        Ok(Some(Done { value: atom, depth: 0 }))
    }

    fn begin_array(&mut self, start: usize) -> Result<Option<Done>, Fault> {
        self.push(Partial::Array(Vec::new()), start)?;
        self.skip_blanks();
        if self.cursor.eat("]") {
            return self.pop();
        }
        Ok(None)
    }

    fn begin_object(&mut self, start: usize) -> Result<Option<Done>, Fault> {
        self.push(
            Partial::Object { entries: MapBuilder::default(), key: Object::Nil, key_start: start },
            start,
        )?;
        self.skip_blanks();
        if self.cursor.eat("}") {
            return self.pop();
        }
        self.key()?;
        Ok(None)
    }

    /// Reads on after an item: up to the next value, or past the closing bracket.
    fn after_item(&mut self) -> Result<Option<Done>, Fault> {
        self.skip_blanks();
        let Some(Frame { start, partial, .. }) = self.open.last() else { return Ok(None) };
        let is_array = matches!(partial, Partial::Array(_));
        if self.cursor.eat(",") {
            if !is_array {
                self.key()?;
            }
            return Ok(None);
        }
        if self.cursor.eat(if is_array { "]" } else { "}" }) {
            return self.pop();
        }
        Err(self.cursor.unexpected(partial.what(), *start))
    }

    /// Reads a key and its colon.
    fn key(&mut self) -> Result<(), Fault> {
        self.skip_blanks();
        let start = self.cursor.offset();
        let object_start = self.open.last().map_or(start, |frame| frame.start);
        if self.cursor.peek() != Some('"') {
            return Err(self.cursor.unexpected("an object", object_start));
        }
        let text = Object::String(self.string()?);
        if let Some(Frame { partial: Partial::Object { key, key_start, .. }, .. }) = self.open.last_mut() {
            *key = text;
            *key_start = start;
        }
        self.skip_blanks();
        if !self.cursor.eat(":") {
            return Err(self.cursor.unexpected("an object", object_start));
        }
        Ok(())
    }

    fn push(&mut self, partial: Partial, start: usize) -> Result<(), Fault> {
        if self.open.len() == MAX_BRACKETS {
            return Err(fault(ParseErrorKind::TooDeep, start));
        }
        self.cursor.bump();
        self.open.push(Frame { start, deepest: 0, partial });
        Ok(())
    }

    /// Completes the innermost array or object.
    fn pop(&mut self) -> Result<Option<Done>, Fault> {
        let Some(frame) = self.open.pop() else { return Ok(None) };
        let start = frame.start;
        let done = frame.finish()?;
        // The array under a map's tag is a level deeper than the map will be.
        let allowed = if self.is_under_map_tag() { MAX_DEPTH + 1 } else { MAX_DEPTH };
        if done.depth > allowed {
            return Err(fault(ParseErrorKind::TooDeep, start));
        }
        Ok(Some(done))
    }

    fn is_under_map_tag(&self) -> bool {
        match self.open.last().map(|frame| &frame.partial) {
            Some(Partial::Object { key: Object::String(key), .. }) => key == tagged::MAP,
            _ => false,
        }
    }

    fn skip_blanks(&mut self) {
        self.cursor.eat_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
    }

    fn number(&mut self, start: usize) -> Result<Object, Fault> {
        let word = self.cursor.eat_while(|c| c.is_alphanumeric() || matches!(c, '+' | '-' | '.' | '_'));
        if !is_number(word) {
            return Err(unexpected_word(word, HINT_NUMBER, start));
        }
        if word == "-0" || word.contains(['.', 'e', 'E']) {
            return match word.parse::<f64>() {
                Ok(float) if float.is_finite() => Ok(Object::Float(float)),
                _ => Err(fault(ParseErrorKind::FloatRange, start)),
            };
        }
        word.parse().map(Object::Integer).map_err(|_| fault(ParseErrorKind::IntegerRange, start))
    }

    fn string(&mut self) -> Result<String, Fault> {
        const WHAT: &str = "a string";
        let start = self.cursor.offset();
        self.cursor.bump();
        let mut text = String::new();
        loop {
            text.push_str(self.cursor.eat_while(|c| c != '"' && c != '\\' && c >= ' '));
            let escape = self.cursor.offset();
            match self.cursor.bump() {
                None => return Err(self.cursor.unclosed(WHAT, start)),
                Some('"') => return Ok(text),
                Some('\\') => {}
                Some(_) => return Err(malformed(RAW_CONTROL, escape)),
            }
            text.push(match self.cursor.bump() {
                None => return Err(self.cursor.unclosed(WHAT, start)),
                Some(itself @ ('"' | '\\' | '/')) => itself,
                Some('b') => '\x08',
                Some('f') => '\x0c',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('u') => self.unicode_escape(escape)?,
                Some(_) => return Err(malformed(BAD_ESCAPE, escape)),
            });
        }
    }

    /// Reads what is after `\u`, and the second half of a surrogate pair.
    fn unicode_escape(&mut self, escape: usize) -> Result<char, Fault> {
        let first = self.four_digits(escape)?;
        let code = if (0xd800..0xdc00).contains(&first) {
            if !self.cursor.eat("\\u") {
                return Err(malformed(LONE_SURROGATE, escape));
            }
            let second = self.four_digits(escape)?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err(malformed(LONE_SURROGATE, escape));
            }
            0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or(malformed(LONE_SURROGATE, escape))
    }

    fn four_digits(&mut self, escape: usize) -> Result<u32, Fault> {
        let mut code = 0;
        for _ in 0..4 {
            let digit =
                self.cursor.peek().and_then(|c| c.to_digit(16)).ok_or(malformed(BAD_ESCAPE, escape))?;
            self.cursor.bump();
            code = code * 16 + digit;
        }
        Ok(code)
    }
}

impl Frame {
    fn add(&mut self, done: Done) {
        self.deepest = self.deepest.max(done.depth);
        match &mut self.partial {
            Partial::Array(items) => items.push(done.value),
            Partial::Object { entries, key, key_start } => {
                entries.add(std::mem::take(key), done.value, *key_start);
            }
        }
    }

    fn finish(self) -> Result<Done, Fault> {
        let depth = self.deepest + 1;
        match self.partial {
            Partial::Array(items) => Ok(Done { value: Object::Vector(items), depth }),
            Partial::Object { entries, .. } => {
                let entries = entries.finish().map_err(|place| fault(ParseErrorKind::DuplicateKey, place))?;
                // Of a tagged form, only the levels of the value that it stands for count.
                let tag_depth = match tagged::tag_of(&entries) {
                    None => depth,
                    Some(tagged::LIST | tagged::DOTTED) => self.deepest,
                    Some(tagged::MAP) => self.deepest.saturating_sub(1).max(1),
                    Some(_) => 0,
                };
                let value = tagged::resolve(entries).map_err(|tag_fault| match tag_fault {
                    TagFault::Malformed(message) => malformed(message, self.start),
                    TagFault::IntegerRange => fault(ParseErrorKind::IntegerRange, self.start),
                    TagFault::DuplicateKey => fault(ParseErrorKind::DuplicateKey, self.start),
                })?;
                Ok(Done { value, depth: tag_depth })
            }
        }
    }
}

/// Whether this is a number as RFC 8259 has it.
fn is_number(word: &str) -> bool {
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    all_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(all_digits)
        && exponent.is_none_or(|exponent| all_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}
