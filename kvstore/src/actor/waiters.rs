//! Who waits for a change of which keys, as plain code: every change is held once against all who wait, however many
//! they are. Where changes come from is not known here.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use tokio::sync::oneshot;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    by_prefix: HashMap<Bytes, HashMap<u64, Waiter>>,
    /// How many of the prefixes have each length.
    lengths: BTreeMap<usize, usize>,
    next_id: u64,
    /// All revisions up to this one were held against those who wait.
    seen: u64,
}

#[derive(Debug)]
struct Waiter {
    /// The last revision that it knows by itself.
    at: u64,
    wake: oneshot::Sender<u64>,
}

/// One who waits.
#[derive(Debug)]
pub(super) struct Ticket {
    id: u64,
    prefix: Bytes,
    at: u64,
    /// The revision behind which there is something for it.
    pub(super) woken: oneshot::Receiver<u64>,
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.by_prefix.is_empty()
    }

    /// The last revision that was held against those who wait.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Has someone wait for changes behind `at` of keys with such a prefix. None where later ones have been looked at
    /// already, of which it has to see by itself whether they are for it.
    ///
    /// While changes are held against those who wait, `is_fed`, the next of them are those behind [`seen`](Self::seen), also
    /// when all have left meanwhile: only else is it set back for who comes first.
    pub(super) fn wait(&mut self, prefix: Bytes, at: u64, is_fed: bool) -> Option<Ticket> {
        if self.is_empty() && !is_fed {
            self.seen = at;
        }
        if self.seen > at {
            return None;
        }
        let (wake, woken) = oneshot::channel();
        let id = self.next_id;
        self.next_id += 1;
        let of_prefix = self.by_prefix.entry(prefix.clone()).or_default();
        if of_prefix.is_empty() {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        of_prefix.insert(id, Waiter { at, wake });
        Some(Ticket { id, prefix, at, woken })
    }

    /// Has someone wait no more. Says the last revision of which it is known that there is nothing for it up to there.
    pub(super) fn leave(&mut self, ticket: &Ticket) -> u64 {
        if let Some(of_prefix) = self.by_prefix.get_mut(&ticket.prefix) {
            of_prefix.remove(&ticket.id);
            if of_prefix.is_empty() {
                self.forget(&ticket.prefix);
            }
        }
        ticket.at.max(self.seen)
    }

    /// Holds the next changes against all who wait, and wakes those for whom there is one. They are all those up to
    /// the revision `next`.
    pub(super) fn see<'k>(&mut self, changes: impl IntoIterator<Item = (u64, &'k [u8])>, next: u64) {
        for (revision, key) in changes {
            let lengths: Vec<usize> = self.lengths.range(..=key.len()).map(|(length, _)| *length).collect();
            for length in lengths {
                self.wake(&key[..length], revision);
            }
        }
        self.seen = self.seen.max(next);
    }

    /// Has all look by themselves.
    pub(super) fn wake_all(&mut self) {
        let seen = self.seen;
        self.lengths.clear();
        for waiter in self.by_prefix.drain().flat_map(|(_, of_prefix)| of_prefix.into_values()) {
            waiter.wake_at(seen);
        }
    }

    fn wake(&mut self, prefix: &[u8], revision: u64) {
        let Some(of_prefix) = self.by_prefix.get_mut(prefix) else { return };
        for (_, waiter) in of_prefix.extract_if(|_, waiter| waiter.at < revision) {
            waiter.wake_at(revision - 1);
        }
        if of_prefix.is_empty() {
            self.forget(prefix);
        }
    }

    fn forget(&mut self, prefix: &[u8]) {
        self.by_prefix.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }
}

impl Waiter {
    fn wake_at(self, revision: u64) {
        if self.wake.send(self.at.max(revision)).is_err() {
            tracing::trace!("a watcher has stopped waiting");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn woken(ticket: &mut Ticket) -> Option<u64> {
        ticket.woken.try_recv().ok()
    }

    #[test]
    fn a_change_wakes_those_who_wait_for_its_key_and_no_others() {
        let mut waiters = Waiters::default();
        let mut all = waiters.wait("".into(), 7, false).unwrap();
        let mut both =
            [waiters.wait("a/".into(), 7, false).unwrap(), waiters.wait("a/".into(), 7, false).unwrap()];
        let mut other = waiters.wait("b/".into(), 7, false).unwrap();
        let mut longer = waiters.wait("a/b/c".into(), 7, false).unwrap();
        waiters.see([(8, &b"c"[..]), (9, b"a/b")], 9);
        assert_eq!(woken(&mut all), Some(7));
        assert_eq!(both.each_mut().map(woken), [Some(8), Some(8)]);
        assert_eq!((woken(&mut other), woken(&mut longer)), (None, None));
        assert_eq!((waiters.leave(&other), waiters.leave(&longer)), (9, 9));
        assert!(waiters.is_empty() && waiters.lengths.is_empty());
        assert_eq!(waiters.leave(&all), 9, "also when it is gone already");
    }

    #[test]
    fn who_knows_less_than_was_seen_looks_by_itself() {
        let mut waiters = Waiters::default();
        let first = waiters.wait("a".into(), 5, false).unwrap();
        waiters.see([], 8);
        assert!(waiters.wait("b".into(), 7, false).is_none());
        let mut ahead = waiters.wait("b".into(), 10, false).unwrap();
        // What one knows already is nothing new, though it was not seen by the others.
        waiters.see([(9, &b"b"[..]), (10, b"b")], 10);
        assert_eq!(woken(&mut ahead), None);
        waiters.see([(11, &b"b"[..])], 11);
        assert_eq!(woken(&mut ahead), Some(10));
        assert_eq!(waiters.leave(&first), 11);
        // With nobody there nothing is seen, and who comes next may know less.
        let next = waiters.wait("c".into(), 3, false).unwrap();
        assert_eq!((waiters.seen(), waiters.leave(&next)), (3, 3));
    }

    /// It was set back below a change that had been held against others, and then went on behind the next.
    #[test]
    fn what_was_seen_is_not_set_back_while_the_next_is_on_its_way() {
        let mut waiters = Waiters::default();
        let first = waiters.wait("a".into(), 8, false).unwrap();
        waiters.see([(9, &b"c"[..])], 9);
        waiters.leave(&first);
        assert!(waiters.wait("c".into(), 8, true).is_none(), "9 was for it");
        let mut knowing = waiters.wait("c".into(), 9, true).unwrap();
        waiters.see([(10, &b"c"[..])], 10);
        assert_eq!(woken(&mut knowing), Some(9));
    }

    #[test]
    fn all_are_woken_where_they_are() {
        let mut waiters = Waiters::default();
        let mut tickets =
            [waiters.wait("a".into(), 5, false).unwrap(), waiters.wait("b".into(), 9, false).unwrap()];
        waiters.see([], 7);
        waiters.wake_all();
        assert_eq!(tickets.each_mut().map(woken), [Some(7), Some(9)]);
        assert!(waiters.is_empty());
        let again = waiters.wait("b".into(), 2, false).unwrap();
        assert_eq!(waiters.leave(&again), 2);
        assert!(waiters.lengths.is_empty());
    }
}
