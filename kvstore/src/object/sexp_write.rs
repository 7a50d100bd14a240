//! The printer of S-expressions.

use std::fmt::{self, Write};

use super::{
    Object, sexp_atom,
    walk::{Event, Walk},
};

/// The S-expression on one line, as [`Object::parse_sexp`] reads it and as Scheme's `write` prints it.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_object(f, self)
    }
}

impl Object {
    /// The S-expression on one line: what [`Display`](fmt::Display) gives.
    ///
    /// ```
    /// use kvstore::object::Object;
    ///
    /// let object = Object::list([Object::from(1), Object::from(1.0), Object::symbol("two words")]);
    /// assert_eq!(object.to_sexp(), "(1 1.0 |two words|)");
    /// ```
    ///
    /// An object deeper than [`MAX_DEPTH`](super::MAX_DEPTH) is printed too, but could not be read back.
    pub fn to_sexp(&self) -> String {
        self.to_string()
    }
}

fn write_object(out: &mut impl Write, object: &Object) -> fmt::Result {
    for event in Walk::new(object) {
        match event {
            Event::Atom(atom) => write_atom(out, atom)?,
            Event::Open(Object::Vector(_)) => out.write_str("#(")?,
            Event::Open(Object::Map(_)) => out.write_str("#map(")?,
            Event::Open(_) => out.write_char('(')?,
            Event::Item { first: true } => {}
            Event::Item { first: false } => out.write_char(' ')?,
            Event::Key { first: true } => out.write_char('(')?,
            Event::Key { first: false } => out.write_str(" (")?,
            Event::Tail | Event::Value => out.write_str(" . ")?,
            Event::EndEntry | Event::Close(_) => out.write_char(')')?,
        }
    }
    Ok(())
}

fn write_atom(out: &mut impl Write, atom: &Object) -> fmt::Result {
    match atom {
        Object::Boolean(true) => out.write_str("#t"),
        Object::Boolean(false) => out.write_str("#f"),
        Object::Integer(value) => write!(out, "{value}"),
        Object::Float(value) => sexp_atom::write_float(out, *value),
        Object::String(text) => sexp_atom::write_string(out, text),
        Object::Symbol(name) => sexp_atom::write_symbol(out, name),
        Object::Bytes(bytes) => {
            out.write_str("#u8(")?;
            for (index, byte) in bytes.iter().enumerate() {
                let blank = if index == 0 { "" } else { " " };
                write!(out, "{blank}{byte}")?;
            }
            out.write_char(')')
        }
        // The others are no atoms.
        Object::Nil | Object::List(_) | Object::Vector(_) | Object::Map(_) => out.write_str("()"),
    }
}
