//! What a client sees of a store: over a UNIX socket, in memory, and in the store's own process.

mod common;

use std::collections::{BTreeMap, HashMap};

use common::{noise, on_each_path};
use kvstore::{
    ClientError,
    messages::StoreError,
    object::{DecodeError, MAX_DEPTH, Object, TooDeep},
};
use serde::{Deserialize, Serialize};

const MIB: usize = 1 << 20;

#[test]
fn what_is_put_is_got_and_removed() {
    on_each_path(&[], |store| async move {
        assert_eq!(store.get("key").await.unwrap(), None);
        assert!(!store.remove("key").await.unwrap().existed());

        let first = store.put("key", "value").await.unwrap();
        assert_eq!(first.stored_bytes, 5);
        let value = store.get("key").await.unwrap().unwrap();
        assert_eq!((&value.bytes[..], value.revision), (&b"value"[..], first.revision));

        let second = store.put("key", "other").await.unwrap();
        assert!(second.revision > first.revision);
        assert_eq!(store.get("key").await.unwrap().unwrap().bytes, "other");

        let removed = store.remove("key").await.unwrap();
        assert!(removed.revision.unwrap() > second.revision);
        assert_eq!(store.get("key").await.unwrap(), None);
        assert_eq!(store.remove("key").await.unwrap().revision, None);
    });
}

#[test]
fn an_empty_value_is_not_a_missing_key() {
    on_each_path(&[], |store| async move {
        assert_eq!(store.put("empty", "").await.unwrap().stored_bytes, 0);
        assert_eq!(store.get("empty").await.unwrap().unwrap().bytes, "");
        assert_eq!(store.get("missing").await.unwrap(), None);
        assert!(store.remove("empty").await.unwrap().existed());
    });
}

#[test]
fn keys_and_values_are_any_bytes() {
    on_each_path(&[], |store| async move {
        let keys: [&[u8]; 6] = [b"\0", b"\0\0", b"\xff\xfe\0\n", "Schlüssel".as_bytes(), &[0xff; 511], b" "];
        for (seed, key) in (1..).zip(keys) {
            store.put(key, noise(1000, seed)).await.unwrap();
        }
        for (seed, key) in (1..).zip(keys) {
            assert_eq!(store.get(key).await.unwrap().unwrap().bytes, noise(1000, seed), "{key:?}");
        }
    });
}

#[test]
fn a_key_has_1_to_511_bytes() {
    on_each_path(&[], |store| async move {
        for length in [0, 512, 70_000] {
            let refused = StoreError::KeyLength { bytes: length as u64, limit: 511 }.into();
            let key = vec![b'k'; length];
            assert_eq!(store.get(&key).await, Err(ClientError::clone(&refused)));
            assert_eq!(store.put(&key, "value").await, Err(ClientError::clone(&refused)));
            assert_eq!(store.remove(&key).await, Err(refused));
        }
        for length in [1, 511] {
            let key = vec![b'k'; length];
            store.put(&key, "value").await.unwrap();
            assert_eq!(store.get(&key).await.unwrap().unwrap().bytes, "value");
        }
    });
}

#[test]
fn a_value_over_the_limit_is_refused_with_both_numbers() {
    on_each_path(&[("max-value", "100KiB")], |store| async move {
        let limit = 100 << 10;
        store.put("exact", noise(limit, 1)).await.unwrap();
        assert_eq!(store.get("exact").await.unwrap().unwrap().bytes, noise(limit, 1));
        let refused = StoreError::ValueTooLarge { bytes: limit as u64 + 1, limit: limit as u64 };
        assert_eq!(store.put("above", noise(limit + 1, 1)).await, Err(refused.into()));
        assert_eq!(store.get("above").await.unwrap(), None);
    });
}

