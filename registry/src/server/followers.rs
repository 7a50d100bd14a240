//! Those who wait for the next change, each with one question. What they are told is the directory's; here is only
//! who waits, in bounds, and how each wait ends.

use std::{collections::HashMap, time::Duration};

use actix::dev::{MessageResponse, OneshotSender};
use ensemble::Incarnation;
use tokio::{
    sync::{oneshot, watch},
    time::sleep,
};

use super::actor::Registry;
use crate::{
    Changes, Revision,
    messages::{Follow, MAX_WAITING_POLLS, MAX_WAITING_POLLS_OF_ONE, NotFollowed},
};

/// The answer to a poll.
pub(super) type Followed = Result<Changes, NotFollowed>;

struct Waiting {
    since: Revision,
    limit: usize,
    answer: oneshot::Sender<Followed>,
}

/// See the module.
pub(super) struct Followers {
    by_peer: HashMap<Incarnation, Vec<Waiting>>,
    count: usize,
    max: usize,
    max_of_one: usize,
}

impl Default for Followers {
    fn default() -> Self {
        Self::bounded(MAX_WAITING_POLLS, MAX_WAITING_POLLS_OF_ONE)
    }
}

impl Followers {
    fn bounded(max: usize, max_of_one: usize) -> Self {
        Self { by_peer: HashMap::new(), count: 0, max, max_of_one }
    }

    /// Has `peer` wait for what follows on `since`; `None` when there is no room.
    pub(super) fn wait(
        &mut self,
        peer: Incarnation,
        since: Revision,
        limit: usize,
    ) -> Option<oneshot::Receiver<Followed>> {
        // Those whose wait is over are still here. They are looked for only when they are in the way.
        if self.count >= self.max {
            self.by_peer.retain(|_, of_one| {
                of_one.retain(is_waiting);
                !of_one.is_empty()
            });
            self.count = self.by_peer.values().map(Vec::len).sum();
            if self.count >= self.max {
                return None;
            }
        }
        let of_one = self.by_peer.entry(peer).or_default();
        if of_one.len() >= self.max_of_one {
            let before = of_one.len();
            of_one.retain(is_waiting);
            self.count -= before - of_one.len();
            if of_one.len() >= self.max_of_one {
                return None;
            }
        }
        let (answer, answered) = oneshot::channel();
        of_one.push(Waiting { since, limit, answer });
        self.count += 1;
        Some(answered)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Gives everyone who waits what `look` finds: the changes after a revision, at most so many.
    pub(super) fn tell(&mut self, look: impl Fn(Revision, usize) -> Followed) {
        self.count = 0;
        for Waiting { since, limit, answer } in self.by_peer.drain().flat_map(|(_, of_one)| of_one) {
            if answer.send(look(since, limit)).is_err() {
                tracing::trace!("a watcher has stopped waiting");
            }
        }
    }
}

fn is_waiting(waiting: &Waiting) -> bool {
    !waiting.answer.is_closed()
}

/// What the actor does with a poll.
pub(super) enum Reply {
    Now(Followed),
    Later(Wait),
}

/// A poll that waits.
pub(super) struct Wait {
    pub(super) answer: oneshot::Receiver<Followed>,
    pub(super) since: Revision,
    pub(super) longest: Duration,
    /// Ends when the node begins to shut down, which waits for all answers.
    pub(super) closing: watch::Receiver<()>,
}

impl Wait {
    /// `None` when the actor has died.
    async fn end(mut self) -> Option<Followed> {
        tokio::select! {
            biased;
            answer = self.answer => answer.ok(),
            _ = self.closing.changed() => Some(Ok(Changes::none(self.since))),
            () = sleep(self.longest) => Some(Ok(Changes::none(self.since))),
        }
    }
}

// Not a future that actix makes of it: that one would wait on for a peer that has gone.
impl MessageResponse<Registry, Follow> for Reply {
    fn handle(self, _: &mut actix::Context<Registry>, asker: Option<OneshotSender<Followed>>) {
        let Some(mut asker) = asker else { return };
        match self {
            Self::Now(answer) => send(asker, answer),
            Self::Later(wait) => {
                actix::spawn(async move {
                    tokio::select! {
                        ended = wait.end() => {
                            if let Some(answer) = ended {
                                send(asker, answer);
                            }
                        }
                        () = asker.closed() => {}
                    }
                });
            }
        }
    }
}

fn send(asker: OneshotSender<Followed>, answer: Followed) {
    if asker.send(answer).is_err() {
        tracing::trace!("a watcher has gone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Revision = Revision { history: Incarnation::from_bytes([1; 16]), number: 7 };

    fn peer(n: u8) -> Incarnation {
        Incarnation::from_bytes([n; 16])
    }

    #[test]
    fn everyone_who_waits_is_told_once() {
        let mut followers = Followers::default();
        let first = followers.wait(peer(1), NOW, 1).unwrap();
        let second = followers.wait(peer(2), NOW, 2).unwrap();
        assert!(!followers.is_empty());
        followers.tell(|since, limit| {
            assert_eq!(since, NOW);
            Ok(Changes { more: limit == 2, ..Changes::none(since) })
        });
        assert!(!first.blocking_recv().unwrap().unwrap().more);
        assert!(second.blocking_recv().unwrap().unwrap().more);
        assert!(followers.is_empty());
        followers.tell(|_, _| panic!("nobody waits"));
    }

    #[test]
    fn no_peer_takes_more_than_its_share() {
        let mut followers = Followers::bounded(10, 2);
        let _first = followers.wait(peer(1), NOW, 1).unwrap();
        let second = followers.wait(peer(1), NOW, 1).unwrap();
        assert!(followers.wait(peer(1), NOW, 1).is_none());
        let _other = followers.wait(peer(2), NOW, 1).unwrap();
        // The place of one that has given up is free.
        drop(second);
        let _third = followers.wait(peer(1), NOW, 1).unwrap();
        assert!(followers.wait(peer(1), NOW, 1).is_none());
        assert_eq!(followers.count, 3);
    }

    #[test]
    fn there_is_a_most_of_all() {
        let mut followers = Followers::bounded(2, 2);
        let first = followers.wait(peer(1), NOW, 1).unwrap();
        let _second = followers.wait(peer(2), NOW, 1).unwrap();
        assert!(followers.wait(peer(3), NOW, 1).is_none());
        drop(first);
        let _third = followers.wait(peer(3), NOW, 1).unwrap();
        assert!(followers.wait(peer(1), NOW, 1).is_none());
        assert_eq!((followers.count, followers.by_peer.len()), (2, 2));
    }
}
