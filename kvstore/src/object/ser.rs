//! From any type that serde can write to an object.

use serde::ser::{self, Serialize};
use thiserror::Error;

use super::{MAX_DEPTH, Map, Object, map::MapBuilder, serde_object::OBJECT_NAME};

/// A value of a Rust type that cannot become an object.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ToObjectError {
    /// A `u128` that is greater than the greatest `i128`.
    #[error("the integer {value} does not fit in 128 bits with a sign")]
    IntegerRange {
        /// The integer.
        value: u128,
    },
    /// A map that gives a key twice.
    #[error("the map has a key twice")]
    DuplicateKey,
    /// More than [`MAX_DEPTH`] levels.
    #[error("the value is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The type's own refusal.
    #[error("{0}")]
    Refused(String),
}

impl ser::Error for ToObjectError {
    fn custom<T: std::fmt::Display>(message: T) -> ToObjectError {
        ToObjectError::Refused(message.to_string())
    }
}

/// Makes an object of any value that serde can write.
///
/// | Rust | Object |
/// | --- | --- |
/// | `()`, a unit struct, `None` | nil |
/// | `Some(value)`, a struct of one unnamed field | what is in it |
/// | `bool`; integers; `f32`, `f64` | a boolean; an integer; a float |
/// | `char`, `str` | a string |
/// | bytes (by `serde_bytes`) | bytes |
/// | sequences, tuples, structs of unnamed fields | a vector |
/// | maps | a map, whatever the keys are |
/// | structs | a map with the fields' names as strings |
/// | an enum's variant without data | its name as a string |
/// | another variant | a map of one entry: its name and its data |
/// | [`Object`] | itself |
///
/// Types that have a form for people and one for machines, such as `IpAddr`, take the one for people. As in JSON,
/// `Some(None)` and `Some(())` come out as `None` does.
///
/// ```
/// #[derive(serde::Serialize)]
/// struct Point { x: i32, label: Option<String> }
///
/// let object = kvstore::object::to_object(&Point { x: 1, label: None })?;
/// assert_eq!(object.to_sexp(), r#"#map(("label" . ()) ("x" . 1))"#);
/// # Ok::<(), kvstore::object::ToObjectError>(())
/// ```
///
/// # Errors
/// When an integer does not fit, a map has a key twice, the value is nested deeper than [`MAX_DEPTH`], or its
/// type refuses to be written.
pub fn to_object<T: Serialize + ?Sized>(value: &T) -> Result<Object, ToObjectError> {
    value.serialize(Serializer { depth: 0, native: false })
}

/// Writes one value that is inside of `depth` others.
#[derive(Clone, Copy)]
struct Serializer {
    depth: usize,
    /// Whether the value is the bytes of an object, as [`Object`] writes itself for machines.
    native: bool,
}

impl Serializer {
    /// The serializer for what is in this value.
    fn deeper(self) -> Result<Serializer, ToObjectError> {
        if self.depth == MAX_DEPTH {
            return Err(ToObjectError::TooDeep);
        }
        Ok(Serializer { depth: self.depth + 1, native: false })
    }

    fn items(self, length: Option<usize>, variant: Option<&'static str>) -> Result<Items, ToObjectError> {
        let inner = match variant {
            Some(_) => self.deeper()?.deeper()?,
            None => self.deeper()?,
        };
        Ok(Items { inner, items: Vec::with_capacity(length.unwrap_or(0).min(MAX_AHEAD)), variant })
    }

    fn entries(self, variant: Option<&'static str>) -> Result<Entries, ToObjectError> {
        let inner = match variant {
            Some(_) => self.deeper()?.deeper()?,
            None => self.deeper()?,
        };
        Ok(Entries { inner, entries: MapBuilder::default(), key: None, variant })
    }
}

/// How many items are allocated ahead on the word of a type.
const MAX_AHEAD: usize = 4096;

/// A variant's data under its name.
fn in_variant(variant: Option<&'static str>, data: Object) -> Object {
    match variant {
        Some(name) => Object::map([(Object::string(name), data)]),
        None => data,
    }
}

struct Items {
    inner: Serializer,
    items: Vec<Object>,
    variant: Option<&'static str>,
}

impl Items {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ToObjectError> {
        self.items.push(value.serialize(self.inner)?);
        Ok(())
    }

    fn finish(self) -> Object {
        in_variant(self.variant, Object::Vector(self.items))
    }
}

struct Entries {
    inner: Serializer,
    entries: MapBuilder,
    key: Option<Object>,
    variant: Option<&'static str>,
}

