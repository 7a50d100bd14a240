//! The value itself: its kinds, how it is made and how it is looked into. Order and equality are in `order`, the
//! three written forms in modules of their own.

use std::fmt;

use thiserror::Error;

use super::{
    list::List,
    map::Map,
    walk::{Event, Walk},
};

/// How deep an object may be nested: a list, a vector or a map in another, this many times.
///
/// The length of a list does not count, however it is written. Every reader, and every writer whose result is
/// meant to be read again, refuses what is deeper.
pub const MAX_DEPTH: usize = 256;

/// A self-describing value.
///
/// Each value has exactly one representation, so that equal objects have equal bytes. Numbers of different kinds
/// are different values: `1` is not `1.0`. Floats are equal when they are written the same, so `NaN` equals
/// itself, and `-0.0` is not `0.0`.
///
/// ```
/// use kvstore::object::Object;
///
/// let pair = |key, value| Object::cons(Object::symbol(key), Object::from(value));
/// let alist = Object::list([pair("a", 1), pair("b", 2)]);
/// assert_eq!(alist.to_string(), "((a . 1) (b . 2))");
/// assert_eq!(Object::parse_sexp("((a . 1) (b . 2))")?, alist);
/// assert_eq!(Object::from_bytes(&alist.to_bytes()?)?, alist);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub enum Object {
    /// Nothing, which is also the empty list: `()`, JSON's `null`, Rust's `None` and `()`.
    #[default]
    Nil,
    /// True or false.
    Boolean(bool),
    /// A whole number. Readers refuse what is outside of this range.
    Integer(i128),
    /// A floating-point number. There is one `NaN`: its sign and its payload are not kept.
    Float(f64),
    /// Text.
    String(String),
    /// A name, as in Scheme.
    Symbol(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// One item or more, and for a dotted list such as `(a . b)` an end that is no list.
    List(List),
    /// Any number of items.
    Vector(Vec<Object>),
    /// Values by key. It is kept sorted by key, so that equal maps have equal bytes.
    Map(Map),
}

/// An object that is nested deeper than [`MAX_DEPTH`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the object is nested deeper than {MAX_DEPTH} levels")]
pub struct TooDeep;

impl Object {
    /// A proper list: `(a b c)`, or nil when there are no items.
    pub fn list(items: impl IntoIterator<Item = Object>) -> Object {
        Object::dotted(items, Object::Nil)
    }

    /// A list with an end of its own: `(a b . tail)`.
    ///
    /// An end that is a list continues the list, as in Scheme; no items at all leave just the end.
    pub fn dotted(items: impl IntoIterator<Item = Object>, tail: Object) -> Object {
        List::build(items.into_iter().collect(), tail)
    }

    /// A pair: `(head . tail)`.
    ///
    /// This copies nothing but moves the items of a tail that is a list: to make a long list, use
    /// [`Object::list`].
    pub fn cons(head: Object, tail: Object) -> Object {
        Object::dotted([head], tail)
    }

    /// A symbol.
    pub fn symbol(name: impl Into<String>) -> Object {
        Object::Symbol(name.into())
    }

    /// A string.
    pub fn string(text: impl Into<String>) -> Object {
        Object::String(text.into())
    }

    /// Raw bytes.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Object {
        Object::Bytes(bytes.into())
    }

    /// A vector: `#(a b c)`.
    pub fn vector(items: impl IntoIterator<Item = Object>) -> Object {
        Object::Vector(items.into_iter().collect())
    }

    /// A map; of two equal keys the later one counts.
    pub fn map(entries: impl IntoIterator<Item = (Object, Object)>) -> Object {
        Object::Map(entries.into_iter().collect())
    }

    /// What kind of value this is, in a word for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Object::Nil => "nil",
            Object::Boolean(_) => "a boolean",
            Object::Integer(_) => "an integer",
            Object::Float(_) => "a float",
            Object::String(_) => "a string",
            Object::Symbol(_) => "a symbol",
            Object::Bytes(_) => "bytes",
            Object::List(list) if list.tail().is_some() => "a dotted list",
            Object::List(_) => "a list",
            Object::Vector(_) => "a vector",
            Object::Map(_) => "a map",
        }
    }

    /// Whether this is nil, the empty list.
    pub fn is_nil(&self) -> bool {
        matches!(self, Object::Nil)
    }

    /// The boolean, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Object::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if this is one.
    pub fn as_integer(&self) -> Option<i128> {
        match self {
            Object::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The float, if this is one. An integer is none.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Object::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if this is a string. A symbol is none.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Object::String(text) => Some(text),
            _ => None,
        }
    }

    /// The name, if this is a symbol.
    pub fn as_symbol(&self) -> Option<&str> {
        match self {
            Object::Symbol(name) => Some(name),
            _ => None,
        }
    }

    /// The bytes, if this is bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Object::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The items of a proper list (of nil, none) or of a vector.
    pub fn as_slice(&self) -> Option<&[Object]> {
        match self {
            Object::Nil => Some(&[]),
            Object::List(list) if list.tail().is_none() => Some(list.items()),
            Object::Vector(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if this is a map.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Object::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// What a map has under the string `key`.
    pub fn get(&self, key: &str) -> Option<&Object> {
        self.as_map()?.get(&Object::string(key))
    }

    /// How many levels of lists, vectors and maps there are: 0 for what is none of them.
    pub fn depth(&self) -> usize {
        let mut deepest = 0;
        let mut depth = 0;
        for event in Walk::new(self) {
            match event {
                Event::Open(_) => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                Event::Close(_) => depth -= 1,
                _ => {}
            }
        }
        deepest
    }
}

/// The S-expression.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<()> for Object {
    fn from((): ()) -> Object {
        Object::Nil
    }
}

impl From<bool> for Object {
    fn from(value: bool) -> Object {
        Object::Boolean(value)
    }
}

macro_rules! from_integers {
    ($($integer:ty),*) => {
        $(impl From<$integer> for Object {
            fn from(value: $integer) -> Object {
                Object::Integer(value.into())
            }
        })*
    };
}

from_integers!(i8, i16, i32, i64, i128, u8, u16, u32, u64);

impl From<f64> for Object {
    fn from(value: f64) -> Object {
        Object::Float(value)
    }
}

impl From<&str> for Object {
    fn from(text: &str) -> Object {
        Object::String(text.to_owned())
    }
}

impl From<String> for Object {
    fn from(text: String) -> Object {
        Object::String(text)
    }
}

impl From<List> for Object {
    fn from(list: List) -> Object {
        Object::List(list)
    }
}

impl From<Vec<Object>> for Object {
    fn from(items: Vec<Object>) -> Object {
        Object::Vector(items)
    }
}

impl From<Map> for Object {
    fn from(entries: Map) -> Object {
        Object::Map(entries)
    }
}

impl<T: Into<Object>> From<Option<T>> for Object {
    fn from(value: Option<T>) -> Object {
        value.map_or(Object::Nil, Into::into)
    }
}
