//! Starting, pinging, shutting down, starting again; and who may connect.

use actix::Actor;
use ensemble::{
    CallError, ConnectFailure, ExportError, Exports, Limits, NODE_ACTOR, Node, NotSent, Refusal, Shutdown,
    StartError, TransportError, handshake::RefuseReason,
};

use crate::common::*;

on_every_transport!(
    every_actor_answers_pings,
    a_managed_actor_is_shut_down,
    an_unmanaged_actor_is_only_taken_back,
    an_actor_answers_what_it_has_accepted_before_it_stops,
    a_node_that_shuts_down_answers_what_it_has_accepted,
    a_node_shuts_down_when_it_is_asked_to,
    hooks_run_in_their_order,
    a_new_start_is_the_one_that_is_sent_to,
    hundreds_connect_at_once,
    connections_over_the_limit_are_turned_down,
    an_address_in_use_is_refused,
    names_of_exports_are_checked,
);

async fn every_actor_answers_pings(net: Net) {
    let (server, _, client) = net.pair().await;
    let unmanaged = Tester { shared: Shared::default(), node: None }.start();
    server.export("unmanaged", with_messages(Exports::of(unmanaged))).unwrap();
    for actor in ["tester", "unmanaged", NODE_ACTOR] {
        assert_eq!(client.remote("server", actor).ping().await, Ok(()), "{actor}");
        assert_eq!(server.remote("server", actor).ping().await, Ok(()), "{actor}, from its own node");
    }
}

async fn a_managed_actor_is_shut_down(net: Net) {
    let (server, shared, client) = net.pair().await;
    let remote = client.remote("server", "tester");
    remote.send(Record(1)).await.unwrap();
    remote.shutdown().await.unwrap();
    assert_eq!(remote.send(Record(2)).await, Err(CallError::Refused(Refusal::NoSuchActor)));
    assert_eq!(remote.shutdown().await, Err(CallError::Refused(Refusal::NoSuchActor)));
    server.export("tester", tester(&shared)).unwrap();
    assert_eq!(remote.send(Record(3)).await, Ok(2));
}

async fn an_unmanaged_actor_is_only_taken_back(net: Net) {
    let (server, _, client) = net.pair().await;
    let addr = Tester { shared: Shared::default(), node: None }.start();
    server.export("unmanaged", with_messages(Exports::of(addr.clone()))).unwrap();
    let remote = client.remote("server", "unmanaged");
    remote.shutdown().await.unwrap();
    assert_eq!(remote.ping().await, Err(CallError::Refused(Refusal::NoSuchActor)));
    assert_eq!(addr.send(Record(1)).await.unwrap(), 1, "its own address is good");
}

async fn an_actor_answers_what_it_has_accepted_before_it_stops(net: Net) {
    let (_server, shared, client) = net.pair().await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let held: Vec<_> = (0..5).map(|number| remote.send(Hold(number))).collect();
    eventually("the actor has them", async || shared.seen().len() == 5).await;
    let stopped = remote.shutdown();
    assert_eq!(remote.send(Record(9)).await, Err(CallError::Refused(Refusal::NoSuchActor)));
    shared.open();
    for (number, call) in (0..).zip(held) {
        assert_eq!(call.await, Ok(number));
    }
    assert_eq!(stopped.await, Ok(()));
}

async fn a_node_that_shuts_down_answers_what_it_has_accepted(net: Net) {
    let (server, shared, client) = net.pair().await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let late = net.client("late", &[&server]).await;
    let mut held: Vec<_> = (0..5).map(|number| remote.send(Hold(number))).collect();
    held.push(remote.send(Hold(5)));
    let large = remote.send(Make(4 << 20));
    eventually("the actor has them", async || shared.seen().len() == 6).await;
    server.shutdown();
    let opened = shared.clone();
    let run = server.run_until(std::future::pending());
    let ask = async move {
        eventually("new messages are refused", async || {
            remote.send(Record(9)).await == Err(CallError::Refused(Refusal::ShuttingDown))
        })
        .await;
        let turned_away = late.remote("server", "tester").send(Record(9)).await;
        assert!(matches!(turned_away, Err(CallError::NotSent(_))), "{turned_away:?}");
        opened.open();
        for (number, call) in (0..).zip(held) {
            assert_eq!(call.await, Ok(number));
        }
        assert_eq!(large.await.unwrap().len(), 4 << 20);
    };
    tokio::join!(run, ask);
    drop(server);
}

