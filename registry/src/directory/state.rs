//! The state of a directory, and the few ways to change it that keep its parts in step: the map, the role index,
//! the deadlines and the log of changes. What to do when is decided in `decisions`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use ensemble::{Incarnation, ServerId};

use super::{
    changes::ChangeLog,
    lineage::{Lineage, Remembered},
    options::Options,
    outcome::{Refusal, Restored},
    roles::RoleIndex,
};
use crate::{Announcement, Event, GoneReason, StoredEntry, SuspectReason};

/// Which servers hold a lease, and who may have which id.
///
/// # Time
/// `now` is the caller's monotonic clock, as the time since an origin of the caller's choice. The age of a server
/// survives a restart of the registry when that origin is the same before and after: read the wall clock once at
/// the start, and add what a monotonic clock counts from there on.
///
/// # Life of an entry
/// An announcement opens a lease, which every heartbeat (or repeated announcement) renews. Half a lease without
/// one, or a broken connection, makes the server *suspect*; at the end of its lease it is gone, whether or not
/// anyone has called [`Directory::expire`] by then. After a restart of the registry everything is suspect, with
/// one fresh lease to be heard from.
///
/// # Who has an id
/// Another incarnation of an id that holds a lease is *contested*: the caller asks the holder over the network
/// and comes back with [`Directory::resolve_contest`]. A dead holder is replaced; a live one keeps the id. An
/// incarnation that was once followed by another of the same id is *superseded* and refused from then on, also
/// when the other one is gone. This memory has bounds: [`MAX_PREDECESSORS`](crate::MAX_PREDECESSORS) of one id, and
/// [`Options::max_remembered`] ids that are gone. It is kept on disk.
///
/// # What follows a decision
/// After each operation the caller asks [`Directory::writes_since`] what to keep on disk and
/// [`Directory::changes_since`] what to tell the watchers, from the revision at which it last asked. One
/// operation never makes more changes than are kept, so asking each time never answers `Compacted`.
///
/// ```
/// use std::time::Duration;
/// use ensemble::{Incarnation, RoleName, ServerId};
/// use registry::{Announced, Announcement, Directory, Liveness, Options, View};
///
/// let mut directory = Directory::new(Incarnation::fresh(), Options::default());
/// let announcement = Announcement {
///     id: ServerId::new("counter-1")?,
///     incarnation: Incarnation::fresh(),
///     addresses: vec!["tcp:127.0.0.1:7700".parse()?],
///     roles: vec![RoleName::new("counter")?],
///     agent: None,
///     pid: None,
/// };
/// let start = directory.revision();
/// let announced = directory.announce(Duration::ZERO, announcement)?;
/// assert!(matches!(announced, Announced::Accepted { lease_ms: 10_000, .. }));
///
/// // A watcher that was there from the start sees it too.
/// let mut view = View::new([], start);
/// for change in directory.changes_since(start, 100)?.changes {
///     view.apply(&change)?;
/// }
/// assert_eq!(view.servers().count(), 1);
///
/// // Without a heartbeat it is suspect first, and then gone.
/// let found = directory.by_role(Duration::from_secs(6), &RoleName::new("counter")?);
/// assert_eq!(found[0].liveness, Liveness::Suspect);
/// assert!(directory.all(Duration::from_secs(10)).is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Directory {
    pub(super) options: Options,
    pub(super) entries: BTreeMap<ServerId, Entry>,
    pub(super) roles: RoleIndex,
    /// When something is due for an entry, in order: each entry is here once, with its own `deadline`.
    pub(super) deadlines: BTreeSet<(Duration, ServerId)>,
    pub(super) remembered: Remembered,
    /// Ids that are no longer remembered, each with the revision at which it was forgotten: as many as changes are kept.
    pub(super) forgotten: VecDeque<(u64, ServerId)>,
    pub(super) log: ChangeLog,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) server: Arc<Announcement>,
    pub(super) announced_at: Duration,
    pub(super) heard_at: Duration,
    pub(super) lease_end: Duration,
    pub(super) suspect: bool,
    /// Becoming suspect, or the end of the lease when it is suspect already.
    pub(super) deadline: Duration,
    pub(super) lineage: Lineage,
    pub(super) signs_of_life: u64,
}

impl Entry {
    pub(super) fn is_expired(&self, now: Duration) -> bool {
        now >= self.lease_end
    }
}

impl Directory {
    /// An empty directory. `history` sets its revisions apart from those of any other: the incarnation of the
    /// registry's node.
    pub fn new(history: Incarnation, options: Options) -> Self {
        let options = options.effective();
        Self {
            entries: BTreeMap::new(),
            roles: RoleIndex::default(),
            deadlines: BTreeSet::new(),
            remembered: Remembered::new(options.max_remembered),
            forgotten: VecDeque::new(),
            log: ChangeLog::new(history, options.max_changes),
            options,
        }
    }

