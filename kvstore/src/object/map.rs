//! Maps: entries sorted by key in one piece of memory, so that equal maps are written the same and a map of one
//! entry costs little.

use std::slice;

use super::Object;

/// Values by key, in the order of the keys.
///
/// ```
/// use kvstore::object::{Map, Object};
///
/// let mut map: Map = [(Object::from("b"), Object::from(2)), (Object::from("a"), Object::from(1))].into_iter().collect();
/// map.insert(Object::symbol("c"), Object::from(3));
/// assert_eq!(map.get(&Object::from("b")), Some(&Object::from(2)));
/// assert_eq!(Object::from(map).to_sexp(), r#"#map(("a" . 1) ("b" . 2) (c . 3))"#);
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Map(Vec<(Object, Object)>);

impl Map {
    /// A map without entries.
    pub fn new() -> Map {
        Map::default()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &Object) -> Option<&Object> {
        let index = self.find(key).ok()?;
        self.0.get(index).map(|(_, value)| value)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &Object) -> Option<&mut Object> {
        let index = self.find(key).ok()?;
        self.0.get_mut(index).map(|(_, value)| value)
    }

    /// Whether there is an entry with this key.
    pub fn contains_key(&self, key: &Object) -> bool {
        self.find(key).is_ok()
    }

    /// Sets the value of a key; returns the one that it had.
    ///
    /// This moves the entries after it: to make a large map, collect its entries.
    pub fn insert(&mut self, key: Object, value: Object) -> Option<Object> {
        match self.find(&key) {
            Ok(index) => self.0.get_mut(index).map(|(_, old)| std::mem::replace(old, value)),
            Err(index) => {
                self.0.insert(index, (key, value));
                None
            }
        }
    }

    /// Takes out the entry of a key; returns its value.
    pub fn remove(&mut self, key: &Object) -> Option<Object> {
        let index = self.find(key).ok()?;
        Some(self.0.remove(index).1)
    }

    /// The entries, in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.0.iter())
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Object> {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values, in the order of the keys.
    pub fn values(&self) -> impl Iterator<Item = &Object> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Takes the entries as they are.
    pub(super) fn from_sorted(entries: Vec<(Object, Object)>) -> Map {
        debug_assert!(entries.is_sorted_by(|one, two| one.0 < two.0), "the keys are sorted and differ");
        Map(entries)
    }

    fn find(&self, key: &Object) -> Result<usize, usize> {
        self.0.binary_search_by(|(found, _)| found.cmp(key))
    }
}

/// Of two equal keys the later one counts.
impl FromIterator<(Object, Object)> for Map {
    fn from_iter<I: IntoIterator<Item = (Object, Object)>>(entries: I) -> Map {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.reverse();
        entries.sort_by(|one, two| one.0.cmp(&two.0));
        entries.dedup_by(|later, first| later.0 == first.0);
        Map(entries)
    }
}

impl IntoIterator for Map {
    type Item = (Object, Object);
    type IntoIter = std::vec::IntoIter<(Object, Object)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a Object, &'a Object);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The entries of a [`Map`], in order.
#[derive(Clone)]
pub struct Iter<'a>(slice::Iter<'a, (Object, Object)>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a Object, &'a Object);

    fn next(&mut self) -> Option<(&'a Object, &'a Object)> {
        self.0.next().map(|(key, value)| (key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// The entries of a map as a reader meets them, each with its place.
#[derive(Default)]
pub(super) struct MapBuilder(Vec<(Object, Object, usize)>);

impl MapBuilder {
    pub(super) fn add(&mut self, key: Object, value: Object, place: usize) {
        self.0.push((key, value, place));
    }

    /// The map, or the first place where a key comes again.
    pub(super) fn finish(mut self) -> Result<Map, usize> {
        self.0.sort_by(|one, two| one.0.cmp(&two.0));
        let again = self.0.windows(2).filter_map(|pair| match pair {
            [(one, ..), (two, _, place)] if one == two => Some(*place),
            _ => None,
        });
        match again.min() {
            Some(place) => Err(place),
            None => {
                let mut entries: Vec<_> = self.0.into_iter().map(|(key, value, _)| (key, value)).collect();
                // The places' memory would stay with the map.
                entries.shrink_to_fit();
                Ok(Map(entries))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: i32, value: i32) -> (Object, Object) {
        (Object::from(key), Object::from(value))
    }

    #[test]
    fn of_equal_keys_the_later_counts() {
        let map: Map = [entry(2, 20), entry(1, 10), entry(2, 21), entry(1, 11)].into_iter().collect();
        assert_eq!(Object::from(map).to_sexp(), "#map((1 . 11) (2 . 21))");
    }

    #[test]
    fn entries_are_set_found_and_removed() {
        let mut map = Map::new();
        assert_eq!(map.insert(Object::from(2), Object::from(20)), None);
        assert_eq!(map.insert(Object::from(1), Object::from(10)), None);
        assert_eq!(map.insert(Object::from(2), Object::from(21)), Some(Object::from(20)));
        assert!(map.contains_key(&Object::from(1)) && !map.contains_key(&Object::from(3)));
        if let Some(value) = map.get_mut(&Object::from(1)) {
            *value = Object::from(11);
        }
        assert_eq!(map.keys().cloned().collect::<Vec<_>>(), [Object::from(1), Object::from(2)]);
        assert_eq!(map.values().cloned().collect::<Vec<_>>(), [Object::from(11), Object::from(21)]);
        assert_eq!(map.remove(&Object::from(1)), Some(Object::from(11)));
        assert_eq!(map.remove(&Object::from(1)), None);
        assert_eq!((map.len(), map.is_empty()), (1, false));
    }

    #[test]
    fn a_builder_finds_the_first_key_that_comes_again() {
        let mut builder = MapBuilder::default();
        for (place, key) in [5, 3, 4, 4, 3].into_iter().enumerate() {
            builder.add(Object::from(key), Object::Nil, place);
        }
        assert_eq!(builder.finish().err(), Some(3));
    }
}
