//! Reading, writing, limits, conditions, and opening again.

use bytes::Bytes;

use super::{noise, open};
use crate::store::{
    Applied, Condition, KeyError, OpenError, ReadError, Store, StoreOptions, Write, WriteError,
};

#[test]
fn a_missing_key_and_an_empty_value_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert_eq!(store.get(b"k").unwrap(), None);
    let stored = store.put("k", "").unwrap();
    assert_eq!((stored.stored_bytes, stored.revision), (0, 1));
    let entry = store.get(b"k").unwrap().unwrap();
    assert_eq!((entry.value, entry.revision), (Bytes::new(), 1));
}

#[test]
fn a_remove_says_whether_there_was_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert!(!store.remove("k").unwrap());
    assert_eq!(store.revision().unwrap(), 0, "what changes nothing takes no revision");
    store.put("k", "v").unwrap();
    assert!(store.remove("k").unwrap());
    assert!(!store.remove("k").unwrap());
    assert_eq!(store.get(b"k").unwrap(), None);
    assert_eq!(store.revision().unwrap(), 2);
}

#[test]
fn a_put_answers_the_compressed_size() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let text = "the same again and again ".repeat(1000);
    let stored = store.put("k", text.clone()).unwrap();
    assert!(stored.stored_bytes < 500, "{stored:?}");
    let entry = store.get(b"k").unwrap().unwrap();
    assert_eq!(entry.value, text);
    assert_eq!(entry.stored_bytes, stored.stored_bytes);
    let noise = noise(1, 5000);
    assert_eq!(store.put("k", noise.clone()).unwrap().stored_bytes, 5000);
    assert_eq!(store.get(b"k").unwrap().unwrap().value, noise);
}

#[test]
fn keys_are_any_bytes_up_to_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let longest = noise(1, 511);
    store.put(longest.clone(), "v").unwrap();
    store.put(vec![0], "zero").unwrap();
    assert_eq!(store.get(&longest).unwrap().unwrap().value, "v");
    assert_eq!(store.get(&[0]).unwrap().unwrap().value, "zero");

    let too_long = KeyError::TooLong { bytes: 512, limit: 511 };
    for (key, expected) in [(vec![], KeyError::Empty), (vec![1; 512], too_long)] {
        assert!(matches!(store.get(&key), Err(ReadError::Key(error)) if error == expected));
        assert!(matches!(store.put(key.clone(), "v"), Err(WriteError::Key(error)) if error == expected));
        assert!(matches!(store.remove(key), Err(WriteError::Key(error)) if error == expected));
    }
}

#[test]
fn values_are_taken_up_to_the_limit_and_not_one_byte_more() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { max_value_bytes: 1000, ..StoreOptions::default() };
    let store = Store::open(directory.path(), options).unwrap();
    store.put("k", vec![1; 1000]).unwrap();
    assert!(matches!(
        store.put("l", vec![1; 1001]),
        Err(WriteError::ValueTooLarge { bytes: 1001, limit: 1000 })
    ));
    assert_eq!(store.get(b"l").unwrap(), None);
    drop(store);

    let options = StoreOptions { max_value_bytes: 999, ..StoreOptions::default() };
    let store = Store::open(directory.path(), options).unwrap();
    assert!(matches!(store.get(b"k"), Err(ReadError::ValueTooLarge { bytes: 1000, limit: 999 })));
}

#[test]
fn a_value_of_64_mib_makes_the_round_trip() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let value = Bytes::from(noise(5, 64 << 20));
    assert_eq!(store.put("k", value.clone()).unwrap().stored_bytes, 64 << 20);
    assert!(store.get(b"k").unwrap().unwrap().value == value);
}

#[test]
fn each_write_of_a_batch_has_its_own_answer_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let conditional = |key: &'static str, condition| Write::Put {
        key: key.into(),
        value: "new".into(),
        condition,
        ttl_ms: None,
    };
    let results = store.apply(vec![
        Write::put("a", "1"),
        Write::put("", "refused"),
        Write::remove("a"),
        Write::remove("a"),
        conditional("b", Condition::Absent),
        conditional("b", Condition::Absent),
        conditional("b", Condition::Revision(3)),
        Write::put(vec![7; 600], "refused"),
        Write::Remove { key: "b".into(), condition: Condition::Revision(3) },
    ]);
    let revision_of = |index: usize| match &results[index] {
        Ok(Applied::Stored(stored)) => Some(stored.revision),
        Ok(Applied::Removed { revision }) => *revision,
        Ok(other) => panic!("{index}: {other:?}"),
        Err(error) => panic!("{index}: {error}"),
    };
    assert_eq!(revision_of(0), Some(1));
    assert!(matches!(results[1], Err(WriteError::Key(KeyError::Empty))));
    assert_eq!(revision_of(2), Some(2), "a batch sees its own earlier writes");
    assert_eq!(revision_of(3), None);
    assert_eq!(revision_of(4), Some(3));
    assert!(matches!(results[5], Err(WriteError::Conflict { current: Some(3) })));
    assert_eq!(revision_of(6), Some(4));
    assert!(matches!(results[7], Err(WriteError::Key(KeyError::TooLong { .. }))));
    assert!(matches!(results[8], Err(WriteError::Conflict { current: Some(4) })));
    assert_eq!(store.get(b"a").unwrap(), None);
    assert_eq!(store.get(b"b").unwrap().unwrap().revision, 4);
    assert!(store.apply(Vec::new()).is_empty());
}

#[test]
fn a_condition_on_a_missing_key_conflicts_with_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let result = store
        .apply(vec![Write::Remove { key: "k".into(), condition: Condition::Revision(1) }])
        .pop()
        .unwrap();
    assert!(matches!(result, Err(WriteError::Conflict { current: None })));
    assert_eq!(result.unwrap_err().to_string(), "there is no such key");
}

#[test]
fn revisions_go_on_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let store = open(directory.path());
        assert_eq!(store.put("k", "v").unwrap().revision, 2 * round + 1);
        assert!(store.remove("k").unwrap());
        assert_eq!(store.revision().unwrap(), 2 * round + 2);
    }
}

#[test]
fn a_second_open_is_refused_until_the_last_handle_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let clone = store.clone();
    let refused =
        || matches!(Store::open(directory.path(), StoreOptions::default()), Err(OpenError::InUse { .. }));
    assert!(refused());
    drop(store);
    assert!(refused());
    drop(clone);
    open(directory.path());
}

#[test]
fn the_directory_is_made() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("deep/er/store");
    drop(open(&directory));
    assert!(directory.join("data.mdb").is_file());
    drop(open(&directory));

    let file = parent.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Store::open(&file, StoreOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}
