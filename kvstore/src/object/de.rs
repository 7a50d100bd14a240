//! From an object to any type that serde can read.

use std::slice;

use serde::{
    de::{
        self, Deserialize, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, Unexpected, VariantAccess,
        Visitor,
        value::{BorrowedStrDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use thiserror::Error;

use super::{List, Map, Object, map, serde_object::OBJECT_NAME};

/// How many options and structs of one field may be around one value. A type that has nothing but itself in it
/// would go on without end.
const MAX_WRAPPERS: usize = 64;

/// An object that is not a value of the Rust type that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FromObjectError {
    /// A dotted list where a type has no room for its end.
    #[error("a dotted list, for which the type has no room")]
    Dotted,
    /// A type that has nothing but itself in it.
    #[error("the type wraps itself more than {MAX_WRAPPERS} times around one value")]
    Wrapped,
    /// The object has another shape than the type, which says so.
    #[error("{0}")]
    Shape(String),
}

impl de::Error for FromObjectError {
    fn custom<T: std::fmt::Display>(message: T) -> FromObjectError {
        FromObjectError::Shape(message.to_string())
    }
}

/// Makes a value of any type that serde can read.
///
/// It reads what [`to_object`](super::to_object) writes, and more, for objects that people wrote in Scheme's way:
/// - a symbol does for a string;
/// - a proper list does for a vector, nil for an empty one, bytes for a sequence of integers;
/// - a list of pairs, `((a . 1) (b . 2))`, does for a map or a struct, nil for one without entries;
/// - a pair, `(a . 1)`, does for a tuple of two;
/// - an integer does for a float.
///
/// Where serde first reads a value without knowing its type (enums that are untagged or have their tag inside,
/// flattened fields) it sees a list as a sequence, a symbol as a string and a dotted list not at all.
///
/// ```
/// use std::collections::BTreeMap;
/// use kvstore::object::{Object, from_object};
///
/// let object = Object::parse_sexp("((a . 1) (b . 2))")?;
/// let map: BTreeMap<&str, u8> = from_object(&object)?;
/// assert_eq!(map, BTreeMap::from([("a", 1), ("b", 2)]));
/// let pairs: Vec<(String, f32)> = from_object(&object)?;
/// assert_eq!(pairs, [("a".to_owned(), 1.0), ("b".to_owned(), 2.0)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the object has another shape than the type.
pub fn from_object<'de, T: Deserialize<'de>>(object: &'de Object) -> Result<T, FromObjectError> {
    T::deserialize(Deserializer::new(View::of(object)))
}

/// An object, or the rest of a list, which is no object of its own.
#[derive(Clone, Copy)]
enum View<'de> {
    Nil,
    Atom(&'de Object),
    List { items: &'de [Object], tail: Option<&'de Object> },
    Vector(&'de [Object]),
    Map(&'de Map),
}

impl<'de> View<'de> {
    fn of(object: &'de Object) -> View<'de> {
        match object {
            Object::Nil => View::Nil,
            Object::List(list) => View::List { items: list.items(), tail: list.tail() },
            Object::Vector(items) => View::Vector(items),
            Object::Map(entries) => View::Map(entries),
            atom => View::Atom(atom),
        }
    }

    /// The head and the rest of a list.
    fn pair(list: &'de List) -> (View<'de>, View<'de>) {
        let rest = match (list.items().get(1..).unwrap_or_default(), list.tail()) {
            ([], None) => View::Nil,
            ([], Some(tail)) => View::of(tail),
            (items, tail) => View::List { items, tail },
        };
        (View::of(list.head()), rest)
    }

    fn to_object(self) -> Object {
        match self {
            View::Nil => Object::Nil,
            View::Atom(atom) => atom.clone(),
            View::List { items, tail } => Object::dotted(items.to_vec(), tail.cloned().unwrap_or_default()),
            View::Vector(items) => Object::Vector(items.to_vec()),
            View::Map(entries) => Object::Map(entries.clone()),
        }
    }

    fn unexpected(self) -> Unexpected<'de> {
        match self {
            View::Nil => Unexpected::Unit,
            View::Atom(Object::Boolean(value)) => Unexpected::Bool(*value),
            View::Atom(Object::Float(value)) => Unexpected::Float(*value),
            View::Atom(Object::String(text) | Object::Symbol(text)) => Unexpected::Str(text),
            View::Atom(Object::Bytes(bytes)) => Unexpected::Bytes(bytes),
            View::Atom(other) => Unexpected::Other(other.kind()),
            View::List { .. } | View::Vector(_) => Unexpected::Seq,
            View::Map(_) => Unexpected::Map,
        }
    }

    /// The entries of a map, of a proper list that is all pairs, or of nil.
    fn entries(self) -> Option<Entries<'de>> {
        let rest = match self {
            View::Nil => Rest::Pairs([].iter()),
            View::Map(entries) => Rest::Entries(entries.iter()),
            View::List { items, tail: None } if items.iter().all(|item| matches!(item, Object::List(_))) => {
                Rest::Pairs(items.iter())
            }
            _ => return None,
        };
        Some(Entries { rest, value: None })
    }
}

#[derive(Clone, Copy)]
struct Deserializer<'de> {
    view: View<'de>,
    wrappers: usize,
}

impl<'de> Deserializer<'de> {
    fn new(view: View<'de>) -> Deserializer<'de> {
        Deserializer { view, wrappers: 0 }
    }

    fn wrapped(self) -> Result<Deserializer<'de>, FromObjectError> {
        if self.wrappers == MAX_WRAPPERS {
            return Err(FromObjectError::Wrapped);
        }
        Ok(Deserializer { view: self.view, wrappers: self.wrappers + 1 })
    }
}

impl<'de> de::Deserializer<'de> for Deserializer<'de> {
    type Error = FromObjectError;

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FromObjectError> {
        match self.view {
            View::Nil => visitor.visit_unit(),
            View::Atom(atom) => visit_atom(atom, visitor),
            View::List { items, tail: None } | View::Vector(items) => visit_items(items, None, visitor),
            View::List { .. } => Err(FromObjectError::Dotted),
            View::Map(entries) => {
                visit_entries(Entries { rest: Rest::Entries(entries.iter()), value: None }, visitor)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FromObjectError> {
        match self.view {
            View::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self.wrapped()?),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, FromObjectError> {
        if name == OBJECT_NAME {
            return visitor.visit_byte_buf(self.view.to_object().to_bytes().map_err(de::Error::custom)?);
        }
        visitor.visit_newtype_struct(self.wrapped()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FromObjectError> {
        match self.view {
            View::Nil => visit_items(&[], None, visitor),
            View::Atom(Object::Bytes(bytes)) => {
                let mut items = SeqDeserializer::new(bytes.iter().copied());
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, FromObjectError> {
        match self.view {
            View::List { items, tail } if length == 2 && items.len() == 1 => {
                visit_items(items, tail, visitor)
            }
            _ => self.deserialize_seq(visitor),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, FromObjectError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FromObjectError> {
        match self.view.entries() {
            Some(entries) => visit_entries(entries, visitor),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FromObjectError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FromObjectError> {
        if let View::Atom(Object::String(name) | Object::Symbol(name)) = self.view {
            return visitor.visit_enum(BorrowedStrDeserializer::new(name));
        }
        let mut entries = self.view.entries();
        match (entries.as_mut().and_then(Entries::next), entries.as_mut().and_then(Entries::next)) {
            (Some((name, data)), None) => visitor.visit_enum(Variant { name, data }),
            _ => Err(de::Error::invalid_type(
                self.view.unexpected(),
                &"the name of a variant, or a map of just that to its data",
            )),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FromObjectError> {
        visitor.visit_unit()
    }
}

fn visit_atom<'de, V: Visitor<'de>>(atom: &'de Object, visitor: V) -> Result<V::Value, FromObjectError> {
    match atom {
        Object::Boolean(value) => visitor.visit_bool(*value),
        // The smaller types first, as few types take the larger.
        Object::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
            (Ok(value), _) => visitor.visit_i64(value),
            (_, Ok(value)) => visitor.visit_u64(value),
            _ => visitor.visit_i128(*value),
        },
        Object::Float(value) => visitor.visit_f64(*value),
        Object::String(text) | Object::Symbol(text) => visitor.visit_borrowed_str(text),
        Object::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
        // The others are no atoms.
        Object::Nil | Object::List(_) | Object::Vector(_) | Object::Map(_) => visitor.visit_unit(),
    }
}

fn visit_items<'de, V: Visitor<'de>>(
    items: &'de [Object],
    tail: Option<&'de Object>,
    visitor: V,
) -> Result<V::Value, FromObjectError> {
    let length = items.len() + usize::from(tail.is_some());
    let mut items = Items { items: items.iter(), tail };
    let value = visitor.visit_seq(&mut items)?;
    match items.left() {
        0 => Ok(value),
        left => Err(de::Error::invalid_length(length, &fewer(length - left).as_str())),
    }
}

fn visit_entries<'de, V: Visitor<'de>>(
    mut entries: Entries<'de>,
    visitor: V,
) -> Result<V::Value, FromObjectError> {
    let length = entries.left();
    let value = visitor.visit_map(&mut entries)?;
    match entries.left() {
        0 => Ok(value),
        left => Err(de::Error::invalid_length(length, &fewer(length - left).as_str())),
    }
}

fn fewer(taken: usize) -> String {
    format!("only {taken}")
}

/// The items of a list or a vector, and what is after a pair's dot.
struct Items<'de> {
    items: slice::Iter<'de, Object>,
    tail: Option<&'de Object>,
}

impl Items<'_> {
    fn left(&self) -> usize {
        self.items.len() + usize::from(self.tail.is_some())
    }
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = FromObjectError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, FromObjectError> {
        match self.items.next().or_else(|| self.tail.take()) {
            Some(item) => seed.deserialize(Deserializer::new(View::of(item))).map(Some),
            None => Ok(None),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left())
    }
}

/// The entries of a map, or of a list of pairs.
struct Entries<'de> {
    rest: Rest<'de>,
    value: Option<View<'de>>,
}

enum Rest<'de> {
    Entries(map::Iter<'de>),
    Pairs(slice::Iter<'de, Object>),
}

impl<'de> Entries<'de> {
    fn left(&self) -> usize {
        match &self.rest {
            Rest::Entries(entries) => entries.len(),
            Rest::Pairs(pairs) => pairs.len(),
        }
    }

    fn next(&mut self) -> Option<(View<'de>, View<'de>)> {
        match &mut self.rest {
            Rest::Entries(entries) => entries.next().map(|(key, value)| (View::of(key), View::of(value))),
            Rest::Pairs(pairs) => match pairs.next()? {
                Object::List(pair) => Some(View::pair(pair)),
                _ => None,
            },
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = FromObjectError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, FromObjectError> {
        let Some((key, value)) = self.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(Deserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, FromObjectError> {
        let value = self.value.take().ok_or_else(|| de::Error::custom("a value was read before its key"))?;
        seed.deserialize(Deserializer::new(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left())
    }
}

/// A variant that has data.
struct Variant<'de> {
    name: View<'de>,
    data: View<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = FromObjectError;
    type Variant = Deserializer<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Deserializer<'de>), FromObjectError> {
        let variant = seed.deserialize(Deserializer::new(self.name))?;
        Ok((variant, Deserializer::new(self.data)))
    }
}

impl<'de> VariantAccess<'de> for Deserializer<'de> {
    type Error = FromObjectError;

    fn unit_variant(self) -> Result<(), FromObjectError> {
        <()>::deserialize(self)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, FromObjectError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, FromObjectError> {
        de::Deserializer::deserialize_tuple(self, length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FromObjectError> {
        de::Deserializer::deserialize_map(self, visitor)
    }
}
