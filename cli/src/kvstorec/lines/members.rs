//! The members of a JSON object that is a line of input, each known with the column at which its value begins.

use std::{borrow::Cow, fmt};

use base64::{DecodeError, Engine as _, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use super::super::key::parse_hex;

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct LineError {
    /// Where, in bytes from 1 on; unknown where it is about the line as a whole.
    pub(super) column: Option<usize>,
    pub(super) what: String,
}

impl LineError {
    pub(in super::super) fn new(what: impl Into<String>) -> Self {
        Self { column: None, what: what.into() }
    }

    /// Where it is, as in `line 7, column 3`.
    pub(in super::super) fn place(&self, line: u64) -> String {
        match self.column {
            Some(column) => format!("line {line}, column {column}"),
            None => format!("line {line}"),
        }
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// The members of an object, none of which is there twice or unknown.
pub(in super::super) struct Members<'a> {
    line: &'a [u8],
    members: Vec<(String, &'a RawValue)>,
}

/// More are not even looked at.
const MAX_MEMBERS: usize = 32;

impl<'a> Members<'a> {
    /// Reads a line, which may have these members.
    pub(in super::super) fn parse(line: &'a [u8], known: &[&str]) -> Result<Self, LineError> {
        let Object(members) = serde_json::from_slice(line).map_err(|why| not_read(&why))?;
        let members = Self { line, members };
        for (index, (name, value)) in members.members.iter().enumerate() {
            let wrong = |what: String| Err(LineError { column: Some(members.column(value)), what });
            if !known.contains(&name.as_str()) {
                return wrong(format!("there is no member {name:?}; those are {}", known.join(", ")));
            }
            if members.members[..index].iter().any(|(other, _)| other == name) {
                return wrong(format!("the member {name:?} comes twice"));
            }
        }
        Ok(members)
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.members.iter().find(|(other, _)| other == name);
        // As in what the commands print, null is nothing.
        found.map(|(_, value)| *value).filter(|value| value.get() != "null")
    }

    /// Whether there is such a member, other than null.
    pub(in super::super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Something that is wrong with a member.
    pub(in super::super) fn wrong(&self, name: &str, what: impl Into<String>) -> LineError {
        LineError { column: self.get(name).map(|value| self.column(value)), what: what.into() }
    }

    fn column(&self, value: &RawValue) -> usize {
        // The value is a part of the line.
        value.get().as_ptr().addr().saturating_sub(self.line.as_ptr().addr()) + 1
    }

    pub(in super::super) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, LineError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let Some(quoted) = quoted(value) else {
            return Err(self.wrong(name, format!("{name} must be text, in double quotes")));
        };
        if !quoted.contains('\\') {
            return Ok(Some(Cow::Borrowed(quoted)));
        }
        let text = serde_json::from_str(value.get());
        text.map(|text: String| Some(Cow::Owned(text)))
            .map_err(|_| self.wrong(name, format!("{name} has an escape that is no character")))
    }

    pub(in super::super) fn number(&self, name: &str) -> Result<Option<u64>, LineError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.get().parse().map(Some).map_err(|_| {
            self.wrong(name, format!("{name} must be a whole number from 0 to {}, without quotes", u64::MAX))
        })
    }

    pub(in super::super) fn flag(&self, name: &str) -> Result<Option<bool>, LineError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value
            .get()
            .parse()
            .map(Some)
            .map_err(|_| self.wrong(name, format!("{name} must be true or false, without quotes")))
    }

    /// Bytes as hexadecimal digits.
    pub(in super::super) fn hex(&self, name: &str) -> Result<Option<Vec<u8>>, LineError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        parse_hex(&text)
            .map(|key| Some(key.bytes().to_vec()))
            .map_err(|expected| self.wrong(name, format!("{name}: {expected}")))
    }

    /// Bytes in base64.
    pub(super) fn base64(&self, name: &str) -> Result<Option<Vec<u8>>, LineError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        STANDARD.decode(&*text).map(Some).map_err(|why| {
            let wrong = self.wrong(name, format!("{name} is no base64: {}", in_base64(&why)));
            match (why, &text) {
                // Behind the quote; where there are escapes, the place in the line is another.
                (
                    DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _),
                    Cow::Borrowed(_),
                ) => LineError { column: wrong.column.map(|begin| begin + 1 + at), ..wrong },
                _ => wrong,
            }
        })
    }
}

