//! The watcher's side: what a snapshot said, kept up to date by the changes that follow it. It knows no clock:
//! while the registry is away it shows what was last heard.

use std::{collections::BTreeMap, sync::Arc};

use ensemble::ServerId;
use thiserror::Error;

use crate::{Announcement, Change, Event, Liveness, Revision, ServerInfo};

/// A change that does not follow on what is there: a snapshot is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the view is at revision {at}, and the change is revision {found}")]
pub struct Gap {
    /// Where the view is.
    pub at: Revision,
    /// The change that was offered.
    pub found: Revision,
}

/// A server as a watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it announced.
    pub server: Arc<Announcement>,
    /// Whether it is believed to be reachable.
    pub liveness: Liveness,
}

/// A snapshot, kept up to date by changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    servers: BTreeMap<ServerId, Seen>,
    revision: Revision,
}

impl View {
    /// What a snapshot at `revision` says.
    pub fn new<'a>(servers: impl IntoIterator<Item = &'a ServerInfo>, revision: Revision) -> Self {
        let servers = servers
            .into_iter()
            .map(|info| {
                let seen = Seen { server: Arc::new(info.into()), liveness: info.liveness };
                (info.id.clone(), seen)
            })
            .collect();
        Self { servers, revision }
    }

    /// Brings the view to the revision of the change. A change that is already in it does nothing, so changes
    /// may be offered again.
    ///
    /// # Errors
    /// When changes are missing in between, or the change is of another history.
    pub fn apply(&mut self, change: &Change) -> Result<(), Gap> {
        let gap = Gap { at: self.revision, found: change.revision };
        if change.revision.history != self.revision.history {
            return Err(gap);
        }
        if change.revision.number <= self.revision.number {
            return Ok(());
        }
        if change.revision.number - self.revision.number != 1 {
            return Err(gap);
        }
        match &change.event {
            Event::Announced { server, .. } | Event::Updated { server } => {
                let seen = Seen { server: Arc::clone(server), liveness: Liveness::Reachable };
                self.servers.insert(change.id.clone(), seen);
            }
            Event::Suspected { .. } => self.set_liveness(change, Liveness::Suspect),
            Event::Recovered => self.set_liveness(change, Liveness::Reachable),
            Event::Gone { .. } => {
                if self.seen_mut(change).is_some() {
                    self.servers.remove(&change.id);
                }
            }
        }
        self.revision = change.revision;
        Ok(())
    }

    fn set_liveness(&mut self, change: &Change, liveness: Liveness) {
        if let Some(seen) = self.seen_mut(change) {
            seen.liveness = liveness;
        }
    }

    // A snapshot leaves out what expired before its revision says so, hence an event may find nothing.
    fn seen_mut(&mut self, change: &Change) -> Option<&mut Seen> {
        self.servers.get_mut(&change.id).filter(|seen| seen.server.incarnation == change.incarnation)
    }

    /// One server.
    pub fn get(&self, id: &ServerId) -> Option<&Seen> {
        self.servers.get(id)
    }

    /// All servers, in the order of their ids.
    pub fn servers(&self) -> impl Iterator<Item = &Seen> {
        self.servers.values()
    }

    /// The revision that it shows: where to go on from.
    pub fn revision(&self) -> Revision {
        self.revision
    }
}

#[cfg(test)]
mod tests {
    use ensemble::Incarnation;

    use super::*;
    use crate::{GoneReason, SuspectReason};

    const HISTORY: Incarnation = Incarnation::from_bytes([9; 16]);

    fn server(incarnation: u8) -> Arc<Announcement> {
        Arc::new(Announcement {
            id: ServerId::new("a").unwrap(),
            incarnation: Incarnation::from_bytes([incarnation; 16]),
            addresses: vec![],
            roles: vec![],
            agent: None,
            pid: None,
        })
    }

    fn change(number: u64, incarnation: u8, event: Event) -> Change {
        Change {
            revision: Revision { history: HISTORY, number },
            id: ServerId::new("a").unwrap(),
            incarnation: Incarnation::from_bytes([incarnation; 16]),
            event,
        }
    }

    fn announced(number: u64, incarnation: u8) -> Change {
        change(number, incarnation, Event::Announced { server: server(incarnation), replaced: None })
    }

    fn empty() -> View {
        View::new([], Revision { history: HISTORY, number: 0 })
    }

    fn liveness(view: &View) -> Option<Liveness> {
        view.get(&ServerId::new("a").unwrap()).map(|seen| seen.liveness)
    }

    #[test]
    fn changes_are_applied_in_order() {
        let mut view = empty();
        view.apply(&announced(1, 1)).unwrap();
        assert_eq!(liveness(&view), Some(Liveness::Reachable));
        view.apply(&change(2, 1, Event::Suspected { reason: SuspectReason::Unheard })).unwrap();
        assert_eq!(liveness(&view), Some(Liveness::Suspect));
        view.apply(&change(3, 1, Event::Recovered)).unwrap();
        assert_eq!(liveness(&view), Some(Liveness::Reachable));
        view.apply(&change(4, 1, Event::Gone { reason: GoneReason::Expired })).unwrap();
        assert_eq!((liveness(&view), view.revision().number), (None, 4));
    }

    #[test]
    fn what_is_already_there_does_nothing_and_what_is_missing_is_a_gap() {
        let mut view = empty();
        view.apply(&announced(1, 1)).unwrap();
        view.apply(&announced(1, 2)).unwrap();
        assert_eq!(view.servers().next().unwrap().server, server(1));
        let skipped = announced(3, 2);
        assert_eq!(view.apply(&skipped), Err(Gap { at: view.revision(), found: skipped.revision }));
        let mut other = announced(2, 2);
        other.revision.history = Incarnation::from_bytes([8; 16]);
        assert!(view.apply(&other).is_err());
    }

    #[test]
    fn the_end_of_an_older_incarnation_does_not_touch_the_newer() {
        let mut view = empty();
        view.apply(&announced(1, 2)).unwrap();
        view.apply(&change(2, 1, Event::Gone { reason: GoneReason::Expired })).unwrap();
        view.apply(&change(3, 1, Event::Suspected { reason: SuspectReason::Unheard })).unwrap();
        assert_eq!(liveness(&view), Some(Liveness::Reachable));
    }
}
