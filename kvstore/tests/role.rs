//! The role in a node: its options, its directory, and its end.

mod common;

use common::{KVSTORE, World, start_role, stop};
use ensemble::{CallError, Refusal, Role, RoleError};
use kvstore::{
    Client, KvStoreRole,
    store::{OpenError, Store, StoreOptions},
};

#[test]
fn it_says_what_it_is() {
    assert_eq!(KvStoreRole.name(), "kvstore");
    assert!(!KvStoreRole.about().is_empty());
    let keys: Vec<_> = KvStoreRole.options().iter().map(|option| option.key).collect();
    assert_eq!(keys, ["path", "max-value", "max-size", "durability", "changes", "level"]);
}

#[actix::test]
async fn its_options_reach_the_store() {
    let world = World::memory();
    let elsewhere = world.dir.path().join("a").join("b");
    let path = elsewhere.to_str().unwrap();
    let server =
        world.server(&[("path", path), ("level", "19"), ("max-value", "1MiB"), ("max-size", "8MiB")]).await;
    let store = Client::new(&server, KVSTORE);
    store.put("key", vec![7; 1 << 20]).await.unwrap();
    assert!(store.put("key", vec![7; (1 << 20) + 1]).await.is_err());
    // Text in which a higher level finds more.
    let text: String =
        (0..20_000_u32).map(|number| format!("{} ", number.wrapping_mul(2_654_435_761) % 977)).collect();
    let highly = store.put("text", text.clone()).await.unwrap().stored_bytes;
    stop(&server).await;
    assert!(elsewhere.join("data.mdb").exists());
    assert!(!world.store_dir().exists());
    let store =
        Store::open(&elsewhere, StoreOptions { compression_level: 1, ..StoreOptions::default() }).unwrap();
    assert_eq!(store.get(b"text").unwrap().unwrap().value, text);
    let lightly = store.put("text", text).unwrap().stored_bytes;
    assert!(highly < lightly, "{highly} {lightly}");
}

#[actix::test]
async fn a_bad_option_is_refused_by_name_and_nothing_is_made() {
    let world = World::memory();
    let server = world.node().await;
    for (key, value) in [("max-value", "1025GiB"), ("max-size", "10"), ("level", "100"), ("size", "1")] {
        match start_role(&server, world.dir.path(), &[(key, value)]).await {
            Err(RoleError::BadOption { key: of, value: what, .. }) => {
                assert_eq!((of.as_str(), what.as_str()), (key, value))
            }
            other => panic!("{key}={value}: {other:?}"),
        }
    }
    assert!(!world.store_dir().exists());
    let refused = Client::new(&server, KVSTORE).get("key").await;
    assert_eq!(refused, Err(CallError::Refused(Refusal::NoSuchActor).into()));
}

#[actix::test]
async fn a_store_in_use_is_refused() {
    let world = World::memory();
    let open = Store::open(&world.store_dir(), StoreOptions::default()).unwrap();
    let server = world.node().await;
    let Err(RoleError::Failed(cause)) = start_role(&server, world.dir.path(), &[]).await else {
        panic!("the store is in use");
    };
    let cause = cause.downcast_ref::<OpenError>().expect("the store's own error");
    assert!(matches!(cause, OpenError::InUse { path } if *path == world.store_dir()), "{cause:?}");
    drop(open);
    start_role(&server, world.dir.path(), &[]).await.unwrap();
    stop(&server).await;
}

#[actix::test]
async fn a_role_that_is_there_already_is_refused_and_goes_on() {
    let world = World::memory();
    let server = world.server(&[]).await;
    let other = world.dir.path().join("other");
    let second = start_role(&server, &other, &[]).await;
    assert!(matches!(second, Err(RoleError::Failed(_))), "{second:?}");
    // The second store is closed again.
    Store::open(&other.join("kvstore.db"), StoreOptions::default()).unwrap();
    let store = Client::new(&server, KVSTORE);
    store.put("key", "value").await.unwrap();
    assert_eq!(store.get("key").await.unwrap().unwrap().bytes, "value");
    stop(&server).await;
}

#[actix::test]
async fn the_store_is_closed_when_the_node_has_stopped() {
    let world = World::unix();
    let server = world.server(&[]).await;
    let user = world.user("user").await;
    let store = Client::new(&user, KVSTORE);
    store.put("key", "value").await.unwrap();
    let unanswered =
        user.remote(KVSTORE, KVSTORE).send(kvstore::messages::Put { key: "late".into(), value: "x".into() });
    stop(&server).await;

    let open = Store::open(&world.store_dir(), StoreOptions::default()).unwrap();
    assert_eq!(open.get(b"key").unwrap().unwrap().value, "value");
    // It was answered or refused before the node stopped, and never done without an answer.
    let answered = unanswered.await;
    assert_eq!(open.get(b"late").unwrap().is_some(), matches!(answered, Ok(Ok(_))), "{answered:?}");
}

#[actix::test]
async fn an_actor_that_was_shut_down_has_closed_its_store() {
    let world = World::unix();
    let server = world.server(&[]).await;
    let user = world.user("user").await;
    let store = Client::new(&user, KVSTORE);
    for round in 0..3 {
        let put = user
            .remote(KVSTORE, KVSTORE)
            .send(kvstore::messages::Put { key: "key".into(), value: "value".into() });
        user.remote(KVSTORE, KVSTORE).shutdown().await.unwrap();
        let outcome = put.await;
        assert!(matches!(outcome, Ok(Ok(_))), "round {round}: {outcome:?}");
        assert_eq!(store.get("key").await, Err(CallError::Refused(Refusal::NoSuchActor).into()));
        start_role(&server, world.dir.path(), &[]).await.unwrap();
        assert_eq!(store.get("key").await.unwrap().unwrap().bytes, "value");
    }
    stop(&server).await;
    Store::open(&world.store_dir(), StoreOptions::default()).unwrap();
}
