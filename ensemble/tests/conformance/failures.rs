//! What goes wrong in actors, with messages and with connections, and what the caller is told.

use std::time::Duration;

use ensemble::{
    CallError, ConnectFailure, Failure, Limits, ListConnections, NODE_ACTOR, NotSent, Refusal, Unknown,
};

use crate::common::*;

on_every_transport!(
    what_cannot_be_delivered_is_refused_with_its_reason,
    an_actor_that_panics_fails_its_callers_at_once,
    a_type_that_panics_spoils_its_own_call_only,
    a_panic_that_nothing_catches_ends_the_connection_at_once,
    a_deadline_ends_a_call_on_both_sides,
    a_call_whose_time_is_up_is_not_begun,
    a_huge_timeout_is_no_error,
    a_call_that_is_dropped_is_not_begun,
    calls_under_way_end_when_the_server_goes,
    the_next_call_finds_a_server_that_has_restarted,
    a_wrong_cookie_is_told_on_both_sides,
    another_server_at_the_address_is_not_called,
    a_dropped_client_ends_what_it_asked_for,
    posts_survive_the_connection,
);

async fn what_cannot_be_delivered_is_refused_with_its_reason(net: Net) {
    let (_server, shared, client) = net.pair().await;
    let remote = client.remote("server", "tester");
    let refused = |why: Refusal| Err(CallError::Refused(why));
    let nobody = client.remote("server", "nobody");
    assert_eq!(nobody.send(Unexpected()).await, refused(Refusal::NoSuchActor));
    assert_eq!(nobody.ping().await, refused(Refusal::NoSuchActor));
    assert_eq!(remote.send(Unexpected()).await, refused(Refusal::UnknownMessage));
    let malformed = remote.send(NotARecord("text".to_owned())).await;
    assert_eq!(malformed, Err(CallError::Refused(Refusal::Malformed)));
    let bad = client.remote("no/such\nname", "tester").send(Seen()).await;
    assert!(matches!(bad, Err(CallError::NotSent(NotSent::BadName(_)))));
    let unknown = client.remote("elsewhere", "tester").send(Seen()).await;
    assert_eq!(unknown, Err(NotSent::UnknownServer.into()));
    assert_eq!(shared.seen(), [0; 0], "none of them has an effect");
    assert_eq!(remote.send(Record(1)).await, Ok(1), "and the connection goes on");
}

async fn an_actor_that_panics_fails_its_callers_at_once(net: Net) {
    let (server, shared, client) = net.pair().await;
    server.export("other", tester(&Shared::default())).unwrap();
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let held = remote.send(Hold(1));
    let killed = remote.send(Panic());
    let behind = remote.send(Record(2));
    assert_eq!(killed.await, Err(CallError::Failed(Failure::Died)));
    assert_eq!(held.await, Err(CallError::Failed(Failure::Died)));
    let behind = behind.await;
    let died = Err(CallError::Failed(Failure::Died));
    assert!(behind == died || behind == Err(CallError::Refused(Refusal::NoSuchActor)), "{behind:?}");
    assert_eq!(remote.send(Record(3)).await, Err(CallError::Refused(Refusal::NoSuchActor)));
    assert_eq!(remote.ping().await, Err(CallError::Refused(Refusal::NoSuchActor)));
    assert_eq!(shared.seen(), [1]);
    assert!(client.remote("server", "other").ping().await.is_ok(), "the node lives on");
    server.export("tester", tester(&shared)).unwrap();
    assert_eq!(remote.send(Record(4)).await, Ok(2), "the name is free for another");
}

async fn a_type_that_panics_spoils_its_own_call_only(net: Net) {
    let (_server, shared, client) = net.pair().await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let held = remote.send(Hold(1));
    assert_eq!(remote.send(PanicsWhenRead).await, Err(CallError::Refused(Refusal::Malformed)));
    let written = remote.send(PanicsWhenWritten).await.map(|_| ());
    assert_eq!(written, Err(CallError::Failed(Failure::ReplyNotEncodable)));
    shared.open();
    assert_eq!(held.await, Ok(1), "the connection is the same");
}

/// Its writer ended alone, and the callers waited for their deadlines.
async fn a_panic_that_nothing_catches_ends_the_connection_at_once(net: Net) {
    let (_server, _, client) = net.pair().await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let held = remote.send(Hold(1));
    let lost = CallError::Unknown(Unknown::ConnectionLost);
    assert_eq!(remote.send(PanicsWhenDropped).await.map(|_| ()), Err(lost.clone()));
    assert_eq!(held.await, Err(lost));
    assert_eq!(remote.send(Record(2)).await, Ok(2), "the node lives, and so does the actor");
}