impl Entries {
    fn add<T: Serialize + ?Sized>(&mut self, key: Object, value: &T) -> Result<(), ToObjectError> {
        self.entries.add(key, value.serialize(self.inner)?, 0);
        Ok(())
    }

    fn finish(self) -> Result<Object, ToObjectError> {
        let map: Map = self.entries.finish().map_err(|_| ToObjectError::DuplicateKey)?;
        Ok(in_variant(self.variant, Object::Map(map)))
    }
}

impl ser::Serializer for Serializer {
    type Ok = Object;
    type Error = ToObjectError;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = Entries;

    fn is_human_readable(&self) -> bool {
        !self.native
    }

    fn serialize_bool(self, value: bool) -> Result<Object, ToObjectError> {
        Ok(Object::Boolean(value))
    }

    fn serialize_i8(self, value: i8) -> Result<Object, ToObjectError> {
        Ok(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<Object, ToObjectError> {
        Ok(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<Object, ToObjectError> {
        Ok(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<Object, ToObjectError> {
        Ok(value.into())
    }

    fn serialize_i128(self, value: i128) -> Result<Object, ToObjectError> {
        Ok(value.into())
    }

    fn serialize_u8(self, value: u8) -> Result<Object, ToObjectError> {
        Ok(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<Object, ToObjectError> {
        Ok(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<Object, ToObjectError> {
        Ok(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<Object, ToObjectError> {
        Ok(value.into())
    }

    fn serialize_u128(self, value: u128) -> Result<Object, ToObjectError> {
        i128::try_from(value).map(Object::Integer).map_err(|_| ToObjectError::IntegerRange { value })
    }

    fn serialize_f32(self, value: f32) -> Result<Object, ToObjectError> {
        Ok(Object::Float(value.into()))
    }

    fn serialize_f64(self, value: f64) -> Result<Object, ToObjectError> {
        Ok(Object::Float(value))
    }

    fn serialize_char(self, value: char) -> Result<Object, ToObjectError> {
        Ok(Object::string(value))
    }

    fn serialize_str(self, value: &str) -> Result<Object, ToObjectError> {
        Ok(Object::string(value))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Object, ToObjectError> {
        if self.native {
            return Object::from_bytes(value).map_err(ser::Error::custom);
        }
        Ok(Object::bytes(value))
    }

    fn serialize_none(self) -> Result<Object, ToObjectError> {
        Ok(Object::Nil)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Object, ToObjectError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Object, ToObjectError> {
        Ok(Object::Nil)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Object, ToObjectError> {
        Ok(Object::Nil)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Object, ToObjectError> {
        Ok(Object::string(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Object, ToObjectError> {
        if name != OBJECT_NAME {
            return value.serialize(self);
        }
        let object = value.serialize(Serializer { native: true, ..self })?;
        if self.depth + object.depth() > MAX_DEPTH {
            return Err(ToObjectError::TooDeep);
        }
        Ok(object)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Object, ToObjectError> {
        Ok(in_variant(Some(variant), value.serialize(self.deeper()?)?))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Items, ToObjectError> {
        self.items(length, None)
    }

    fn serialize_tuple(self, length: usize) -> Result<Items, ToObjectError> {
        self.items(Some(length), None)
    }

    fn serialize_tuple_struct(self, _name: &'static str, length: usize) -> Result<Items, ToObjectError> {
        self.items(Some(length), None)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Items, ToObjectError> {
        self.items(Some(length), Some(variant))
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Entries, ToObjectError> {
        self.entries(None)
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Entries, ToObjectError> {
        self.entries(None)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Entries, ToObjectError> {
        self.entries(Some(variant))
    }
}

macro_rules! items {
    ($($kind:ident $method:ident),*) => {
        $(impl ser::$kind for Items {
            type Ok = Object;
            type Error = ToObjectError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ToObjectError> {
                self.add(value)
            }

            fn end(self) -> Result<Object, ToObjectError> {
                Ok(self.finish())
            }
        })*
    };
}

items!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

impl ser::SerializeMap for Entries {
    type Ok = Object;
    type Error = ToObjectError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ToObjectError> {
        self.key = Some(key.serialize(self.inner)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ToObjectError> {
        let key = self.key.take().ok_or_else(|| ser::Error::custom("a map's value came before its key"))?;
        self.add(key, value)
    }

    fn end(self) -> Result<Object, ToObjectError> {
        self.finish()
    }
}

macro_rules! fields {
    ($($kind:ident),*) => {
        $(impl ser::$kind for Entries {
            type Ok = Object;
            type Error = ToObjectError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), ToObjectError> {
                self.add(Object::string(name), value)
            }

            fn end(self) -> Result<Object, ToObjectError> {
                self.finish()
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);
