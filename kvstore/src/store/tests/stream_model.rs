//! Values that are written and read part by part, beside a map that does the same.

use std::collections::BTreeMap;
use std::io::Write as _;

use proptest::prelude::*;

use super::noise;
use super::streams::{PART, Timed, read};
use crate::store::{Condition, Layout};

#[derive(Debug, Clone)]
enum Step {
    Stream { key: usize, seed: u64, length: usize, chunk: usize, is_left: bool },
    Put { key: usize, length: usize },
    Remove { key: usize },
    Read { key: usize },
    Free { ms: u64 },
    Reopen,
}

const KEYS: [&str; 3] = ["one", "two", "three"];

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS.len();
    let length = prop_oneof![0..3 * PART, (0..9_usize).prop_map(|parts| parts * PART), 0..15 * PART];
    prop_oneof![
        4 => (key(), any::<u64>(), length, 1..3 * PART, prop::bool::weighted(0.2))
            .prop_map(|(key, seed, length, chunk, is_left)| Step::Stream { key, seed, length, chunk, is_left }),
        1 => (key(), 0..2 * PART).prop_map(|(key, length)| Step::Put { key, length }),
        1 => key().prop_map(|key| Step::Remove { key }),
        3 => key().prop_map(|key| Step::Read { key }),
        2 => (0..70_000_u64).prop_map(|ms| Step::Free { ms }),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn streams_do_what_a_map_does(steps in prop::collection::vec(step(), 1..30)) {
        let mut timed = Timed::new();
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                Step::Stream { key, seed, length, chunk, is_left } => {
                    let value = if seed % 3 == 0 { vec![seed as u8; length] } else { noise(seed, length) };
                    let mut writer = timed.store.writer(KEYS[key], Condition::Always).unwrap();
                    for chunk in value.chunks(chunk) {
                        writer.write_all(chunk).unwrap();
                    }
                    if is_left {
                        continue;
                    }
                    writer.finish(None).unwrap();
                    model.insert(KEYS[key], value);
                }
                Step::Put { key, length } => {
                    timed.store.put(KEYS[key], vec![1; length]).unwrap();
                    model.insert(KEYS[key], vec![1; length]);
                }
                Step::Remove { key } => {
                    let removed = timed.store.remove(KEYS[key]).unwrap();
                    prop_assert_eq!(removed, model.remove(KEYS[key]).is_some());
                }
                Step::Read { key } => {
                    let found = read(&timed.store, KEYS[key]);
                    prop_assert_eq!(found.as_ref(), model.get(KEYS[key]));
                }
                Step::Free { ms } => {
                    timed.pass(ms);
                    timed.free();
                }
                Step::Reopen => timed = timed.reopen(),
            }
        }
        prop_assert_eq!(timed.verify(), model.len() as u64);
        for key in KEYS {
            let found = read(&timed.store, key);
            prop_assert_eq!(found.as_ref(), model.get(key));
        }
        timed.pass(60_000);
        timed.free();
        let mut parts = (0, 0);
        for key in KEYS {
            if let Some(Layout::InParts(of)) = timed.store.layout(key.as_bytes()).unwrap() {
                parts = (parts.0 + u64::from(of.parts), parts.1 + 1);
            }
        }
        prop_assert_eq!(timed.in_tables(), parts);
    }
}
