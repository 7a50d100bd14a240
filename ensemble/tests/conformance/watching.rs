//! Death watch: who is told what, and that it is told once.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::prelude::*;
use ensemble::{
    Exports, Limits, ListConnections, NODE_ACTOR, Node, Reference, Refusal, RemoteAddr, Restart,
    RestartPolicy, Terminated, TerminationReason,
};

use crate::common::*;

on_every_transport!(
    an_actor_that_ends_is_told_with_its_reason,
    a_node_that_shuts_down_tells_it_before_it_goes,
    a_node_that_is_lost_is_told_at_once,
    who_is_not_there_is_told_at_once,
    a_watch_has_one_notice,
    a_watch_that_is_dropped_has_none,
    a_start_of_a_supervised_actor_is_what_is_watched,
    an_actor_that_was_there_before_is_watched_too,
    a_peer_holds_a_limited_number_of_watches,
);

/// Keeps the notices that it gets.
#[derive(Clone, Default)]
struct Mourner(Arc<Mutex<Vec<Terminated>>>);

impl Actor for Mourner {
    type Context = Context<Self>;
}

impl Handler<Terminated> for Mourner {
    type Result = ();

    fn handle(&mut self, notice: Terminated, _: &mut Context<Self>) {
        self.0.lock().unwrap().push(notice);
    }
}

impl Mourner {
    fn reasons(&self) -> Vec<TerminationReason> {
        self.0.lock().unwrap().iter().map(|notice| notice.reason).collect()
    }

    async fn has_heard(&self, reason: TerminationReason) {
        eventually("the notice comes", async || !self.reasons().is_empty()).await;
        assert_eq!(self.reasons(), [reason]);
    }
}

fn reference(server: &Node, actor: &str) -> Reference {
    Reference::new(server.server().clone(), actor.parse().unwrap())
}

/// What the watch of an actor that is there ends with, once `end` has been done.
async fn told_after(remote: &RemoteAddr, end: impl Future<Output = ()>) -> TerminationReason {
    let watch = remote.terminated().unwrap();
    remote.ping().await.unwrap();
    end.await;
    let told = watch.await;
    assert_eq!(told.reference, remote.reference().unwrap());
    told.reason
}

async fn an_actor_that_ends_is_told_with_its_reason(net: Net) {
    let (server, shared, client) = net.pair().await;
    for node in [&client, &server] {
        let remote = node.remote("server", "watched");
        let export = || server.export("watched", tester(&shared)).unwrap();
        export();
        let told = told_after(&remote, async { remote.send(Stop()).await.unwrap() }).await;
        assert_eq!(told, TerminationReason::Stopped);
        export();
        let told = told_after(&remote, async { drop(remote.send(Panic()).await) }).await;
        assert_eq!(told, TerminationReason::Panicked);
        export();
        let told = told_after(&remote, async { remote.shutdown().await.unwrap() }).await;
        assert_eq!(told, TerminationReason::Stopped);
        export();
        let told = told_after(&remote, async { assert!(server.unexport("watched")) }).await;
        assert_eq!(told, TerminationReason::Stopped);
    }
    assert!(client.remote("server", "tester").ping().await.is_ok());
}

async fn a_node_that_shuts_down_tells_it_before_it_goes(net: Net) {
    let limits = Limits { drain_timeout: LONG, ..Limits::default() };
    let (server, _) = net.serve_with("server", limits).await;
    let client = net.client("client", &[&server]).await;
    let watches: Vec<_> = [&client, &server]
        .iter()
        .flat_map(|node| ["tester", NODE_ACTOR].map(|actor| node.terminated(&reference(&server, actor))))
        .collect();
    client.remote("server", NODE_ACTOR).ping().await.unwrap();
    server.shutdown();
    // No watch holds it up.
    server.run_until(std::future::pending()).await;
    for watch in watches {
        assert_eq!(watch.await.reason, TerminationReason::NodeShutDown);
    }
    let late = server.terminated(&reference(&server, "tester")).await;
    assert_eq!(late.reason, TerminationReason::NodeShutDown);
}