#[test]
fn the_default_limit_gets_through_a_connection() {
    on_each_path(&[], |store| async move {
        let limit = 64 * MIB;
        let value = bytes::Bytes::from(noise(limit, 9));
        let done = store.put("exact", value.clone()).await.unwrap();
        assert_eq!(done.stored_bytes, limit as u64);
        assert!(store.get("exact").await.unwrap().unwrap().bytes == value, "the value is another");

        let refused = StoreError::ValueTooLarge { bytes: limit as u64 + 1, limit: limit as u64 };
        assert_eq!(store.put("above", vec![0; limit + 1]).await, Err(refused.into()));
        // Longer than any message may be: the numbers are the store's all the same.
        let refused = StoreError::ValueTooLarge { bytes: 80 * MIB as u64, limit: limit as u64 };
        assert_eq!(store.put("far above", vec![0; 80 * MIB]).await, Err(refused.into()));
        assert_eq!(store.get("above").await.unwrap(), None);
    });
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Song {
    title: String,
    seconds: u32,
    rating: Option<f64>,
    tags: Vec<String>,
    by_year: BTreeMap<u16, i64>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Cover { of: Box<str> },
    Medley(u8, u8),
}

#[test]
fn objects_of_any_type_come_back() {
    on_each_path(&[], |store| async move {
        let song = |kind| Song {
            title: "Glückauf".to_owned(),
            seconds: 180,
            rating: Some(4.5),
            tags: vec!["old".to_owned(), String::new()],
            by_year: BTreeMap::from([(1920, -3), (2020, i64::MAX)]),
            kind,
        };
        for kind in [Kind::Plain, Kind::Cover { of: "another".into() }, Kind::Medley(1, 2)] {
            let song = song(kind);
            store.put_object("song", &song).await.unwrap();
            assert_eq!(store.get_object::<Song>("song").await.unwrap().unwrap(), song);
        }
        store.put_object("text", "a str").await.unwrap();
        assert_eq!(store.get_object::<String>("text").await.unwrap().unwrap(), "a str");
        store.put_object("pair", &(1, false)).await.unwrap();
        assert_eq!(store.get_object("pair").await.unwrap(), Some((1, false)));
        assert_eq!(store.get_object::<Song>("missing").await.unwrap(), None);
    });
}

#[test]
fn an_object_is_the_same_in_all_its_forms() {
    on_each_path(&[], |store| async move {
        let alist = Object::parse_sexp("((a . 1) (b . 2) (c . 3))").unwrap();
        store.put_value("alist", &alist).await.unwrap();
        assert_eq!(store.get_value("alist").await.unwrap().unwrap(), alist);
        assert_eq!(store.get_object::<Object>("alist").await.unwrap().unwrap(), alist);
        assert_eq!(store.get("alist").await.unwrap().unwrap().bytes, alist.to_bytes().unwrap());
        let map = store.get_object::<HashMap<String, u8>>("alist").await.unwrap().unwrap();
        assert_eq!(map, HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2), ("c".to_owned(), 3)]));
        store.put_object("again", &alist).await.unwrap();
        assert_eq!(store.get_value("again").await.unwrap().unwrap(), alist);
        assert_eq!(store.get_value("missing").await.unwrap(), None);
    });
}

#[test]
fn what_is_no_such_object_is_told_apart() {
    on_each_path(&[], |store| async move {
        store.put("bytes", "no object").await.unwrap();
        let no_object = ClientError::NotAnObject(DecodeError::NotAnObject);
        assert_eq!(store.get_value("bytes").await, Err(no_object.clone()));
        assert_eq!(store.get_object::<Song>("bytes").await, Err(no_object.clone()));
        store.put("bytes", "").await.unwrap();
        assert_eq!(store.get_value("bytes").await, Err(no_object));

        store.put_object("number", &7).await.unwrap();
        let shape = store.get_object::<Song>("number").await;
        assert!(matches!(shape, Err(ClientError::Shape(_))), "{shape:?}");
        let range = store.get_object::<bool>("number").await;
        assert!(matches!(range, Err(ClientError::Shape(_))), "{range:?}");

        let none = store.put_object("big", &u128::MAX).await;
        assert!(matches!(none, Err(ClientError::NoObject(_))), "{none:?}");
        let deep = (0..=MAX_DEPTH).fold(Object::Nil, |inner, _| Object::vector([inner]));
        assert_eq!(store.put_value("deep", &deep).await, Err(ClientError::TooDeep(TooDeep)));
        assert_eq!(store.get("big").await.unwrap(), None);
        assert_eq!(store.get("deep").await.unwrap(), None);
    });
}

#[test]
fn writes_of_one_client_are_done_in_their_order() {
    on_each_path(&[], |store| async move {
        let mut writes = tokio::task::JoinSet::new();
        for number in 0..200_u32 {
            let store = store.clone();
            let put = async move { store.put("key", number.to_string()).await.unwrap().revision };
            writes.spawn_local(async move { (number, put.await) });
        }
        let mut revisions = writes.join_all().await;
        revisions.sort_unstable();
        assert_eq!(revisions.len(), 200);
        assert!(revisions.is_sorted_by_key(|(_, revision)| revision), "{revisions:?}");
        let last = store.get("key").await.unwrap().unwrap();
        assert_eq!((last.bytes, last.revision), ("199".into(), revisions[199].1));
    });
}
