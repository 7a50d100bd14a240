//! How many watches there are, of all and of each peer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ensemble::Incarnation;

/// Places that are taken until they are dropped. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug)]
struct Taken {
    by_peer: HashMap<Incarnation, usize>,
    count: usize,
    max: usize,
    max_of_one: usize,
}

/// A place that is taken.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    peer: Incarnation,
}

impl Places {
    pub(super) fn bounded(max: usize, max_of_one: usize) -> Self {
        Self(Arc::new(Mutex::new(Taken { by_peer: HashMap::new(), count: 0, max, max_of_one })))
    }

    /// A place for `peer`; none where there is no room.
    pub(super) fn take(&self, peer: Incarnation) -> Option<Place> {
        let mut taken = self.lock();
        let of_one = taken.by_peer.get(&peer).copied().unwrap_or(0);
        if taken.count >= taken.max || of_one >= taken.max_of_one {
            return None;
        }
        taken.by_peer.insert(peer, of_one + 1);
        taken.count += 1;
        Some(Place { places: self.clone(), peer })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.count -= 1;
        if let Some(of_one) = taken.by_peer.get_mut(&self.peer) {
            *of_one -= 1;
            if *of_one == 0 {
                taken.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> Incarnation {
        Incarnation::from_bytes([n; 16])
    }

    #[test]
    fn nobody_takes_more_than_its_share_and_all_no_more_than_there_is() {
        let places = Places::bounded(3, 2);
        let first = places.take(peer(1)).unwrap();
        let _second = places.take(peer(1)).unwrap();
        assert!(places.take(peer(1)).is_none());
        let other = places.take(peer(2)).unwrap();
        assert!(places.take(peer(3)).is_none());
        drop(other);
        assert!(places.take(peer(1)).is_none());
        let _third = places.take(peer(3)).unwrap();
        drop(first);
        let _again = places.take(peer(1)).unwrap();
        assert_eq!(places.lock().by_peer, HashMap::from([(peer(1), 2), (peer(3), 1)]));
    }
}
