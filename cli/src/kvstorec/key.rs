//! A key as the command line has it: any bytes.

use std::{
    ffi::OsStr,
    fmt::{self, Write},
    os::unix::ffi::OsStrExt,
};

use serde::Serialize;

/// A key. It is shown as text where it is some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn new(argument: &OsStr) -> Self {
        Self(argument.as_bytes().to_vec())
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
    fn a_key_is_shown_as_text_where_it_is_some() {
        let json = |key: &[u8]| serde_json::to_string(&Key(key.to_vec()).in_json()).unwrap();
        assert_eq!(json("grün".as_bytes()), r#"{"key":"grün"}"#);
        assert_eq!(json(b"\xff\x00"), r#"{"key_hex":"ff00"}"#);
        assert_eq!(Key(b"a\n\xff".to_vec()).to_string(), r#""a\n\xff""#);
    }
}
