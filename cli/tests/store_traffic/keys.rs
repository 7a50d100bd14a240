//! Which keys are used when, and what is put under them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Some keys at a time. Each gives way to a fresh one when it was used so often, so that no history of a key gets long.
#[derive(Debug)]
pub(crate) struct Keys {
    places: Vec<Place>,
    uses: u64,
    noise_bytes: usize,
}

#[derive(Debug, Default)]
struct Place {
    used: AtomicU64,
    /// The last revision that any client knew of it: what a compare-and-swap asks for.
    seen: AtomicU64,
}

impl Keys {
    /// So many at a time, each used so often.
    pub(crate) fn new(count: usize, uses: u64) -> Self {
        Self { places: (0..count).map(|_| Place::default()).collect(), uses, noise_bytes: 0 }
    }

    /// The same, with values that take so much more room.
    pub(crate) fn with_noise(self, noise_bytes: usize) -> Self {
        Self { noise_bytes, ..self }
    }

    pub(crate) fn value_of(&self, number: u64) -> Vec<u8> {
        value_of(number, self.noise_bytes)
    }

    /// The number of the key that is at a place now.
    pub(crate) fn choose(&self, random: u64) -> u64 {
        let count = self.places.len() as u64;
        let place = random % count;
        self.place(place).used.load(Ordering::Relaxed) / self.uses * count + place
    }

    /// Counts a use of the key. What was not done is none, or a server that is away would use up all keys.
    pub(crate) fn used(&self, key: u64, revision: Option<u64>) {
        let place = self.place(key);
        place.used.fetch_add(1, Ordering::Relaxed);
        place.seen.fetch_max(revision.unwrap_or_default(), Ordering::Relaxed);
    }

    pub(crate) fn last_seen(&self, key: u64) -> u64 {
        self.place(key).seen.load(Ordering::Relaxed)
    }

    fn place(&self, key: u64) -> &Place {
        &self.places[(key % self.places.len() as u64) as usize]
    }
}

/// The value with that number: now and then of a length that is compressed.
fn value_of(number: u64, noise_bytes: usize) -> Vec<u8> {
    let mut value = text_of(number).into_bytes();
    value.extend(noise(number, noise_bytes));
    value
}

fn text_of(number: u64) -> String {
    let repeated = if number.is_multiple_of(16) { 40 } else { 1 };
    format!("{number} ").repeat(repeated)
}

/// The number of a value, if it is one.
pub(crate) fn number_of_value(value: &[u8]) -> Option<u64> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&value[..digits]).ok()?.parse().ok()?;
    let noise_bytes = value.len().checked_sub(text_of(number).len())?;
    (value_of(number, noise_bytes) == value).then_some(number)
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut noise: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| next()).collect();
    noise.truncate(bytes);
    noise
}
