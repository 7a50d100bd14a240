//! Which values in parts are being read: those that are dropped meanwhile are kept a while for it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How long the parts of a value that was replaced or removed are kept from the last read on, in milliseconds: what a
/// reader may pause.
pub(super) const KEPT_FOR_READERS_MS: u64 = 60_000;

/// Of how many values it is known that they are read: about 2 MiB of memory, and a thousand new ones in each second.
const MAX_KNOWN: usize = 64 << 10;

/// When values were last read from, by the store's time.
#[derive(Default)]
pub(super) struct Recent(Mutex<HashMap<u64, u64>>);

impl Recent {
    pub(super) fn note(&self, value: u64, now_ms: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN && !known.contains_key(&value) {
            known.retain(|_, at_ms| is_recent(*at_ms, now_ms));
            if known.len() >= MAX_KNOWN
                && let Some((&oldest, _)) = known.iter().min_by_key(|(_, at_ms)| **at_ms)
            {
                known.remove(&oldest);
            }
        }
        known.insert(value, now_ms);
    }

    pub(super) fn has(&self, value: u64, now_ms: u64) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&value).is_some_and(|at_ms| is_recent(*at_ms, now_ms))
    }

    pub(super) fn forget(&self, value: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&value);
    }
}

fn is_recent(at_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(at_ms) < KEPT_FOR_READERS_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_recent_for_a_minute_and_the_oldest_is_forgotten_first() {
        let recent = Recent::default();
        recent.note(1, 1000);
        assert!(recent.has(1, 60_999));
        assert!(!recent.has(1, 61_000));
        assert!(!recent.has(2, 1000));
        for value in 0..MAX_KNOWN as u64 {
            recent.note(10 + value, if value == 0 { 1999 } else { 2000 + value % 1000 });
        }
        assert!(!recent.has(1, 2000) && recent.has(10, 2000));
        recent.note(9, 50_000);
        assert!(!recent.has(10, 2000) && recent.has(11, 2000) && recent.has(9, 50_000));
        recent.note(5, 100_000);
        assert_eq!(recent.0.lock().unwrap().len(), 2);
        recent.forget(5);
        assert!(!recent.has(5, 100_000));
    }
}
