//! A server that could not be reached is left alone for a moment: who keeps sending to one that is dead does not make
//! a connection attempt of each message. Only deciding is here: the clock is an argument.

use std::time::{Duration, Instant};

use crate::{address::Address, error::NotSent};

/// The pause after the first failed attempt; each further one is followed by twice as long a pause.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// The longest pause: so much later than it could, a server is reached at most.
pub(super) const MAX_PAUSE: Duration = Duration::from_millis(400);

#[derive(Debug)]
struct Failure {
    addresses: Vec<Address>,
    why: NotSent,
    pause: Duration,
    until: Instant,
}

/// How the last attempt to reach a server failed, if it did.
#[derive(Debug, Default)]
pub(super) struct Failing(Option<Failure>);

impl Failing {
    /// Why no attempt is to be made now. Other addresses than the last ones are always worth one.
    pub(super) fn verdict(&self, addresses: &[Address], now: Instant) -> Option<NotSent> {
        let failure = self.0.as_ref()?;
        let is_pause = now < failure.until && failure.addresses == addresses;
        is_pause.then(|| failure.why.clone())
    }

    /// The server could not be reached there.
    pub(super) fn failed(&mut self, addresses: &[Address], why: NotSent, now: Instant) {
        let last = self.0.take().filter(|last| last.addresses == addresses);
        let pause = last.map_or(FIRST_PAUSE, |last| (2 * last.pause).min(MAX_PAUSE));
        self.0 = Some(Failure { addresses: addresses.to_vec(), why, pause, until: now + pause });
    }

    /// It has been reached, or there is other news of it.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str) -> Vec<Address> {
        vec![format!("mem:{name}").parse().unwrap()]
    }

    const WHY: NotSent = NotSent::ConnectionLost;

    #[test]
    fn pauses_grow_up_to_their_bound() {
        let mut failing = Failing::default();
        let mut now = Instant::now();
        assert_eq!(failing.verdict(&at("a"), now), None);
        for pause_ms in [25, 50, 100, 200, 400, 400] {
            failing.failed(&at("a"), WHY, now);
            let end = now + Duration::from_millis(pause_ms);
            assert_eq!(failing.verdict(&at("a"), end - Duration::from_millis(1)), Some(WHY));
            assert_eq!(failing.verdict(&at("a"), end), None);
            now = end;
        }
    }

    #[test]
    fn news_end_a_pause() {
        let mut failing = Failing::default();
        let now = Instant::now();
        failing.failed(&at("a"), WHY, now);
        failing.failed(&at("a"), WHY, now);
        assert_eq!(failing.verdict(&at("b"), now), None, "another address");
        failing.failed(&at("b"), NotSent::NotAuthenticated, now);
        assert_eq!(failing.verdict(&at("b"), now), Some(NotSent::NotAuthenticated));
        assert_eq!(failing.verdict(&at("b"), now + FIRST_PAUSE), None, "it begins anew");
        failing.forget();
        assert_eq!(failing.verdict(&at("b"), now), None);
    }
}
