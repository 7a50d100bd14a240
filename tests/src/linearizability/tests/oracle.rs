//! Against a checker that is too simple to be wrong: it tries every order, and every revision that an unknown write may have.

use proptest::prelude::*;

use super::*;

const MAX_REVISION: u64 = 6;

/// Value and last revision.
type State = (Option<u64>, u64);

fn condition_holds(condition: Condition, (value, revision): State) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Absent => value.is_none(),
        Condition::Revision(expected) => value.is_some() && revision == expected,
    }
}

/// The states that it may leave.
fn after(state: State, operation: &Operation) -> Vec<State> {
    let (value, last) = state;
    let current = value.map(|_| last);
    let (condition, new) = match operation.call {
        Call::Get => {
            let seen = Outcome::Got(value.map(|value| (value, last)));
            return if operation.outcome == seen { vec![state] } else { Vec::new() };
        }
        Call::Put { value, condition } => (condition, Some(value)),
        Call::Remove { condition } => (condition, None),
    };
    if !condition_holds(condition, state) {
        let is_told = [Outcome::Conflict(current), Outcome::Unknown].contains(&operation.outcome);
        return if is_told { vec![state] } else { Vec::new() };
    }
    if new.is_none() && value.is_none() {
        let is_told = [Outcome::Done(None), Outcome::Unknown].contains(&operation.outcome);
        return if is_told { vec![state] } else { Vec::new() };
    }
    let later = last + 1..=MAX_REVISION + 4;
    match operation.outcome {
        Outcome::Done(Some(revision)) => {
            later.contains(&revision).then_some((new, revision)).into_iter().collect()
        }
        Outcome::Unknown => later.map(|revision| (new, revision)).collect(),
        _ => Vec::new(),
    }
}

fn is_explained(state: State, left: &[Operation]) -> bool {
    if left.iter().all(|operation| operation.outcome == Outcome::Unknown) {
        return true;
    }
    let first_end = left.iter().filter(|it| it.outcome != Outcome::Unknown).map(|it| it.ended).min();
    (0..left.len()).any(|index| {
        let operation = left[index];
        let mut others = left.to_vec();
        others.remove(index);
        first_end.is_none_or(|end| operation.begun <= end)
            && after(state, &operation).into_iter().any(|next| is_explained(next, &others))
    })
}

fn calls() -> impl Strategy<Value = (Call, Outcome)> {
    let revision = || 1..=MAX_REVISION;
    let value = || 1..=2_u64;
    let condition = prop_oneof![
        2 => Just(Condition::Always),
        1 => Just(Condition::Absent),
        2 => revision().prop_map(Condition::Revision)
    ];
    let write = prop_oneof![
        4 => revision().prop_map(|revision| Outcome::Done(Some(revision))),
        2 => prop::option::of(revision()).prop_map(Outcome::Conflict),
        2 => Just(Outcome::Unknown),
    ];
    let removed = prop_oneof![3 => write.clone(), 1 => Just(Outcome::Done(None))];
    let to_absent = |condition| if condition == Condition::Absent { Condition::Always } else { condition };
    prop_oneof![
        3 => prop::option::of((value(), revision())).prop_map(got),
        3 => (value(), condition.clone(), write).prop_map(|(value, on, outcome)| put_if(on, value, outcome)),
        2 => (condition, removed).prop_map(move |(on, outcome)| remove_if(to_absent(on), outcome)),
    ]
}

fn histories() -> impl Strategy<Value = Vec<Operation>> {
    let one =
        (0..12_u64, 1..8_u64, calls()).prop_map(|(begun, length, it)| operation(begun, begun + length, it));
    prop::collection::vec(one, 1..6)
}

/// More of them are right than of those made at random: what was told of the first writes is what they did.
fn nearly_right(mut history: Vec<Operation>) -> Vec<Operation> {
    history.sort_by_key(|operation| operation.begun);
    let mut state: State = (None, 0);
    for operation in &mut history {
        let (value, last) = state;
        match &mut operation.outcome {
            Outcome::Got(found) if operation.begun % 3 > 0 => *found = value.map(|value| (value, last)),
            Outcome::Done(Some(revision)) if operation.begun % 2 > 0 => *revision = last + 1,
            _ => {}
        }
        if let Some(next) = after(state, operation).first() {
            state = *next;
        }
    }
    history
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_verdict_is_that_of_trying_everything(history in histories(), is_at_random: bool) {
        let history = if is_at_random { history } else { nearly_right(history) };
        prop_assert_eq!(is_right(&history), is_explained((None, 0), &history));
    }
}