async fn a_deadline_ends_a_call_on_both_sides(net: Net) {
    let (server, _, client) = net.pair().await;
    let remote = client.remote("server", "tester");
    remote.send(Seen()).await.unwrap();
    let brief = remote.clone().with_timeout(Duration::from_millis(30));
    // The earlier deadline comes second.
    let held = remote.send(Hold(1));
    assert_eq!(brief.send(Hold(2)).await, Err(CallError::Unknown(Unknown::Deadline)));
    let node = server.remote("server", NODE_ACTOR);
    eventually("the server has given it up", async || {
        node.send(ListConnections).await.unwrap()[0].calls_in == 1
    })
    .await;
    drop(held);
    eventually("the server has given up the other", async || {
        node.send(ListConnections).await.unwrap()[0].calls_in == 0
    })
    .await;
    assert_eq!(remote.send(Record(3)).await, Ok(3));
}

async fn a_call_whose_time_is_up_is_not_begun(net: Net) {
    let (server, shared, client) = net.pair().await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let busy = remote.send(Occupy());
    client.remote("server", NODE_ACTOR).ping().await.unwrap();
    let brief = remote.clone().with_timeout(Duration::from_millis(20));
    // Kept, so that no cancel is sent: the server sees for itself that the time is up.
    let expired: Vec<_> = (0..5).map(|number| brief.send(Record(number))).collect();
    // Frames arrive in their order: when this is answered, they have.
    client.remote("server", NODE_ACTOR).ping().await.unwrap();
    let node = server.remote("server", NODE_ACTOR);
    eventually("the server has given them up", async || {
        node.send(ListConnections).await.unwrap()[0].calls_in == 1
    })
    .await;
    shared.open();
    busy.await.unwrap();
    assert_eq!(remote.send(Seen()).await, Ok(vec![]));
    for call in expired {
        // Whichever side noticed first.
        assert_eq!(call.await, Err(CallError::Unknown(Unknown::Deadline)));
    }
}

async fn a_huge_timeout_is_no_error(net: Net) {
    let (_server, _, client) = net.pair().await;
    let remote = client.remote("server", "tester").with_timeout(Duration::MAX);
    assert_eq!(remote.send(Record(1)).await, Ok(1));
    let local = client.remote("client", NODE_ACTOR).with_timeout(Duration::MAX);
    local.ping().await.unwrap();
    let none = client.remote("server", "tester").with_timeout(Duration::ZERO);
    assert!(none.send(Hold(1)).await.is_err());
    let limits = Limits {
        call_timeout: Duration::MAX,
        connect_timeout: Duration::MAX,
        handshake_timeout: Duration::MAX,
        drain_timeout: Duration::MAX,
        ..Limits::default()
    };
    let (server, _) = net.serve_with("patient", limits.clone()).await;
    let client = net.client_with("client-2", &[&server], limits).await;
    assert_eq!(client.remote("patient", "tester").send(Record(1)).await, Ok(1));
    client.remote("patient", "tester").shutdown().await.unwrap();
    server.shutdown();
    server.run_until(std::future::pending()).await;
}

async fn a_call_that_is_dropped_is_not_begun(net: Net) {
    let (_server, shared, client) = net.pair().await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let busy = remote.send(Occupy());
    let dropped = remote.send(Record(1));
    let kept = remote.send(Record(2));
    remote.try_send(Record(3)).unwrap();
    client.remote("server", NODE_ACTOR).ping().await.unwrap();
    drop(dropped);
    // Frames arrive in their order: when this is answered, the server knows.
    client.remote("server", NODE_ACTOR).ping().await.unwrap();
    shared.open();
    busy.await.unwrap();
    assert_eq!(kept.await, Ok(1));
    assert_eq!(remote.send(Seen()).await, Ok(vec![2, 3]));
}

async fn calls_under_way_end_when_the_server_goes(net: Net) {
    let (server, shared, client) = net.pair().await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let held: Vec<_> = (0..10).map(|number| remote.send(Hold(number))).collect();
    eventually("the server has them", async || shared.seen().len() == 10).await;
    drop(server);
    for call in held {
        assert_eq!(call.await, Err(CallError::Unknown(Unknown::ConnectionLost)));
    }
    remote.disconnected().await;
    let next = remote.send(Seen()).await;
    assert!(matches!(next, Err(CallError::NotSent(NotSent::Unreachable(ConnectFailure::Io(_))))), "{next:?}");
}

