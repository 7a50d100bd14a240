//! Objects: the self-describing values that the store keeps for `put-object` and its kin.
//!
//! An [`Object`] has three written forms, between which nothing is lost:
//! - bytes, which are stable and have one form for each value: [`Object::to_bytes`], [`Object::from_bytes`];
//! - S-expressions, as in Scheme: [`Object::to_sexp`], [`Object::parse_sexp`];
//! - JSON, with tagged forms for what it lacks: [`Object::to_json`], [`Object::from_json`].
//!
//! Any type that serde knows becomes an object by [`to_object`], and comes back by [`from_object`].
//!
//! No reader recurses, trusts a length or goes deeper than [`MAX_DEPTH`]: they are made for what strangers send.
//! `docs/OBJECTS.md` describes the forms in full.
//!
//! Nothing here knows of the store, of actors or of files.

mod binary_read;
mod binary_write;
mod de;
mod json_read;
mod json_write;
mod list;
mod map;
mod order;
mod ser;
mod serde_object;
mod sexp_atom;
mod sexp_read;
mod sexp_write;
mod tagged;
mod text;
mod value;
mod walk;

#[cfg(test)]
mod tests;

pub use binary_read::DecodeError;
pub use de::{FromObjectError, from_object};
pub use list::List;
pub use map::{Iter as MapIter, Map};
pub use ser::{ToObjectError, to_object};
pub use text::{ParseError, ParseErrorKind};
pub use value::{MAX_DEPTH, Object, TooDeep};