async fn a_node_shuts_down_when_it_is_asked_to(net: Net) {
    let (server, _, client) = net.pair().await;
    let run = server.run_until(std::future::pending());
    let ask = async { client.remote("server", NODE_ACTOR).send(Shutdown).await };
    let ((), asked) = tokio::join!(run, ask);
    asked.unwrap();
    drop(server);
    client.remote("server", NODE_ACTOR).disconnected().await;
}

async fn hooks_run_in_their_order(net: Net) {
    let (server, shared, client) = net.pair().await;
    let push = |number: u64| {
        let seen = shared.seen.clone();
        async move { seen.lock().unwrap().push(number) }
    };
    server.at_stop(push(3));
    server.at_leave(push(1));
    server.at_leave(push(2));
    server.at_stop(push(4));
    server.run_until(async { client.remote("server", "tester").ping().await.unwrap() }).await;
    assert_eq!(shared.seen(), [1, 2, 3, 4]);
    assert_eq!(server.export("late", tester(&shared)), Err(ExportError::ShuttingDown));
}

async fn a_new_start_is_the_one_that_is_sent_to(net: Net) {
    let (server, shared) = net.serve("server").await;
    let old = net.client("client", &[&server]).await;
    old.export("tester", tester(&Shared::default())).unwrap();
    let from_old = old.remote("server", "tester").with_timeout(LONG);
    from_old.send(Record(1)).await.unwrap();
    let held = from_old.send(Hold(2));
    let to_client = server.remote("client", "tester");
    assert_eq!(to_client.send(Record(3)).await, Ok(1));
    let new = net.client("client", &[&server]).await;
    new.export("tester", tester(&Shared::default())).unwrap();
    new.remote("server", "tester").send(Record(4)).await.unwrap();
    for count in 1..3 {
        assert_eq!(to_client.send(Record(5)).await, Ok(count), "the new one is sent to");
    }
    shared.open();
    assert_eq!(held.await, Ok(2), "what the old one has asked for is answered");
    drop(new);
    eventually("the one that is left is sent to", async || to_client.send(Record(6)).await == Ok(2)).await;
}

async fn hundreds_connect_at_once(net: Net) {
    let (server, _) = net.serve("server").await;
    let mut calls = Vec::new();
    let mut clients = Vec::new();
    for number in 0..250 {
        let client = net.client(&format!("client-{number}"), &[&server]).await;
        calls.push(client.remote("server", "tester").with_timeout(LONG).send(echo(number)));
        clients.push(client);
    }
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().len(), number);
    }
    let connections = server.remote("server", NODE_ACTOR).send(ensemble::ListConnections).await.unwrap();
    assert_eq!(connections.len(), 250);
    drop(clients);
    let node = server.remote("server", NODE_ACTOR);
    eventually("all have gone", async || node.send(ensemble::ListConnections).await.unwrap().is_empty())
        .await;
}

async fn connections_over_the_limit_are_turned_down(net: Net) {
    let limits = Limits { max_connections: 3, ..Limits::default() };
    let (server, _) = net.serve_with("server", limits).await;
    let mut clients = Vec::new();
    for number in 0..3 {
        let client = net.client(&format!("client-{number}"), &[&server]).await;
        client.remote("server", "tester").ping().await.unwrap();
        clients.push(client);
    }
    let fourth = net.client("fourth", &[&server]).await;
    let turned_down = fourth.remote("server", "tester").ping().await;
    assert_eq!(turned_down, Err(NotSent::Rejected(RefuseReason::Overloaded).into()));
    for client in &clients {
        client.remote("server", "tester").ping().await.unwrap();
    }
    clients.pop();
    eventually("there is room again", async || fourth.remote("server", "tester").ping().await.is_ok()).await;
}

