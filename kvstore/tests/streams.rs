//! Values that are put and got piece by piece: over a UNIX socket, in memory, and in the store's own process.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use common::{KVSTORE, World, noise, on_each_path, stop};
use kvstore::{
    Client, ClientError, KvStore, PutOptions,
    engine::EngineOptions,
    messages::{Condition, GetLimits, StoreError, StoredAs, UploadAbort, UploadBegin},
    store::{MAX_UPLOADS, Store, StoreOptions},
};
use tokio::io::{AsyncRead, ReadBuf};

const MIB: usize = 1 << 20;

/// An input that gives some bytes at a time, and may fail at its end.
struct Trickle<'a> {
    rest: &'a [u8],
    at_once: usize,
    fails: bool,
}

impl<'a> Trickle<'a> {
    fn of(value: &'a [u8], at_once: usize) -> Self {
        Self { rest: value, at_once, fails: false }
    }
}

impl AsyncRead for Trickle<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() && self.fails {
            return Poll::Ready(Err(io::Error::other("the tape is torn")));
        }
        let count = self.rest.len().min(self.at_once).min(buffer.remaining());
        let (some, rest) = self.rest.split_at(count);
        buffer.put_slice(some);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

async fn got(store: &Client, key: &str) -> Option<Vec<u8>> {
    let mut value = store.get_stream(key).await.expect("the store answers")?;
    let mut bytes = Vec::new();
    let written = value.copy_to(&mut bytes).await.expect("the value is whole");
    assert_eq!((written, bytes.len() as u64), (value.value_bytes(), value.value_bytes()));
    assert_eq!(value.next().await.expect("the value is whole"), None);
    Some(bytes)
}

#[test]
fn a_stream_is_got_as_it_was_put_whatever_its_length() {
    on_each_path(&[("max-value", "1GiB")], |store| async move {
        assert!(store.get_stream("key").await.unwrap().is_none());
        for length in [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 9 * MIB + 7] {
            // Half of it can be compressed.
            let value = [noise(length / 2, 1), vec![7; length - length / 2]].concat();
            for at_once in [1 << 16, 300_001, usize::MAX] {
                let input = Trickle::of(&value, at_once);
                let put = store.put_stream("key", input, None, PutOptions::new()).await.unwrap();
                let stat = store.stat_key("key").await.unwrap().unwrap();
                assert_eq!((stat.value_bytes, stat.revision), (length as u64, put.revision));
                assert_eq!(stat.stored_bytes, put.stored_bytes);
                assert_eq!(stat.codec == StoredAs::Parts, length >= MIB);
                assert!(got(&store, "key").await.unwrap() == value, "{length} {at_once}");
            }
            // It is one value, however it was put.
            assert!(store.get("key").await.unwrap().unwrap().bytes == value);
            store.put("whole", value.clone()).await.unwrap();
            assert!(got(&store, "whole").await.unwrap() == value);
        }
        let page = store.list("", &Default::default(), 10).await.unwrap();
        assert_eq!(page.keys[0].about.unwrap().value_bytes, 9 * MIB as u64 + 7);
        let many = store.get_many(["key", "none"]).await.unwrap();
        assert_eq!(many[0].as_ref().unwrap().as_ref().unwrap().bytes.len(), 9 * MIB + 7);
        let mut after = Some(Default::default());
        while let Some(last) = after {
            let part = store.verify(&last).await.unwrap();
            assert_eq!(part.damaged, []);
            after = part.next;
        }
        assert!(store.remove("key").await.unwrap().existed());
        assert!(store.get_stream("key").await.unwrap().is_none());
    });
}

