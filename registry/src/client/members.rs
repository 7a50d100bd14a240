//! Who has a role, as a watcher sees it, and which of them is next. The calls themselves are in `role`.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use ensemble::{Address, ServerId, WeakNode};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    cache::Cache,
    watch::{WatchEvent, Watcher},
};
use crate::{Announcement, Event, Liveness, View};

/// How often it is checked whether the node still exists while nothing changes.
const NODE_CHECK: Duration = Duration::from_secs(5);

/// The ensemble as it is now, kept up to date by a task for as long as somebody has this.
#[derive(Debug)]
pub(super) struct Follower {
    view: watch::Receiver<Option<View>>,
}

impl Follower {
    /// Begins to follow, on this thread's runtime.
    pub(super) fn start(watcher: Watcher, node: WeakNode, cache: Arc<Mutex<Cache>>) -> Self {
        let (sender, view) = watch::channel(None);
        tokio::spawn(follow(watcher, node, cache, sender));
        Self { view }
    }

    /// Where a server was when it was last heard of.
    pub(super) fn addresses(&self, server: &ServerId) -> Option<Vec<Address>> {
        let view = self.view.borrow();
        Some(view.as_ref()?.get(server)?.server.addresses.clone())
    }

    /// The view, once there is one.
    pub(super) fn view(&self) -> watch::Receiver<Option<View>> {
        self.view.clone()
    }
}

async fn follow(
    mut watcher: Watcher,
    node: WeakNode,
    cache: Arc<Mutex<Cache>>,
    view: watch::Sender<Option<View>>,
) {
    loop {
        let event = tokio::select! {
            event = watcher.next() => event,
            () = view.closed() => return,
            () = sleep(NODE_CHECK) => match node.upgrade() {
                Some(_) => continue,
                None => return,
            },
        };
        // The watcher has said in the log why not, and pauses before it asks again.
        let Ok(event) = event else { continue };
        match event {
            WatchEvent::Snapshot(servers, revision) => {
                let (now, mut cache) = (Instant::now(), lock(&cache));
                for info in &servers {
                    cache.correct(now, &info.id, info.incarnation, &info.addresses);
                }
                view.send_replace(Some(View::new(&servers, revision)));
            }
            WatchEvent::Change(change) => {
                match &change.event {
                    Event::Announced { server, .. } | Event::Updated { server } => {
                        let Announcement { id, incarnation, addresses, .. } = &**server;
                        lock(&cache).correct(Instant::now(), id, *incarnation, addresses);
                    }
                    Event::Gone { .. } => lock(&cache).forget(&change.id),
                    Event::Suspected { .. } | Event::Recovered => {}
                }
                view.send_modify(|view| {
                    if let Some(Err(gap)) = view.as_mut().map(|view| view.apply(&change)) {
                        tracing::error!(%gap, "a watcher has lost changes");
                    }
                });
            }
            // What is there is still the best that is known.
            WatchEvent::FellBehind | WatchEvent::Away | WatchEvent::Back => {}
        }
    }
}

fn lock(cache: &Mutex<Cache>) -> MutexGuard<'_, Cache> {
    // Nothing that can panic in the middle of a change happens under the lock.
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one server has to do for this program.
#[derive(Debug, Default)]
pub(super) struct Load {
    in_flight: AtomicUsize,
    /// The turn at which it was last chosen.
    turn: AtomicU64,
}

impl Load {
    pub(super) fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

/// Counts as one call until it is dropped.
pub(super) struct InFlight(Arc<Load>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A server with the role.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: ServerId,
    pub(super) liveness: Liveness,
    pub(super) load: Arc<Load>,
}

/// Chooses among servers.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    turn: AtomicU64,
}

impl Chooser {
    /// The one with the least calls in flight from here, and of several the one whose turn was longest ago; one that is
    /// suspect only when all are, and none that was tried.
    pub(super) fn choose<'a>(&self, members: &'a [Member], tried: &[ServerId]) -> Option<&'a Member> {
        let chosen = members.iter().filter(|member| !tried.contains(&member.id)).min_by_key(|member| {
            let in_flight = member.load.in_flight.load(Ordering::Relaxed);
            (member.liveness == Liveness::Suspect, in_flight, member.load.turn.load(Ordering::Relaxed))
        })?;
        chosen.load.turn.store(self.turn.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Some(chosen)
    }
}

/// The members in a view, in the order of their ids; those that were there before keep their load.
pub(super) fn members_of(view: &View, role: &ensemble::RoleName, before: &[Member]) -> Vec<Member> {
    let before: HashMap<&ServerId, &Arc<Load>> =
        before.iter().map(|member| (&member.id, &member.load)).collect();
    let has_role = |seen: &&crate::Seen| seen.server.roles.contains(role);
    view.servers()
        .filter(has_role)
        .map(|seen| Member {
            id: seen.server.id.clone(),
            liveness: seen.liveness,
            load: before.get(&seen.server.id).map_or_else(Arc::default, |load| Arc::clone(load)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, liveness: Liveness) -> Member {
        Member { id: ServerId::new(id).unwrap(), liveness, load: Arc::default() }
    }

    fn reachable() -> Vec<Member> {
        ["a", "b", "c"].map(|id| member(id, Liveness::Reachable)).into()
    }

    fn chosen(chooser: &Chooser, members: &[Member], count: usize) -> String {
        (0..count).map(|_| chooser.choose(members, &[]).unwrap().id.as_str().to_owned()).collect()
    }

    #[test]
    fn equals_take_turns() {
        assert_eq!(chosen(&Chooser::default(), &reachable(), 7), "abcabca");
    }

    #[test]
    fn who_has_the_least_to_do_comes_first() {
        let (chooser, members) = (Chooser::default(), reachable());
        let calls = [members[0].load.enter(), members[0].load.enter(), members[2].load.enter()];
        assert_eq!(chosen(&chooser, &members, 3), "bbb");
        let _one = members[1].load.enter();
        assert_eq!(chosen(&chooser, &members, 3), "cbc");
        drop(calls);
        assert_eq!(chosen(&chooser, &members, 4), "acac");
    }

    #[test]
    fn suspects_and_those_that_were_tried_come_last_or_not_at_all() {
        let chooser = Chooser::default();
        let mut members = reachable();
        members[0].liveness = Liveness::Suspect;
        assert_eq!(chosen(&chooser, &members, 4), "bcbc");
        let tried = [members[1].id.clone(), members[2].id.clone()];
        assert_eq!(chooser.choose(&members, &tried).unwrap().id, members[0].id);
        let all: Vec<ServerId> = members.iter().map(|member| member.id.clone()).collect();
        assert!(chooser.choose(&members, &all).is_none());
        assert!(chooser.choose(&[], &[]).is_none());
    }
}
