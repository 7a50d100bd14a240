//! The checker against histories whose verdict is known.

mod by_hand;
mod generated;
mod oracle;

use super::*;

/// A get that found this.
fn got(found: Option<(u64, u64)>) -> (Call, Outcome) {
    (Call::Get, Outcome::Got(found))
}

fn put(value: u64, outcome: Outcome) -> (Call, Outcome) {
    put_if(Condition::Always, value, outcome)
}

fn put_if(condition: Condition, value: u64, outcome: Outcome) -> (Call, Outcome) {
    (Call::Put { value, condition }, outcome)
}

fn remove(outcome: Outcome) -> (Call, Outcome) {
    remove_if(Condition::Always, outcome)
}

fn remove_if(condition: Condition, outcome: Outcome) -> (Call, Outcome) {
    (Call::Remove { condition }, outcome)
}

fn done(revision: u64) -> Outcome {
    Outcome::Done(Some(revision))
}

fn operation(begun: u64, ended: u64, (call, outcome): (Call, Outcome)) -> Operation {
    Operation { key: 7, call, begun, outcome, ended }
}

fn is_right(history: &[Operation]) -> bool {
    match check(history) {
        Ok(checked) => {
            assert_eq!(checked.operations, history.len());
            true
        }
        Err(Unexplained::Wrong { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}
