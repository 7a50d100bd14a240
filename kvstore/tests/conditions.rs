//! Writes on a condition, through the client.

mod common;

use common::on_each_path;
use kvstore::{ClientError, PutOptions, messages::StoreError};

fn conflict(current: Option<u64>) -> ClientError {
    StoreError::Conflict { current }.into()
}

#[test]
fn a_key_is_created_once_and_swapped_by_its_revision() {
    on_each_path(&[], |store| async move {
        let create = PutOptions::new().if_absent();
        let missing = store.put_with("key", "0", PutOptions::new().if_revision(1)).await;
        assert_eq!(missing, Err(conflict(None)));
        let first = store.put_with("key", "1", create).await.unwrap().revision;
        assert_eq!(store.put_with("key", "2", create).await, Err(conflict(Some(first))));
        let swap = PutOptions::new().if_revision(first);
        let second = store.put_with("key", "2", swap).await.unwrap().revision;
        assert!(second > first);
        assert_eq!(store.put_with("key", "3", swap).await, Err(conflict(Some(second))));
        assert_eq!(store.get("key").await.unwrap().unwrap().bytes, "2");

        assert_eq!(store.remove_if("key", first).await, Err(conflict(Some(second))));
        assert!(store.remove_if("key", second).await.unwrap().revision.unwrap() > second);
        assert_eq!(store.remove_if("key", second).await, Err(conflict(None)));
        let again = store.put_with("key", "4", PutOptions::new()).await.unwrap();
        assert_eq!(store.get("key").await.unwrap().unwrap().revision, again.revision);
    });
}

#[test]
fn a_condition_comes_after_the_limits() {
    on_each_path(&[("max-value", "10B")], |store| async move {
        let create = PutOptions::new().if_absent();
        let refused = store.put_with("key", vec![0; 11], create).await;
        assert_eq!(refused, Err(StoreError::ValueTooLarge { bytes: 11, limit: 10 }.into()));
        let refused = store.remove_if("", 1).await;
        assert_eq!(refused, Err(StoreError::KeyLength { bytes: 0, limit: 511 }.into()));
    });
}