fn in_base64(why: &DecodeError) -> String {
    match why {
        DecodeError::InvalidByte(_, byte) => format!("'{}' does not belong there", byte.escape_ascii()),
        DecodeError::InvalidLastSymbol(_, byte) => {
            format!("'{}' cannot be the last character", byte.escape_ascii())
        }
        DecodeError::InvalidLength(_) => "its length is wrong, as if something were missing".to_owned(),
        DecodeError::InvalidPadding => "it must end with as many = as fill up four characters".to_owned(),
    }
}

/// What is between the quotes of a JSON string.
fn quoted(value: &RawValue) -> Option<&str> {
    value.get().strip_prefix('"')?.strip_suffix('"')
}

fn not_read(why: &serde_json::Error) -> LineError {
    let at = Some(why.column()).filter(|column| *column > 0);
    match why.classify() {
        Category::Eof => LineError { column: at, what: "it ends within its JSON".to_owned() },
        Category::Syntax | Category::Io => LineError { column: at, what: "this is no JSON".to_owned() },
        Category::Data => LineError::new("it must be a JSON object with named members, in { and }"),
    }
}

/// Any object, whose values are not read yet.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    if members.len() < MAX_MEMBERS {
                        members.push(member);
                    }
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["text", "number", "flag", "bytes"];

    fn wrong(line: &str, read: impl FnOnce(&Members<'_>) -> Result<(), LineError>) -> String {
        let read = Members::parse(line.as_bytes(), &KNOWN).and_then(|members| read(&members));
        let why = read.expect_err(line);
        format!("{}: {why}", why.place(1))
    }

    #[test]
    fn members_are_read() {
        let line = br#" {"text": "a\n\"b", "number": 18446744073709551615, "flag": true, "bytes": "/wA="} "#;
        let members = Members::parse(line, &KNOWN).unwrap();
        assert_eq!(members.text("text").unwrap().unwrap(), "a\n\"b");
        assert_eq!(members.number("number"), Ok(Some(u64::MAX)));
        assert_eq!(members.flag("flag"), Ok(Some(true)));
        assert_eq!(members.base64("bytes"), Ok(Some(vec![255, 0])));
        let members = Members::parse(br#"{"text": null}"#, &KNOWN).unwrap();
        assert_eq!((members.text("text"), members.has("text")), (Ok(None), false));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_in_our_words() {
        for (line, expected) in [
            (r#"{"text": "a""#, "line 1, column 12: it ends within its JSON"),
            (r#"{"text": a}"#, "line 1, column 10: this is no JSON"),
            (r#"{"text": "a"} x"#, "line 1, column 15: this is no JSON"),
            ("put a", "line 1, column 1: this is no JSON"),
            ("[]", "line 1: it must be a JSON object with named members, in { and }"),
            (
                r#"{"text": "a", "size": 1}"#,
                "line 1, column 23: there is no member \"size\"; those are text, number, flag, bytes",
            ),
            (r#"{"text": "a", "text": "b"}"#, "line 1, column 23: the member \"text\" comes twice"),
        ] {
            assert_eq!(wrong(line, |_| Ok(())), expected, "{line}");
        }
        assert_eq!(
            wrong(r#"{"text": 1}"#, |members| members.text("text").map(drop)),
            "line 1, column 10: text must be text, in double quotes"
        );
        assert_eq!(
            wrong(r#"{"text": "\ud800"}"#, |members| members.text("text").map(drop)),
            "line 1, column 10: text has an escape that is no character"
        );
        for number in ["-1", "1.0", "1e3", "\"1\"", "18446744073709551616"] {
            let text =
                wrong(&format!("{{\"number\": {number}}}"), |members| members.number("number").map(drop));
            assert_eq!(
                text,
                "line 1, column 12: number must be a whole number from 0 to 18446744073709551615, without quotes"
            );
        }
        assert_eq!(
            wrong(r#"{"flag": "true"}"#, |members| members.flag("flag").map(drop)),
            "line 1, column 10: flag must be true or false, without quotes"
        );
    }

    #[test]
    fn base64_is_read_strictly() {
        for (text, expected) in [
            ("a*bc", "line 1, column 13: bytes is no base64: '*' does not belong there"),
            (
                "YQ",
                "line 1, column 11: bytes is no base64: it must end with as many = as fill up four characters",
            ),
            ("YQ=a", "line 1, column 14: bytes is no base64: '=' does not belong there"),
            (
                "YWJjY",
                "line 1, column 11: bytes is no base64: its length is wrong, as if something were missing",
            ),
        ] {
            let line = format!("{{\"bytes\": \"{text}\"}}");
            assert_eq!(wrong(&line, |members| members.base64("bytes").map(drop)), expected, "{text}");
        }
    }
}