async fn a_node_that_is_lost_is_told_at_once(net: Net) {
    let (server, _, client) = net.pair().await;
    let mourner = Mourner::default();
    let addr = mourner.clone().start();
    let tester = reference(&server, "tester");
    let _guard = client.watch(&tester, addr.recipient());
    let local = server.terminated(&tester);
    let own = server.remote("server", "tester");
    client.remote("server", NODE_ACTOR).ping().await.unwrap();
    // Its end is no shutdown: its connections are closed at once.
    drop(server);
    mourner.has_heard(TerminationReason::NodeLost).await;
    assert_eq!(local.await.reason, TerminationReason::NodeShutDown, "for its own process it is one");
    drop(own);
}

async fn who_is_not_there_is_told_at_once(net: Net) {
    let (server, _, client) = net.pair().await;
    let told = async |node: &Node, server: &str, actor: &str| {
        node.remote(server, actor).terminated().unwrap().await.reason
    };
    for node in [&client, &server] {
        assert_eq!(told(node, "server", "nobody").await, TerminationReason::NoSuchActor);
    }
    assert_eq!(told(&client, "elsewhere", "tester").await, TerminationReason::NodeLost);
    client.set_route("nowhere".parse().unwrap(), vec![]);
    assert_eq!(told(&client, "nowhere", "tester").await, TerminationReason::NodeLost);
    assert!(client.remote("no/such\nname", "tester").terminated().is_err());
}

async fn a_watch_has_one_notice(net: Net) {
    let (server, shared, client) = net.pair().await;
    let nodes = [&client, &server];
    let mourners = nodes.map(|_| [(); 2].map(|()| Mourner::default()));
    let mut guards = Vec::new();
    for (node, mourners) in nodes.iter().zip(&mourners) {
        for mourner in mourners {
            let addr = mourner.clone().start();
            guards.push(node.watch(&reference(&server, "tester"), addr.recipient()));
        }
    }
    let remote = client.remote("server", "tester");
    remote.ping().await.unwrap();
    drop(remote.send(Panic()).await);
    for mourner in mourners.iter().flatten() {
        mourner.has_heard(TerminationReason::Panicked).await;
    }
    // More happens that a watch could be told of.
    server.export("tester", tester(&shared)).unwrap();
    remote.send(Stop()).await.unwrap();
    server.shutdown();
    server.run_until(std::future::pending()).await;
    drop(server);
    client.remote("server", NODE_ACTOR).disconnected().await;
    for mourner in mourners.iter().flatten() {
        assert_eq!(mourner.reasons(), [TerminationReason::Panicked]);
    }
}

async fn a_watch_that_is_dropped_has_none(net: Net) {
    let (server, _, client) = net.pair().await;
    let remote = client.remote("server", "tester");
    for node in [&client, &server] {
        let (dropped, kept) = (Mourner::default(), Mourner::default());
        let watch = |mourner: &Mourner| {
            node.watch(&reference(&server, "tester"), mourner.clone().start().recipient())
        };
        let (guard, _kept) = (watch(&dropped), watch(&kept));
        remote.ping().await.unwrap();
        drop(guard);
        let connections = server.remote("server", NODE_ACTOR);
        eventually("the other is given up", async || {
            let held = connections.send(ListConnections).await.unwrap()[0].calls_in;
            held == u64::from(node.server() == client.server())
        })
        .await;
        drop(remote.send(Panic()).await);
        kept.has_heard(TerminationReason::Panicked).await;
        assert_eq!(dropped.reasons(), []);
        server.export("tester", tester(&Shared::default())).unwrap();
    }
}

