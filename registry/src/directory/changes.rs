//! The recent changes, in a ring: a watcher that is not too far behind gets each of them once.

use std::collections::VecDeque;

use ensemble::{Incarnation, ServerId};

use crate::{Change, Changes, Compacted, Event, Revision};

#[derive(Debug)]
pub(super) struct ChangeLog {
    recent: VecDeque<Change>,
    current: Revision,
    limit: usize,
}

impl ChangeLog {
    pub(super) fn new(history: Incarnation, limit: usize) -> Self {
        Self { recent: VecDeque::new(), current: Revision { history, number: 0 }, limit }
    }

    pub(super) fn current(&self) -> Revision {
        self.current
    }

    pub(super) fn push(&mut self, id: ServerId, incarnation: Incarnation, event: Event) {
        self.current.number += 1;
        if self.recent.len() == self.limit {
            self.recent.pop_front();
        }
        self.recent.push_back(Change { revision: self.current, id, incarnation, event });
    }

    /// What came after `since`, one by one.
    pub(super) fn after(&self, since: Revision) -> Result<impl Iterator<Item = &Change>, Compacted> {
        let compacted = Compacted { current: self.current };
        if since.history != self.current.history {
            return Err(compacted);
        }
        let behind = self.current.number.checked_sub(since.number).ok_or(compacted)?;
        let behind = usize::try_from(behind).map_err(|_| compacted)?;
        let skipped = self.recent.len().checked_sub(behind).ok_or(compacted)?;
        Ok(self.recent.iter().skip(skipped))
    }

    pub(super) fn batch_after(&self, since: Revision, limit: usize) -> Result<Changes, Compacted> {
        let mut rest = self.after(since)?;
        let changes: Vec<Change> = rest.by_ref().take(limit).cloned().collect();
        let revision = changes.last().map_or(since, |change| change.revision);
        Ok(Changes { changes, revision, more: rest.next().is_some() })
    }
}
