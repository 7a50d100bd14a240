//! The writer of JSON. The tagged forms are in `tagged`.

use std::fmt::{self, Write};

use super::{
    MAX_DEPTH, Object, TooDeep, tagged,
    walk::{Event, Walk},
};

impl Object {
    /// The object as JSON on one line, from which [`Object::from_json`] reads the same object.
    ///
    /// What JSON has no form for is written as an object with one key:
    ///
    /// | Object | JSON |
    /// | --- | --- |
    /// | the symbol `a` | `{"$symbol":"a"}` |
    /// | bytes | `{"$bytes":"AQL/"}`, in base64 |
    /// | the list `(1 2)` | `{"$list":[1,2]}` |
    /// | the dotted list `(1 2 . 3)` | `{"$dotted":[1,2,3]}` |
    /// | a float that is not finite | `{"$float":"+nan.0"}`, `"+inf.0"`, `"-inf.0"` |
    /// | an integer below -2⁶³ or above 2⁶⁴-1 | `{"$integer":"18446744073709551616"}` |
    /// | a map with a key that is no string, or whose only key is one of these | `{"$map":[[1,"one"],[2,"two"]]}` |
    ///
    /// ```
    /// use kvstore::object::Object;
    ///
    /// let object = Object::parse_sexp(r#"#map(("b" . (1 . 2)) ("a" . #(x 1.0)))"#)?;
    /// assert_eq!(object.to_json()?, r#"{"a":[{"$symbol":"x"},1.0],"b":{"$dotted":[1,2]}}"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the object is nested deeper than [`MAX_DEPTH`]: the text could not be read back.
    pub fn to_json(&self) -> Result<String, TooDeep> {
        if self.depth() > MAX_DEPTH {
            return Err(TooDeep);
        }
        let mut out = String::new();
        write_object(&mut out, self).expect("a string takes all that is written to it");
        Ok(out)
    }
}

fn write_object(out: &mut String, object: &Object) -> fmt::Result {
    // For each map that is open, whether it is in its tagged form.
    let mut tagged_maps = Vec::new();
    let mut in_tagged_map = false;
    for event in Walk::new(object) {
        match event {
            Event::Atom(atom) => write_atom(out, atom)?,
            Event::Open(Object::Map(entries)) => {
                tagged_maps.push(in_tagged_map);
                in_tagged_map = tagged::map_needs_tag(entries);
                if in_tagged_map {
                    write!(out, "{{\"{}\":[", tagged::MAP)?;
                } else {
                    out.push('{');
                }
            }
            Event::Open(Object::List(list)) => {
                let tag = if list.is_proper() { tagged::LIST } else { tagged::DOTTED };
                write!(out, "{{\"{tag}\":[")?;
            }
            Event::Open(_) => out.push('['),
            Event::Item { first: true } => {}
            Event::Item { first: false } | Event::Tail => out.push(','),
            Event::Key { first } => {
                out.push_str(if first { "" } else { "," });
                out.push_str(if in_tagged_map { "[" } else { "" });
            }
            Event::Value => out.push(if in_tagged_map { ',' } else { ':' }),
            Event::EndEntry => out.push_str(if in_tagged_map { "]" } else { "" }),
            Event::Close(Object::Map(_)) => {
                out.push_str(if in_tagged_map { "]}" } else { "}" });
                in_tagged_map = tagged_maps.pop().unwrap_or_default();
            }
            Event::Close(Object::List(_)) => out.push_str("]}"),
            Event::Close(_) => out.push(']'),
        }
    }
    Ok(())
}

fn write_atom(out: &mut String, atom: &Object) -> fmt::Result {
    match atom {
        Object::Boolean(value) => write!(out, "{value}"),
        Object::Integer(value) if tagged::integer_needs_tag(*value) => {
            write!(out, "{{\"{}\":\"{value}\"}}", tagged::INTEGER)
        }
        Object::Integer(value) => write!(out, "{value}"),
        Object::Float(value) if !value.is_finite() => {
            write!(out, "{{\"{}\":\"{}\"}}", tagged::FLOAT, tagged::float_name(*value))
        }
        // The shortest digits that are read back as the same float, with a point or an exponent.
        Object::Float(value) => write!(out, "{value:?}"),
        Object::String(text) => write_string(out, text),
        Object::Symbol(name) => {
            write!(out, "{{\"{}\":", tagged::SYMBOL)?;
            write_string(out, name)?;
            out.write_char('}')
        }
        Object::Bytes(bytes) => {
            write!(out, "{{\"{}\":\"{}\"}}", tagged::BYTES, tagged::encode_bytes(bytes))
        }
        // The others are no atoms.
        Object::Nil | Object::List(_) | Object::Vector(_) | Object::Map(_) => out.write_str("null"),
    }
}

fn write_string(out: &mut String, text: &str) -> fmt::Result {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if c < ' ' => write!(out, "\\u{:04x}", u32::from(c))?,
            _ => out.push(c),
        }
    }
    out.push('"');
    Ok(())
}