#[test]
fn a_value_that_fits_no_message_is_got_as_a_stream_only() {
    actix::System::new().block_on(async {
        let world = World::unix();
        let server = world.server(&[("max-value", "1GiB")]).await;
        let user = world.user("user").await;
        let store = Client::new(&user, KVSTORE);
        let value = [noise(MIB, 1), vec![7; 69 * MIB]].concat();
        store.put_stream("key", &value[..], Some(value.len() as u64), PutOptions::new()).await.unwrap();
        let refused = store.get("key").await.unwrap_err();
        let ClientError::Store(StoreError::StoredValueTooLarge { bytes, limit }) = refused else {
            panic!("{refused}");
        };
        assert_eq!(bytes, 70 * MIB as u64);
        assert!(refused.to_string().contains("read as a stream"), "{refused}");
        // The limit that is told to clients that know of no streams is the one that holds for them.
        let actor = user.remote(KVSTORE, KVSTORE);
        assert_eq!(actor.send(GetLimits).await.unwrap().max_value_bytes, limit);
        assert!((64 * MIB as u64..65 * MIB as u64).contains(&limit), "{limit}");
        let refused = store.put("whole", vec![0; 66 * MIB]).await.unwrap_err();
        assert!(matches!(refused, ClientError::Store(StoreError::ValueTooLarge { .. })), "{refused}");
        let many = store.get_many(["key"]).await.unwrap_err();
        assert!(matches!(many, ClientError::Store(StoreError::AnswerTooLarge { .. })), "{many}");
        assert!(got(&store, "key").await.unwrap() == value);
        stop(&server).await;
    });
}

#[test]
fn what_is_over_the_limit_is_refused_and_leaves_nothing() {
    on_each_path(&[("max-value", "3MiB")], |store| async move {
        let value = vec![0; 5 * MIB];
        for length in [Some(5 * MIB as u64), None] {
            let put = store.put_stream("key", &value[..], length, PutOptions::new()).await;
            let Err(ClientError::Store(StoreError::ValueTooLarge { bytes, limit })) = put else {
                panic!("{put:?}");
            };
            assert!(limit == 3 * MIB as u64 && bytes > limit && length.is_none_or(|length| length == bytes));
        }
        store.put_stream("key", &value[..3 * MIB], None, PutOptions::new()).await.unwrap();
    });
}

#[test]
fn conditions_and_times_hold_for_streams() {
    on_each_path(&[("max-value", "1GiB")], |store| async move {
        let value = noise(3 * MIB, 1);
        let absent = PutOptions::new().if_absent();
        let first = store.put_stream("key", &value[..], None, absent).await.unwrap();
        let conflict = store.put_stream("key", &value[..], None, absent).await.unwrap_err();
        let current = ClientError::Store(StoreError::Conflict { current: Some(first.revision) });
        assert_eq!(conflict, current);
        let swap = PutOptions::new().if_revision(first.revision);
        let swap = swap.expires_in(std::time::Duration::from_secs(1000));
        let second = store.put_stream("key", &value[1..], None, swap).await.unwrap();
        assert!(second.revision > first.revision);
        assert!(store.stat_key("key").await.unwrap().unwrap().expires_in_ms.is_some());
        assert!(got(&store, "key").await.unwrap() == value[1..]);
        assert!(store.remove_if("key", second.revision).await.unwrap().existed());
    });
}

#[test]
fn what_was_not_put_to_its_end_leaves_nothing() {
    actix::System::new().block_on(async {
        let world = World::unix();
        let server = world.server(&[("max-value", "1GiB")]).await;
        let user = world.user("user").await;
        let store = Client::new(&user, KVSTORE);
        let value = noise(3 * MIB, 1);
        // More often than there can be uploads at once.
        for _ in 0..MAX_UPLOADS + 5 {
            let input = Trickle { rest: &value[..MIB + 1], at_once: MIB, fails: true };
            let put = store.put_stream("key", input, None, PutOptions::new()).await;
            let Err(ClientError::Input { why, .. }) = put else { panic!("{put:?}") };
            assert_eq!(why, "the tape is torn");
        }
        for _ in 0..MAX_UPLOADS + 5 {
            let (reader, mut writer) = tokio::io::duplex(4 * MIB);
            tokio::io::AsyncWriteExt::write_all(&mut writer, &value).await.unwrap();
            let put = store.put_stream("key", reader, None, PutOptions::new());
            // Nothing more comes, and whoever waits for it goes away.
            let begun = tokio::time::timeout(std::time::Duration::from_millis(20), put).await;
            assert!(begun.is_err());
        }
        assert_eq!(store.get("key").await.unwrap(), None);
        store.put_stream("key", &value[..], None, PutOptions::new()).await.unwrap();
        assert!(got(&store, "key").await.unwrap() == value);
        stop(&server).await;
    });
}

