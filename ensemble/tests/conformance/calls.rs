//! Calls and posts that go well, their order, and what happens when there are too many.

use ensemble::{CallError, Limits, ListActors, ListConnections, NODE_ACTOR, NotSent};

use crate::common::*;

on_every_transport!(
    a_call_has_its_result,
    messages_of_an_address_keep_their_order,
    a_thousand_calls_at_once_have_their_own_results,
    more_calls_than_fit_wait_in_their_order,
    more_posts_than_fit_are_refused,
    posts_and_calls_share_the_window,
    two_nodes_call_each_other_in_turn,
    a_node_calls_back_over_the_connection_that_came_in,
    the_node_tells_of_its_actors_and_connections,
    a_trace_goes_with_its_messages,
);

async fn a_call_has_its_result(net: Net) {
    let (_server, _, client) = net.pair().await;
    let remote = client.remote("server", "tester");
    assert_eq!(remote.send(echo(100)).await.unwrap(), echo(100).0);
    assert_eq!(remote.send(echo(0)).await.unwrap(), echo(0).0);
    assert_eq!(remote.send(Record(3)).await, Ok(1));
    assert_eq!(remote.send(Seen()).await, Ok(vec![3]));
}

async fn messages_of_an_address_keep_their_order(net: Net) {
    let (_server, _, client) = net.pair().await;
    let remote = client.remote("server", "tester");
    let mut calls = Vec::new();
    // The first go out before there is a connection.
    for number in 0..300 {
        if number % 3 == 0 {
            calls.push(remote.send(Record(number)));
        } else {
            remote.try_send(Record(number)).unwrap();
        }
    }
    assert_eq!(remote.clone().send(Seen()).await.unwrap(), (0..300).collect::<Vec<_>>());
    for call in calls {
        call.await.unwrap();
    }
}

async fn a_thousand_calls_at_once_have_their_own_results(net: Net) {
    let (_server, _, client) = net.pair().await;
    let remote = client.remote("server", "tester");
    let calls: Vec<_> = (0..1000).map(|number| (number, remote.send(echo(number)))).collect();
    for (number, call) in calls {
        assert_eq!(call.await.unwrap(), echo(number).0);
    }
}

async fn more_calls_than_fit_wait_in_their_order(net: Net) {
    let limits = Limits { max_in_flight: 8, max_queued: 4, ..Limits::default() };
    let (server, shared) = net.serve_with("server", limits.clone()).await;
    let client = net.client_with("client", &[&server], limits).await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let calls: Vec<_> = (0..200).map(|number| remote.send(Hold(number))).collect();
    eventually("the window is full", async || shared.seen().len() == 8).await;
    let unanswered = server.remote("server", NODE_ACTOR).send(ListActors).await.unwrap();
    let tester = unanswered.iter().find(|actor| actor.name.as_str() == "tester").unwrap();
    assert_eq!(tester.unanswered, 8, "the client goes past the window");
    shared.open();
    for (number, call) in (0..200).zip(calls) {
        assert_eq!(call.await, Ok(number));
    }
    assert_eq!(shared.seen(), (0..200).collect::<Vec<_>>());
}

async fn more_posts_than_fit_are_refused(net: Net) {
    let limits = Limits { max_in_flight: 8, max_queued: 4, ..Limits::default() };
    let (server, shared) = net.serve_with("server", limits.clone()).await;
    let client = net.client_with("client", &[&server], limits).await;
    let remote = client.remote("server", "tester");
    remote.try_send(Occupy()).unwrap();
    // So the connection stands, and the actor is busy.
    client.remote("server", NODE_ACTOR).ping().await.unwrap();
    for number in 0..7 + 4 {
        remote.try_send(Record(number)).unwrap();
    }
    assert_eq!(remote.try_send(Record(100)), Err(CallError::NotSent(NotSent::QueueFull)));
    remote.do_send(Record(101));
    assert_eq!(shared.seen(), [0; 0]);
    shared.open();
    assert_eq!(remote.send(Seen()).await.unwrap(), (0..11).collect::<Vec<_>>());
}

