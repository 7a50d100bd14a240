//! The search for an explanation of what was seen of one key.
//!
//! Wing and Gong ("Testing and verifying concurrent objects", 1993) try the operations that are under way one after the other, and go
//! back where that leads nowhere. Lowe ("Testing for linearizability", 2017) remembers which sets of done operations, with
//! the state they lead to, have been looked at, and does an operation only just in time: when another one, which has ended,
//! can do with it. That is what happens here, over all possibilities at once; so a history may be as long as it wants, and only how
//! many operations are under way together counts. Keys are independent of each other (Herlihy and Wing 1990; the checker porcupine
//! gains most by it).
//!
//! Two things are our own, and both leave out only what could not explain more than something that is kept. What changes nothing
//! is done as soon as it fits. And of two possibilities that differ only in which operations of unknown outcome were
//! done, the one with fewer is enough: for those that were not, there is still time.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
};

use super::{
    history::Operation,
    register::{Register, Revision},
};

/// How many operations of one key can be under way together, those of unknown outcome included, which never end.
const MAX_UNDER_WAY: usize = u128::BITS as usize;

/// Possibilities that are looked at for one key.
const MAX_STEPS: usize = 5_000_000;

/// What was found to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// How many keys.
    pub keys: usize,
    /// How many operations.
    pub operations: usize,
    /// How many of them had an unknown outcome.
    pub unknown: usize,
    /// How many possibilities were looked at.
    pub steps: usize,
}

/// Why a history was not found to be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unexplained {
    /// Nothing explains it.
    Wrong {
        /// The operation with which it ends.
        operation: Operation,
        /// Those of its key that were under way with it.
        with: Vec<Operation>,
        /// Those of its key that had ended last before.
        before: Vec<Operation>,
    },
    /// There is too much to look at.
    TooMuch {
        /// Of this key.
        key: u64,
    },
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong { operation, with, before } => {
                writeln!(f, "nothing explains this one:\n  {operation:?}\nwhile these were under way:")?;
                with.iter().try_for_each(|operation| writeln!(f, "  {operation:?}"))?;
                writeln!(f, "and after these:")?;
                before.iter().try_for_each(|operation| writeln!(f, "  {operation:?}"))
            }
            Self::TooMuch { key } => write!(f, "too much was under way at once with the key {key}"),
        }
    }
}

impl std::error::Error for Unexplained {}

/// Looks for an explanation of what was seen, which begins with no keys at all.
///
/// # Errors
/// [`Unexplained::Wrong`] when there is none.
pub fn check(history: &[Operation]) -> Result<Checked, Unexplained> {
    let mut keys: BTreeMap<u64, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(operation.key).or_default().push(operation);
    }
    let mut checked = Checked { keys: keys.len(), operations: history.len(), ..Checked::default() };
    checked.unknown = history.iter().filter(|operation| operation.is_unknown()).count();
    for (key, operations) in keys {
        checked.steps += Search::new(key).run(&operations)?;
    }
    Ok(checked)
}

/// How many operations that had ended are shown.
const SHOWN: usize = 12;

/// A bit for each operation under way.
type Set = u128;

/// One way in which it may have been.
#[derive(Debug, Clone, Copy)]
struct Possibility {
    register: Register,
    /// Which of those under way are done.
    done: Set,
}

struct Search<'h> {
    key: u64,
    under_way: Vec<Option<&'h Operation>>,
    /// Those of unknown outcome.
    unknown: Set,
    possible: Vec<Possibility>,
    steps: usize,
}

impl<'h> Search<'h> {
    fn new(key: u64) -> Self {
        let first = Possibility { register: Register::NEW, done: 0 };
        Self { key, under_way: Vec::new(), unknown: 0, possible: vec![first], steps: 0 }
    }

