//! What a node's handles do: probing, noticing that a peer is lost, and going away.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use ensemble::{
    Address, ConnectFailure, Cookie, Incarnation, MemoryNetwork, NODE_ACTOR, Node, NodeBuilder, NodeInfo,
    NotSent, Resolve, Resolving, RoleName, ServerId,
};

struct World {
    network: Arc<MemoryNetwork>,
    cookie: Cookie,
}

impl World {
    fn new() -> Self {
        Self { network: MemoryNetwork::new(), cookie: Cookie::generate().unwrap() }
    }

    fn builder(&self, server: &str) -> NodeBuilder {
        Node::builder(server).cookie(self.cookie.clone()).memory(Arc::clone(&self.network))
    }

    async fn listening(&self, server: &str, at: &str) -> Node {
        self.builder(server).listen(address(at)).start().await.unwrap()
    }
}

fn address(name: &str) -> Address {
    format!("mem:{name}").parse().unwrap()
}

fn id(text: &str) -> ServerId {
    ServerId::new(text).unwrap()
}

async fn is_pending(future: impl Future) -> bool {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

#[actix::test]
async fn a_probe_tells_which_start_of_a_server_is_at_an_address() {
    let world = World::new();
    let one = world.listening("a", "one").await;
    let two = world.listening("a", "two").await;
    let _other = world.listening("b", "b").await;
    let node = world.builder("here").start().await.unwrap();
    assert_eq!(node.probe(&id("a"), &address("one")).await, Ok(one.incarnation()));
    assert_eq!(node.probe(&id("a"), &address("two")).await, Ok(two.incarnation()));
    let wrong = NotSent::Unreachable(ConnectFailure::WrongServer);
    assert_eq!(node.probe(&id("a"), &address("b")).await, Err(wrong));
    let nobody = node.probe(&id("a"), &address("nobody")).await;
    assert!(matches!(nobody, Err(NotSent::Unreachable(ConnectFailure::Io(_)))), "{nobody:?}");
}

#[actix::test]
async fn a_peer_is_lost_when_its_last_connection_has_ended() {
    let world = World::new();
    let node = world.listening("here", "here").await;
    let peer = world.builder("peer").start().await.unwrap();
    peer.set_route(id("here"), vec![address("here")]);
    peer.remote("here", NODE_ACTOR).ping().await.unwrap();
    assert!(is_pending(node.lost(&id("peer"), peer.incarnation())).await);
    node.lost(&id("peer"), Incarnation::fresh()).await;
    node.lost(&id("stranger"), peer.incarnation()).await;
    let lost = node.lost(&id("peer"), peer.incarnation());
    drop(peer);
    lost.await;
}

#[actix::test]
async fn another_start_of_a_peer_leaves_the_connections_of_the_first_alone() {
    let world = World::new();
    let node = world.listening("here", "here").await;
    let mut starts = Vec::new();
    for _ in 0..2 {
        let peer = world.builder("peer").start().await.unwrap();
        peer.set_route(id("here"), vec![address("here")]);
        peer.remote("here", NODE_ACTOR).ping().await.unwrap();
        starts.push(peer);
    }
    for peer in &starts {
        assert!(is_pending(node.lost(&id("peer"), peer.incarnation())).await);
        assert!(is_pending(peer.remote("here", NODE_ACTOR).disconnected()).await);
        peer.remote("here", NODE_ACTOR).ping().await.unwrap();
    }
}

struct Nowhere(
    #[expect(dead_code, reason = "it is held, as a registry's client would")] ensemble::RemoteAddr,
);

impl Resolve for Nowhere {
    fn resolve<'a>(&'a self, _: &'a ServerId) -> Resolving<'a> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn failed(&self, _: &ServerId) {}
}

struct SetWhenDropped(Arc<AtomicBool>);

impl Drop for SetWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[actix::test]
async fn what_a_node_holds_goes_with_its_last_handle() {
    let world = World::new();
    let node = world.builder("a").start().await.unwrap();
    let is_gone = Arc::new(AtomicBool::new(false));
    let held = (SetWhenDropped(Arc::clone(&is_gone)), node.remote("a", NODE_ACTOR));
    node.at_stop(async move { drop(held) });
    node.set_resolver(Arc::new(Nowhere(node.remote("b", "b"))));
    let weak = node.downgrade();
    let again = weak.upgrade().unwrap();
    drop(node);
    assert!(!is_gone.load(Ordering::SeqCst));
    drop(again);
    assert!(is_gone.load(Ordering::SeqCst) && weak.upgrade().is_none());
}

#[actix::test]
async fn an_address_is_free_soon_after_a_node_that_was_dropped_at_once() {
    let world = World::new();
    drop(world.listening("a", "here").await);
    let again = async {
        loop {
            match world.builder("a").listen(address("here")).start().await {
                Ok(node) => return node,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), again).await.unwrap();
}

#[actix::test]
async fn a_role_that_is_added_shows_everywhere_and_counts_as_a_change() {
    let world = World::new();
    let node = world.builder("a").role("x").listen(address("a")).start().await.unwrap();
    let mut changes = node.changes();
    let role = |name: &str| RoleName::new(name).unwrap();
    assert!(!node.add_role(role("x")));
    assert!(!changes.has_changed().unwrap());
    assert!(node.add_role(role("y")));
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert!(!node.add_role(role("y")));
    assert!(!changes.has_changed().unwrap());
    assert_eq!(node.roles()[..], [role("x"), role("y")]);
    let other = world.builder("b").start().await.unwrap();
    other.set_route(id("a"), node.addresses());
    let status = other.remote("a", NODE_ACTOR).send(NodeInfo).await.unwrap();
    assert_eq!(status.roles, [role("x"), role("y")]);
}

#[actix::test]
async fn a_twin_has_connections_of_its_own_and_the_same_actors() {
    let world = World::new();
    let peer = world.listening("peer", "peer").await;
    let node = world.builder("a").start().await.unwrap();
    let twin = node.twin().unwrap();
    assert_eq!((twin.server(), twin.incarnation()), (node.server(), node.incarnation()));
    twin.set_route(id("peer"), peer.addresses());
    twin.remote("peer", NODE_ACTOR).ping().await.unwrap();
    // The peer reaches the node over the only connection there is: the twin's.
    assert!(node.export("node2", ensemble::Exports::start(Silent)).is_ok());
    peer.remote("a", "node2").ping().await.unwrap();
    drop(twin);
    peer.lost(&id("a"), node.incarnation()).await;
    assert!(peer.remote("a", "node2").ping().await.is_err());
}

struct Silent;

impl actix::Actor for Silent {
    type Context = actix::Context<Self>;
}