async fn posts_and_calls_share_the_window(net: Net) {
    let limits = Limits { max_in_flight: 1, max_queued: 100, ..Limits::default() };
    let (server, _) = net.serve_with("server", limits.clone()).await;
    let client = net.client_with("client", &[&server], limits).await;
    let remote = client.remote("server", "tester");
    let calls: Vec<_> = (0..50)
        .map(|number| {
            remote.try_send(Record(2 * number)).unwrap();
            remote.send(Record(2 * number + 1))
        })
        .collect();
    for (number, call) in (1..).zip(calls) {
        assert_eq!(call.await, Ok(2 * number));
    }
}

async fn two_nodes_call_each_other_in_turn(net: Net) {
    let small = Limits { max_in_flight: 300, ..Limits::default() };
    let mut nodes = Vec::new();
    for name in ["ping", "pong"] {
        let node = net.builder(name).listen(net.address(name)).limits(small.clone()).start().await.unwrap();
        let tester = Tester { shared: Shared::default(), node: Some(node.clone()) };
        node.export("tester", exports(tester)).unwrap();
        nodes.push(node);
    }
    nodes[0].set_route("pong".parse().unwrap(), nodes[1].addresses());
    nodes[1].set_route("ping".parse().unwrap(), nodes[0].addresses());
    let remote = nodes[0].remote("pong", "tester").with_timeout(LONG);
    let bounce = || Bounce(20, "ping".to_owned(), "pong".to_owned());
    let calls: Vec<_> = (0..20).map(|_| remote.send(bounce())).collect();
    for call in calls {
        assert_eq!(call.await, Ok(Ok(20)));
    }
}

async fn a_node_calls_back_over_the_connection_that_came_in(net: Net) {
    let (server, _, client) = net.pair().await;
    let shared = Shared::default();
    client.export("tester", tester(&shared)).unwrap();
    let unknown = server.remote("client", "tester").send(Record(1)).await;
    assert_eq!(unknown, Err(NotSent::UnknownServer.into()), "it does not listen and has not called");
    client.remote("server", "tester").send(Record(1)).await.unwrap();
    assert_eq!(server.remote("client", "tester").send(Record(7)).await, Ok(1));
    assert_eq!(shared.seen(), [7]);
}

async fn a_trace_goes_with_its_messages(net: Net) {
    let (server, _, client) = net.pair().await;
    let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for node in [&client, &server] {
        let plain = node.remote("server", "tester");
        let traced = plain.clone().with_trace(text.parse().unwrap());
        for bytes in [0, 300_000] {
            // One that waits for the connection, one that goes out at once, and chunks.
            let message = || Traced { filler: echo(bytes).0, trace: None };
            let calls = [traced.send(message()), plain.send(message()), traced.send(message())];
            for (call, expected) in calls.into_iter().zip([Some(text), None, Some(text)]) {
                assert_eq!(call.await.unwrap().as_deref(), expected);
            }
        }
    }
}

async fn the_node_tells_of_its_actors_and_connections(net: Net) {
    let (server, _, client) = net.pair().await;
    let node = client.remote("server", NODE_ACTOR);
    let actors = node.send(ListActors).await.unwrap();
    let names: Vec<_> = actors.iter().map(|actor| actor.name.as_str()).collect();
    assert_eq!(names, [NODE_ACTOR, "tester"]);
    assert!(actors[1].is_alive && actors[1].messages.contains(&"test.echo".to_owned()));
    let connections = node.send(ListConnections).await.unwrap();
    assert_eq!(connections.len(), 1);
    assert_eq!((&connections[0].peer, connections[0].is_outgoing), (client.server(), false));
    assert_eq!(connections[0].incarnation, client.incarnation());
    assert_eq!(connections[0].calls_in, 1, "the question itself");
    assert!(connections[0].received_bytes > 0);
    let info = node.send(ensemble::NodeInfo).await.unwrap();
    assert_eq!((info.server, info.incarnation), (server.server().clone(), server.incarnation()));
    assert_eq!(info.addresses, server.addresses());
}
