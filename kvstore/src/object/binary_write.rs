//! The binary form, as it is written. `docs/OBJECTS.md` gives it byte by byte.

use super::{
    MAX_DEPTH, Object, TooDeep,
    order::canonical,
    walk::{Event, Walk},
};

/// What every object begins with. The first byte occurs in no UTF-8 text.
pub(super) const MAGIC: [u8; 3] = [0xfb, b'O', b'b'];

/// The version of the form, which follows the magic bytes.
pub(super) const VERSION: u8 = 1;

/// The first byte of each value.
pub(super) mod tag {
    pub(in super::super) const NIL: u8 = 0x00;
    pub(in super::super) const FALSE: u8 = 0x01;
    pub(in super::super) const TRUE: u8 = 0x02;
    pub(in super::super) const INTEGER: u8 = 0x03;
    pub(in super::super) const FLOAT: u8 = 0x04;
    pub(in super::super) const STRING: u8 = 0x05;
    pub(in super::super) const SYMBOL: u8 = 0x06;
    pub(in super::super) const BYTES: u8 = 0x07;
    pub(in super::super) const LIST: u8 = 0x08;
    pub(in super::super) const DOTTED: u8 = 0x09;
    pub(in super::super) const VECTOR: u8 = 0x0a;
    pub(in super::super) const MAP: u8 = 0x0b;
}

impl Object {
    /// The stable binary form: equal objects have equal bytes, on every machine and in every version.
    ///
    /// ```
    /// use kvstore::object::Object;
    ///
    /// let bytes = Object::from("hi").to_bytes()?;
    /// assert_eq!(bytes, b"\xfbOb\x01\x05\x02hi");
    /// # Ok::<(), kvstore::object::TooDeep>(())
    /// ```
    ///
    /// # Errors
    /// When the object is nested deeper than [`MAX_DEPTH`]: the bytes could not be read back.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TooDeep> {
        let mut out = Vec::with_capacity(16);
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        let mut depth = 0;
        for event in Walk::new(self) {
            match event {
                Event::Atom(atom) => write_atom(&mut out, atom),
                Event::Open(object) => {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(TooDeep);
                    }
                    write_head(&mut out, object);
                }
                Event::Close(_) => depth -= 1,
                // What an item is follows from its place.
                Event::Item { .. } | Event::Tail | Event::Key { .. } | Event::Value | Event::EndEntry => {}
            }
        }
        Ok(out)
    }
}

fn write_atom(out: &mut Vec<u8>, atom: &Object) {
    match atom {
        Object::Boolean(false) => out.push(tag::FALSE),
        Object::Boolean(true) => out.push(tag::TRUE),
        Object::Integer(value) => {
            out.push(tag::INTEGER);
            write_varint(out, zigzag(*value));
        }
        Object::Float(value) => {
            out.push(tag::FLOAT);
            out.extend_from_slice(&canonical(*value).to_bits().to_be_bytes());
        }
        Object::String(text) => write_run(out, tag::STRING, text.as_bytes()),
        Object::Symbol(name) => write_run(out, tag::SYMBOL, name.as_bytes()),
        Object::Bytes(bytes) => write_run(out, tag::BYTES, bytes),
        // The others are no atoms.
        Object::Nil | Object::List(_) | Object::Vector(_) | Object::Map(_) => out.push(tag::NIL),
    }
}

/// The tag and the count of something that holds others.
fn write_head(out: &mut Vec<u8>, object: &Object) {
    let (tag, count) = match object {
        Object::List(list) if list.is_proper() => (tag::LIST, list.items().len()),
        Object::List(list) => (tag::DOTTED, list.items().len()),
        Object::Map(entries) => (tag::MAP, entries.len()),
        other => (tag::VECTOR, other.as_slice().unwrap_or_default().len()),
    };
    out.push(tag);
    write_varint(out, count as u128);
}

fn write_run(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    write_varint(out, bytes.len() as u128);
    out.extend_from_slice(bytes);
}

/// Seven bits a byte, the lowest first, the top bit set in all bytes but the last.
fn write_varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// 0, -1, 1, -2, … as 0, 1, 2, 3, …
fn zigzag(value: i128) -> u128 {
    ((value << 1) ^ (value >> 127)) as u128
}
