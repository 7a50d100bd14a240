//! What to do when a server announces, is heard from, is lost, withdraws, or stays silent.

use std::time::Duration;

use ensemble::{Incarnation, ServerId};

use super::{
    outcome::{Announced, Contest, Heartbeat, MAX_CONTEST_ROUNDS, Refusal},
    state::{Directory, Entry},
};
use crate::{Announcement, Change, GoneReason, SuspectReason};

/// What the caller found out about the holder of a contested id.
struct Verdict {
    contest: Contest,
    holder_alive: bool,
}

impl Directory {
    /// A server announces. Whether the sender may speak for this id is for the caller to check.
    ///
    /// # Errors
    /// When a newer incarnation has had the id, or a bound would be exceeded.
    pub fn announce(&mut self, now: Duration, announcement: Announcement) -> Result<Announced, Refusal> {
        let announcement = self.options.check(announcement)?;
        self.decide(now, announcement, None)
    }

    /// The caller has found out whether the holder of a contested id lives. What changed meanwhile counts: the
    /// answer may be a new contest, with another holder, or with the same when it was heard from after the
    /// question was asked. After [`MAX_CONTEST_ROUNDS`] of these the holder keeps the id.
    ///
    /// # Errors
    /// When the holder lives, and as for [`Directory::announce`].
    pub fn resolve_contest(
        &mut self,
        now: Duration,
        contest: Contest,
        holder_alive: bool,
    ) -> Result<Announced, Refusal> {
        let announcement = contest.announcement.clone();
        self.decide(now, announcement, Some(Verdict { contest, holder_alive }))
    }

    fn decide(
        &mut self,
        now: Duration,
        announcement: Announcement,
        verdict: Option<Verdict>,
    ) -> Result<Announced, Refusal> {
        let lease_ms = self.options.lease_ms;
        let (id, incarnation) = (announcement.id.clone(), announcement.incarnation);
        self.settle(now, &id);
        let Some(holder) = self.entries.get(&id) else {
            if self.remembered.is_superseded(&id, incarnation) {
                return Err(Refusal::Superseded { id, incarnation });
            }
            self.make_room(now)?;
            self.admit(now, announcement);
            return Ok(Announced::Accepted { lease_ms, revision: self.revision() });
        };
        if holder.server.incarnation == incarnation {
            if *holder.server == announcement {
                self.renew(now, &id, incarnation);
                return Ok(Announced::Renewed { lease_ms, revision: self.revision() });
            }
            self.update(now, announcement);
            return Ok(Announced::Accepted { lease_ms, revision: self.revision() });
        }
        if holder.lineage.is_superseded(incarnation) {
            return Err(Refusal::Superseded { id, incarnation });
        }
        match self.judge(holder, verdict) {
            Judgement::Alive => Err(Refusal::Held {
                id,
                incarnation: holder.server.incarnation,
                addresses: holder.server.addresses.clone(),
            }),
            Judgement::Dead => {
                self.admit(now, announcement);
                Ok(Announced::Accepted { lease_ms, revision: self.revision() })
            }
            Judgement::Ask { round } => Ok(Announced::Contested(Box::new(Contest {
                announcement,
                holder: self.info(holder, now),
                signs_of_life: holder.signs_of_life,
                round,
            }))),
        }
    }

    fn judge(&self, holder: &Entry, verdict: Option<Verdict>) -> Judgement {
        let Some(Verdict { contest, holder_alive }) = verdict else { return Judgement::Ask { round: 0 } };
        let same_holder = contest.holder.incarnation == holder.server.incarnation;
        match (same_holder, holder_alive, contest.signs_of_life == holder.signs_of_life) {
            (true, true, _) => Judgement::Alive,
            (true, false, true) => Judgement::Dead,
            _ if contest.round + 1 >= MAX_CONTEST_ROUNDS => Judgement::Alive,
            _ => Judgement::Ask { round: contest.round + 1 },
        }
    }

    fn make_room(&mut self, now: Duration) -> Result<(), Refusal> {
        let limit = self.options.max_servers;
        if self.entries.len() >= limit {
            self.expire(now);
        }
        if self.entries.len() >= limit { Err(Refusal::TooManyServers { limit }) } else { Ok(()) }
    }

    /// A server gave a sign of life: its heartbeat, or a new connection in the place of a broken one.
    pub fn heartbeat(&mut self, now: Duration, id: &ServerId, incarnation: Incarnation) -> Heartbeat {
        self.settle(now, id);
        let superseded = match self.entries.get(id) {
            Some(entry) if entry.server.incarnation == incarnation => {
                self.renew(now, id, incarnation);
                return Heartbeat::Renewed { lease_ms: self.options.lease_ms };
            }
            Some(entry) => entry.lineage.is_superseded(incarnation),
            None => self.remembered.is_superseded(id, incarnation),
        };
        if superseded { Heartbeat::Superseded } else { Heartbeat::Unknown }
    }

    /// The connection of a server broke: it is suspect until it is heard from. Says whether that is news.
    pub fn disconnected(&mut self, now: Duration, id: &ServerId, incarnation: Incarnation) -> bool {
        self.settle(now, id);
        self.is_held_by(id, incarnation) && self.suspect(id, SuspectReason::Disconnected)
    }

    /// Takes a server out: this incarnation of it, or whichever there is. Says whether there was one. Whether the
    /// sender may do so is for the caller to check.
    pub fn withdraw(&mut self, now: Duration, id: &ServerId, incarnation: Option<Incarnation>) -> bool {
        self.settle(now, id);
        let found = match incarnation {
            Some(incarnation) => self.is_held_by(id, incarnation),
            None => self.entries.contains_key(id),
        };
        if found {
            self.remove(id, GoneReason::Withdrawn);
        }
        found
    }

    /// Takes out whose lease has ended, and makes suspect whose heartbeats are overdue. Says what changed.
    ///
    /// Lookups are right without it; watchers and the disk learn of it only through this.
    pub fn expire(&mut self, now: Duration) -> Vec<Change> {
        let before = self.revision();
        while let Some((_, id)) = self.deadlines.first().filter(|(due, _)| *due <= now) {
            let id = id.clone();
            self.settle(now, &id);
        }
        match self.log.after(before) {
            Ok(changes) => changes.cloned().collect(),
            // Not reached: one call makes at most one change of each server, and the log holds as many.
            Err(_) => Vec::new(),
        }
    }

    /// When [`Directory::expire`] is to be called next.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    fn is_held_by(&self, id: &ServerId, incarnation: Incarnation) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.server.incarnation == incarnation)
    }

    /// Records what the clock has already decided about a server, before anything else happens to it. A
    /// snapshot may have shown it as suspect by now, so its recovery has to be a change.
    fn settle(&mut self, now: Duration, id: &ServerId) {
        match self.entries.get(id) {
            Some(entry) if entry.is_expired(now) => self.remove(id, GoneReason::Expired),
            Some(entry) if entry.deadline <= now => {
                self.suspect(id, SuspectReason::Unheard);
            }
            _ => {}
        }
    }
}

enum Judgement {
    Alive,
    Dead,
    Ask { round: u32 },
}
