//! What the registry believes of servers that fall silent. The clock is stopped once all is set up, and then goes as
//! fast as the tests do.

use std::{net::TcpListener, time::Duration};

use ensemble::Address;
use registry::{ClientError, Join, Liveness, SERVER, Snapshot, StoredEntry, serve};
use tokio::time::{Instant, pause, resume, sleep};

use crate::common::{Ensemble, address, announce, announcement, end, id, until};

#[actix::test]
async fn a_silent_server_is_suspect_and_then_gone() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let silent = ensemble.builder("silent").start().await.unwrap();
    announce(&silent, announcement("silent", silent.incarnation(), &[])).await.unwrap();
    let (_console, client) = ensemble.console().await;
    pause();
    let liveness = async || client.lookup(&id("silent")).await.map(|info| info.liveness);
    assert_eq!(liveness().await, Ok(Liveness::Reachable));
    sleep(Duration::from_millis(5_001)).await;
    assert_eq!(liveness().await, Ok(Liveness::Suspect));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(liveness().await, Err(ClientError::UnknownServer(id("silent"))));
}

#[actix::test]
async fn a_joined_server_stays_reachable_by_itself() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let server = ensemble.join("a").await.unwrap();
    let (_console, client) = ensemble.console().await;
    pause();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(700)).await;
        let info = client.lookup(&id("a")).await.unwrap();
        assert_eq!((info.liveness, info.incarnation), (Liveness::Reachable, server.incarnation()));
        assert!(info.unheard_ms <= 3_400, "{info:?}");
    }
}

#[actix::test]
async fn the_disk_keeps_only_the_incarnations_of_who_is_gone() {
    let ensemble = Ensemble::new();
    let registry = ensemble.registry().await;
    let silent = ensemble.builder("silent").start().await.unwrap();
    announce(&silent, announcement("silent", silent.incarnation(), &[])).await.unwrap();
    let _server = ensemble.join("a").await.unwrap();
    pause();
    sleep(Duration::from_secs(11)).await;
    resume();
    end(registry).await;
    let snapshot = Snapshot::open(ensemble.dir.path()).unwrap();
    let stored = snapshot.load().unwrap();
    assert!(matches!(&stored[0], StoredEntry::Server { server, .. } if server.id == id("a")), "{stored:?}");
    let gone = StoredEntry::Gone { id: id("silent"), incarnations: vec![silent.incarnation()] };
    assert_eq!(stored[1..], [gone]);
}

#[actix::test]
async fn leaving_does_not_wait_for_a_registry_that_hangs() {
    let ensemble = Ensemble::new();
    let builder = ensemble.builder(SERVER).listen("tcp:127.0.0.1:0".parse().unwrap());
    let registry = builder.start().await.unwrap();
    serve(&registry, ensemble.dir.path()).await.unwrap();
    let [Address::Tcp(at)] = &registry.addresses()[..] else { panic!("it listens at one address") };
    let server = ensemble.builder("a").listen(address("a")).join_at(Address::Tcp(at.clone())).await.unwrap();
    drop(registry);
    // What takes its place takes connections and says nothing.
    let _silent = until(async || TcpListener::bind((at.host(), at.port())).ok()).await;
    pause();
    let start = Instant::now();
    end(server).await;
    assert!(start.elapsed() < Duration::from_secs(5));
}