async fn an_address_in_use_is_refused(net: Net) {
    let (server, _, client) = net.pair().await;
    let address = server.addresses()[0].clone();
    let second = net.builder("second").listen(address.clone()).start().await;
    match second {
        Err(StartError::Listen(TransportError::InUse { address: found })) => assert_eq!(found, address),
        other => panic!("{other:?}"),
    }
    client.remote("server", "tester").ping().await.unwrap();
}

async fn names_of_exports_are_checked(net: Net) {
    let (server, shared, _) = net.pair().await;
    let in_use = ExportError::InUse { name: "tester".parse().unwrap() };
    assert_eq!(server.export("tester", tester(&shared)), Err(in_use));
    assert!(matches!(server.export(NODE_ACTOR, tester(&shared)), Err(ExportError::InUse { .. })));
    assert!(matches!(server.export("a b", tester(&shared)), Err(ExportError::Name(_))));
    let twice = tester(&shared).message::<Echo>();
    assert_eq!(server.export("twice", twice), Err(ExportError::MessageNameInUse { name: "test.echo" }));
    assert!(!server.unexport(NODE_ACTOR) && !server.unexport("nobody") && server.unexport("tester"));
    server.export("tester", tester(&shared)).unwrap();
}

#[actix::test]
async fn plain_tcp_beyond_this_machine_must_be_allowed() {
    let net = Net::new(Transport::Tcp);
    let far: ensemble::Address = "tcp:192.0.2.1:7700".parse().unwrap();
    let listening = net.builder("server").listen("tcp:0.0.0.0:0".parse().unwrap());
    let refused = listening.clone().start().await;
    assert!(matches!(refused, Err(StartError::Listen(TransportError::PlainTcp { .. }))));
    let announced = listening.announce("tcp:127.0.0.1:7700".parse().unwrap());
    assert!(announced.allow_plain_tcp(true).start().await.is_ok());
    let client = net.client("client", &[]).await;
    client.set_route("far".parse().unwrap(), vec![far.clone()]);
    let call = client.remote("far", "tester").send(Record(1)).await;
    assert_eq!(call, Err(NotSent::Unreachable(ConnectFailure::PlainTcp).into()));
    let tls = net.builder("tls").listen("tls:127.0.0.1:0".parse().unwrap()).start().await;
    assert!(matches!(tls, Err(StartError::Listen(TransportError::Scheme { .. }))));
}

#[actix::test]
async fn a_stale_socket_is_cleaned_up_and_a_live_one_is_not() {
    let net = Net::new(Transport::Unix);
    let address = net.address("server");
    let ensemble::Address::Unix(path) = &address else { panic!("{address}") };
    // A listener of somebody who knows nothing of the lock, then its socket without it.
    let foreign = std::os::unix::net::UnixListener::bind(path).unwrap();
    let refused = net.builder("server").listen(address.clone()).start().await;
    assert!(matches!(refused, Err(StartError::Listen(TransportError::InUse { .. }))));
    drop(foreign);
    assert!(path.exists());
    let (server, _) = net.serve_at("server", address.clone(), Limits::default()).await;
    let client = net.client("client", &[&server]).await;
    client.remote("server", "tester").ping().await.unwrap();
    drop(server);
    eventually("the socket is removed", async || !path.exists()).await;
    std::fs::write(path, "a file").unwrap();
    let refused = net.builder("server").listen(address.clone()).start().await;
    assert!(matches!(refused, Err(StartError::Listen(TransportError::NotASocket { .. }))));
    assert_eq!(std::fs::read(path).unwrap(), b"a file");
    let long = ensemble::Address::Unix(path.join("x".repeat(200)));
    let refused = net.builder("server").listen(long).start().await;
    assert!(matches!(refused, Err(StartError::Listen(TransportError::PathTooLong { .. }))));
}

#[test]
fn a_node_needs_an_actix_system() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cookie = ensemble::Cookie::generate().unwrap();
    let started = runtime.block_on(Node::builder("server").cookie(cookie).start());
    assert!(matches!(started, Err(StartError::NoSystem)));
}