#[test]
fn a_value_is_read_to_its_end_although_it_is_replaced() {
    on_each_path(&[("max-value", "1GiB")], |store| async move {
        let value = noise(20 * MIB, 1);
        store.put_stream("key", &value[..], None, PutOptions::new()).await.unwrap();
        let mut reading = store.get_stream("key").await.unwrap().unwrap();
        let first = reading.next().await.unwrap().unwrap();
        assert!(first == value[..first.len()]);
        store.put_stream("key", &vec![1; 5 * MIB][..], None, PutOptions::new()).await.unwrap();
        store.remove("key").await.unwrap();
        let mut rest = Vec::new();
        reading.copy_to(&mut rest).await.unwrap();
        assert!(rest == value[first.len()..]);
    });
}

#[test]
fn many_streams_go_at_once_and_small_calls_pass_between() {
    on_each_path(&[("max-value", "1GiB")], |store| async move {
        let streams = (0..8_u64).map(|number| {
            let store = store.clone();
            actix::spawn(async move {
                let (key, value) = (format!("key {number}"), noise(6 * MIB + number as usize, number));
                store.put_stream(&key, &value[..], None, PutOptions::new()).await.unwrap();
                assert!(got(&store, &key).await.unwrap() == value);
            })
        });
        let streams: Vec<_> = streams.collect();
        for number in 0..20 {
            store.put("small", number.to_string()).await.unwrap();
            assert_eq!(store.get("small").await.unwrap().unwrap().bytes, number.to_string());
        }
        for stream in streams {
            stream.await.unwrap();
        }
    });
}

#[test]
fn a_stream_that_outlives_its_server_is_refused_whole() {
    actix::System::new().block_on(async {
        let world = World::unix();
        let server = world.server(&[("max-value", "1GiB")]).await;
        let user = world.user("user").await;
        let store = Client::new(&user, KVSTORE);
        let (reader, mut writer) = tokio::io::duplex(MIB);
        let put = actix::spawn({
            let store = store.clone();
            async move { store.put_stream("key", reader, None, PutOptions::new()).await }
        });
        tokio::io::AsyncWriteExt::write_all(&mut writer, &noise(4 * MIB, 1)).await.unwrap();
        stop(&server).await;
        let rest = actix::spawn(async move {
            // It may be refused before all of it is read.
            drop(tokio::io::AsyncWriteExt::write_all(&mut writer, &noise(4 * MIB, 2)).await);
        });
        let refused = put.await.unwrap().unwrap_err();
        assert!(
            matches!(refused, ClientError::Store(StoreError::Closed) | ClientError::Call(_)),
            "{refused}"
        );
        rest.await.unwrap();
        let left = Store::open(&world.store_dir(), StoreOptions::default()).unwrap();
        assert_eq!(left.get(b"key").unwrap(), None);
        assert_eq!(left.verify(None).unwrap().damaged, []);
    });
}

#[test]
fn an_overloaded_store_is_asked_again() {
    actix::System::new().block_on(async {
        let world = World::unix();
        let node = world.node().await;
        let options = StoreOptions { max_value_bytes: 1 << 30, ..StoreOptions::default() };
        let store = Store::open(&world.store_dir(), options).unwrap();
        // One part at a time is taken.
        let engine = EngineOptions { max_queued_write_bytes: MIB, ..EngineOptions::default() };
        node.export(KVSTORE, KvStore::new(store, &engine).unwrap().exports()).unwrap();
        let user = world.user("user").await;
        let store = Client::new(&user, KVSTORE);
        let value = noise(9 * MIB, 1);
        store.put_stream("key", &value[..], None, PutOptions::new()).await.unwrap();
        assert!(got(&store, "key").await.unwrap() == value);
        stop(&node).await;
    });
}

#[test]
fn there_are_only_so_many_uploads_at_once() {
    actix::System::new().block_on(async {
        let world = World::memory();
        let server = world.server(&[]).await;
        let user = world.user("user").await;
        let actor = user.remote(KVSTORE, KVSTORE);
        let begin = || UploadBegin { key: "key".into(), condition: Condition::Always, value_bytes: None };
        let mut last = 0;
        for _ in 0..MAX_UPLOADS {
            last = actor.send(begin()).await.unwrap().unwrap().upload;
        }
        let refused = actor.send(begin()).await.unwrap();
        assert_eq!(refused, Err(StoreError::TooManyUploads { limit: MAX_UPLOADS as u64 }));
        actor.send(UploadAbort { upload: last }).await.unwrap().unwrap();
        actor.send(begin()).await.unwrap().unwrap();
        stop(&server).await;
    });
}
