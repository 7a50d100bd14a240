//! Whether the peer is still there: when it is asked, and when its connection is taken for lost. A process that is
//! stopped and a cable that is cut end no connection; only silence tells.
//!
//! A side that has written nothing for a while asks too, although it hears the other: that one may have so much to send that what
//! it would ask waits behind for longer than it gives an answer.

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

/// What this side does for the peer to hear.
#[derive(Debug, Clone, Copy)]
enum WriterState {
    /// It has bytes in hand, of which the peer took some then, or which it began with then.
    Writing { taken_at: Instant },
    /// It has written nothing since then.
    Idle { since: Instant },
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

    /// Looks at a connection whose peer was heard at `heard_at` for the last time.
    fn look(&mut self, now: Instant, heard_at: Instant, writer: WriterState) -> Verdict {
        // This side was asleep: what has come meanwhile has not been read yet.
        if now.saturating_duration_since(self.planned) > self.interval / 2 {
            self.not_before = later(now, self.interval);
        }
        let (quiet_since, ask_after) = match writer {
            WriterState::Writing { taken_at } => (taken_at.min(heard_at), heard_at),
            WriterState::Idle { since } => (heard_at, since.min(heard_at)),
        };
        let lost_at = later(quiet_since, self.interval.saturating_mul(LOST_AFTER)).max(self.not_before);
        if now >= lost_at {
            return Verdict::Lost;
        }
        let last = self.asked_at.map_or(ask_after, |asked| asked.max(ask_after));
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

fn writer_state(link: &Link) -> WriterState {
    let last = link.taken.last();
    if link.is_writing.load(Ordering::Acquire) {
        WriterState::Writing { taken_at: last }
    } else {
        WriterState::Idle { since: last }
    }
}

/// Looks after a connection until it ends.
pub(super) async fn watch_peer(link: Arc<Link>, interval: Duration) {
    let mut keep_alive = KeepAlive::new(interval, now());
    let mut token = 0;
    loop {
        match keep_alive.look(now(), link.heard.last(), writer_state(&link)) {
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
