//! The actor in its server: what operators and other traffic do to it, and what it does to them.

mod common;

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use actix::Message;
use bytes::Bytes;
use common::{KVSTORE, World, bytes_moved, noise, stop};
use ensemble::{CallError, NotSent, Refusal, RemoteMessage};
use kvstore::{
    Client, ClientError, KvStore,
    engine::EngineOptions,
    messages::{Get, GetLimits, Put, Remove, StoreError},
    store::{Store, StoreOptions},
};
use serde::{Deserialize, Serialize};

const MIB: u64 = 1 << 20;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Unexpected(u8);

impl RemoteMessage for Unexpected {
    const NAME: &'static str = "kvstore.unexpected";
}

/// A message under a name of the store's, with bytes of anybody's.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Forged;

impl RemoteMessage for Forged {
    const NAME: &'static str = "kvstore.put";
}

#[actix::test]
async fn it_answers_pings_and_refuses_what_it_does_not_know() {
    let world = World::unix();
    let server = world.server(&[]).await;
    let user = world.user("user").await;
    for node in [&server, &user] {
        let actor = node.remote(KVSTORE, KVSTORE);
        actor.ping().await.unwrap();
        assert_eq!(actor.send(Unexpected(1)).await, Err(CallError::Refused(Refusal::UnknownMessage)));
        assert_eq!(actor.send(GetLimits).await.unwrap().max_value_bytes, 64 * MIB);
    }
    let malformed = user.remote(KVSTORE, KVSTORE).send(Forged).await;
    assert_eq!(malformed, Err(CallError::Refused(Refusal::Malformed)));
    assert_eq!(Client::new(&user, KVSTORE).get("key").await.unwrap(), None);
    stop(&server).await;
}

#[actix::test]
async fn the_server_checks_what_another_client_does_not() {
    let world = World::unix();
    let server = world.server(&[("max-value", "10B")]).await;
    let user = world.user("user").await;
    let actor = user.remote(KVSTORE, KVSTORE);
    for length in [0, 512, 65_535] {
        let refused = StoreError::KeyLength { bytes: length, limit: 511 };
        let key = Bytes::from(vec![1; length as usize]);
        assert_eq!(actor.send(Get { key: key.clone() }).await.unwrap(), Err(refused));
        assert_eq!(actor.send(Put { key: key.clone(), value: Bytes::new() }).await.unwrap(), Err(refused));
        assert_eq!(actor.send(Remove { key }).await.unwrap(), Err(refused));
    }
    let put = Put { key: "key".into(), value: noise(11, 1).into() };
    assert_eq!(actor.send(put).await.unwrap(), Err(StoreError::ValueTooLarge { bytes: 11, limit: 10 }));
    stop(&server).await;
}

#[actix::test]
async fn pings_pass_while_a_large_value_is_on_its_way() {
    let world = World::unix();
    let server = world.server(&[]).await;
    let user = world.user("user").await;
    let store = Client::new(&user, KVSTORE);
    let value = Bytes::from(noise(64 << 20, 5));

    // The address of the pings is not the client's, so they are not in its order.
    let pings = user.remote(KVSTORE, KVSTORE);
    pings.ping().await.unwrap();
    let mut put = std::pin::pin!(store.put("large", value.clone()));
    let mut while_sending = 0;
    loop {
        tokio::select! {
            biased;
            done = &mut put => break assert_eq!(done.unwrap().stored_bytes, 64 * MIB),
            pong = pings.ping() => pong.unwrap(),
        }
        let (sent, _) = bytes_moved(&user).await;
        while_sending += u32::from((MIB..63 * MIB).contains(&sent));
    }
    assert!(while_sending >= 10, "{while_sending} pings passed while the value was sent");

    let (_, before) = bytes_moved(&user).await;
    let mut get = std::pin::pin!(store.get("large"));
    let mut while_receiving = 0;
    loop {
        tokio::select! {
            biased;
            got = &mut get => break assert!(got.unwrap().unwrap().bytes == value, "the value is another"),
            pong = pings.ping() => pong.unwrap(),
        }
        let (_, received) = bytes_moved(&user).await;
        while_receiving += u32::from((MIB..63 * MIB).contains(&(received - before)));
    }
    assert!(while_receiving >= 10, "{while_receiving} pings passed while the value was received");
    stop(&server).await;
}

#[actix::test]
async fn an_accepted_write_is_done_when_its_caller_has_gone() {
    let world = World::unix();
    let server = world.server(&[]).await;
    let user = world.user("user").await;
    let actor = user.remote(KVSTORE, KVSTORE);
    let value = Bytes::from(noise(8 << 20, 3));
    let abandoned = actor.send(Put { key: "abandoned".into(), value: value.clone() });
    // In the mailbox behind the put: once this is answered, the put has been accepted.
    actor.send(GetLimits).await.unwrap();
    drop(abandoned);
    actor.send(Put { key: "later".into(), value: Bytes::new() }).await.unwrap().unwrap();
    let found = Client::new(&user, KVSTORE).get("abandoned").await.unwrap().expect("it was accepted");
    assert!(found.bytes == value, "the value is another");
    stop(&server).await;
}

#[actix::test]
async fn a_thousand_callers_are_all_answered() {
    let world = World::unix();
    let server = world.server(&[]).await;
    let mut nodes = Vec::new();
    let mut calls = tokio::task::JoinSet::new();
    for user in 0..4_u64 {
        let node = world.user(&format!("user-{user}")).await;
        let store = Client::new(&node, KVSTORE);
        nodes.push(node);
        for call in 0..500_u64 {
            let store = store.clone();
            calls.spawn_local(async move {
                let key = format!("{user}/{call}");
                let value = noise(10 + (call as usize * 7) % 3000, 1 + user * 1000 + call);
                let done = store.put(&key, value.clone()).await.unwrap();
                let found = store.get(&key).await.unwrap().expect("it was put");
                assert_eq!((&found.bytes[..], found.revision), (&value[..], done.revision));
                if call % 3 == 0 {
                    assert!(store.remove(&key).await.unwrap().existed());
                    assert_eq!(store.get(&key).await.unwrap(), None);
                }
                done.revision
            });
        }
    }
    let mut revisions = calls.join_all().await;
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 2000, "each write has a revision of its own");
    stop(&server).await;
}

