//! A key as the command line has it: any bytes.

use std::{
    ffi::OsStr,
    fmt::{self, Write},
    os::unix::ffi::OsStrExt,
};

use serde::Serialize;

/// A key. It is shown as text where it is some.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn new(argument: &OsStr) -> Self {
        Self(argument.as_bytes().to_vec())
    }

    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its form in lists: one line without control characters, from which the bytes can be told.
    pub(super) fn in_list(&self) -> String {
        let mut text = String::with_capacity(self.0.len());
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                let mut utf8 = [0; 4];
                match character {
                    '\\' => text.push_str("\\\\"),
                    '\'' | '"' => text.push(character),
                    // What Rust prints as it is in a string can be printed.
                    _ if character.escape_debug().len() == 1 => text.push(character),
                    _ => push_escaped(&mut text, character.encode_utf8(&mut utf8).as_bytes()),
                }
            }
            push_escaped(&mut text, chunk.invalid());
        }
        text
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its form in JSON.
    pub(super) fn in_json(&self) -> JsonKey<'_> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => JsonKey::Key(text),
            Err(_) => JsonKey::KeyHex(hex(&self.0)),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// The member `key`, or `key_hex` where the key is no text.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum JsonKey<'a> {
    Key(&'a str),
    KeyHex(String),
}

fn push_escaped(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(text, "\\x{byte:02x}").expect("a string can be written");
    }
}

/// Reads a key that is given as hexadecimal digits.
pub(super) fn parse_hex(text: &str) -> Result<Key, String> {
    let expected = || "an even number of hexadecimal digits is expected".to_owned();
    if !text.len().is_multiple_of(2) || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(expected());
    }
    let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    bytes.collect::<Result<_, _>>().map(Key).map_err(|_| expected())
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string can be written");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_key_is_one_line_that_tells_all_bytes() {
        let listed = |key: &[u8]| Key(key.to_vec()).in_list();
        assert_eq!(listed("grün \"it's\"".as_bytes()), "grün \"it's\"");
        assert_eq!(listed(b"a\\b\n\x1b[2J\0\xff\xc3"), r"a\\b\x0a\x1b[2J\x00\xff\xc3");
        // A mark that turns the direction of writing around.
        assert_eq!(listed("\u{202e}x".as_bytes()), r"\xe2\x80\xaex");
    }

    #[test]
    fn hexadecimal_digits_are_read() {
        assert_eq!(parse_hex("00fFa1"), Ok(Key(vec![0, 255, 161])));
        assert_eq!(parse_hex(""), Ok(Key(Vec::new())));
        for text in ["0", "0g", "+1", "ää"] {
            assert!(parse_hex(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_is_shown_as_text_where_it_is_some() {
        let json = |key: &[u8]| serde_json::to_string(&Key(key.to_vec()).in_json()).unwrap();
        assert_eq!(json("grün".as_bytes()), r#"{"key":"grün"}"#);
        assert_eq!(json(b"\xff\x00"), r#"{"key_hex":"ff00"}"#);
        assert_eq!(Key(b"a\n\xff".to_vec()).to_string(), r#""a\n\xff""#);
    }
}