    /// What the registry had before its restart. All of it is suspect, with one fresh lease to be heard from;
    /// it counts as no change, so its revision is the first of the new history.
    pub fn restore(
        now: Duration,
        history: Incarnation,
        options: Options,
        stored: impl IntoIterator<Item = StoredEntry>,
    ) -> Restored {
        let mut directory = Self::new(history, options);
        let mut refused = Vec::new();
        for entry in stored {
            let id = entry.id().clone();
            if let Err(refusal) = directory.restore_one(now, entry) {
                refused.push((id, refusal));
            }
        }
        Restored { directory, refused }
    }

    fn restore_one(&mut self, now: Duration, stored: StoredEntry) -> Result<(), Refusal> {
        let (server, announced_at_ms, superseded) = match stored {
            StoredEntry::Server { server, announced_at_ms, superseded } => {
                (server, announced_at_ms, superseded)
            }
            StoredEntry::Gone { id, incarnations } => {
                self.remember(id, Lineage::of(incarnations));
                return Ok(());
            }
        };
        let server = self.options.check(server)?;
        let limit = self.options.max_servers;
        if self.entries.len() >= limit && !self.entries.contains_key(&server.id) {
            return Err(Refusal::TooManyServers { limit });
        }
        let lineage = Lineage::of(superseded);
        // A clock that was set back must not make a server younger than nothing.
        let announced_at = Duration::from_millis(announced_at_ms).min(now);
        self.insert(now, Arc::new(server), announced_at, lineage);
        Ok(())
    }

    /// Puts in an entry that is suspect until it is heard from; any other of its id goes.
    fn insert(
        &mut self,
        now: Duration,
        server: Arc<Announcement>,
        announced_at: Duration,
        mut lineage: Lineage,
    ) {
        self.take_out(&server.id);
        lineage.accept(server.incarnation);
        let lease_end = now.saturating_add(self.options.lease());
        self.roles.add(&server);
        self.deadlines.insert((lease_end, server.id.clone()));
        let id = server.id.clone();
        let entry = Entry {
            server,
            announced_at,
            heard_at: now,
            lease_end,
            suspect: true,
            deadline: lease_end,
            lineage,
            signs_of_life: 0,
        };
        self.entries.insert(id, entry);
    }

    fn take_out(&mut self, id: &ServerId) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        self.roles.remove(&entry.server);
        self.deadlines.remove(&(entry.deadline, id.clone()));
        Some(entry)
    }

    /// A new incarnation takes the id, from the one that has it or from none.
    pub(super) fn admit(&mut self, now: Duration, server: Announcement) {
        let (replaced, lineage) = match self.take_out(&server.id) {
            Some(old) => (Some(old.server.incarnation), old.lineage),
            None => (None, self.remembered.take(&server.id).unwrap_or_default()),
        };
        let server = Arc::new(server);
        self.insert(now, Arc::clone(&server), now, lineage);
        self.hear(now, &server.id);
        self.log.push(server.id.clone(), server.incarnation, Event::Announced { server, replaced });
    }

    /// The incarnation that has the id announces something else.
    pub(super) fn update(&mut self, now: Duration, server: Announcement) {
        let server = Arc::new(server);
        if let Some(entry) = self.entries.get_mut(&server.id) {
            self.roles.remove(&entry.server);
            self.roles.add(&server);
            entry.server = Arc::clone(&server);
            self.hear(now, &server.id);
            self.log.push(server.id.clone(), server.incarnation, Event::Updated { server });
        }
    }

    /// Renews the lease after a sign of life; says whether the server was suspect.
    pub(super) fn hear(&mut self, now: Duration, id: &ServerId) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        let was_suspect = std::mem::replace(&mut entry.suspect, false);
        entry.heard_at = now;
        entry.signs_of_life += 1;
        entry.lease_end = now.saturating_add(self.options.lease());
        let due = now.saturating_add(self.options.patience());
        move_deadline(&mut self.deadlines, entry, due);
        was_suspect
    }

    pub(super) fn renew(&mut self, now: Duration, id: &ServerId, incarnation: Incarnation) {
        if self.hear(now, id) {
            self.log.push(id.clone(), incarnation, Event::Recovered);
        }
    }

    /// Says whether it was not suspect before.
    pub(super) fn suspect(&mut self, id: &ServerId, reason: SuspectReason) -> bool {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| !entry.suspect) else { return false };
        entry.suspect = true;
        let due = entry.lease_end;
        move_deadline(&mut self.deadlines, entry, due);
        self.log.push(id.clone(), entry.server.incarnation, Event::Suspected { reason });
        true
    }

    pub(super) fn remove(&mut self, id: &ServerId, reason: GoneReason) {
        if let Some(entry) = self.take_out(id) {
            self.log.push(id.clone(), entry.server.incarnation, Event::Gone { reason });
            self.remember(id.clone(), entry.lineage);
        }
    }

    fn remember(&mut self, id: ServerId, lineage: Lineage) {
        let Some(forgotten) = self.remembered.keep(id, lineage) else { return };
        if self.forgotten.len() == self.options.max_changes {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back((self.log.current().number, forgotten));
    }
}

fn move_deadline(deadlines: &mut BTreeSet<(Duration, ServerId)>, entry: &mut Entry, due: Duration) {
    let mut key = (entry.deadline, entry.server.id.clone());
    deadlines.remove(&key);
    key.0 = due;
    entry.deadline = due;
    deadlines.insert(key);
}
