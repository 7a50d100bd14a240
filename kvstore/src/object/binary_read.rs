//! The binary form, as it is read: without recursion, and strictly, so that there is one sequence of bytes for
//! each object.

use std::cmp::Ordering;

use thiserror::Error;

use super::{
    MAX_DEPTH, Map, Object,
    binary_write::{MAGIC, VERSION, tag},
    order::canonical,
};

/// How many items are allocated ahead on the word of a count; more are allocated as they come.
const MAX_ITEMS_AHEAD: usize = 64;

/// Bytes that are not one object.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They do not begin as an object does.
    #[error("the bytes are not an object")]
    NotAnObject,
    /// An object, but in a version of the form that is not known here.
    #[error("the object is in version {version} of its binary form, which is not known here")]
    UnknownVersion {
        /// That version.
        version: u8,
    },
    /// They end before the object does.
    #[error("the object is cut off after {length} bytes")]
    Truncated {
        /// How many bytes there are.
        length: usize,
    },
    /// They go on after the object.
    #[error("{extra} bytes are left over after the object")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// No value begins with this byte.
    #[error("no value begins with the byte {tag:#04x} at offset {offset}")]
    UnknownTag {
        /// The byte.
        tag: u8,
        /// Its offset.
        offset: usize,
    },
    /// A string or a symbol that is not UTF-8.
    #[error("the text at offset {offset} is not UTF-8")]
    InvalidText {
        /// Its offset.
        offset: usize,
    },
    /// A value that is not in its one right form.
    #[error("{what} at offset {offset} is not in its one form")]
    NotCanonical {
        /// What kind of value.
        what: &'static str,
        /// Its offset.
        offset: usize,
    },
    /// More than [`MAX_DEPTH`] levels.
    #[error("the object is nested deeper than {MAX_DEPTH} levels at offset {offset}")]
    TooDeep {
        /// The offset of the first value that is too deep.
        offset: usize,
    },
}

