//! The registry goes away and comes back.

use std::time::Duration;

use ensemble::{CallError, NODE_ACTOR, Node, Resolve, ResolveError};
use registry::{Client, ClientError, JoinError, Liveness, SERVER};
use tokio::time::{pause, resume, sleep};

use crate::common::{Ensemble, address, announce, announcement, end, id, until};

async fn reachable(client: &Client, server: &Node) {
    until(async || {
        let info = client.lookup(server.server()).await.ok()?;
        (info.liveness == Liveness::Reachable && info.incarnation == server.incarnation()).then_some(())
    })
    .await;
}

#[actix::test]
async fn what_the_registry_had_is_there_again_as_suspect_until_it_is_heard_from() {
    let ensemble = Ensemble::new();
    let registry = ensemble.registry().await;
    let silent = ensemble.builder("silent").start().await.unwrap();
    announce(&silent, announcement("silent", silent.incarnation(), &["silent"])).await.unwrap();
    let gone = ensemble.join("gone").await.unwrap();
    end(gone).await;
    let server = ensemble.join("a").await.unwrap();
    end(registry).await;

    let _registry = ensemble.registry_again(ensemble.dir.path()).await;
    let (_console, client) = ensemble.console().await;
    let info = client.lookup(&id("silent")).await.unwrap();
    assert_eq!((info.incarnation, info.liveness), (silent.incarnation(), Liveness::Suspect));
    assert_eq!(info.addresses, [address("silent")]);
    assert_eq!(client.lookup(&id("gone")).await, Err(ClientError::UnknownServer(id("gone"))));
    reachable(&client, &server).await;
}

#[actix::test]
async fn servers_announce_again_by_themselves_to_a_registry_that_has_lost_all() {
    let ensemble = Ensemble::new();
    let registry = ensemble.registry().await;
    let mut servers = Vec::new();
    for name in ["a", "b", "c"] {
        servers.push(ensemble.join(name).await.unwrap());
    }
    // Not in good order: as in a crash.
    drop(registry);
    let empty = tempfile::tempdir().unwrap();
    let _registry = ensemble.registry_again(empty.path()).await;
    let (_console, client) = ensemble.console().await;
    for server in &servers {
        reachable(&client, server).await;
    }
}

#[actix::test]
async fn what_was_answered_survives_a_crash_of_the_registry() {
    let ensemble = Ensemble::new();
    let registry = ensemble.registry().await;
    let nodes: Vec<Node> = {
        let mut nodes = Vec::new();
        for n in 0..20 {
            let node = ensemble.builder(&format!("s{n}")).start().await.unwrap();
            announce(&node, announcement(&format!("s{n}"), node.incarnation(), &[])).await.unwrap();
            nodes.push(node);
        }
        nodes
    };
    drop(registry);
    let _registry = ensemble.registry_again(ensemble.dir.path()).await;
    let (_console, client) = ensemble.console().await;
    assert_eq!(client.all().await.unwrap().len(), nodes.len());
}

#[actix::test]
async fn calls_between_servers_go_on_while_the_registry_is_away() {
    let ensemble = Ensemble::new();
    let registry = ensemble.registry().await;
    let caller = ensemble.join("caller").await.unwrap();
    let _called = ensemble.join("called").await.unwrap();
    let remote = caller.remote("called", NODE_ACTOR);
    remote.ping().await.unwrap();
    end(registry).await;
    remote.ping().await.unwrap();
    // One that it does not know cannot be found now, and the error says why.
    let unknown = caller.remote("unknown", NODE_ACTOR).ping().await;
    assert_eq!(unknown, Err(CallError::NotSent(ensemble::NotSent::NotResolved)));
    let _registry = ensemble.registry_again(ensemble.dir.path()).await;
    remote.ping().await.unwrap();
    until(async || {
        let unknown = caller.remote("unknown", NODE_ACTOR).ping().await;
        (unknown == Err(CallError::NotSent(ensemble::NotSent::UnknownServer))).then_some(())
    })
    .await;
}

