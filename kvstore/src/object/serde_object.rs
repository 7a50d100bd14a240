//! An object as a part of other types: in bincode as its bytes, in JSON and other forms that people read as it is
//! in our JSON, and in an object as itself.

use std::fmt;

use serde::{
    de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor},
    ser::{self, Serialize, SerializeMap, SerializeSeq, Serializer},
};

use super::{
    MAX_DEPTH, Object, TooDeep,
    map::MapBuilder,
    tagged::{self, TagFault},
};

/// The name by which our own serializer and deserializer know an object. To all others it is a struct of one
/// field, which they pass through.
pub(super) const OBJECT_NAME: &str = "$kvstore::object::Object";

/// In a format for people (JSON, TOML) as [`Object::to_json`] has it; in others (bincode) as the bytes that
/// [`Object::to_bytes`] gives.
impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(OBJECT_NAME, &Whole(self))
    }
}

struct Whole<'a>(&'a Object);

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(&self.0.to_bytes().map_err(ser::Error::custom)?);
        }
        if self.0.depth() > MAX_DEPTH {
            return Err(ser::Error::custom(TooDeep));
        }
        Part(self.0).serialize(serializer)
    }
}

/// An object that is within the limit of depth, for people.
struct Part<'a>(&'a Object);

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Object::Nil => serializer.serialize_unit(),
            Object::Boolean(value) => serializer.serialize_bool(*value),
            Object::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => serializer.serialize_i64(value),
                (_, Ok(value)) => serializer.serialize_u64(value),
                _ => under_tag(serializer, tagged::INTEGER, &value.to_string()),
            },
            Object::Float(value) if value.is_finite() => serializer.serialize_f64(*value),
            Object::Float(value) => under_tag(serializer, tagged::FLOAT, tagged::float_name(*value)),
            Object::String(text) => serializer.serialize_str(text),
            Object::Symbol(name) => under_tag(serializer, tagged::SYMBOL, name),
            Object::Bytes(bytes) => under_tag(serializer, tagged::BYTES, &tagged::encode_bytes(bytes)),
            Object::List(list) => {
                let tag = if list.is_proper() { tagged::LIST } else { tagged::DOTTED };
                under_tag(serializer, tag, &Items { items: list.items(), tail: list.tail() })
            }
            Object::Vector(items) => Items { items, tail: None }.serialize(serializer),
            Object::Map(entries) if tagged::map_needs_tag(entries) => {
                let pairs: Vec<_> = entries.iter().map(|(key, value)| (Part(key), Part(value))).collect();
                under_tag(serializer, tagged::MAP, &pairs)
            }
            Object::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(&Part(key), &Part(value))?;
                }
                map.end()
            }
        }
    }
}

struct Items<'a> {
    items: &'a [Object],
    tail: Option<&'a Object>,
}

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let length = self.items.len() + usize::from(self.tail.is_some());
        let mut items = serializer.serialize_seq(Some(length))?;
        for item in self.items.iter().chain(self.tail) {
            items.serialize_element(&Part(item))?;
        }
        items.end()
    }
}

fn under_tag<S: Serializer, T: Serialize + ?Sized>(
    serializer: S,
    tag: &str,
    value: &T,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(tag, value)?;
    map.end()
}

/// From what [`Serialize`] writes; from a format for people, anything that it can express.
impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        deserializer.deserialize_newtype_struct(OBJECT_NAME, WholeVisitor)
    }
}

struct WholeVisitor;

impl<'de> Visitor<'de> for WholeVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of an object")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Object, D::Error> {
        if deserializer.is_human_readable() {
            return PartSeed { depth: 0 }.deserialize(deserializer);
        }
        deserializer.deserialize_byte_buf(self)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Object, E> {
        Object::from_bytes(bytes).map_err(E::custom)
    }
}

/// Reads a value for people that is inside of `depth` others.
#[derive(Clone, Copy)]
struct PartSeed {
    depth: usize,
}

impl PartSeed {
    fn deeper<E: de::Error>(self) -> Result<PartSeed, E> {
        // What is within the limit here is so as an object too: a tagged form is the deeper of the two.
        if self.depth == MAX_DEPTH {
            return Err(E::custom(TooDeep));
        }
        Ok(PartSeed { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for PartSeed {
    type Value = Object;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Object, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PartSeed {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Object, E> {
        Ok(Object::Nil)
    }

    fn visit_none<E: de::Error>(self) -> Result<Object, E> {
        Ok(Object::Nil)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Object, D::Error> {
        self.deeper()?.deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Object, D::Error> {
        self.deeper()?.deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Object, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Object, E> {
        Ok(value.into())
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Object, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Object, E> {
        Ok(value.into())
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Object, E> {
        let value = i128::try_from(value);
        value.map(Object::Integer).map_err(|_| E::custom("the integer does not fit in 128 bits with a sign"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Object, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Object, E> {
        Ok(text.into())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Object, E> {
        Ok(text.into())
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Object, E> {
        Ok(Object::bytes(bytes))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Object, E> {
        Ok(Object::Bytes(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Object, A::Error> {
        let inner = self.deeper()?;
        let mut read = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            read.push(item);
        }
        Ok(Object::Vector(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Object, A::Error> {
        let inner = self.deeper()?;
        let mut read = MapBuilder::default();
        while let Some(key) = entries.next_key_seed(inner)? {
            read.add(key, entries.next_value_seed(inner)?, 0);
        }
        let map = read.finish().map_err(|_| de::Error::custom("the key is in the map already"))?;
        tagged::resolve(map).map_err(|fault| match fault {
            TagFault::Malformed(message) => de::Error::custom(message),
            TagFault::IntegerRange => de::Error::custom("the integer does not fit in 128 bits with a sign"),
            TagFault::DuplicateKey => de::Error::custom("the key is in the map already"),
        })
    }
}
