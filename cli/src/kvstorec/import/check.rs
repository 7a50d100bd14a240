//! Reading all of an import before anything is written: whether it is whole, and every line is one that the store can take.

use kvstore::messages::StoreLimits;

use super::{
    super::{
        key::Key,
        lines::{Ending, Entry},
    },
    input::{Input, Part, Position},
};
use crate::{
    exit::{Code, Failure, Outcome},
    human, progress,
};

/// So many wrong lines are named.
const MAX_NAMED: u64 = 20;

/// What there is to import.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) entries: u64,
    /// Entries that have ended meanwhile.
    pub(super) ended: u64,
    pub(super) left_out: u64,
}

/// Reads all of it; names what is wrong on standard error. `is_partial_taken` is whether it may be a part, or altered.
pub(super) async fn check(
    input: &Input,
    position: &Position,
    limits: StoreLimits,
    now_ms: u64,
    is_partial_taken: bool,
) -> Outcome<Checked> {
    let mut parts = input.read(position)?;
    let mut checked = Checked::default();
    let mut wrong = 0;
    let mut name = |place: String, what: String| {
        wrong += 1;
        if wrong <= MAX_NAMED {
            progress::aside(format_args!("kvstorec: {}, {place}: {what}", input.name));
        }
    };
    let ending = loop {
        let Some(part) = parts.recv().await else { return Err(ended_early(input)) };
        match part {
            Part::Batch(entries) => {
                for (line, entry) in entries {
                    match over_limit(&entry, limits) {
                        Some(what) => name(format!("line {line}"), what),
                        None if entry.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms) => {
                            checked.ended += 1;
                        }
                        None => checked.entries += 1,
                    }
                }
            }
            Part::LeftOut(..) => checked.left_out += 1,
            Part::Wrong(line, why) => name(why.place(line), why.to_string()),
            Part::End(ending) => break ending,
            Part::Failed(failure) => return Err(failure),
        }
    };
    if wrong > 0 {
        let lines = human::counted(wrong, "line", "lines");
        return Err(Failure::new(Code::Usage, format_args!("{lines} of {} cannot be imported", input.name))
            .advise("nothing was imported; correct what is named above"));
    }
    match judge(&ending, &input.name) {
        Some(what) if !is_partial_taken => Err(Failure::new(Code::Failed, what)
            .advise("nothing was imported; use another copy, or take what there is with --partial")),
        _ => Ok(checked),
    }
}

/// What is wrong with how an input ends.
pub(super) fn judge(ending: &Ending, name: &str) -> Option<String> {
    match ending {
        Ending::Whole => None,
        Ending::Cut => Some(format!("{name} has been cut off: its last line is missing")),
        Ending::Altered(why) => Some(format!("{name} is not as it was exported: {why}")),
    }
}

/// Why the store cannot take an entry, in the words of its own errors.
pub(super) fn over_limit(entry: &Entry, limits: StoreLimits) -> Option<String> {
    let StoreLimits { max_key_bytes, max_value_bytes } = limits;
    let key = entry.key.len() as u64;
    let value = entry.value.len() as u64;
    if !(1..=max_key_bytes).contains(&key) {
        return Some(format!("the key has {key} bytes; a key has 1 to {max_key_bytes}"));
    }
    (value > max_value_bytes).then(|| {
        let key = Key::of(entry.key.clone());
        format!("the value of {key} has {value} bytes; the limit is {max_value_bytes}")
    })
}

pub(super) fn ended_early(input: &Input) -> Failure {
    Failure::new(Code::Failed, format_args!("{} could not be read to its end", input.name))
}
