//! What a resolver remembers: where servers were, for a while. Plain code: time is an argument.

use std::{collections::HashMap, time::Duration};

use ensemble::{Address, Incarnation, ServerId};
use tokio::time::Instant;

/// Servers whose addresses are remembered.
const MAX_SERVERS: usize = 1024;
/// How long an address is used without asking again.
const MAX_AGE: Duration = Duration::from_secs(10);

struct Known {
    incarnation: Incarnation,
    addresses: Vec<Address>,
    learned: Instant,
}

/// See the module.
#[derive(Default)]
pub(super) struct Cache(HashMap<ServerId, Known>);

/// Where a server was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remembered {
    /// Lately.
    Fresh(Vec<Address>),
    /// Some time ago: to be used only when there is nobody to ask.
    Stale(Vec<Address>),
    /// It was not asked for, or nothing answered there.
    Nothing,
}

impl Cache {
    pub(super) fn get(&self, now: Instant, server: &ServerId) -> Remembered {
        match self.0.get(server) {
            Some(known) if now.duration_since(known.learned) < MAX_AGE => {
                Remembered::Fresh(known.addresses.clone())
            }
            Some(known) => Remembered::Stale(known.addresses.clone()),
            None => Remembered::Nothing,
        }
    }

    pub(super) fn learn(
        &mut self,
        now: Instant,
        server: &ServerId,
        incarnation: Incarnation,
        addresses: &[Address],
    ) {
        if self.0.len() >= MAX_SERVERS && !self.0.contains_key(server) {
            self.make_room(now);
        }
        let known = Known { incarnation, addresses: addresses.to_vec(), learned: now };
        self.0.insert(server.clone(), known);
    }

    /// What was said of a server for another reason: what is remembered of it must not contradict.
    pub(super) fn correct(
        &mut self,
        now: Instant,
        server: &ServerId,
        incarnation: Incarnation,
        addresses: &[Address],
    ) {
        if let Some(known) = self.0.get_mut(server)
            && (known.incarnation != incarnation || known.addresses != addresses)
        {
            *known = Known { incarnation, addresses: addresses.to_vec(), learned: now };
        }
    }

    pub(super) fn forget(&mut self, server: &ServerId) {
        self.0.remove(server);
    }

    /// The stale ones go, or else the oldest.
    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, known| now.duration_since(known.learned) < MAX_AGE);
        if self.0.len() >= MAX_SERVERS {
            let oldest = self.0.iter().min_by_key(|(_, known)| known.learned).map(|(id, _)| id.clone());
            if let Some(id) = oldest {
                self.0.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ServerId {
        ServerId::new(text).unwrap()
    }

    fn at(text: &str) -> Vec<Address> {
        vec![text.parse().unwrap()]
    }

    const FIRST: Incarnation = Incarnation::from_bytes([1; 16]);
    const SECOND: Incarnation = Incarnation::from_bytes([2; 16]);

    #[test]
    fn an_address_is_fresh_stale_or_forgotten() {
        let now = Instant::now();
        let mut cache = Cache::default();
        assert_eq!(cache.get(now, &id("a")), Remembered::Nothing);
        cache.learn(now, &id("a"), FIRST, &at("mem:1"));
        let before = now + MAX_AGE - Duration::from_millis(1);
        assert_eq!(cache.get(before, &id("a")), Remembered::Fresh(at("mem:1")));
        assert_eq!(cache.get(now + MAX_AGE, &id("a")), Remembered::Stale(at("mem:1")));
        cache.forget(&id("a"));
        assert_eq!(cache.get(now, &id("a")), Remembered::Nothing);
    }

    #[test]
    fn a_new_incarnation_or_address_corrects_what_is_remembered() {
        let now = Instant::now();
        let mut cache = Cache::default();
        cache.correct(now, &id("a"), FIRST, &at("mem:1"));
        assert_eq!(cache.get(now, &id("a")), Remembered::Nothing);
        cache.learn(now, &id("a"), FIRST, &at("mem:1"));
        let later = now + MAX_AGE;
        // What is the same is not fresh because of it: nobody asked for the server's own sake.
        cache.correct(later, &id("a"), FIRST, &at("mem:1"));
        assert_eq!(cache.get(later, &id("a")), Remembered::Stale(at("mem:1")));
        cache.correct(later, &id("a"), SECOND, &at("mem:1"));
        assert_eq!(cache.get(later, &id("a")), Remembered::Fresh(at("mem:1")));
        cache.correct(later, &id("a"), SECOND, &at("mem:2"));
        assert_eq!(cache.get(later, &id("a")), Remembered::Fresh(at("mem:2")));
    }

    #[test]
    fn a_full_cache_lets_go_of_the_oldest() {
        let start = Instant::now();
        let mut cache = Cache::default();
        let moment = |n: usize| start + Duration::from_millis(n as u64);
        for n in 0..=MAX_SERVERS {
            cache.learn(moment(n), &id(&format!("s{n}")), FIRST, &at("mem:1"));
        }
        assert_eq!(cache.0.len(), MAX_SERVERS);
        let now = moment(MAX_SERVERS);
        assert_eq!(cache.get(now, &id("s0")), Remembered::Nothing);
        assert_eq!(cache.get(now, &id("s1")), Remembered::Fresh(at("mem:1")));
        cache.learn(now + MAX_AGE, &id("new"), FIRST, &at("mem:1"));
        assert_eq!(cache.0.len(), 1);
    }
}
