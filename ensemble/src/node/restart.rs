//! Whether and when an actor that has ended is started again. Only deciding is here: the clock is an argument, and
//! whoever asks does what is decided.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// After which endings a supervised actor is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// After none.
    Never,
    /// After a panic, of the actor or of the function that makes it.
    OnFailure,
    /// Also when it has stopped by itself. Not when it was shut down from outside, or its export was taken back.
    Always,
}

/// How a supervised actor is started again: after which endings, how soon, and when no more.
///
/// The defaults are ten restarts in half a minute, after 20 ms, 40 ms and so on up to 2 s. An actor that has failed once is
/// back almost at once; one that needs something which is away for some seconds outlasts that (the ten pauses take 8.5 s
/// together); and one that cannot be helped is given up within ten seconds, before it has filled a log.
///
/// ```
/// use ensemble::{Restart, RestartPolicy};
///
/// let policy = RestartPolicy { max_restarts: 3, ..RestartPolicy::new(Restart::Always) };
/// assert_eq!(policy.window.as_secs(), 30);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartPolicy {
    /// After which endings. Default: [`Restart::OnFailure`].
    pub restart: Restart,
    /// So many restarts within [`window`](Self::window); at the next ending the actor is given up. Default: 10.
    pub max_restarts: u32,
    /// What the restarts are counted over. Default: 30 s.
    pub window: Duration,
    /// The pause before the first restart; each further one within the window is twice as long. Default: 20 ms.
    pub first_pause: Duration,
    /// The longest pause. Default: 2 s.
    pub max_pause: Duration,
}

impl RestartPolicy {
    /// The default bounds, for these endings.
    pub const fn new(restart: Restart) -> Self {
        Self {
            restart,
            max_restarts: 10,
            window: Duration::from_secs(30),
            first_pause: Duration::from_millis(20),
            max_pause: Duration::from_secs(2),
        }
    }
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self::new(Restart::OnFailure)
    }
}

/// How an actor has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It stopped, for whatever reason.
    Stopped,
    /// By a panic: its own, or that of what makes it.
    Panicked,
}

impl Restart {
    pub(super) fn applies_to(self, ending: Ending) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure => ending == Ending::Panicked,
            Self::Always => true,
        }
    }
}

/// What is to be done after an ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// The policy wants no restart.
    LeaveIt,
    /// There have been too many.
    GiveUp,
    RestartAfter(Duration),
}

/// The restarts of one actor.
#[derive(Debug)]
pub(super) struct Restarts {
    policy: RestartPolicy,
    /// When those within the window were decided; at most as many as the policy allows.
    recent: VecDeque<Instant>,
}

impl Restarts {
    pub(super) fn new(policy: RestartPolicy) -> Self {
        Self { policy, recent: VecDeque::new() }
    }

    /// The actor has ended.
    pub(super) fn decide(&mut self, ending: Ending, now: Instant) -> Decision {
        let policy = &self.policy;
        if !policy.restart.applies_to(ending) {
            return Decision::LeaveIt;
        }
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= policy.window;
        while self.recent.front().is_some_and(is_old) {
            self.recent.pop_front();
        }
        if self.recent.len() >= policy.max_restarts as usize {
            return Decision::GiveUp;
        }
        let doublings = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.recent.push_back(now);
        Decision::RestartAfter(policy.first_pause.saturating_mul(factor).min(policy.max_pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(restart: Restart) -> RestartPolicy {
        RestartPolicy {
            restart,
            max_restarts: 4,
            window: Duration::from_secs(10),
            first_pause: Duration::from_millis(100),
            max_pause: Duration::from_millis(500),
        }
    }

    fn after_ms(ms: u64) -> Decision {
        Decision::RestartAfter(Duration::from_millis(ms))
    }

    #[test]
    fn the_policy_says_which_endings_count() {
        use Ending::{Panicked, Stopped};
        for (restart, ending, decision) in [
            (Restart::Never, Stopped, Decision::LeaveIt),
            (Restart::Never, Panicked, Decision::LeaveIt),
            (Restart::OnFailure, Stopped, Decision::LeaveIt),
            (Restart::OnFailure, Panicked, after_ms(100)),
            (Restart::Always, Stopped, after_ms(100)),
            (Restart::Always, Panicked, after_ms(100)),
        ] {
            let decided = Restarts::new(policy(restart)).decide(ending, Instant::now());
            assert_eq!(decided, decision, "{restart:?} after {ending:?}");
        }
    }

    #[test]
    fn pauses_grow_up_to_their_bound_and_then_it_is_given_up() {
        let mut restarts = Restarts::new(policy(Restart::OnFailure));
        let start = Instant::now();
        let decided: Vec<_> = (0..6)
            .map(|second| restarts.decide(Ending::Panicked, start + Duration::from_secs(second)))
            .collect();
        let gave_up = Decision::GiveUp;
        assert_eq!(decided, [after_ms(100), after_ms(200), after_ms(400), after_ms(500), gave_up, gave_up]);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut restarts = Restarts::new(policy(Restart::Always));
        let start = Instant::now();
        let mut at = |ms| restarts.decide(Ending::Panicked, start + Duration::from_millis(ms));
        for (ms, pause) in [(0, 100), (1, 200), (2, 400), (3, 500)] {
            assert_eq!(at(ms), after_ms(pause));
        }
        assert_eq!(at(9999), Decision::GiveUp);
        assert_eq!(at(10_000), after_ms(500), "the first is old, three are not");
        assert_eq!(at(30_000), after_ms(100), "all are old");
        // A clock that is behind changes nothing.
        assert_eq!(at(29_000), after_ms(200));
    }

    #[test]
    fn extreme_policies_do_not_overflow() {
        let mut restarts = Restarts::new(RestartPolicy {
            max_restarts: 100,
            window: Duration::MAX,
            first_pause: Duration::from_secs(1),
            max_pause: Duration::MAX,
            restart: Restart::Always,
        });
        for _ in 0..100 {
            assert!(matches!(restarts.decide(Ending::Stopped, Instant::now()), Decision::RestartAfter(_)));
        }
        assert_eq!(restarts.decide(Ending::Stopped, Instant::now()), Decision::GiveUp);
        let mut none = Restarts::new(RestartPolicy { max_restarts: 0, ..RestartPolicy::default() });
        assert_eq!(none.decide(Ending::Panicked, Instant::now()), Decision::GiveUp);
    }

    #[test]
    fn the_default_pauses_take_as_long_as_documented() {
        let mut restarts = Restarts::new(RestartPolicy::default());
        let now = Instant::now();
        let mut total = Duration::ZERO;
        while let Decision::RestartAfter(pause) = restarts.decide(Ending::Panicked, now) {
            total += pause;
        }
        assert_eq!(total.as_millis(), 8540);
    }
}
