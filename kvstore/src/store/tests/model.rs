//! The store against a map that does the same in memory, with reopenings in between.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::open;
use crate::store::{Applied, Condition, Write, WriteError};

#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<Write>),
    Get(Bytes),
    Reopen,
}

/// What the store should hold: values with their revisions.
#[derive(Default)]
struct Model {
    entries: BTreeMap<Bytes, (Bytes, u64)>,
    revision: u64,
}

impl Model {
    /// The new revision, none for a remove of nothing; or the current revision of a conflict.
    fn apply(&mut self, write: &Write) -> Result<Option<u64>, Option<u64>> {
        let (key, condition) = match write {
            Write::Put { key, condition, .. }
            | Write::Remove { key, condition }
            | Write::Check { key, condition } => (key, *condition),
            Write::Together(_) | Write::Upload(_) => unreachable!("none are made"),
        };
        let current = self.entries.get(key).map(|(_, revision)| *revision);
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => current.is_none(),
            Condition::Revision(revision) => current == Some(revision),
        };
        if !holds {
            return Err(current);
        }
        match write {
            Write::Put { key, value, .. } => {
                self.revision += 1;
                self.entries.insert(key.clone(), (value.clone(), self.revision));
                Ok(Some(self.revision))
            }
            Write::Remove { key, .. } => Ok(self.entries.remove(key).map(|_| {
                self.revision += 1;
                self.revision
            })),
            Write::Check { .. } | Write::Together(_) | Write::Upload(_) => Ok(None),
        }
    }
}

fn key() -> impl Strategy<Value = Bytes> {
    // Few keys, so that they meet; some long, so that pages split.
    prop_oneof![
        4 => (0..6_u8).prop_map(|key| Bytes::from(vec![key])),
        1 => (0..3_u8).prop_map(|key| Bytes::from(vec![key; 511])),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from),
        (any::<u8>(), 0..30_000_usize).prop_map(|(byte, length)| Bytes::from(vec![byte; length])),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        3 => Just(Condition::Always),
        1 => Just(Condition::Absent),
        1 => (1..20_u64).prop_map(Condition::Revision),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        3 => (key(), value(), condition())
            .prop_map(|(key, value, condition)| Write::Put { key, value, condition, ttl_ms: None }),
        2 => (key(), condition()).prop_map(|(key, condition)| Write::Remove { key, condition }),
        1 => (key(), condition()).prop_map(|(key, condition)| Write::Check { key, condition }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(write(), 1..6).prop_map(Step::Apply),
        4 => key().prop_map(Step::Get),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_store_does_what_a_map_does(steps in prop::collection::vec(step(), 1..40)) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Apply(writes) => {
                    let results = store.apply(writes.clone());
                    prop_assert_eq!(results.len(), writes.len());
                    for (write, result) in writes.iter().zip(results) {
                        let result = match result {
                            Ok(Applied::Stored(stored)) => Ok(Some(stored.revision)),
                            Ok(Applied::Removed { revision }) => Ok(revision),
                            Ok(Applied::Checked { .. }) => Ok(None),
                            Ok(_) => unreachable!("none were asked for"),
                            Err(WriteError::Conflict { current }) => Err(current),
                            Err(other) => panic!("{other}"),
                        };
                        prop_assert_eq!(result, model.apply(write));
                    }
                }
                Step::Get(key) => {
                    let entry = store.get(&key).unwrap().map(|entry| (entry.value, entry.revision));
                    prop_assert_eq!(entry.as_ref(), model.entries.get(&key));
                }
                Step::Reopen => {
                    drop(store);
                    store = open(directory.path());
                }
            }
            prop_assert_eq!(store.revision().unwrap(), model.revision);
        }
        for (key, (value, revision)) in &model.entries {
            let entry = store.get(key).unwrap().unwrap();
            prop_assert_eq!((&entry.value, entry.revision), (value, *revision));
        }
    }
}
