//! Histories of a store that is right, with operations that overlap; and the same with one mistake.

use proptest::{prelude::*, sample::Index};

use super::*;

/// A time that operations overlap by far: this between two moments at which one is done.
const STEP: u64 = 100;

#[derive(Debug, Clone)]
struct Planned {
    kind: u8,
    guess: u16,
    before: u64,
    after: u64,
    /// Of a hundred.
    luck: u8,
}

fn plans(most: usize) -> impl Strategy<Value = Vec<Planned>> {
    let one = (0..7_u8, any::<u16>(), 0..6 * STEP, 0..6 * STEP, 0..100_u8);
    let one = one.prop_map(|(kind, guess, before, after, luck)| Planned { kind, guess, before, after, luck });
    prop::collection::vec(one, 1..most)
}

/// What a store that is right would answer. Some operations lose their answer, done or not.
fn run(plans: &[Planned]) -> Vec<Operation> {
    let mut state: Option<(u64, u64)> = None;
    let mut revision = 0;
    let mut history = Vec::new();
    for (plan, number) in plans.iter().zip(10..) {
        let at = number * STEP;
        let some_revision = match state {
            Some((_, revision)) if plan.guess % 3 > 0 => revision,
            _ => 1 + u64::from(plan.guess / 3 % 20),
        };
        let call = match plan.kind {
            0..=2 => Call::Get,
            3 => Call::Put { value: number, condition: Condition::Always },
            4 => Call::Put { value: number, condition: Condition::Absent },
            5 => Call::Put { value: number, condition: Condition::Revision(some_revision) },
            _ if plan.guess % 2 == 0 => Call::Remove { condition: Condition::Always },
            _ => Call::Remove { condition: Condition::Revision(some_revision) },
        };
        let is_lost = plan.luck < 10 && call != Call::Get;
        if is_lost && plan.luck < 5 {
            history.push(operation(at - plan.before, 0, (call, Outcome::Unknown)));
            continue;
        }
        let current = state.map(|(_, revision)| revision);
        let holds = match call {
            Call::Get => true,
            Call::Put { condition, .. } | Call::Remove { condition } => match condition {
                Condition::Always => true,
                Condition::Absent => state.is_none(),
                Condition::Revision(expected) => current == Some(expected),
            },
        };
        let outcome = match call {
            Call::Get => Outcome::Got(state),
            _ if !holds => Outcome::Conflict(current),
            Call::Remove { .. } if state.is_none() => Outcome::Done(None),
            Call::Put { .. } | Call::Remove { .. } => {
                // Other keys take some in between.
                revision += 1 + u64::from(plan.luck % 3);
                state = match call {
                    Call::Put { value, .. } => Some((value, revision)),
                    _ => None,
                };
                Outcome::Done(Some(revision))
            }
        };
        let outcome = if is_lost { Outcome::Unknown } else { outcome };
        history.push(operation(at - plan.before, at + plan.after, (call, outcome)));
    }
    history
}

/// One of those for which `of` has something.
fn choose<T>(
    history: &[Operation],
    which: &Index,
    of: impl Fn(&Operation) -> Option<T>,
) -> Option<(usize, T)> {
    let mut found: Vec<(usize, T)> =
        history.iter().enumerate().filter_map(|(index, it)| of(it).map(|of| (index, of))).collect();
    if found.is_empty() { None } else { Some(found.swap_remove(which.index(found.len()))) }
}

fn found_value(operation: &Operation) -> Option<(u64, u64)> {
    match operation.outcome {
        Outcome::Got(found) => found,
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, max_global_rejects: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn a_right_store_is_found_right(plans in plans(120)) {
        let history = run(&plans);
        prop_assert_eq!(check(&history).map(|checked| checked.operations), Ok(history.len()));
        prop_assert_eq!(check_revisions(&history), Ok(()));
    }

    #[test]
    fn a_stale_get_is_found(plans in plans(60), which: Index, other: Index) {
        let mut history = run(&plans);
        let Some((index, _)) = choose(&history, &which, found_value) else { return Err(reject()) };
        let get = history[index];
        // A value that another write had replaced for sure before the get was begun.
        let replaced: Vec<u64> =
            history.iter().filter(|it| it.ended < get.begun).filter_map(|it| it.written()).collect();
        let Some(last) = replaced.into_iter().max() else { return Err(reject()) };
        let old = |it: &Operation| match (it.call, it.written()) {
            (Call::Put { value, .. }, Some(revision)) if revision < last => Some((value, revision)),
            _ => None,
        };
        let Some((_, old)) = choose(&history, &other, old) else { return Err(reject()) };
        history[index].outcome = Outcome::Got(Some(old));
        prop_assert!(!is_right(&history));
    }

    #[test]
    fn a_lost_update_is_found(plans in plans(60), which: Index) {
        let mut history = run(&plans);
        let Some((index, (_, revision))) = choose(&history, &which, found_value) else { return Err(reject()) };
        let get = history[index];
        // A put that was answered and that nobody sees, right before the get.
        for operation in &mut history {
            let later = |time: u64| if time >= get.begun { time + 3 } else { time };
            (operation.begun, operation.ended) = (later(operation.begun), later(operation.ended));
        }
        let lost = put(1_000_000, Outcome::Done(Some(revision + 1)));
        history.push(operation(get.begun, get.begun + 1, lost));
        prop_assert!(!is_right(&history));
    }

    #[test]
    fn a_value_from_nowhere_is_found(plans in plans(60), which: Index) {
        let mut history = run(&plans);
        let Some((index, (_, revision))) = choose(&history, &which, found_value) else { return Err(reject()) };
        history[index].outcome = Outcome::Got(Some((1_000_000, revision)));
        prop_assert!(!is_right(&history));
    }

    #[test]
    fn a_revision_that_goes_back_is_found(plans in plans(60), which: Index, by: Index) {
        let mut history = run(&plans);
        let Some((index, revision)) = choose(&history, &which, Operation::written) else { return Err(reject()) };
        let write = history[index];
        let before = history.iter().filter(|it| it.ended < write.begun).filter_map(|it| it.written());
        let Some(before) = before.max() else { return Err(reject()) };
        let back = 1 + by.index(before as usize) as u64;
        prop_assert!(back < revision);
        history[index].outcome = Outcome::Done(Some(back));
        prop_assert!(!is_right(&history));
        prop_assert!(check_revisions(&history).is_err());
    }
}

fn reject() -> TestCaseError {
    TestCaseError::reject("nothing to change")
}

/// Many operations of one key, many together, take few steps each: also when the history is wrong at its very end.
#[test]
fn a_long_history_is_no_trouble() {
    let plan = |number: u64| {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        Planned {
            kind: (mixed % 7) as u8,
            guess: mixed as u16,
            before: mixed % (12 * STEP) % 900,
            after: (mixed >> 10) % (12 * STEP),
            // An answer that is lost is rare, and there are some.
            luck: if number % 1000 == 500 { (mixed % 10) as u8 } else { 50 },
        }
    };
    let mut history = run(&(0..30_000).map(plan).collect::<Vec<_>>());
    let checked = check(&history).unwrap();
    assert!(checked.unknown > 10, "{checked:?}");
    assert!(checked.steps < 20 * history.len(), "{checked:?}");
    let last = history.iter().map(|it| it.ended).max().unwrap();
    history.push(operation(last + 1, last + 2, got(Some((1, 1)))));
    assert!(!is_right(&history));
}
