//! What a node leaves behind: nothing, once it is dropped.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use actix::{Arbiter, System};

use super::{
    core::Core,
    manage::Ping,
    peers::link_to,
    {Exports, NODE_ACTOR, Node, RestartPolicy, TerminationReason},
};
use crate::{
    address::Address,
    cookie::Cookie,
    error::{NotSent, Refusal},
    id::ServerId,
    resolve::{Resolve, Resolving},
    transport::MemoryNetwork,
    wire::limits::Limits,
};

struct Net {
    cookie: Cookie,
    network: Arc<MemoryNetwork>,
}

fn address(name: &str) -> Address {
    format!("mem:{name}").parse().unwrap()
}

impl Net {
    fn new() -> Self {
        Self { cookie: Cookie::generate().unwrap(), network: MemoryNetwork::new() }
    }

    async fn start(&self, name: &str) -> Node {
        let builder = Node::builder(name).cookie(self.cookie.clone()).memory(Arc::clone(&self.network));
        builder.listen(address(name)).start().await.unwrap()
    }

    async fn pair(&self) -> (Node, Node) {
        let (server, client) = (self.start("server").await, self.start("client").await);
        client.set_route("server".parse().unwrap(), server.addresses());
        (server, client)
    }
}

fn watch(node: &Node) -> Weak<Core> {
    node.core().weak.clone()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn is_freed(what: &str, core: Weak<Core>) {
    eventually(what, || core.strong_count() == 0).await;
}

#[actix::test]
async fn a_node_is_freed_with_its_last_handle() {
    let net = Net::new();
    let node = net.start("server").await;
    let core = watch(&node);
    let remote = node.remote("server", NODE_ACTOR);
    remote.ping().await.unwrap();
    drop(remote);
    drop(node.clone());
    assert!(core.strong_count() > 0);
    drop(node);
    is_freed("a node that was used", core).await;
}

#[actix::test]
async fn a_node_is_freed_whose_actor_is_about_to_be_started_again() {
    struct Mortal;
    impl actix::Actor for Mortal {
        type Context = actix::Context<Self>;
        fn started(&mut self, _: &mut Self::Context) {
            panic!("as the test wants")
        }
    }
    let node = Net::new().start("server").await;
    let made = Arc::new(());
    let kept = Arc::clone(&made);
    let policy =
        RestartPolicy { first_pause: Duration::MAX, max_pause: Duration::MAX, ..RestartPolicy::default() };
    let make = move || {
        assert!(Arc::strong_count(&kept) > 1);
        Exports::start(Mortal)
    };
    node.export_supervised("mortal", policy, make).unwrap();
    let (remote, restarting) = (node.remote("server", "mortal"), Err(Refusal::Restarting.into()));
    while remote.ping().await != restarting {
        tokio::task::yield_now().await;
    }
    let core = watch(&node);
    drop((node, remote));
    is_freed("a node with a supervisor", core).await;
    eventually("what makes the actor is dropped", || Arc::strong_count(&made) == 1).await;
}

/// Its listener began after it had been told to stop, and went on for ever.
#[actix::test]
async fn a_node_is_freed_that_is_dropped_at_once() {
    let net = Net::new();
    let node = net.start("server").await;
    let core = watch(&node);
    drop(node);
    is_freed("a node that never ran", core).await;
    net.start("server").await;
}

#[actix::test]
async fn nodes_are_freed_with_their_connections() {
    let net = Net::new();
    let (server, client) = net.pair().await;
    let remote = client.remote("server", NODE_ACTOR);
    remote.ping().await.unwrap();
    let cores = [watch(&server), watch(&client)];
    let call = remote.send(Ping);
    drop(server);
    drop(client);
    assert!(call.await.is_err());
    drop(remote);
    for core in cores {
        is_freed("one of two that were connected", core).await;
    }
}

#[actix::test]
async fn nodes_are_freed_that_watch_and_are_watched() {
    let net = Net::new();
    let (server, client) = net.pair().await;
    let reference = server.remote("server", NODE_ACTOR).reference().unwrap();
    let watches = [client.terminated(&reference), server.terminated(&reference)];
    client.remote("server", NODE_ACTOR).ping().await.unwrap();
    let cores = [watch(&server), watch(&client)];
    drop((server, client));
    for core in cores {
        is_freed("one of two, one of which watches the other", core).await;
    }
    let [there, here] = watches;
    assert_eq!(there.await.reason, TerminationReason::NodeLost);
    assert_eq!(here.await.reason, TerminationReason::NodeShutDown);
}

struct Loops {
    _remote: crate::RemoteAddr,
}

impl Resolve for Loops {
    fn resolve<'a>(&'a self, _: &'a ServerId) -> Resolving<'a> {
        Box::pin(std::future::pending())
    }

    fn failed(&self, _: &ServerId) {}
}

/// A registry's client is one, and sends through the node that asks it.
#[actix::test]
async fn a_node_is_freed_whose_resolver_holds_an_address() {
    let net = Net::new();
    let node = net.start("server").await;
    let core = watch(&node);
    node.set_resolver(Arc::new(Loops { _remote: node.remote("server", NODE_ACTOR) }));
    let remote = node.remote("server", NODE_ACTOR);
    node.at_leave(async move { drop(remote.ping().await) });
    let call = node.remote("elsewhere", NODE_ACTOR).ping();
    drop(node);
    assert_eq!(call.await, Err(NotSent::ShuttingDown.into()));
    is_freed("a node that was resolving", core).await;
}

#[actix::test]
async fn a_node_is_freed_in_the_middle_of_handshakes() {
    let net = Net::new();
    let limits = Limits { handshake_timeout: Duration::MAX, ..Limits::default() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server");
    let builder = Node::builder("server").cookie(net.cookie.clone()).limits(limits);
    let node = builder.listen(Address::Unix(path.clone())).start().await.unwrap();
    let silent = tokio::net::UnixStream::connect(&path).await.unwrap();
    let core = watch(&node);
    // It has been accepted when there is a handshake.
    let begun = core.clone();
    eventually("it is accepted", || begun.upgrade().is_some_and(|core| core.peers.handshakes() == 1)).await;
    // And the node's own, with one who says nothing.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    node.set_route("mute".parse().unwrap(), vec![Address::tcp(mute.local_addr().unwrap())]);
    let call = node.remote("mute", NODE_ACTOR).with_timeout(Duration::MAX).ping();
    let (_socket, _) = mute.accept().await.unwrap();
    drop(node);
    assert_eq!(call.await, Err(NotSent::ShuttingDown.into()));
    is_freed("a node in handshakes", core).await;
    drop(silent);
}

#[test]
fn a_node_is_freed_with_its_thread() {
    let system = System::new();
    let (server, client) = system.block_on(async {
        let (server, client) = Net::new().pair().await;
        client.remote("server", NODE_ACTOR).ping().await.unwrap();
        client.remote("server", NODE_ACTOR).try_send(Ping).unwrap();
        (server, client)
    });
    let cores = [watch(&server), watch(&client)];
    // The tasks go first here, and the handles later.
    drop(system);
    let call = client.remote("server", NODE_ACTOR).ping();
    drop((server, client));
    drop(call);
    for core in cores {
        assert_eq!(core.strong_count(), 0);
    }
}

#[actix::test]
async fn peers_are_forgotten_when_nobody_needs_them() {
    let net = Net::new();
    let server = net.start("server").await;
    for number in 0..100 {
        let console = net.start(&format!("console-{number}")).await;
        console.set_route("server".parse().unwrap(), server.addresses());
        console.remote("server", NODE_ACTOR).ping().await.unwrap();
    }
    let peers = &server.core().peers;
    eventually("all connections have ended", || peers.links().is_empty()).await;
    assert_eq!(peers.known(), 0);
    // Addresses without connections leave something behind, but not without bound.
    let kept = server.remote("kept", NODE_ACTOR);
    for number in 0..10_000 {
        drop(server.remote(format!("never-{number}"), NODE_ACTOR));
    }
    assert!(peers.known() < 200, "{} peers are kept", peers.known());
    let again = server.remote("kept", NODE_ACTOR);
    assert!(peers.known() > 0 && kept.reference() == again.reference());
}

#[actix::test]
async fn a_connection_closed_before_it_stands_ends_its_calls() {
    let net = Net::new();
    let (server, client) = net.pair().await;
    let core = client.core();
    let peer = core.peers.get(server.server());
    let call = client.remote("server", NODE_ACTOR).with_timeout(Duration::MAX).ping();
    let link = link_to(core, &peer);
    link.close(NotSent::ConnectionLost);
    assert_eq!(call.await, Err(NotSent::ConnectionLost.into()));
    client.remote("server", NODE_ACTOR).ping().await.expect("the next call opens another");
    assert_eq!(connections(&client), 1);
}

fn connections(node: &Node) -> usize {
    node.core().peers.links().len()
}

/// The wakers of the callers were lost when two closed a connection at once.
#[actix::test]
async fn a_connection_closed_by_many_at_once_wakes_every_caller() {
    for _ in 0..100 {
        let net = Net::new();
        let (server, client) = net.pair().await;
        let remote = client.remote("server", "nobody").with_timeout(Duration::MAX);
        let peer = client.core().peers.get(server.server());
        let link = link_to(client.core(), &peer);
        let calls: Vec<_> = (0..10).map(|_| actix::spawn(remote.ping())).collect();
        tokio::task::yield_now().await;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| link.close(NotSent::ConnectionLost));
            }
        });
        for call in calls {
            let ended = tokio::time::timeout(Duration::from_secs(30), call).await;
            assert!(ended.expect("it is woken").unwrap().is_err());
        }
    }
}

#[actix::test]
async fn a_node_is_dropped_on_another_thread() {
    let net = Net::new();
    let (server, client) = net.pair().await;
    let remote = client.remote("server", NODE_ACTOR).with_timeout(Duration::MAX);
    remote.ping().await.unwrap();
    let core = watch(&client);
    let arbiter = Arbiter::new();
    arbiter.spawn_fn(move || drop(client));
    eventually("it has stopped", || core.upgrade().is_none_or(|core| core.is_stopped())).await;
    assert!(remote.ping().await.is_err());
    drop(remote);
    is_freed("a node that was dropped elsewhere", core).await;
    eventually("the server has noticed", || connections(&server) == 0).await;
    arbiter.stop();
}
