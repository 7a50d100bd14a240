//! What the directory answers. Nothing here changes it, and nothing shows a server whose lease has ended.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use ensemble::{RoleName, ServerId};

use super::{
    lineage::Lineage,
    options::Options,
    outcome::Write,
    state::{Directory, Entry},
};
use crate::{Change, Changes, Compacted, Event, Liveness, Revision, ServerInfo, StoredEntry};

impl Directory {
    /// One server.
    pub fn lookup(&self, now: Duration, id: &ServerId) -> Option<ServerInfo> {
        self.entries.get(id).filter(|entry| !entry.is_expired(now)).map(|entry| self.info(entry, now))
    }

    /// The servers with a role, in the order of their ids.
    pub fn by_role(&self, now: Duration, role: &RoleName) -> Vec<ServerInfo> {
        self.roles.get(role).filter_map(|id| self.lookup(now, id)).collect()
    }

    /// At most `limit` servers with a role, in the order of their ids, from the one that follows `after`.
    pub fn page_by_role(
        &self,
        now: Duration,
        role: &RoleName,
        after: Option<&ServerId>,
        limit: usize,
    ) -> Vec<ServerInfo> {
        let is_next = |id: &&ServerId| after.is_none_or(|after| *id > after);
        self.roles.get(role).filter(is_next).filter_map(|id| self.lookup(now, id)).take(limit).collect()
    }

    /// All servers, in the order of their ids.
    pub fn all(&self, now: Duration) -> Vec<ServerInfo> {
        self.page(now, None, usize::MAX)
    }

    /// At most `limit` servers, in the order of their ids, from the one that follows `after`.
    pub fn page(&self, now: Duration, after: Option<&ServerId>, limit: usize) -> Vec<ServerInfo> {
        let start = after.map_or(Unbounded, Excluded);
        self.entries
            .range::<ServerId, _>((start, Unbounded))
            .map(|(_, entry)| entry)
            .filter(|entry| !entry.is_expired(now))
            .take(limit)
            .map(|entry| self.info(entry, now))
            .collect()
    }

    /// The roles that servers have, in order. A role whose last server has expired stays until
    /// [`Directory::expire`] is called.
    pub fn roles(&self) -> impl Iterator<Item = &RoleName> {
        self.roles.names()
    }

    /// How many servers there are, those included that `expire` has yet to take out.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bounds in force.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The revision of now.
    pub fn revision(&self) -> Revision {
        self.log.current()
    }

    /// All servers, and the revision from which a watcher goes on.
    ///
    /// Pages do as well, with the revision from before the first one: changes that a later page shows already do
    /// no harm when they are applied again, as all of them are.
    pub fn snapshot(&self, now: Duration) -> (Vec<ServerInfo>, Revision) {
        (self.all(now), self.revision())
    }

    /// At most `limit` of the changes after a revision.
    ///
    /// # Errors
    /// When they are no longer kept, or the revision is not of this directory: a snapshot is needed.
    pub fn changes_since(&self, since: Revision, limit: usize) -> Result<Changes, Compacted> {
        self.log.batch_after(since, limit)
    }

    /// What to write to disk to follow the changes after a revision: at most one write for each id. Becoming
    /// suspect and recovering write nothing.
    ///
    /// # Errors
    /// When the changes are no longer kept: write all of [`Directory::stored_all`].
    pub fn writes_since(&self, since: Revision) -> Result<Vec<Write>, Compacted> {
        let mut touched = BTreeMap::new();
        for Change { id, event, .. } in self.log.after(since)? {
            match event {
                Event::Announced { .. } | Event::Updated { .. } | Event::Gone { .. } => {
                    touched.insert(id, self.stored(id));
                }
                Event::Suspected { .. } | Event::Recovered => {}
            }
        }
        for (_, id) in self.forgotten.iter().filter(|(revision, _)| *revision > since.number) {
            touched.insert(id, self.stored(id));
        }
        let write = |(id, stored): (&ServerId, Option<StoredEntry>)| {
            stored.map_or_else(|| Write::Remove(id.clone()), Write::Put)
        };
        Ok(touched.into_iter().map(write).collect())
    }

    /// What to keep on disk of one id.
    pub fn stored(&self, id: &ServerId) -> Option<StoredEntry> {
        match self.entries.get(id) {
            Some(entry) => Some(stored_form(entry)),
            None => self.remembered.get(id).map(|lineage| gone_form(id, lineage)),
        }
    }

    /// What to keep on disk, all of it: servers in the order of their ids, and then the ids that are gone.
    pub fn stored_all(&self) -> Vec<StoredEntry> {
        let gone = self.remembered.all().map(|(id, lineage)| gone_form(id, lineage));
        self.entries.values().map(stored_form).chain(gone).collect()
    }

    pub(super) fn info(&self, entry: &Entry, now: Duration) -> ServerInfo {
        let unheard = now.saturating_sub(entry.heard_at);
        let is_suspect = entry.suspect || unheard >= self.options.patience();
        let server = &entry.server;
        ServerInfo {
            id: server.id.clone(),
            incarnation: server.incarnation,
            addresses: server.addresses.clone(),
            roles: server.roles.clone(),
            agent: server.agent.clone(),
            pid: server.pid,
            liveness: if is_suspect { Liveness::Suspect } else { Liveness::Reachable },
            age_ms: millis(now.saturating_sub(entry.announced_at)),
            unheard_ms: millis(unheard),
            lease_ms: self.options.lease_ms,
            lease_left_ms: millis(entry.lease_end.saturating_sub(now)),
        }
    }
}

fn stored_form(entry: &Entry) -> StoredEntry {
    StoredEntry::Server {
        server: (*entry.server).clone(),
        announced_at_ms: millis(entry.announced_at),
        superseded: entry.lineage.predecessors().collect(),
    }
}

fn gone_form(id: &ServerId, lineage: &Lineage) -> StoredEntry {
    StoredEntry::Gone { id: id.clone(), incarnations: lineage.all().collect() }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
