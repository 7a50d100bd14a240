//! Equality, order and hash. The order is total, and part of the binary form: the entries of a map are in it.

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
};

use super::{
    List, Object,
    walk::{Event, Walk},
};

/// By kind first, then by value.
///
/// The kinds are in the order of the variants. Integers and floats go by value, `-0.0` before `0.0`, `NaN` last;
/// strings, symbols and bytes byte by byte, a prefix first; vectors and lists item by item, a prefix first, and
/// lists with equal items by their ends, none first; maps as if they were the list of their entries in order.
impl Ord for Object {
    fn cmp(&self, other: &Object) -> Ordering {
        let steps = Walk::new(self).zip(Walk::new(other));
        // Neither walk can end before they differ: both begin the same, and then go the same way.
        steps.map(|(one, two)| compare(&one, &two)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

fn compare(one: &Event<'_>, two: &Event<'_>) -> Ordering {
    match (one, two) {
        (Event::Atom(one), Event::Atom(two)) => compare_atoms(one, two),
        (Event::Atom(one) | Event::Open(one), Event::Atom(two) | Event::Open(two)) => {
            rank(one).cmp(&rank(two))
        }
        _ => event_rank(one).cmp(&event_rank(two)),
    }
}

fn compare_atoms(one: &Object, two: &Object) -> Ordering {
    match (one, two) {
        (Object::Boolean(one), Object::Boolean(two)) => one.cmp(two),
        (Object::Integer(one), Object::Integer(two)) => one.cmp(two),
        (Object::Float(one), Object::Float(two)) => canonical(*one).total_cmp(&canonical(*two)),
        (Object::String(one), Object::String(two)) | (Object::Symbol(one), Object::Symbol(two)) => {
            one.cmp(two)
        }
        (Object::Bytes(one), Object::Bytes(two)) => one.cmp(two),
        _ => rank(one).cmp(&rank(two)),
    }
}

/// What ends first comes first.
fn event_rank(event: &Event<'_>) -> u8 {
    match event {
        Event::Close(_) => 0,
        Event::Tail => 1,
        _ => 2,
    }
}

impl PartialOrd for Object {
    fn partial_cmp(&self, other: &Object) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Object) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Object {}

impl Hash for Object {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for event in Walk::new(self) {
            match &event {
                Event::Atom(object) | Event::Open(object) => rank(object).hash(state),
                other => event_rank(other).hash(state),
            }
            let Event::Atom(atom) = event else { continue };
            match atom {
                Object::Boolean(value) => value.hash(state),
                Object::Integer(value) => value.hash(state),
                Object::Float(value) => canonical(*value).to_bits().hash(state),
                Object::String(text) | Object::Symbol(text) => text.hash(state),
                Object::Bytes(bytes) => bytes.hash(state),
                Object::Nil | Object::List(_) | Object::Vector(_) | Object::Map(_) => {}
            }
        }
    }
}

impl Ord for List {
    fn cmp(&self, other: &List) -> Ordering {
        self.items().cmp(other.items()).then_with(|| self.tail().cmp(&other.tail()))
    }
}

impl PartialOrd for List {
    fn partial_cmp(&self, other: &List) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for List {
    fn eq(&self, other: &List) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for List {}

impl Hash for List {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.items().hash(state);
        self.tail().hash(state);
    }
}

/// The float with the one `NaN` in place of all of them.
pub(super) fn canonical(float: f64) -> f64 {
    if float.is_nan() { f64::from_bits(CANONICAL_NAN_BITS) } else { float }
}

/// The quiet `NaN` without sign and payload.
const CANONICAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0000;

fn rank(object: &Object) -> u8 {
    match object {
        Object::Nil => 0,
        Object::Boolean(_) => 1,
        Object::Integer(_) => 2,
        Object::Float(_) => 3,
        Object::String(_) => 4,
        Object::Symbol(_) => 5,
        Object::Bytes(_) => 6,
        Object::List(_) => 7,
        Object::Vector(_) => 8,
        Object::Map(_) => 9,
    }
}