impl Object {
    /// Reads the binary form; the object has to be all of `bytes`.
    ///
    /// The memory that it takes follows from the length of `bytes` (at worst, of items of two or three bytes, less
    /// than a hundred times as much), never from what a count in them claims.
    ///
    /// # Errors
    /// When the bytes are not exactly what [`Object::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Object, DecodeError> {
        let Some((head, _)) = bytes.split_first_chunk::<3>() else {
            return Err(DecodeError::NotAnObject);
        };
        if *head != MAGIC {
            return Err(DecodeError::NotAnObject);
        }
        let mut reader = Reader { bytes, offset: MAGIC.len() };
        match reader.byte()? {
            VERSION => {}
            version => return Err(DecodeError::UnknownVersion { version }),
        }
        let object = reader.read()?;
        match reader.left() {
            0 => Ok(object),
            extra => Err(DecodeError::TrailingBytes { extra }),
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

/// Something that is not complete yet.
struct Frame {
    offset: usize,
    missing: usize,
    partial: Partial,
}

enum Partial {
    List { items: Vec<Object>, dotted: bool },
    Vector(Vec<Object>),
    Map { entries: Vec<(Object, Object)>, key: Option<Object> },
}

enum Step {
    Value(Object),
    Enter(Frame),
}

impl Reader<'_> {
    fn read(&mut self) -> Result<Object, DecodeError> {
        let mut open: Vec<Frame> = Vec::new();
        loop {
            let mut value = match self.step()? {
                Step::Value(value) => value,
                Step::Enter(frame) => {
                    if open.len() == MAX_DEPTH {
                        return Err(DecodeError::TooDeep { offset: frame.offset });
                    }
                    if frame.missing > 0 {
                        open.push(frame);
                        continue;
                    }
                    frame.finish()?
                }
            };
            loop {
                let Some(frame) = open.last_mut() else { return Ok(value) };
                frame.add(value)?;
                if frame.missing > 0 {
                    break;
                }
                let Some(frame) = open.pop() else { break };
                value = frame.finish()?;
            }
        }
    }

    /// Reads a whole atom, or the head of something that holds others.
    fn step(&mut self) -> Result<Step, DecodeError> {
        let offset = self.offset;
        let tag = self.byte()?;
        let value = match tag {
            tag::NIL => Object::Nil,
            tag::FALSE => Object::Boolean(false),
            tag::TRUE => Object::Boolean(true),
            tag::INTEGER => Object::Integer(unzigzag(self.varint("an integer")?)),
            tag::FLOAT => {
                let bits = u64::from_be_bytes(*self.array()?);
                let float = f64::from_bits(bits);
                if canonical(float).to_bits() != bits {
                    return Err(DecodeError::NotCanonical { what: "a float", offset });
                }
                Object::Float(float)
            }
            tag::STRING => Object::String(self.text()?),
            tag::SYMBOL => Object::Symbol(self.text()?),
            tag::BYTES => Object::Bytes(self.run()?.to_vec()),
            tag::LIST | tag::DOTTED => {
                let dotted = tag == tag::DOTTED;
                let (missing, items) = self.items(usize::from(dotted))?;
                if missing == usize::from(dotted) {
                    return Err(DecodeError::NotCanonical { what: "a list", offset });
                }
                return Ok(Step::Enter(Frame { offset, missing, partial: Partial::List { items, dotted } }));
            }
            tag::VECTOR => {
                let (missing, items) = self.items(0)?;
                return Ok(Step::Enter(Frame { offset, missing, partial: Partial::Vector(items) }));
            }
            tag::MAP => {
                let count = self.length()?;
                // Each entry is two bytes at least.
                let missing = count.checked_mul(2).filter(|needed| *needed <= self.left());
                let missing = missing.ok_or(self.truncated())?;
                let entries = Vec::with_capacity(count.min(MAX_ITEMS_AHEAD));
                return Ok(Step::Enter(Frame {
                    offset,
                    missing,
                    partial: Partial::Map { entries, key: None },
                }));
            }
            _ => return Err(DecodeError::UnknownTag { tag, offset }),
        };
        Ok(Step::Value(value))
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    fn truncated(&self) -> DecodeError {
        DecodeError::Truncated { length: self.bytes.len() }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], DecodeError> {
        let end = self.offset.checked_add(count).ok_or(self.truncated())?;
        let taken = self.bytes.get(self.offset..end).ok_or(self.truncated())?;
        self.offset = end;
        Ok(taken)
    }

    fn array<const COUNT: usize>(&mut self) -> Result<&[u8; COUNT], DecodeError> {
        let cut_off = self.truncated();
        self.take(COUNT)?.first_chunk().ok_or(cut_off)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| *byte)
    }

    fn varint(&mut self, what: &'static str) -> Result<u128, DecodeError> {
        let not_canonical = DecodeError::NotCanonical { what, offset: self.offset };
        let mut value = 0_u128;
        for shift in (0..u128::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            let shifted = bits << shift;
            // The last byte has room for two bits only, and a last byte of zero is one byte too many.
            if shifted >> shift != bits || (byte == 0 && shift > 0) {
                return Err(not_canonical);
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(not_canonical)
    }

    /// A length or a count. What is greater than an address here is greater than what is left.
    fn length(&mut self) -> Result<usize, DecodeError> {
        let length = self.varint("a length")?;
        usize::try_from(length).map_err(|_| self.truncated())
    }

    /// The count of items, with `more` that it does not count, and room for the first of them.
    fn items(&mut self, more: usize) -> Result<(usize, Vec<Object>), DecodeError> {
        let count = self.length()?;
        // Each item is a byte at least.
        let missing = count.checked_add(more).filter(|needed| *needed <= self.left());
        let missing = missing.ok_or(self.truncated())?;
        Ok((missing, Vec::with_capacity(count.min(MAX_ITEMS_AHEAD))))
    }

    fn run(&mut self) -> Result<&[u8], DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        let offset = self.offset;
        let run = self.run()?;
        let text = std::str::from_utf8(run).map_err(|_| DecodeError::InvalidText { offset })?;
        Ok(text.to_owned())
    }
}

impl Frame {
    /// Takes the next of what is missing.
    fn add(&mut self, value: Object) -> Result<(), DecodeError> {
        self.missing -= 1;
        match &mut self.partial {
            Partial::List { items, .. } | Partial::Vector(items) => items.push(value),
            Partial::Map { entries, key } => match key.take() {
                None => {
                    let last = entries.last().map(|(last, _)| last.cmp(&value));
                    if last.is_some_and(|order| order != Ordering::Less) {
                        return Err(DecodeError::NotCanonical { what: "a map", offset: self.offset });
                    }
                    *key = Some(value);
                }
                Some(key) => entries.push((key, value)),
            },
        }
        Ok(())
    }

    fn finish(self) -> Result<Object, DecodeError> {
        match self.partial {
            Partial::List { items, dotted: false } => Ok(Object::list(items)),
            Partial::List { mut items, dotted: true } => match items.pop() {
                None | Some(Object::Nil | Object::List(_)) => {
                    Err(DecodeError::NotCanonical { what: "a list", offset: self.offset })
                }
                Some(tail) => Ok(Object::dotted(items, tail)),
            },
            Partial::Vector(items) => Ok(Object::Vector(items)),
            Partial::Map { entries, .. } => Ok(Object::Map(Map::from_sorted(entries))),
        }
    }
}

fn unzigzag(value: u128) -> i128 {
    ((value >> 1) as i128) ^ -((value & 1) as i128)
}
