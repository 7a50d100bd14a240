//! Who may say what about whom.

use std::time::Duration;

use ensemble::{CallError, Cookie, Incarnation, Refusal};
use registry::{
    Client, ClientError, Join, JoinError, Liveness, SERVER, enter,
    messages::{self, Denied},
};
use tokio::time::{pause, sleep};

use crate::common::{Ensemble, address, announce, announcement, id};

#[actix::test]
async fn nobody_announces_for_another_or_for_another_start_of_itself() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let node = ensemble.builder("a").start().await.unwrap();
    let denied = |server: &str| Err(Denied::NotAuthorized { id: id(server) });
    let own = node.incarnation();
    assert_eq!(announce(&node, announcement("b", own, &["b"])).await.map(drop), denied("b"));
    let other_start = announcement("a", Incarnation::fresh(), &["a"]);
    assert_eq!(announce(&node, other_start).await.map(drop), denied("a"));
    assert!(announce(&node, announcement("a", own, &["a"])).await.is_ok());
    let ids: Vec<_> = Client::of(&node).all().await.unwrap().into_iter().map(|info| info.id).collect();
    assert_eq!(ids, [id("a")]);
}

#[actix::test]
async fn nobody_keeps_the_lease_of_another() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let server = ensemble.join("a").await.unwrap();
    let (_console, client) = ensemble.console().await;
    let message = messages::Heartbeat::new(id("a"), server.incarnation());
    let answer = client.remote().send(message).await.unwrap();
    assert_eq!(answer, Err(Denied::NotAuthorized { id: id("a") }));
}

#[actix::test]
async fn another_is_withdrawn_only_when_it_does_not_answer() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let living = ensemble.join("living").await.unwrap();
    let dead = ensemble.builder("dead").start().await.unwrap();
    announce(&dead, announcement("dead", dead.incarnation(), &["nobody"])).await.unwrap();
    let (_console, client) = ensemble.console().await;

    let alive = Denied::Alive { id: id("living"), addresses: vec![address("living")] };
    assert_eq!(client.withdraw(&id("living"), None).await, Err(ClientError::Refused(alive)));
    assert_eq!(client.lookup(&id("living")).await.unwrap().incarnation, living.incarnation());

    assert_eq!(client.withdraw(&id("dead"), Some(Incarnation::fresh())).await, Ok(false));
    assert_eq!(client.withdraw(&id("dead"), Some(dead.incarnation())).await, Ok(true));
    assert_eq!(client.withdraw(&id("dead"), None).await, Ok(false));
    assert_eq!(client.lookup(&id("dead")).await, Err(ClientError::UnknownServer(id("dead"))));
}

#[actix::test]
async fn a_server_withdraws_itself_but_not_its_successor() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let first = ensemble.builder("a").start().await.unwrap();
    announce(&first, announcement("a", first.incarnation(), &["nobody"])).await.unwrap();
    let second = ensemble.join("a").await.unwrap();
    let client = Client::of(&first);
    assert_eq!(client.withdraw(&id("a"), None).await, Ok(false));
    assert_eq!(client.withdraw(&id("a"), Some(first.incarnation())).await, Ok(false));
    assert_eq!(client.lookup(&id("a")).await.unwrap().incarnation, second.incarnation());
    assert_eq!(Client::of(&second).withdraw(&id("a"), None).await, Ok(true));
}

#[actix::test]
async fn who_does_not_know_the_cookie_gets_nowhere() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let mut stranger = Ensemble::new();
    stranger.network = ensemble.network.clone();
    stranger.cookie = Cookie::generate().unwrap();
    let refused = stranger.join("a").await;
    assert!(
        matches!(&refused, Err(JoinError::NotAuthenticated { registry, .. }) if *registry == address(SERVER)),
        "{refused:?}"
    );
}

#[actix::test]
async fn what_breaks_a_bound_is_refused_with_the_bound() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let long = ensemble.builder("a").listen(address("a"));
    let refused = long.join_at(address(SERVER)).agent("x".repeat(101)).await;
    match refused {
        Err(JoinError::Refused { source: Denied::Refused(refusal), .. }) => {
            assert_eq!(refusal, registry::Refusal::AgentTooLong { bytes: 101, limit: 100 });
        }
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn a_node_without_a_registry_says_so() {
    let ensemble = Ensemble::new();
    let _node = ensemble.builder(SERVER).listen(address(SERVER)).start().await.unwrap();
    let refused = ensemble.join("a").await;
    let no_such_actor = CallError::Refused(Refusal::NoSuchActor);
    assert!(
        matches!(&refused, Err(JoinError::Unreachable { source, .. }) if *source == no_such_actor),
        "{refused:?}"
    );
}

#[actix::test]
async fn a_registry_can_join_itself_and_nobody_else_withdraws_it() {
    let ensemble = Ensemble::new();
    let registry = ensemble.registry().await;
    let own = enter(&registry, address(SERVER)).await.unwrap();
    let (_console, client) = ensemble.console().await;
    let alive = Denied::Alive { id: id(SERVER), addresses: vec![address(SERVER)] };
    assert_eq!(client.withdraw(&id(SERVER), None).await, Err(ClientError::Refused(alive)));
    pause();
    sleep(Duration::from_secs(30)).await;
    for client in [client, own] {
        let info = client.lookup(&id(SERVER)).await.unwrap();
        assert_eq!((info.incarnation, info.liveness), (registry.incarnation(), Liveness::Reachable));
    }
}
