//! The judge against a store that does right, and against its mistakes.

use std::collections::BTreeMap;

use super::{Answer, Change, Digest, Found, History, Outcome, WRITERS, Wanted, Workload};

/// A store in memory.
#[derive(Default, Clone)]
struct Model {
    found: Found,
    answers: Vec<Answer>,
    states: Vec<Found>,
}

impl Model {
    fn step(&mut self, workload: Workload, writer: u32) {
        let index = self.answers.iter().filter(|answer| answer.writer == writer).count() as u32;
        let step = workload.step(writer, index);
        let is_refused =
            step.wanted == Wanted::Absent && self.found.entries.contains_key(step.changes[0].key());
        let outcome = if is_refused {
            Outcome::Conflict
        } else {
            Outcome::Done(step.changes.iter().map(|change| self.change(change)).collect())
        };
        self.answers.push(Answer { writer, index, outcome });
        self.states.push(self.found.clone());
    }

    fn change(&mut self, change: &Change) -> Option<u64> {
        let Found { revision, entries, .. } = &mut self.found;
        match change {
            Change::Put { key, value, .. } => {
                *revision += 1;
                entries.insert(key.clone(), (*revision, Digest::of(value)));
            }
            Change::Remove { key } => {
                entries.remove(key)?;
                *revision += 1;
            }
        }
        Some(*revision)
    }
}

fn worked(seed: u64) -> (Workload, Model) {
    let workload = Workload::new(seed);
    let mut model = Model::default();
    for number in 0..200_u32 {
        model.step(workload, (number * 7 + number / 5) % WRITERS);
    }
    (workload, model)
}

fn judge(workload: Workload, model: &Model, required: usize) -> Result<(), String> {
    History::default().judge(workload, &model.answers, required, model.found.clone())
}

#[test]
fn what_is_right_passes_over_several_rounds() {
    let mut history = History::default();
    let mut model = Model::default();
    for seed in 0..5 {
        let workload = Workload::new(seed);
        model.answers.clear();
        for number in 0..100 {
            model.step(workload, number % WRITERS);
        }
        // One more is done, and not answered.
        let mut left = model.clone();
        left.step(workload, 1);
        history.judge(workload, &model.answers, 100, left.found.clone()).unwrap();
        assert_eq!(history.revision(), left.found.revision);
        model = left;
    }
}

#[test]
fn the_last_answers_can_be_lost_where_that_is_allowed() {
    let (workload, model) = worked(1);
    let left = Model { found: model.states[149].clone(), ..model };
    judge(workload, &left, 150).unwrap();
    let lost = judge(workload, &left, 200).unwrap_err();
    assert!(lost.contains("that must be there is lost"), "{lost}");
}

#[test]
fn every_entry_that_is_not_as_answered_is_found() {
    // The last two have some.
    let removable: usize = [2, 7, 10].into_iter().map(every_wrong_entry_is_found).sum();
    assert!(removable > 0);
}

/// Says how many entries a step could have removed that was not answered.
fn every_wrong_entry_is_found(seed: u64) -> usize {
    let mut removable = 0;
    let (workload, model) = worked(seed);
    let entries = model.found.entries.clone();
    assert!(entries.len() > 20);
    for (key, (revision, digest)) in &entries {
        let changed = |entry: Option<(u64, Digest)>| {
            let mut wrong = model.clone();
            match entry {
                Some(entry) => wrong.found.entries.insert(key.clone(), entry),
                None => wrong.found.entries.remove(key),
            };
            judge(workload, &wrong, 200)
        };
        changed(Some((*revision, *digest))).unwrap();
        assert!(changed(Some((*revision, Digest::of(b"other")))).is_err());
        assert!(changed(Some((*revision - 1, *digest))).is_err());
        assert!(changed(Some((model.found.revision + 1, *digest))).is_err());
        if !key.starts_with("brief") {
            // Every revision is that of an answer: nothing else was done.
            assert!(changed(None).is_err(), "{key}");
            let is_all_of_an_open_step = (0..WRITERS).any(|writer| {
                let done = model.answers.iter().filter(|answer| answer.writer == writer).count() as u32;
                let is_other = |change: &&Change| match change {
                    Change::Put { .. } => true,
                    Change::Remove { key: removed } => removed != key && entries.contains_key(removed),
                };
                let changes = workload.step(writer, done).changes;
                changes.iter().any(|change| change.key() == key)
                    && !changes.iter().any(|change| is_other(&change))
            });
            let mut removed = model.clone();
            removed.change(&Change::Remove { key: key.clone() });
            assert_eq!(judge(workload, &removed, 200).is_ok(), is_all_of_an_open_step, "{key}");
            removable += usize::from(is_all_of_an_open_step);
        }
    }
    removable
}

