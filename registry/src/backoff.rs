//! How long to wait before the next attempt: longer each time, and never the same for two servers, so that they do
//! not all come back to a restarted registry in the same moment.

use std::time::Duration;

/// The first wait is at most this long.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(crate) struct Backoff {
    limit: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { limit: FIRST }
    }

    pub(crate) fn reset(&mut self) {
        self.limit = FIRST;
    }

    /// The next wait: between half of a limit and the limit, which doubles each time.
    pub(crate) fn next(&mut self) -> Duration {
        // Without random numbers the servers come in step, which only costs the registry some patience.
        self.next_with(getrandom::u32().unwrap_or(u32::MAX))
    }

    fn next_with(&mut self, random: u32) -> Duration {
        let half = self.limit / 2;
        let wait = half + half.mul_f64(f64::from(random) / f64::from(u32::MAX));
        self.limit = (self.limit * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::new();
        let waits: Vec<u128> = (0..7).map(|_| backoff.next_with(u32::MAX).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(backoff.next_with(0).as_millis(), 1000);
        backoff.reset();
        assert_eq!(backoff.next_with(u32::MAX / 2).as_millis(), 75);
        assert!(backoff.next() >= Duration::from_millis(100));
    }
}
