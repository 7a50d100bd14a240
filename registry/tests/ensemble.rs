//! A registry and servers in one process, over a network in memory: announcing, looking up, leaving.

mod common;

use common::{Ensemble, PATIENCE, address, end, id, role, until};
use ensemble::NODE_ACTOR;
use registry::{Client, ClientError, JoinError, Liveness};

#[actix::test]
async fn a_server_that_has_joined_is_found_by_id_by_role_and_by_its_name() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let server = ensemble.join("a").await.unwrap();
    let _other = ensemble.join("b").await.unwrap();
    let (console, client) = ensemble.console().await;

    let info = client.lookup(&id("a")).await.unwrap();
    assert_eq!(info.incarnation, server.incarnation());
    assert_eq!(info.addresses, [address("a")]);
    assert_eq!(info.roles, [role("test")]);
    assert_eq!((info.liveness, info.lease_ms), (Liveness::Reachable, 10_000));
    assert_eq!(info.pid, Some(std::process::id()));
    let ids = |infos: Vec<registry::ServerInfo>| -> Vec<String> {
        infos.into_iter().map(|info| info.id.to_string()).collect()
    };
    assert_eq!(ids(client.by_role(&role("test")).await.unwrap()), ["a", "b"]);
    assert_eq!(ids(client.by_role(&role("none")).await.unwrap()), [""; 0]);
    assert_eq!(ids(client.all().await.unwrap()), ["a", "b"]);
    console.remote("a", NODE_ACTOR).ping().await.unwrap();
    let unknown = client.lookup(&id("c")).await;
    assert_eq!(unknown, Err(ClientError::UnknownServer(id("c"))));
}

#[actix::test]
async fn a_server_that_shuts_down_withdraws() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let server = ensemble.join("a").await.unwrap();
    let (_console, client) = ensemble.console().await;
    assert_eq!(client.all().await.unwrap().len(), 1);
    end(server).await;
    assert_eq!(client.all().await.unwrap(), []);
}

#[actix::test]
async fn a_second_start_of_a_running_server_is_refused_and_does_it_no_harm() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let server = ensemble.join("a").await.unwrap();
    for _ in 0..3 {
        let refused = ensemble.join_listening("a", "elsewhere").await;
        match refused {
            Err(JoinError::Held { id: held, incarnation, addresses }) => {
                assert_eq!((held, incarnation), (id("a"), server.incarnation()));
                assert_eq!(addresses, [address("a")]);
            }
            other => panic!("{other:?}"),
        }
        // The failed node lets go of its address when its tasks get to run.
        tokio::task::yield_now().await;
    }
    let (_console, client) = ensemble.console().await;
    let info = client.lookup(&id("a")).await.unwrap();
    assert_eq!((info.incarnation, info.liveness), (server.incarnation(), Liveness::Reachable));
    assert_eq!(Client::of(&server).lookup(&id("a")).await.unwrap().incarnation, server.incarnation());
}

#[actix::test]
async fn a_server_that_died_can_start_again_at_once() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let (_console, client) = ensemble.console().await;
    let first = ensemble.join("a").await.unwrap();
    let incarnation = first.incarnation();
    // No withdrawal: its connections are just closed.
    drop(first);
    let info = until(async || {
        Some(client.lookup(&id("a")).await.unwrap()).filter(|info| info.liveness == Liveness::Suspect)
    })
    .await;
    assert_eq!(info.incarnation, incarnation);
    let second = ensemble.join_listening("a", "a2").await.unwrap();
    let info = client.lookup(&id("a")).await.unwrap();
    assert_eq!((info.incarnation, info.liveness), (second.incarnation(), Liveness::Reachable));
    assert_eq!(info.addresses, [address("a2")]);
    assert!(tokio::time::timeout(PATIENCE, second.remote("a", NODE_ACTOR).ping()).await.is_ok());
}
