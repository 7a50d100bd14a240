//! Whether the peer is still there: when it is asked, and when its connection is taken for lost. A process that is
//! stopped and a cable that is cut end no connection; only silence tells.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::link::{Link, lock, now};
use crate::{error::NotSent, wire::frame::Control};

/// So many times the interval without a sign of life, and the peer is lost.
const LOST_AFTER: u32 = 3;

/// No connection is looked after more often than this.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// What stands for never.
const AGES: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Lost,
    Go { ask: bool, look_again: Instant },
}

/// The decisions about one connection; time is an argument.
#[derive(Debug)]
struct KeepAlive {
    interval: Duration,
    asked_at: Option<Instant>,
    /// When it was to be looked again.
    planned: Instant,
    /// The peer is not taken for lost before.
    not_before: Instant,
}

impl KeepAlive {
    fn new(interval: Duration, now: Instant) -> Self {
        Self { interval: interval.max(MIN_INTERVAL), asked_at: None, planned: now, not_before: now }
    }

    /// Looks at a connection whose peer was heard at `heard_at` for the last time, and has taken no byte of what is being
    /// written since `stuck_since`.
    fn look(&mut self, now: Instant, heard_at: Instant, stuck_since: Option<Instant>) -> Verdict {
        // This side was asleep: what has come meanwhile has not been read yet.
        if now.saturating_duration_since(self.planned) > self.interval / 2 {
            self.not_before = later(now, self.interval);
        }
        let quiet_since = stuck_since.map_or(heard_at, |stuck| stuck.min(heard_at));
        let lost_at = later(quiet_since, self.interval.saturating_mul(LOST_AFTER)).max(self.not_before);
        if now >= lost_at {
            return Verdict::Lost;
        }
        let last = self.asked_at.map_or(heard_at, |asked| asked.max(heard_at));
        let ask = now >= later(last, self.interval);
        if ask {
            self.asked_at = Some(now);
        }
        let ask_next = later(if ask { now } else { last }, self.interval);
        self.planned = ask_next.min(lost_at);
        Verdict::Go { ask, look_again: self.planned }
    }
}

fn later(at: Instant, by: Duration) -> Instant {
    at.checked_add(by.min(AGES)).unwrap_or(at)
}

/// Looks after a connection until it ends.
pub(super) async fn watch_peer(link: Arc<Link>, interval: Duration) {
    let mut keep_alive = KeepAlive::new(interval, now());
    let mut token = 0;
    loop {
        let stuck_since = link.is_writing.load(Ordering::Acquire).then(|| link.taken.last());
        match keep_alive.look(now(), link.heard.last(), stuck_since) {
            Verdict::Lost => {
                let peer = link.server();
                let quiet_ms = keep_alive.interval.saturating_mul(LOST_AFTER).as_millis();
                tracing::warn!(%peer, quiet_ms, "closed the connection: the peer is silent, or takes nothing");
                link.close(NotSent::ConnectionLost);
                return;
            }
            Verdict::Go { ask, look_again } => {
                if ask {
                    token += 1;
                    let mut outbox = lock(&link.outbox);
                    outbox.control(Control::Ping { token });
                    link.tell_writer(outbox);
                }
                tokio::select! {
                    () = link.ended() => return,
                    () = tokio::time::sleep_until(look_again.into()) => {}
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "alive_tests.rs"]
mod tests;
