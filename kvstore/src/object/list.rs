//! Lists, proper and dotted, flat in memory however long they are.

use super::Object;

/// One item or more, and for a dotted list the end after the dot.
///
/// It is made by [`Object::list`], [`Object::dotted`] and [`Object::cons`], which see to it that there is only
/// one representation of each list: there is always an item, and the end is neither nil nor a list.
#[derive(Clone)]
pub struct List(Box<Parts>);

#[derive(Clone)]
struct Parts {
    items: Vec<Object>,
    tail: Option<Object>,
}

impl List {
    pub(super) fn build(mut items: Vec<Object>, tail: Object) -> Object {
        if items.is_empty() {
            return tail;
        }
        let tail = match tail {
            Object::Nil => None,
            Object::List(List(rest)) => {
                items.extend(rest.items);
                rest.tail
            }
            other => Some(other),
        };
        Object::List(List(Box::new(Parts { items, tail })))
    }

    /// The items before the dot; there is at least one.
    pub fn items(&self) -> &[Object] {
        &self.0.items
    }

    /// What is after the dot; a proper list has nothing there.
    pub fn tail(&self) -> Option<&Object> {
        self.0.tail.as_ref()
    }

    /// Whether the list has no end of its own.
    pub fn is_proper(&self) -> bool {
        self.0.tail.is_none()
    }

    /// The first item.
    pub fn head(&self) -> &Object {
        self.0.items.first().expect("a list has an item")
    }

    /// The items and what is after the dot.
    pub fn into_parts(self) -> (Vec<Object>, Option<Object>) {
        (self.0.items, self.0.tail)
    }

    /// The first item and the rest of the list: what `car` and `cdr` give in Scheme.
    pub fn into_pair(self) -> (Object, Object) {
        let Parts { mut items, tail } = *self.0;
        let head = items.remove(0);
        (head, List::build(items, tail.unwrap_or_default()))
    }
}
