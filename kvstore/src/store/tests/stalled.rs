//! A writer that stands still, as on a disk that does not answer: what goes on.

use std::sync::mpsc::channel;
use std::thread;

use actix::{Actor as _, System};
use tokio::task::JoinSet;

use super::open;
use crate::actor::KvStore;
use crate::engine::EngineOptions;
use crate::messages::{Get, GetLimits, Put, Stat, StoreError};
use crate::store::environment::End;

#[test]
fn a_commit_that_stands_still_holds_up_neither_the_event_loop_nor_reads_and_the_queue_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("k", "before").unwrap();
    let (entered, has_entered) = channel();
    let (release, released) = channel::<()>();
    let stalling = store.clone();
    let stalled = thread::spawn(move || {
        // LMDB has one write transaction at a time: the store's own waits for this one.
        let environment = stalling.environment();
        let held = environment.write(|_, _| {
            entered.send(()).unwrap();
            released.recv().ok();
            Ok(End::Unchanged(()))
        });
        held.unwrap();
    });
    has_entered.recv().unwrap();
    System::new().block_on(async {
        let options = EngineOptions { max_queued_writes: 3, max_batch_writes: 1, ..EngineOptions::default() };
        let store = KvStore::new(store, &options).unwrap().start();
        let mut puts = JoinSet::new();
        for value in 0..20_u32 {
            puts.spawn_local(store.send(Put { key: "k".into(), value: value.to_string().into() }));
        }
        // The thread takes one, if it is quick enough, and three wait; the others are refused at once.
        for _ in 0..16 {
            let refused = puts.join_next().await.unwrap().unwrap().unwrap();
            assert_eq!(refused, Err(StoreError::Overloaded));
        }
        for _ in 0..100 {
            let got = store.send(Get { key: "k".into() }).await.unwrap().unwrap().unwrap();
            assert_eq!(got.bytes, "before");
            assert_eq!(store.send(Stat).await.unwrap().unwrap().revision, 1);
            assert_eq!(store.send(GetLimits).await.unwrap().max_key_bytes, 511);
        }
        while let Some(refused) = puts.try_join_next() {
            assert_eq!(refused.unwrap().unwrap(), Err(StoreError::Overloaded));
        }
        assert!((3..=4).contains(&puts.len()), "{}", puts.len());
        release.send(()).unwrap();
        let done = puts.join_all().await;
        assert!(done.iter().all(|put| matches!(put, Ok(Ok(_)))), "{done:?}");
    });
    stalled.join().unwrap();
}
