//! The atoms of S-expressions, as they are read and as they are printed: strings, symbols and numbers.

use std::fmt::{self, Write};

use super::{
    Object,
    text::{Cursor, Fault, ParseErrorKind, unexpected_word},
};

const HINT_NUMBER: &str = "that begins like a number and is none; a symbol that does goes between bars: |…|";
const HINT_RADIX: &str = "an integer in that base was expected";
const BAD_ESCAPE: &str = "after a backslash there is one of a b t n r \" \\ | or x, hexadecimal digits and ;";

/// Whether a word ends before this character.
pub(super) fn is_delimiter(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '(' | ')' | '[' | ']' | '{' | '}' | '"' | ';' | '\'' | '`' | ',' | '|')
}

/// Reads a string or a symbol between bars; the cursor is at its first quotation mark or bar.
pub(super) fn read_quoted(cursor: &mut Cursor<'_>) -> Result<String, Fault> {
    let start = cursor.offset();
    let mark = cursor.bump();
    let what = if mark == Some('|') { "a symbol" } else { "a string" };
    let mut text = String::new();
    loop {
        text.push_str(cursor.eat_while(|c| c != '\\' && Some(c) != mark));
        let escape = cursor.offset();
        match cursor.bump() {
            None => return Err(cursor.unclosed(what, start)),
            Some('\\') => {}
            Some(_) => return Ok(text),
        }
        let malformed = Fault { kind: ParseErrorKind::Malformed(BAD_ESCAPE), offset: escape };
        match cursor.peek() {
            None => return Err(cursor.unclosed(what, start)),
            Some('a') => text.push('\x07'),
            Some('b') => text.push('\x08'),
            Some('t') => text.push('\t'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some(itself @ ('"' | '\\' | '|')) => text.push(itself),
            Some('x' | 'X') => {
                cursor.bump();
                let digits = cursor.eat_while(|c| c.is_ascii_hexdigit());
                let letter =
                    u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).ok_or(malformed)?;
                if cursor.peek() != Some(';') {
                    return Err(cursor.unexpected(what, start));
                }
                text.push(letter);
            }
            Some(' ' | '\t' | '\n' | '\r') => {
                // A backslash at the end of a line joins it to the next, without the blanks around.
                cursor.eat_while(|c| c == ' ' || c == '\t');
                if !cursor.eat("\r\n") && !cursor.eat("\n") {
                    return Err(malformed);
                }
                cursor.eat_while(|c| c == ' ' || c == '\t');
                continue;
            }
            Some(_) => return Err(malformed),
        }
        cursor.bump();
    }
}

/// Reads a number or a symbol.
pub(super) fn read_word(word: &str, offset: usize) -> Result<Object, Fault> {
    if let Some(found) = word.chars().find(|c| *c == '\\') {
        return Err(Fault { kind: ParseErrorKind::Unexpected { found }, offset });
    }
    if !looks_like_number(word) {
        return Ok(Object::symbol(word));
    }
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return match word.parse() {
            Ok(integer) => Ok(Object::Integer(integer)),
            Err(_) => Err(Fault { kind: ParseErrorKind::IntegerRange, offset }),
        };
    }
    if is_decimal(unsigned) {
        return match word.parse::<f64>() {
            Ok(float) if float.is_finite() => Ok(Object::Float(float)),
            _ => Err(Fault { kind: ParseErrorKind::FloatRange, offset }),
        };
    }
    match word.to_ascii_lowercase().as_str() {
        "+nan.0" | "-nan.0" => Ok(Object::Float(f64::NAN)),
        "+inf.0" => Ok(Object::Float(f64::INFINITY)),
        "-inf.0" => Ok(Object::Float(f64::NEG_INFINITY)),
        _ => Err(unexpected_word(word, HINT_NUMBER, offset)),
    }
}

/// Reads what is after a `#` that no bracket follows: a boolean or an integer in a base.
pub(super) fn read_hash_word(word: &str, offset: usize) -> Result<Option<Object>, Fault> {
    let lower = word.to_ascii_lowercase();
    let (base, digits) = match lower.as_str() {
        "t" | "true" => return Ok(Some(Object::Boolean(true))),
        "f" | "false" => return Ok(Some(Object::Boolean(false))),
        other => match (other.get(..1), other.get(1..)) {
            (Some("x"), Some(digits)) => (16, digits),
            (Some("b"), Some(digits)) => (2, digits),
            (Some("o"), Some(digits)) => (8, digits),
            (Some("d"), Some(digits)) => (10, digits),
            _ => return Ok(None),
        },
    };
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.chars().all(|c| c.is_digit(base)) {
        return Err(unexpected_word(&format!("#{word}"), HINT_RADIX, offset));
    }
    match i128::from_str_radix(digits, base) {
        Ok(integer) => Ok(Some(Object::Integer(integer))),
        Err(_) => Err(Fault { kind: ParseErrorKind::IntegerRange, offset }),
    }
}

/// Whether Scheme takes the word for a number, or would if it had no fault: such a word is never a symbol.
fn looks_like_number(word: &str) -> bool {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let digits = unsigned.strip_prefix('.').unwrap_or(unsigned);
    if digits.starts_with(|c: char| c.is_ascii_digit()) {
        return true;
    }
    let lower = unsigned.to_ascii_lowercase();
    unsigned.len() < word.len() && (lower == "i" || lower.starts_with("inf.") || lower.starts_with("nan."))
}

/// Whether this is digits with a point, an exponent or both.
fn is_decimal(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_ok = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_ok
}

/// Prints a string.
pub(super) fn write_string(out: &mut impl Write, text: &str) -> fmt::Result {
    write_quoted(out, text, '"')
}

/// Prints a symbol, between bars when it would not be read back without.
pub(super) fn write_symbol(out: &mut impl Write, name: &str) -> fmt::Result {
    let plain = !name.is_empty()
        && name != "."
        // A colon at the end makes a keyword of it for Gerbil.
        && !name.ends_with(':')
        && !name.starts_with('#')
        && !looks_like_number(name)
        && name.chars().all(|c| c.is_alphanumeric() || "!#$%&*+-./:<=>?@^_~".contains(c));
    if plain { out.write_str(name) } else { write_quoted(out, name, '|') }
}

fn write_quoted(out: &mut impl Write, text: &str, mark: char) -> fmt::Result {
    out.write_char(mark)?;
    for c in text.chars() {
        match c {
            '\x07' => out.write_str("\\a")?,
            '\x08' => out.write_str("\\b")?,
            '\t' => out.write_str("\\t")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\\' => out.write_str("\\\\")?,
            // A byte order mark or a separator would be invisible.
            '\u{feff}' | '\u{2028}' | '\u{2029}' => write!(out, "\\x{:x};", u32::from(c))?,
            _ if c == mark => write!(out, "\\{c}")?,
            _ if c.is_control() => write!(out, "\\x{:x};", u32::from(c))?,
            _ => out.write_char(c)?,
        }
    }
    out.write_char(mark)
}

/// Prints a float, so that it is read back as the same float and never as an integer.
pub(super) fn write_float(out: &mut impl Write, float: f64) -> fmt::Result {
    match float {
        _ if float.is_nan() => out.write_str("+nan.0"),
        f64::INFINITY => out.write_str("+inf.0"),
        f64::NEG_INFINITY => out.write_str("-inf.0"),
        // The shortest digits that are read back as the same float, with a point or an exponent.
        _ => write!(out, "{float:?}"),
    }
}
