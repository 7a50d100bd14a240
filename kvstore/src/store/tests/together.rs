//! Writes that are done all or not at all, and reads of many keys at one moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use ensemble_tests::Done;

use super::{noise, open};
use crate::store::checked::Checked;
use crate::store::{
    Applied, Condition, Full, KeyError, ReadError, Store, StoreOptions, Stored, Together, Write, WriteError,
};

fn together(store: &Store, writes: Vec<Write>) -> Result<Vec<Applied>, WriteError> {
    match store.apply(vec![Write::Together(Together::new(writes).unwrap())]).pop().unwrap()? {
        Applied::Together(all) => Ok(all),
        other => panic!("{other:?}"),
    }
}

fn put(key: &'static str, condition: Condition) -> Write {
    Write::Put { key: key.into(), value: "v".into(), condition, ttl_ms: None }
}

#[test]
fn all_are_done_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("old", "1").unwrap();
    let stored = |revision| Applied::Stored(Stored { stored_bytes: 1, revision });
    let done = together(
        &store,
        vec![
            put("a", Condition::Absent),
            Write::Remove { key: "old".into(), condition: Condition::Revision(1) },
            Write::Check { key: "nothing".into(), condition: Condition::Absent },
            Write::remove("missing"),
            put("b", Condition::Always),
        ],
    );
    let expected = [
        stored(2),
        Applied::Removed { revision: Some(3) },
        Applied::Checked { current: None },
        Applied::Removed { revision: None },
        stored(4),
    ];
    assert_eq!(done.unwrap(), expected);

    // The first ones hold, the last does not.
    let refused = together(
        &store,
        vec![put("c", Condition::Absent), Write::remove("a"), put("b", Condition::Revision(3))],
    );
    match refused.unwrap_err() {
        WriteError::Together { index: 2, cause } => {
            assert!(matches!(*cause, WriteError::Conflict { current: Some(4) }), "{cause:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.revision().unwrap(), 4);
    assert_eq!(store.get(b"c").unwrap(), None);
    assert_eq!(store.get(b"a").unwrap().unwrap().revision, 2);
    match together(&store, vec![put("c", Condition::Absent), Write::put("", "")]).unwrap_err() {
        WriteError::Together { index: 1, cause } => {
            assert!(matches!(*cause, WriteError::Key(KeyError::Empty)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(together(&store, Vec::new()).unwrap(), []);
    assert_eq!(store.revision().unwrap(), 4);
}

#[test]
fn what_does_not_fit_together_is_not_done_in_part() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        StoreOptions { initial_map_bytes: 64 << 10, max_size_bytes: 2 << 20, ..StoreOptions::default() };
    let store = Store::open(directory.path(), options).unwrap();
    let writes = |count: usize| {
        (0..count).map(|number| Write::put(number.to_string(), noise(number as u64, 50_000))).collect()
    };
    let refused = together(&store, writes(100)).unwrap_err();
    assert!(matches!(refused, WriteError::StoreFull(Full::MaxSize { .. })), "{refused:?}");
    assert_eq!((store.status().unwrap().entries, store.revision().unwrap()), (0, 0));
    assert_eq!(together(&store, writes(20)).unwrap().len(), 20);
    let removes = (0..20).map(|number| Write::remove(number.to_string())).collect();
    assert_eq!(together(&store, removes).unwrap().len(), 20);
    assert_eq!(store.status().unwrap().entries, 0);
}

#[test]
fn a_reader_of_many_sees_all_of_a_write_of_many_or_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let keys: Vec<Bytes> = (0..10).map(|key| key.to_string().into()).collect();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done::at_the_end(&is_done);
            for round in 0..200_u32 {
                let value = Bytes::from(format!("round {round}"));
                let writes = keys.iter().map(|key| Write::put(key.clone(), value.clone())).collect();
                together(&store, writes).unwrap();
            }
        });
        while !is_done.load(Ordering::Relaxed) {
            let entries = store.get_many(&keys, usize::MAX).unwrap();
            let mut values: Vec<_> =
                entries.into_iter().map(|entry| entry.unwrap().map(|entry| entry.value)).collect();
            values.dedup();
            assert_eq!(values.len(), 1, "{values:?}");
        }
    });
}

#[test]
fn each_of_many_keys_has_its_own_answer_and_they_share_a_limit() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("a", noise(1, 600)).unwrap();
    store.put("b", "b".repeat(400)).unwrap();
    let keys = ["b".into(), "".into(), "missing".into(), "a".into(), "b".into()];
    let entries = store.get_many(&keys, 1400).unwrap();
    assert_eq!(entries[0].as_ref().unwrap().as_ref().unwrap().value, "b".repeat(400));
    assert!(matches!(entries[1], Err(ReadError::Key(KeyError::Empty))));
    assert_eq!(*entries[2].as_ref().unwrap(), None);
    assert_eq!(entries[3].as_ref().unwrap().as_ref().unwrap().value, noise(1, 600));
    assert!(matches!(
        store.get_many(&keys, 1399),
        Err(ReadError::ValueTooLarge { bytes: 1400, limit: 1399 })
    ));
}

#[test]
fn conditions_on_large_values_are_read_in_bounded_parts_and_each_record_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for number in 0..8_u64 {
        store.put(number.to_string(), noise(number, 300_000)).unwrap();
    }
    store.inner().writer.lock().unwrap().checked = Checked::within(700_000);
    let checks = || {
        (1..=8_u64).map(|revision| Write::Check {
            key: (revision - 1).to_string().into(),
            condition: Condition::Revision(revision),
        })
    };
    // Two records at each attempt.
    for refused in [2, 4, 6] {
        match together(&store, checks().collect()).unwrap_err() {
            WriteError::Together { index, cause } => {
                assert!(matches!(*cause, WriteError::TooMuchToCheck), "{cause:?}");
                assert_eq!(index, refused);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(together(&store, checks().collect()).unwrap().len(), 8);

    // The bound is that of all writes that share a commit, and what is written anew is read anew.
    for number in 0..4_u64 {
        store.put(number.to_string(), noise(number, 300_000)).unwrap();
    }
    let each = store.apply(checks().collect());
    for (index, judged) in each.iter().enumerate() {
        match (index, judged) {
            (0..2, Err(WriteError::Conflict { current: Some(9..=10) }))
            | (2..4, Err(WriteError::TooMuchToCheck))
            | (4..8, Ok(Applied::Checked { current: Some(5..=8) })) => {}
            other => panic!("{other:?}"),
        }
    }

    // One that is longer than the bound is read when it is the first.
    store.put("long", noise(1, 800_000)).unwrap();
    let check = Write::Check { key: "long".into(), condition: Condition::Revision(13) };
    let [first, second] = &store.apply(vec![check, checks().nth(2).unwrap()])[..] else { unreachable!() };
    assert!(matches!(first, Ok(Applied::Checked { current: Some(13) })), "{first:?}");
    assert!(matches!(second, Err(WriteError::TooMuchToCheck)), "{second:?}");
}