    /// Returns the number of steps.
    fn run(mut self, operations: &[&'h Operation]) -> Result<usize, Unexplained> {
        let begins = operations.iter().map(|operation| (operation.begun, false, *operation));
        let ends = operations.iter().filter(|operation| !operation.is_unknown());
        let ends = ends.map(|operation| (operation.ended, true, *operation));
        let mut events: Vec<(u64, bool, &Operation)> = begins.chain(ends).collect();
        // At the same time, beginnings first: then operations may still change places.
        events.sort_by_key(|(at, is_end, _)| (*at, *is_end));
        let mut ended = Vec::new();
        for (_, is_end, operation) in events {
            if is_end {
                self.end(operation, &ended)?;
                ended.push(operation);
            } else {
                self.begin(operation)?;
            }
        }
        Ok(self.steps)
    }

    fn begin(&mut self, operation: &'h Operation) -> Result<(), Unexplained> {
        let slot = self.under_way.iter().position(Option::is_none).unwrap_or(self.under_way.len());
        if slot == MAX_UNDER_WAY {
            return Err(Unexplained::TooMuch { key: self.key });
        }
        if slot == self.under_way.len() {
            self.under_way.push(None);
        }
        self.under_way[slot] = Some(operation);
        if operation.is_unknown() {
            self.unknown |= 1 << slot;
        }
        let possible = std::mem::take(&mut self.possible);
        self.possible =
            possible.into_iter().map(|possibility| self.with_what_changes_nothing(possibility)).collect();
        Ok(())
    }

    fn end(&mut self, operation: &'h Operation, ended: &[&'h Operation]) -> Result<(), Unexplained> {
        let is_it = |other: &Option<&Operation>| other.is_some_and(|other| std::ptr::eq(other, operation));
        let slot = self.under_way.iter().position(is_it).expect("it was begun");
        let bit: Set = 1 << slot;
        let mut kept = Seen::default();
        let mut seen = Seen::default();
        // In this order those with fewer operations done come before those with more.
        let mut queue: VecDeque<Possibility> = VecDeque::new();
        for possibility in std::mem::take(&mut self.possible) {
            if seen.is_new(&possibility, self.unknown) {
                queue.push_back(possibility);
            }
        }
        while let Some(possibility) = queue.pop_front() {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(Unexplained::TooMuch { key: self.key });
            }
            if possibility.done & bit != 0 {
                let without = Possibility { done: possibility.done & !bit, ..possibility };
                if kept.is_new(&without, self.unknown) {
                    self.possible.push(without);
                }
                continue;
            }
            for next in self.next(possibility) {
                if seen.is_new(&next, self.unknown) {
                    queue.push_back(next);
                }
            }
        }
        self.under_way[slot] = None;
        if self.possible.is_empty() {
            let with = self.under_way.iter().flatten().map(|operation| **operation).collect();
            let before = ended.iter().rev().take(SHOWN).rev().map(|operation| **operation).collect();
            return Err(Unexplained::Wrong { operation: *operation, with, before });
        }
        Ok(())
    }

    /// What can be when one more is done.
    fn next(&self, Possibility { register, done }: Possibility) -> impl Iterator<Item = Possibility> {
        let waiting = self.waiting(done);
        let nexts = waiting.filter_map(move |(slot, operation)| {
            let register = register.after(operation)?;
            Some(self.with_what_changes_nothing(Possibility { register, done: done | 1 << slot }))
        });
        nexts.filter(|next| self.can_go_on(next))
    }

    fn waiting(&self, done: Set) -> impl Iterator<Item = (usize, &'h Operation)> {
        let all = self.under_way.iter().enumerate();
        all.filter_map(move |(slot, operation)| {
            operation.filter(|_| done & 1 << slot == 0).map(|it| (slot, it))
        })
    }

    fn with_what_changes_nothing(&self, mut possibility: Possibility) -> Possibility {
        for (slot, operation) in self.waiting(possibility.done) {
            if possibility.register.after(operation) == Some(possibility.register) {
                possibility.done |= 1 << slot;
            }
        }
        possibility
    }

    fn can_go_on(&self, Possibility { register, done }: &Possibility) -> bool {
        !self.waiting(*done).any(|(_, operation)| register.is_past(operation))
    }
}

/// What was looked at.
#[derive(Default)]
struct Seen(HashMap<Alike, Vec<(u64, Set)>>);

/// Value, exact revision, and which operations of known outcome are done.
type Alike = (Option<u64>, Option<u64>, Set);

impl Seen {
    /// Notes it, unless something is noted that can explain at least as much.
    fn is_new(&mut self, Possibility { register, done }: &Possibility, unknown: Set) -> bool {
        let exactly = match register.revision {
            Revision::Exactly(revision) => Some(revision),
            Revision::AtLeast(_) => None,
        };
        let alike = self.0.entry((register.value, exactly, done & !unknown)).or_default();
        let (least, guessed) = (register.revision.least(), done & unknown);
        if alike.iter().any(|(other, fewer)| *other <= least && fewer & !guessed == 0) {
            return false;
        }
        alike.push((least, guessed));
        true
    }
}
