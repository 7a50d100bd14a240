//! Whether what is left of a store fits what was answered.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    answer::{Answer, Digest, Found, Outcome},
    workload::{Change, WRITERS, Workload, may_end},
};

/// A store over many rounds: in each, writers work, the store is stopped, and what is left is judged.
#[derive(Debug, Default)]
pub struct History {
    /// What was left of the last round.
    before: Found,
}

/// The state of a key: none, or the revision and the value.
type State = Option<(u64, Digest)>;

/// A step that was not answered. Each writer has one at most.
struct Open {
    changes: Vec<Change>,
}

impl History {
    /// The last revision at the end of the last round.
    pub fn revision(&self) -> u64 {
        self.before.revision
    }

    /// Judges a round; what was found is what the next one begins with.
    ///
    /// What is left has to be a state that existed, whole: that after all writes up to some revision, with nothing of
    /// the later ones. The first `required` of the answers have to be among the former. A step that was not answered
    /// may have been done, all of it or nothing.
    ///
    /// # Errors
    /// What does not fit.
    pub fn judge(
        &mut self,
        workload: Workload,
        answers: &[Answer],
        required: usize,
        found: Found,
    ) -> Result<(), String> {
        let round = Round::new(&self.before, workload, answers, &found)?;
        round.check_found()?;
        round.check_required(required)?;
        let expected = round.expected()?;
        let keys: BTreeSet<&String> = expected.keys().chain(found.entries.keys()).collect();
        for key in keys {
            round.check_key(key, expected.get(key).copied().flatten())?;
        }
        round.check_together(&expected)?;
        self.before = found;
        Ok(())
    }
}

struct Round<'r> {
    before: &'r Found,
    workload: Workload,
    /// By revision: the writer, the step, and which of its changes.
    done: BTreeMap<u64, (u32, u32, usize)>,
    answers: &'r [Answer],
    open: Vec<Open>,
    found: &'r Found,
}

impl<'r> Round<'r> {
    fn new(
        before: &'r Found,
        workload: Workload,
        answers: &'r [Answer],
        found: &'r Found,
    ) -> Result<Self, String> {
        let mut done = BTreeMap::new();
        for Answer { writer, index, outcome } in answers {
            let Outcome::Done(revisions) = outcome else { continue };
            for (change, revision) in revisions.iter().enumerate() {
                let Some(revision) = revision else { continue };
                if *revision <= before.revision {
                    return Err(format!(
                        "revision {revision} was given again; {} was before",
                        before.revision
                    ));
                }
                if let Some(other) = done.insert(*revision, (*writer, *index, change)) {
                    return Err(format!("revision {revision} was given twice, also to {other:?}"));
                }
            }
        }
        let open = |writer| {
            let of_writer = |answer: &&Answer| answer.writer == writer;
            let count = answers.iter().filter(of_writer).count();
            Open { changes: workload.step(writer, u32::try_from(count).expect("they are few")).changes }
        };
        let open = (0..WRITERS).map(open).collect();
        Ok(Self { before, workload, done, answers, open, found })
    }

    fn check_found(&self) -> Result<(), String> {
        let Found { revision, entries, damaged } = self.found;
        if !damaged.is_empty() {
            return Err(format!("these records are damaged: {damaged:?}"));
        }
        if *revision < self.before.revision {
            return Err(format!("revision {} was there and {revision} is the last", self.before.revision));
        }
        let later = entries.iter().find(|(_, (of_entry, _))| of_entry > revision);
        match later {
            Some((key, entry)) => Err(format!("{key} has {entry:?}, and the last revision is {revision}")),
            None => Ok(()),
        }
    }

    /// The first answers are about what is there.
    fn check_required(&self, required: usize) -> Result<(), String> {
        let last = self.found.revision;
        for (number, Answer { writer, index, outcome }) in self.answers.iter().enumerate() {
            let Outcome::Done(revisions) = outcome else { continue };
            let all = revisions.iter().flatten().count();
            let kept = revisions.iter().flatten().filter(|revision| **revision <= last).count();
            let of_all = || format!("step {index} of writer {writer}, {outcome:?}, where {last} is the last");
            if number < required && kept < all {
                return Err(format!(
                    "answer {number} of {required} that must be there is lost: {}",
                    of_all()
                ));
            }
            if kept != 0 && kept != all {
                return Err(format!("a part is lost of {}", of_all()));
            }
        }
        Ok(())
    }

    /// The state after all that was answered and is not lost.
    fn expected(&self) -> Result<BTreeMap<String, State>, String> {
        let before = self.before.entries.iter();
        let mut expected: BTreeMap<String, State> =
            before.map(|(key, entry)| (key.clone(), Some(*entry))).collect();
        for (revision, (writer, index, change)) in self.done.range(..=self.found.revision) {
            let step = self.workload.step(*writer, *index);
            let (key, state) = match step.changes.get(*change) {
                Some(Change::Put { key, value, .. }) => (key, Some((*revision, Digest::of(value)))),
                Some(Change::Remove { key }) => (key, None),
                None => return Err(format!("step {index} of writer {writer} has too many answers")),
            };
            expected.insert(key.clone(), state);
        }
        Ok(expected)
    }

    fn check_key(&self, key: &str, expected: State) -> Result<(), String> {
        let found = self.found.entries.get(key).copied();
        let open = self.open.iter().flat_map(|open| &open.changes).filter(|change| change.key() == key);
        let fits = match (expected, found) {
            (expected, found) if expected == found => true,
            (None, None) => true,
            (Some((expected, _)), None) => {
                let is_remove = |change: &Change| matches!(change, Change::Remove { .. });
                may_end(key) || self.has_open_revision(expected) && open.clone().any(is_remove)
            }
            (expected, Some((revision, digest))) => {
                let is_later = expected.is_none_or(|(expected, _)| revision > expected);
                let is_put = |change: &Change| match change {
                    Change::Put { value, .. } => Digest::of(value) == digest,
                    Change::Remove { .. } => false,
                };
                is_later
                    && revision > self.before.revision
                    && !self.done.contains_key(&revision)
                    && open.clone().any(is_put)
            }
        };
        if fits {
            return Ok(());
        }
        let open = open.count();
        Err(format!(
            "{key} should have {expected:?} and has {found:?}; {open} writes of it were not answered, and revision {} is \
             the last",
            self.found.revision
        ))
    }

    /// Whether there is a revision after this one that no answer is about: only what has one was done.
    fn has_open_revision(&self, after: u64) -> bool {
        let first = after.max(self.before.revision) + 1;
        (first..=self.found.revision).any(|revision| !self.done.contains_key(&revision))
    }

    /// Steps of several changes, which nobody else writes the keys of, are there or not.
    fn check_together(&self, expected: &BTreeMap<String, State>) -> Result<(), String> {
        for Open { changes } in &self.open {
            if changes.len() < 2 {
                continue;
            }
            // None of a remove that found nothing: it is the same whether it was done or not.
            let is_done = |change: &Change| match change {
                Change::Put { key, value, .. } => {
                    Some(self.found.entries.get(key).is_some_and(|(revision, digest)| {
                        *revision > self.before.revision
                            && !self.done.contains_key(revision)
                            && *digest == Digest::of(value)
                    }))
                }
                Change::Remove { key } => {
                    expected.get(key).copied().flatten()?;
                    Some(!self.found.entries.contains_key(key))
                }
            };
            let are_done: Vec<bool> = changes.iter().filter_map(is_done).collect();
            if are_done.iter().any(|is_done| *is_done != are_done[0]) {
                return Err(format!("a part of these is done, which go together: {are_done:?}"));
            }
        }
        Ok(())
    }
}