#[test]
fn an_entry_that_was_removed_is_not_back() {
    let (workload, model) = worked(3);
    let earlier = model.states.iter().flat_map(|state| &state.entries);
    let removed: BTreeMap<&String, (u64, Digest)> = earlier
        .filter(|(key, _)| !model.found.entries.contains_key(*key))
        .map(|(key, entry)| (key, *entry))
        .collect();
    assert!(!removed.is_empty());
    for (key, entry) in removed {
        let mut wrong = model.clone();
        wrong.found.entries.insert(key.clone(), entry);
        assert!(judge(workload, &wrong, 200).is_err());
    }
}

#[test]
fn changes_that_go_together_are_not_torn() {
    let is_put = |change: &Change| matches!(change, Change::Put { .. });
    let (mut torn, mut torn_removes) = (0, 0);
    for seed in 0..40 {
        let (workload, model) = worked(seed);
        for writer in 0..WRITERS {
            let done = model.answers.iter().filter(|answer| answer.writer == writer).count() as u32;
            let step = workload.step(writer, done);
            if step.changes.len() < 2 {
                continue;
            }
            let mut whole = model.clone();
            for change in &step.changes {
                whole.change(change);
            }
            judge(workload, &whole, 200).unwrap();
            for part in 1..step.changes.len() {
                let mut half = model.clone();
                let (first, rest) = step.changes.split_at(part);
                let does_something = |change: &Change| match change {
                    Change::Put { .. } => true,
                    Change::Remove { key } => model.found.entries.contains_key(key),
                };
                if first.iter().any(does_something) && rest.iter().any(does_something) {
                    for change in first {
                        half.change(change);
                    }
                    assert!(judge(workload, &half, 200).unwrap_err().contains("a part of"));
                    torn += 1;
                    torn_removes += usize::from(!first.iter().any(is_put));
                }
            }
        }
    }
    assert!(torn > 10 && torn_removes > 0, "{torn} {torn_removes}");
}

#[test]
fn damage_and_revisions_that_go_back_are_found() {
    let (workload, model) = worked(4);
    let mut damaged = model.clone();
    damaged.found.damaged.push("shared-1".to_owned());
    assert!(judge(workload, &damaged, 200).unwrap_err().contains("damaged"));
    let mut history = History::default();
    history.judge(workload, &model.answers, 200, model.found.clone()).unwrap();
    let earlier = model.states[150].clone();
    assert!(history.judge(Workload::new(5), &[], 0, earlier).unwrap_err().contains("is the last"));
    let again = history.judge(workload, &model.answers, 200, model.found.clone());
    assert!(again.unwrap_err().contains("was given again"));
}

#[test]
fn what_is_written_as_text_is_read_back() {
    let (_, model) = worked(6);
    assert_eq!(model.found.to_string().parse(), Ok(model.found.clone()));
    let text = model.found.to_string();
    let cut = &text[..text.rfind("revision").unwrap()];
    assert!(cut.parse::<Found>().is_err());
    for answer in model.answers {
        assert_eq!(answer.to_string().parse(), Ok(answer));
    }
    assert!("done 1".parse::<Answer>().is_err());
    assert!("open 1 2".parse::<Answer>().is_err());
}
