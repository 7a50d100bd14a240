//! A walk over an object without recursion, which the writers share. It knows nothing of any written form.

use std::slice;

use super::{Object, map};

/// What a walk meets.
pub(super) enum Event<'a> {
    /// Anything but a list, a vector or a map.
    Atom(&'a Object),
    /// A list, a vector or a map begins.
    Open(&'a Object),
    /// It ends.
    Close(&'a Object),
    /// An item of a list or a vector comes next.
    Item { first: bool },
    /// The end of a dotted list comes next.
    Tail,
    /// The key of a map's entry comes next.
    Key { first: bool },
    /// The value of the entry comes next.
    Value,
    /// The entry is over.
    EndEntry,
}

/// The events of an object, in order.
pub(super) struct Walk<'a> {
    next: Option<&'a Object>,
    open: Vec<Frame<'a>>,
}

struct Frame<'a> {
    object: &'a Object,
    first: bool,
    rest: Rest<'a>,
}

enum Rest<'a> {
    Items { items: slice::Iter<'a, Object>, tail: Option<&'a Object> },
    Entries(map::Iter<'a>),
    Value { value: &'a Object, entries: map::Iter<'a> },
    EndEntry(map::Iter<'a>),
}

impl<'a> Walk<'a> {
    pub(super) fn new(object: &'a Object) -> Walk<'a> {
        Walk { next: Some(object), open: Vec::new() }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        if let Some(object) = self.next.take() {
            let rest = match object {
                Object::List(list) => Rest::Items { items: list.items().iter(), tail: list.tail() },
                Object::Vector(items) => Rest::Items { items: items.iter(), tail: None },
                Object::Map(entries) => Rest::Entries(entries.iter()),
                atom => return Some(Event::Atom(atom)),
            };
            self.open.push(Frame { object, first: true, rest });
            return Some(Event::Open(object));
        }

        let frame = self.open.last_mut()?;
        let first = std::mem::replace(&mut frame.first, false);
        match &mut frame.rest {
            Rest::Items { items, tail } => {
                if let Some(item) = items.next() {
                    self.next = Some(item);
                    return Some(Event::Item { first });
                }
                if let Some(tail) = tail.take() {
                    self.next = Some(tail);
                    return Some(Event::Tail);
                }
            }
            Rest::Entries(entries) => {
                if let Some((key, value)) = entries.next() {
                    frame.rest = Rest::Value { value, entries: entries.clone() };
                    self.next = Some(key);
                    return Some(Event::Key { first });
                }
            }
            Rest::Value { value, entries } => {
                self.next = Some(*value);
                frame.rest = Rest::EndEntry(entries.clone());
                return Some(Event::Value);
            }
            Rest::EndEntry(entries) => {
                frame.rest = Rest::Entries(entries.clone());
                return Some(Event::EndEntry);
            }
        }
        let object = frame.object;
        self.open.pop();
        Some(Event::Close(object))
    }
}
