//! What the registry believes of servers that fall silent. The clock is stopped once all is set up, and then goes as
//! fast as the tests do.

use std::time::Duration;

use registry::{ClientError, Liveness, SERVER};
use tokio::time::{Instant, pause, sleep};

use crate::common::{Ensemble, address, announce, announcement, id};

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
async fn the_disk_forgets_who_is_gone() {
    let ensemble = Ensemble::new();
    let registry = ensemble.registry().await;
    let silent = ensemble.builder("silent").start().await.unwrap();
    announce(&silent, announcement("silent", silent.incarnation(), &[])).await.unwrap();
    let _server = ensemble.join("a").await.unwrap();
    pause();
    sleep(Duration::from_secs(11)).await;
    tokio::time::resume();
    crate::common::end(registry).await;
    let snapshot = registry::Snapshot::open(ensemble.dir.path()).unwrap();
    let ids: Vec<_> = snapshot.load().unwrap().into_iter().map(|entry| entry.server.id).collect();
    assert_eq!(ids, [id("a")]);
}

#[actix::test]
async fn leaving_does_not_wait_for_a_registry_that_is_away() {
    let ensemble = Ensemble::new();
    let registry = ensemble.registry().await;
    let server = ensemble.join("a").await.unwrap();
    drop(registry);
    // What takes its place takes connections and says nothing.
    let _silent =
        crate::common::until(async || ensemble.builder("x").listen(address(SERVER)).start().await.ok()).await;
    pause();
    let start = Instant::now();
    crate::common::end(server).await;
    assert!(start.elapsed() < Duration::from_secs(5));
}