async fn a_start_of_a_supervised_actor_is_what_is_watched(net: Net) {
    let (server, shared, client) = net.pair().await;
    let policy = RestartPolicy { first_pause: Duration::ZERO, ..RestartPolicy::new(Restart::OnFailure) };
    server.export_supervised("supervised", policy, move || tester(&shared)).unwrap();
    let remote = client.remote("server", "supervised");
    for _ in 0..3 {
        let told = told_after(&remote, async { drop(remote.send(Panic()).await) }).await;
        assert_eq!(told, TerminationReason::Panicked);
        eventually("it is back", async || remote.ping().await.is_ok()).await;
    }
    let (server, shared) = net.serve("patient").await;
    let client = net.client("client-2", &[&server]).await;
    let policy =
        RestartPolicy { first_pause: LONG, max_pause: LONG, ..RestartPolicy::new(Restart::OnFailure) };
    server.export_supervised("supervised", policy, move || tester(&shared)).unwrap();
    let remote = client.remote("patient", "supervised");
    drop(remote.send(Panic()).await);
    let told = remote.terminated().unwrap().await.reason;
    assert_eq!(told, TerminationReason::Panicked, "who asks between two starts hears of the last");
}

async fn an_actor_that_was_there_before_is_watched_too(net: Net) {
    let (server, shared, client) = net.pair().await;
    let remote = client.remote("server", "unmanaged");
    let export = || {
        let addr = Tester { shared: shared.clone(), node: None }.start();
        server.export("unmanaged", with_messages(Exports::of(addr.clone()))).unwrap();
        addr
    };
    let addr = export();
    let told = told_after(&remote, async { addr.send(Stop()).await.unwrap() }).await;
    assert_eq!(told, TerminationReason::Stopped);
    let addr = export();
    let told = told_after(&remote, async { assert!(server.unexport("unmanaged")) }).await;
    assert_eq!(told, TerminationReason::Stopped);
    assert!(addr.connected(), "its own address is good");
}

async fn a_peer_holds_a_limited_number_of_watches(net: Net) {
    let limits = Limits { max_watches: 2, ..Limits::default() };
    let (server, _) = net.serve_with("server", limits).await;
    let client = net.client("client", &[&server]).await;
    let tester = reference(&server, "tester");
    let first = client.terminated(&tester);
    let _second = client.terminated(&tester);
    let refused = TerminationReason::NotWatched(Refusal::Overloaded);
    assert_eq!(client.terminated(&tester).await.reason, refused);
    let other = net.client("other", &[&server]).await;
    let elsewhere = other.terminated(&tester);
    other.remote("server", "tester").ping().await.unwrap();
    drop(first);
    let third = client.terminated(&tester);
    drop(client.remote("server", "tester").send(Panic()).await);
    for watch in [third, elsewhere] {
        assert_eq!(watch.await.reason, TerminationReason::Panicked);
    }
    let narrow = Limits { max_in_flight: 2, ..Limits::default() };
    let (server, _) = net.serve_with("narrow", narrow).await;
    let client = net.client("client-2", &[&server]).await;
    let _first = client.terminated(&reference(&server, "tester"));
    assert_eq!(client.terminated(&reference(&server, "tester")).await.reason, refused);
    client.remote("narrow", "tester").ping().await.expect("half of the window is left for calls");
}

/// For the time that passes while nothing happens, on a clock that passes it at once.
#[actix::test]
async fn a_watch_outlasts_its_calls() {
    let net = Net::new(Transport::Memory);
    let (server, _, client) = net.pair().await;
    let mourner = Mourner::default();
    let _guard = client.watch(&reference(&server, "tester"), mourner.clone().start().recipient());
    let remote = client.remote("server", "tester");
    remote.ping().await.unwrap();
    tokio::time::pause();
    let node = client.remote("server", NODE_ACTOR);
    let mut most = 0;
    for _ in 0..4 * 60 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let held = node.send(ListConnections).await.unwrap()[0].calls_in - 1;
        assert!((1..=2).contains(&held), "{held} calls of the watch");
        most = most.max(held);
    }
    assert_eq!(most, 2, "the next one is there before the last one ends");
    assert_eq!(mourner.reasons(), []);
    drop(remote.send(Panic()).await);
    mourner.has_heard(TerminationReason::Panicked).await;
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(mourner.reasons().len(), 1);
}
