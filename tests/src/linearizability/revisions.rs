//! The revisions of all keys together: given out once, and never going back.

use std::{collections::HashMap, fmt};

use super::history::{Call, Operation, Outcome};

/// Two operations whose revisions do not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionFault {
    /// What is wrong.
    pub what: &'static str,
    /// The operation at which it shows, and the other one.
    pub operations: Box<[Operation; 2]>,
}

impl fmt::Display for RevisionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [operation, other] = &*self.operations;
        writeln!(f, "{}:\n  {operation:?}\n  {other:?}", self.what)
    }
}

impl std::error::Error for RevisionFault {}

/// Holds the revisions of all operations against each other: each belongs to one write, and a write has a higher one than all that
/// were known before it was begun.
///
/// # Errors
/// The first two operations that do not go together.
pub fn check_revisions(history: &[Operation]) -> Result<(), RevisionFault> {
    let begins = history.iter().map(|operation| (operation.begun, false, operation));
    let ends = history.iter().filter(|operation| !operation.is_unknown());
    let ends = ends.map(|operation| (operation.ended, true, operation));
    let mut events: Vec<(u64, bool, &Operation)> = begins.chain(ends).collect();
    events.sort_by_key(|(at, is_end, _)| (*at, *is_end));
    let fault = |what, operation: &Operation, other: &Operation| {
        Err(RevisionFault { what, operations: Box::new([*operation, *other]) })
    };

    let mut owners = Owners::default();
    let mut highest: Option<(u64, &Operation)> = None;
    // By the operation: what was the highest when it was begun.
    let mut known: HashMap<*const Operation, (u64, &Operation)> = HashMap::new();
    for (_, is_end, operation) in events {
        if !is_end {
            known.extend(highest.map(|highest| (std::ptr::from_ref(operation), highest)));
            continue;
        }
        let before = known.remove(&std::ptr::from_ref(operation));
        if let (Some(revision), Some((highest, other))) = (operation.written(), before)
            && revision <= highest
        {
            return fault("a write has a revision that is not above one known before", operation, other);
        }
        if let Some(other) = owners.conflicting(operation) {
            return fault("a revision belongs to two writes", operation, other);
        }
        if let Some(revision) = operation.written().max(operation.found())
            && highest.is_none_or(|(highest, _)| revision > highest)
        {
            highest = Some((revision, operation));
        }
    }
    Ok(())
}

/// Who was seen to have which revision.
#[derive(Default)]
struct Owners<'h> {
    writes: HashMap<u64, &'h Operation>,
    /// Key and value of a revision, where the value was seen.
    values: HashMap<u64, (u64, Option<u64>, &'h Operation)>,
}

impl<'h> Owners<'h> {
    fn conflicting(&mut self, operation: &'h Operation) -> Option<&'h Operation> {
        if let Some(revision) = operation.written()
            && let Some(other) = self.writes.insert(revision, operation)
        {
            return Some(other);
        }
        let (revision, value) = match (operation.call, operation.outcome) {
            (Call::Put { value, .. }, Outcome::Done(Some(revision))) => (revision, Some(value)),
            (_, Outcome::Got(Some((value, revision)))) => (revision, Some(value)),
            (_, Outcome::Done(Some(revision))) => (revision, None),
            _ => return None,
        };
        let (key, seen, other) = *self.values.entry(revision).or_insert((operation.key, value, operation));
        ((key, seen) != (operation.key, value)).then_some(other)
    }
}