#[actix::test]
async fn a_damaged_record_is_an_error_of_its_key_alone() {
    let world = World::unix();
    let server = world.server(&[]).await;
    let user = world.user("user").await;
    let store = Client::new(&user, KVSTORE);
    store.put("damaged", "find these bytes").await.unwrap();
    store.put("whole", "and leave those").await.unwrap();
    stop(&server).await;
    drop((server, user));

    let file = world.store_dir().join("data.mdb");
    let mut bytes = fs::read(&file).unwrap();
    let wanted = b"find these bytes";
    let places: Vec<_> =
        (0..bytes.len() - wanted.len()).filter(|at| bytes[*at..].starts_with(wanted)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 1;
    }
    fs::write(&file, bytes).unwrap();

    let server = world.server(&[]).await;
    let user = world.user("user").await;
    let store = Client::new(&user, KVSTORE);
    assert_eq!(store.get("damaged").await, Err(ClientError::Store(StoreError::Damaged)));
    assert_eq!(store.get("whole").await.unwrap().unwrap().bytes, "and leave those");
    store.put("damaged", "new").await.unwrap();
    assert_eq!(store.get("damaged").await.unwrap().unwrap().bytes, "new");
    stop(&server).await;
}

#[actix::test]
async fn a_full_store_refuses_puts_and_goes_on() {
    let world = World::unix();
    let server = world.server(&[("max-size", "1MiB")]).await;
    let user = world.user("user").await;
    let store = Client::new(&user, KVSTORE);
    let mut stored = 0;
    let refused = loop {
        match store.put(format!("key {stored}"), noise(50_000, stored + 1)).await {
            Ok(_) => stored += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, ClientError::Store(StoreError::StoreFull { limit: MIB }));
    assert!(stored > 0);
    assert_eq!(store.get("key 0").await.unwrap().unwrap().bytes, noise(50_000, 1));
    for key in 0..stored {
        assert!(store.remove(format!("key {key}")).await.unwrap().existed());
    }
    store.put("again", noise(50_000, 1)).await.unwrap();
    stop(&server).await;
}

#[actix::test]
async fn what_does_not_fit_the_queue_is_refused_and_not_done() {
    let world = World::memory();
    let server = world.node().await;
    let store = Store::open(&world.store_dir(), StoreOptions::default()).unwrap();
    // Room for one write at a time, however short.
    let options = EngineOptions { max_queued_write_bytes: 1, ..EngineOptions::default() };
    server.export(KVSTORE, KvStore::new(store, &options).unwrap().exports()).unwrap();
    let user = world.user("user").await;
    let store = Client::new(&user, KVSTORE);

    let mut puts = tokio::task::JoinSet::new();
    for key in 0..100_u64 {
        let store = store.clone();
        puts.spawn_local(async move { (key, store.put(key.to_string(), noise(500_000, key + 1)).await) });
    }
    let mut outcomes = BTreeMap::from([(true, 0), (false, 0)]);
    for (key, outcome) in puts.join_all().await {
        *outcomes.entry(outcome.is_ok()).or_default() += 1;
        let found = store.get(key.to_string()).await.unwrap();
        match outcome {
            Ok(_) => assert_eq!(found.unwrap().bytes, noise(500_000, key + 1)),
            Err(refused) => {
                assert_eq!(refused, ClientError::Store(StoreError::Overloaded));
                assert_eq!(found, None);
            }
        }
    }
    assert!(outcomes.values().all(|count| *count > 0), "{outcomes:?}");
    stop(&server).await;
}

#[actix::test]
async fn without_a_server_nothing_is_sent() {
    let world = World::unix();
    let user = world.user("user").await;
    let store = Client::new(&user, KVSTORE);
    let unreachable = |outcome| match outcome {
        ClientError::Call(CallError::NotSent(NotSent::Unreachable(_))) => {}
        other => panic!("{other:?}"),
    };
    unreachable(store.get("key").await.unwrap_err());
    unreachable(store.put("key", "value").await.unwrap_err());
    let bad = Client::new(&user, "no/such/name!").get("key").await.unwrap_err();
    assert!(matches!(bad, ClientError::Call(CallError::NotSent(NotSent::BadName(_)))), "{bad:?}");
    let server = world.node().await;
    // A server that was not reached is left alone for a moment.
    let deadline = Instant::now() + Duration::from_secs(20);
    let answer = loop {
        match store.get("key").await {
            Err(ClientError::Call(CallError::NotSent(NotSent::Unreachable(_))))
                if Instant::now() < deadline =>
            {
                tokio::task::yield_now().await;
            }
            other => break other,
        }
    };
    assert_eq!(answer, Err(ClientError::Call(CallError::Refused(Refusal::NoSuchActor))));
    stop(&server).await;
}

#[actix::test]
async fn a_client_goes_on_when_its_server_has_started_anew() {
    let world = World::unix();
    let user = world.user("user").await;
    let store = Client::new(&user, KVSTORE);
    let mut expected = None;
    for round in ["1", "2", "3"] {
        let server = world.server(&[]).await;
        assert_eq!(store.get("key").await.unwrap().map(|value| value.bytes), expected);
        store.put("key", round).await.unwrap();
        expected = Some(round.into());
        stop(&server).await;
    }
}
