//! Mistakes that a client or what is between it and the store could make: planted, to show that they are found.

use std::{cell::RefCell, collections::HashMap};

use ensemble_tests::linearizability::{Call, Condition, Outcome};

/// What is done wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Some gets are answered from what an earlier one found.
    StaleReads,
    /// Some puts with a condition are sent twice, and the second answer is taken for that of both.
    SentTwice,
    /// Some puts are answered, with a revision that is right and new, and have written to another key.
    Lost,
}

/// How many of a hundred calls it happens to.
const PERCENT: u64 = 10;

/// What a client with a mistake remembers.
#[derive(Debug, Default)]
pub(crate) struct Cache(RefCell<HashMap<u64, Outcome>>);

impl Cache {
    /// An answer that is given without asking the store.
    pub(crate) fn answer(
        &self,
        mistake: Option<Mistake>,
        random: u64,
        key: u64,
        call: Call,
    ) -> Option<Outcome> {
        if random % 100 >= PERCENT {
            return None;
        }
        match (mistake?, call) {
            (Mistake::StaleReads, Call::Get) => self.0.borrow().get(&key).copied(),
            _ => None,
        }
    }

    /// Notes what a get found.
    pub(crate) fn note(&self, key: u64, outcome: Outcome) {
        if matches!(outcome, Outcome::Got(_)) {
            self.0.borrow_mut().insert(key, outcome);
        }
    }
}

impl Mistake {
    pub(crate) fn goes_astray(self, random: u64, call: Call) -> bool {
        let is_put = matches!(call, Call::Put { condition: Condition::Always, .. });
        self == Self::Lost && is_put && random % 100 < PERCENT
    }

    pub(crate) fn sends_twice(self, random: u64, call: Call) -> bool {
        let is_conditional = match call {
            Call::Put { condition, .. } => condition != Condition::Always,
            _ => false,
        };
        self == Self::SentTwice && is_conditional && random % 100 < PERCENT
    }
}
