//! Nodes, actors and callers on different threads.

use std::sync::mpsc;

use actix::prelude::*;
use ensemble::{CallError, Exports, NODE_ACTOR, NotSent, Unknown};

use crate::common::*;

on_every_transport!(
    calls_come_from_another_thread,
    an_actor_runs_on_another_thread,
    a_client_node_that_stops_with_its_thread_ends_its_calls,
);

/// Runs `work` on an arbiter of its own, and gives its result back.
async fn on_arbiter<T: Send + 'static>(
    arbiter: &Arbiter,
    work: impl AsyncFnOnce() -> T + Send + 'static,
) -> T {
    let (done, result) = tokio::sync::oneshot::channel();
    arbiter.spawn_fn(move || {
        actix::spawn(async move { drop(done.send(work().await)) });
    });
    result.await.expect("the work is done")
}

async fn calls_come_from_another_thread(net: Net) {
    let (_server, _, client) = net.pair().await;
    let arbiter = Arbiter::new();
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let other = remote.clone();
    let there = on_arbiter(&arbiter, async move || {
        let calls: Vec<_> = (0..500).map(|number| (number, other.send(echo(number * 10)))).collect();
        for (number, call) in calls {
            assert_eq!(call.await.unwrap(), echo(number * 10).0);
        }
        other.send(echo(1_000_000)).await.unwrap().len()
    });
    let here = async {
        for number in 0..500 {
            assert_eq!(remote.send(echo(number)).await.unwrap().len(), number);
        }
    };
    assert_eq!(tokio::join!(there, here).0, 1_000_000);
    // A call goes out without any runtime, too.
    let (sender, call) = mpsc::channel();
    let other = remote.clone();
    std::thread::spawn(move || sender.send(other.send(Record(1))).unwrap()).join().unwrap();
    assert_eq!(call.recv().unwrap().await, Ok(1));
    arbiter.stop();
}

async fn an_actor_runs_on_another_thread(net: Net) {
    let (server, _, client) = net.pair().await;
    let arbiter = Arbiter::new();
    let shared = Shared::default();
    let seen = shared.clone();
    let exports = on_arbiter(&arbiter, async move || tester(&seen)).await;
    server.export("managed", exports).unwrap();
    let seen = shared.clone();
    let addr = Tester::start_in_arbiter(&arbiter.handle(), move |_| Tester { shared: seen, node: None });
    server.export("unmanaged", with_messages(Exports::of(addr))).unwrap();
    for (name, after) in [("managed", 100), ("unmanaged", 200)] {
        let remote = client.remote("server", name).with_timeout(LONG);
        remote.ping().await.unwrap();
        let calls: Vec<_> = (0..100).map(|number| remote.send(Record(number))).collect();
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(remote.send(Seen()).await.unwrap().len(), after);
        assert!(remote.send(Panic()).await.is_err());
        assert!(remote.send(Seen()).await.is_err());
    }
    arbiter.stop();
    client.remote("server", NODE_ACTOR).ping().await.unwrap();
}

/// With its thread ended the tasks that would have told the callers, and they waited for ever.
async fn a_client_node_that_stops_with_its_thread_ends_its_calls(net: Net) {
    let (server, shared) = net.serve("server").await;
    let arbiter = Arbiter::new();
    let (cookie, addresses) = (net.cookie.clone(), server.addresses());
    let network = net.network();
    let client = on_arbiter(&arbiter, async move || {
        let node = ensemble::Node::builder("client").cookie(cookie).memory(network).start().await.unwrap();
        node.set_route("server".parse().unwrap(), addresses);
        // Nobody answers there: it is being connected to until the end.
        node
    })
    .await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let held: Vec<_> = (0..10).map(|number| remote.send(Hold(number))).collect();
    eventually("the server has them", async || shared.seen().len() == 10).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("tcp:{}", silent.local_addr().unwrap());
    client.set_route("silent".parse().unwrap(), vec![at.parse().unwrap()]);
    let never_sent = client.remote("silent", "tester").with_timeout(LONG).send(Record(1));
    arbiter.stop();
    for call in held {
        assert_eq!(call.await, Err(CallError::Unknown(Unknown::ConnectionLost)));
    }
    assert_eq!(never_sent.await, Err(CallError::NotSent(NotSent::ShuttingDown)));
    arbiter.join().unwrap();
    assert_eq!(remote.send(Record(1)).await, Err(CallError::NotSent(NotSent::ShuttingDown)));
}