async fn the_next_call_finds_a_server_that_has_restarted(net: Net) {
    let (server, _, client) = net.pair().await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    remote.send(Record(1)).await.unwrap();
    let addresses = server.addresses();
    drop(server);
    remote.disconnected().await;
    for number in 2..5 {
        // The old listener lets go of its address when its task sees that it must.
        let mut again = None;
        eventually("the address is free", async || {
            let node = net.builder("server").listen(addresses[0].clone()).start().await;
            again = node.ok();
            again.is_some()
        })
        .await;
        let again = again.unwrap();
        let shared = Shared::default();
        again.export("tester", tester(&shared)).unwrap();
        assert_eq!(remote.send(Record(number)).await, Ok(1));
        assert_eq!(shared.seen(), [number]);
        drop(again);
        remote.disconnected().await;
    }
}

async fn a_wrong_cookie_is_told_on_both_sides(net: Net) {
    let (server, shared) = net.serve("server").await;
    let client = net.builder("client").cookie(ensemble::Cookie::generate().unwrap()).start().await.unwrap();
    client.set_route("server".parse().unwrap(), server.addresses());
    let call = client.remote("server", "tester").with_timeout(LONG).send(Record(1)).await;
    assert_eq!(call, Err(NotSent::NotAuthenticated.into()));
    assert_eq!(shared.seen(), [0; 0]);
    let honest = net.client("honest", &[&server]).await;
    assert_eq!(honest.remote("server", "tester").send(Record(2)).await, Ok(1));
}

async fn another_server_at_the_address_is_not_called(net: Net) {
    let (server, shared) = net.serve("server").await;
    let client = net.client("client", &[]).await;
    client.set_route("other".parse().unwrap(), server.addresses());
    let call = client.remote("other", "tester").with_timeout(LONG).send(Record(1)).await;
    assert_eq!(call, Err(NotSent::Unreachable(ConnectFailure::WrongServer).into()));
    client.set_route("nowhere".parse().unwrap(), vec![]);
    let call = client.remote("nowhere", "tester").send(Record(1)).await;
    assert_eq!(call, Err(NotSent::Unreachable(ConnectFailure::NoAddress).into()));
    assert_eq!(shared.seen(), [0; 0]);
}

async fn a_dropped_client_ends_what_it_asked_for(net: Net) {
    let (server, shared, client) = net.pair().await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let busy = remote.send(Occupy());
    let waiting = remote.send(Record(1));
    client.remote("server", NODE_ACTOR).ping().await.unwrap();
    drop(client);
    let lost = Err(CallError::Unknown(Unknown::ConnectionLost));
    assert_eq!(waiting.await, lost);
    assert_eq!(busy.await, Err(CallError::Unknown(Unknown::ConnectionLost)));
    let later = remote.send(Record(2)).await;
    assert_eq!(later, Err(NotSent::ShuttingDown.into()), "its addresses are of no use any more");
    let node = server.remote("server", NODE_ACTOR);
    eventually("the server has noticed", async || node.send(ListConnections).await.unwrap().is_empty()).await;
    shared.open();
    let local = server.remote("server", "tester");
    assert_eq!(local.send(Seen()).await, Ok(vec![]), "what nobody waits for is not begun");
}

async fn posts_survive_the_connection(net: Net) {
    let (server, shared, client) = net.pair().await;
    let remote = client.remote("server", "tester");
    remote.try_send(Occupy()).unwrap();
    for number in 0..5 {
        remote.try_send(Record(number)).unwrap();
    }
    client.remote("server", NODE_ACTOR).ping().await.unwrap();
    drop(client);
    let node = server.remote("server", NODE_ACTOR);
    eventually("the server has noticed", async || node.send(ListConnections).await.unwrap().is_empty()).await;
    shared.open();
    eventually("what was taken is delivered", async || shared.seen() == [0, 1, 2, 3, 4]).await;
}

/// Nothing comes from the peer that could wake the caller besides.
#[actix::test]
async fn a_deadline_passes_while_nobody_answers() {
    let net = Net::new(Transport::Tcp);
    let limits = Limits { handshake_timeout: LONG, ..Limits::default() };
    let client = net.client_with("client", &[], limits).await;
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp:{}", mute.local_addr().unwrap());
    client.set_route("mute".parse().unwrap(), vec![address.parse().unwrap()]);
    let remote = client.remote("mute", "tester").with_timeout(Duration::from_millis(20));
    for _ in 0..3 {
        let call = actix::spawn(remote.send(Record(1)));
        assert_eq!(within(call).await.unwrap(), Err(NotSent::Deadline.into()));
    }
}
