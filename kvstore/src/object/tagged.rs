//! What JSON has no form for, and the form it gets: an object with one key that begins with `$`. Both JSON
//! itself and the serde formats that people read use it.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::{Map, Object, map::MapBuilder};

pub(super) const SYMBOL: &str = "$symbol";
pub(super) const BYTES: &str = "$bytes";
pub(super) const LIST: &str = "$list";
pub(super) const DOTTED: &str = "$dotted";
pub(super) const FLOAT: &str = "$float";
pub(super) const INTEGER: &str = "$integer";
pub(super) const MAP: &str = "$map";

/// What is wrong with what is under a tag.
#[derive(Debug, PartialEq)]
pub(super) enum TagFault {
    Malformed(&'static str),
    IntegerRange,
    DuplicateKey,
}

fn is_tag(key: &str) -> bool {
    matches!(key, SYMBOL | BYTES | LIST | DOTTED | FLOAT | INTEGER | MAP)
}

/// The tag of a map that is a tagged value, as long as it is read.
pub(super) fn tag_of(entries: &Map) -> Option<&str> {
    match entries.keys().next() {
        Some(Object::String(key)) if entries.len() == 1 && is_tag(key) => Some(key),
        _ => None,
    }
}

/// Whether a map would not be read back as itself when it is written as a plain JSON object.
pub(super) fn map_needs_tag(entries: &Map) -> bool {
    let plain_keys = entries.keys().all(|key| matches!(key, Object::String(_)));
    !plain_keys || tag_of(entries).is_some()
}

/// Whether an integer is outside of what JSON's readers commonly keep exactly.
pub(super) fn integer_needs_tag(value: i128) -> bool {
    value < i128::from(i64::MIN) || value > i128::from(u64::MAX)
}

/// How a float that is not finite is written.
pub(super) fn float_name(value: f64) -> &'static str {
    match value {
        f64::INFINITY => "+inf.0",
        f64::NEG_INFINITY => "-inf.0",
        _ => "+nan.0",
    }
}

pub(super) fn encode_bytes(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// The value that a map stands for: itself, or a tagged value.
pub(super) fn resolve(entries: Map) -> Result<Object, TagFault> {
    if tag_of(&entries).is_none() {
        return Ok(Object::Map(entries));
    }
    match entries.into_iter().next() {
        Some((Object::String(tag), value)) => untag(&tag, value),
        _ => Ok(Object::Map(Map::new())),
    }
}

fn untag(tag: &str, value: Object) -> Result<Object, TagFault> {
    match (tag, value) {
        (SYMBOL, Object::String(name)) => Ok(Object::Symbol(name)),
        (SYMBOL, _) => Err(TagFault::Malformed("$symbol needs a string")),
        (BYTES, Object::String(text)) => match BASE64.decode(text) {
            Ok(bytes) => Ok(Object::Bytes(bytes)),
            Err(_) => Err(TagFault::Malformed("$bytes needs a string in base64, with padding")),
        },
        (BYTES, _) => Err(TagFault::Malformed("$bytes needs a string in base64, with padding")),
        (LIST, Object::Vector(items)) => Ok(Object::list(items)),
        (LIST, _) => Err(TagFault::Malformed("$list needs an array")),
        (DOTTED, Object::Vector(mut items)) if items.len() > 1 => {
            let tail = items.pop().unwrap_or_default();
            Ok(Object::dotted(items, tail))
        }
        (DOTTED, _) => Err(TagFault::Malformed("$dotted needs an array of two or more")),
        (FLOAT, Object::String(text)) => match text.as_str() {
            "+nan.0" => Ok(Object::Float(f64::NAN)),
            "+inf.0" => Ok(Object::Float(f64::INFINITY)),
            "-inf.0" => Ok(Object::Float(f64::NEG_INFINITY)),
            _ => Err(TagFault::Malformed("$float needs one of \"+nan.0\", \"+inf.0\" and \"-inf.0\"")),
        },
        (FLOAT, _) => Err(TagFault::Malformed("$float needs one of \"+nan.0\", \"+inf.0\" and \"-inf.0\"")),
        (INTEGER, Object::String(text)) => {
            let digits = text.strip_prefix('-').unwrap_or(&text);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(TagFault::Malformed("$integer needs a string of digits"));
            }
            text.parse().map(Object::Integer).map_err(|_| TagFault::IntegerRange)
        }
        (INTEGER, _) => Err(TagFault::Malformed("$integer needs a string of digits")),
        (MAP, Object::Vector(items)) => entries(items),
        (_, _) => Err(TagFault::Malformed(MAP_SHAPE)),
    }
}

const MAP_SHAPE: &str = "$map needs an array of arrays of a key and a value";

fn entries(items: Vec<Object>) -> Result<Object, TagFault> {
    let mut entries = MapBuilder::default();
    for (place, item) in items.into_iter().enumerate() {
        let Object::Vector(pair) = item else { return Err(TagFault::Malformed(MAP_SHAPE)) };
        let Ok([key, value]) = <[Object; 2]>::try_from(pair) else {
            return Err(TagFault::Malformed(MAP_SHAPE));
        };
        entries.add(key, value, place);
    }
    entries.finish().map(Object::Map).map_err(|_| TagFault::DuplicateKey)
}
