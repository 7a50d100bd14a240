//! Calls with many keys, through the client.

mod common;

use common::{noise, on_each_path};
use kvstore::{
    ClientError,
    messages::{ApplyRefused, Condition, Done, Op, StoreError},
};

fn put(key: impl Into<bytes::Bytes>, value: &'static str, condition: Condition) -> Op {
    Op::Put { key: key.into(), value: value.into(), condition, ttl_ms: None }
}

fn refused<T>(index: Option<u32>, why: StoreError) -> Result<T, ClientError> {
    Err(ApplyRefused { index, why }.into())
}

#[test]
fn many_are_written_all_or_none_and_read_at_one_moment() {
    on_each_path(&[], |store| async move {
        let done =
            store.apply([put("a", "1", Condition::Absent), put("b", "", Condition::Always)]).await.unwrap();
        let expected =
            [Done::Stored { stored_bytes: 1, revision: 1 }, Done::Stored { stored_bytes: 0, revision: 2 }];
        assert_eq!(done, expected);
        let conflict = store
            .apply([
                Op::Remove { key: "a".into(), condition: Condition::Always },
                Op::Check { key: "b".into(), condition: Condition::Revision(1) },
            ])
            .await;
        assert_eq!(conflict, refused(Some(1), StoreError::Conflict { current: Some(2) }));
        let values = store.get_many(["b", "missing", "a"]).await.unwrap();
        let values: Vec<_> = values
            .into_iter()
            .map(|value| value.unwrap().map(|value| (value.bytes, value.revision)))
            .collect();
        assert_eq!(values, [Some(("".into(), 2)), None, Some(("1".into(), 1))]);
        assert_eq!(store.get_many::<&str>([]).await.unwrap(), []);
        assert_eq!(store.apply([]).await.unwrap(), []);
    });
}

#[test]
fn too_much_at_once_is_refused_by_name() {
    on_each_path(&[("max-value", "2MiB")], |store| async move {
        let twice = [put("a", "", Condition::Always), put("a", "", Condition::Always)];
        assert_eq!(store.apply(twice).await, refused(Some(1), StoreError::KeyRepeated));
        let many = StoreError::TooMany { count: 1025, limit: 1024 };
        let ops = (0..1025).map(|key| put(key.to_string(), "", Condition::Always));
        assert_eq!(store.apply(ops).await, refused(None, many));
        assert_eq!(store.get_many((0..1025).map(|key| key.to_string())).await, Err(many.into()));
        let no_key = StoreError::KeyLength { bytes: 0, limit: 511 };
        assert_eq!(store.apply([put("", "", Condition::Always)]).await, refused(Some(0), no_key));
        assert_eq!(store.get_many(["a", ""]).await, Err(no_key.into()));

        for key in ["x", "y"] {
            store.put(key, noise((1 << 20) + 1, 3)).await.unwrap();
        }
        let one = store.get_many(["x"]).await.unwrap();
        assert!(one[0].as_ref().unwrap().as_ref().unwrap().bytes == noise((1 << 20) + 1, 3));
        let too_large = StoreError::AnswerTooLarge { bytes: (2 << 20) + 2, limit: 2 << 20 };
        assert_eq!(store.get_many(["x", "y"]).await, Err(too_large.into()));
    });
}