#[actix::test]
async fn a_moved_server_is_found_by_those_who_knew_it() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let (console, _client) = ensemble.console().await;
    let remote = console.remote("a", NODE_ACTOR);
    for at in ["one", "two", "three"] {
        let server = ensemble.join_listening("a", at).await.unwrap();
        remote.ping().await.unwrap();
        end(server).await;
    }
}

#[actix::test]
async fn only_one_registry_uses_a_directory() {
    let ensemble = Ensemble::new();
    let registry = ensemble.registry().await;
    let other = ensemble.builder("other").start().await.unwrap();
    let refused = registry::serve(&other, ensemble.dir.path()).await;
    assert!(
        matches!(&refused, Err(registry::ServeError::Snapshot(registry::SnapshotError::InUse { .. }))),
        "{refused:?}"
    );
    // It is closed when the node has ended in good order.
    end(registry).await;
    registry::serve(&other, ensemble.dir.path()).await.unwrap();
}

#[actix::test]
async fn a_registry_that_is_not_there_is_said_to_be_unreachable() {
    let ensemble = Ensemble::new();
    let refused = ensemble.join("a").await;
    assert!(
        matches!(&refused, Err(JoinError::Unreachable { registry, .. }) if *registry == address(SERVER)),
        "{refused:?}"
    );
    let builder = registry::console().cookie(ensemble.cookie.clone()).memory(ensemble.network.clone());
    let refused = registry::connect(builder, Some(address(SERVER))).await;
    assert!(matches!(&refused, Err(JoinError::Unreachable { .. })), "{refused:?}");
}

#[actix::test]
async fn addresses_are_remembered_for_as_long_as_there_is_nobody_to_ask() {
    let ensemble = Ensemble::new();
    let registry = ensemble.registry().await;
    let server = ensemble.join("a").await.unwrap();
    let (_console, client) = ensemble.console().await;
    let known = Ok(vec![address("a")]);
    assert_eq!(client.resolve(&id("a")).await, known);
    end(server).await;
    // For a while it does not even ask, until it hears that the address is no good.
    assert_eq!(client.resolve(&id("a")).await, known);
    pause();
    sleep(Duration::from_secs(11)).await;
    assert_eq!(client.resolve(&id("a")).await, Err(ResolveError::Unknown));
    resume();

    let _server = ensemble.join("a").await.unwrap();
    assert_eq!(client.resolve(&id("a")).await, known);
    end(registry).await;
    pause();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(client.resolve(&id("a")).await, known);
    client.failed(&id("a"));
    assert_eq!(client.resolve(&id("a")).await, Err(ResolveError::Unavailable));
}

#[actix::test]
async fn whatever_is_heard_of_a_server_corrects_what_is_remembered() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let (_console, client) = ensemble.console().await;
    let at = |name: &str| Ok(vec![address(name)]);
    end(ensemble.join_listening("a", "one").await.unwrap()).await;
    let server = ensemble.join_listening("a", "one").await.unwrap();
    assert_eq!(client.resolve(&id("a")).await, at("one"));
    end(server).await;
    let server = ensemble.join_listening("a", "two").await.unwrap();
    assert_eq!(client.resolve(&id("a")).await, at("one"));
    client.lookup(&id("a")).await.unwrap();
    assert_eq!(client.resolve(&id("a")).await, at("two"));
    end(server).await;
    let server = ensemble.join_listening("a", "three").await.unwrap();
    client.all().await.unwrap();
    assert_eq!(client.resolve(&id("a")).await, at("three"));
    // Who sends by role is told without asking.
    let role = client.role("test");
    assert_eq!(role.all().await.unwrap().len(), 1);
    end(server).await;
    let _server = ensemble.join_listening("a", "four").await.unwrap();
    until(async || (client.resolve(&id("a")).await == at("four")).then_some(())).await;
}
