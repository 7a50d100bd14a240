//! Servers that die, come back and move, as their callers see it, on a clock that passes idle time at once.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, pause, sleep, timeout};

use super::{
    NODE_ACTOR, Node, NodeInfo, RemoteAddr,
    failing::MAX_PAUSE,
    test_net::{LONG, Net},
};
use crate::{
    address::Address,
    error::{CallError, ConnectFailure, NotSent, Unknown},
    id::ServerId,
    resolve::{Resolve, ResolveError, Resolving},
};

/// Knows where `server` was, until it hears that nothing answers there.
#[derive(Default)]
struct Book {
    cached: Mutex<Option<Vec<Address>>>,
    real: Mutex<Option<Vec<Address>>>,
    failures: AtomicUsize,
}

fn at(name: &str) -> Vec<Address> {
    vec![format!("mem:{name}").parse().unwrap()]
}

impl Book {
    fn new(name: &str) -> Arc<Self> {
        let book = Self::default();
        *book.real.lock().unwrap() = Some(at(name));
        Arc::new(book)
    }

    fn is_now(&self, addresses: Option<Vec<Address>>) {
        *self.real.lock().unwrap() = addresses;
    }

    fn failures(&self) -> usize {
        self.failures.load(Ordering::SeqCst)
    }
}

impl Resolve for Book {
    fn resolve<'a>(&'a self, _: &'a ServerId) -> Resolving<'a> {
        let mut cached = self.cached.lock().unwrap();
        if cached.is_none() {
            cached.clone_from(&self.real.lock().unwrap());
        }
        let known = cached.clone().ok_or(ResolveError::Unavailable);
        Box::pin(std::future::ready(known))
    }

    fn failed(&self, _: &ServerId) {
        self.failures.fetch_add(1, Ordering::SeqCst);
        *self.cached.lock().unwrap() = None;
    }
}

fn id(name: &str) -> ServerId {
    ServerId::new(name).unwrap()
}

/// A node `client` that asks `book` for servers, and an address of `server`'s.
async fn client_with(net: &Net, book: &Arc<Book>) -> (Node, RemoteAddr) {
    let client = net.node("client", None).await;
    client.set_resolver(Arc::clone(book) as Arc<dyn Resolve>);
    let remote = client.remote("server", NODE_ACTOR).with_timeout(LONG);
    (client, remote)
}

fn is_refused(call: &Result<(), CallError>) -> bool {
    matches!(call, Err(CallError::NotSent(NotSent::Unreachable(ConnectFailure::Io(_)))))
}

/// Waits until the connection to a server that was dropped has ended, and its address is free.
async fn is_gone(net: &Net, remote: &RemoteAddr, name: &str) {
    remote.disconnected().await;
    while let Ok(stream) = net.transports().connect(&at(name)[0]).await {
        drop(stream);
        sleep(Duration::from_millis(1)).await;
    }
}

#[actix::test]
async fn the_first_call_reaches_a_server_that_has_moved() {
    let net = Net::new();
    let book = Book::new("one");
    let (_client, remote) = client_with(&net, &book).await;
    let server = net.node("server", Some("mem:one")).await;
    remote.ping().await.unwrap();
    drop(server);
    is_gone(&net, &remote, "one").await;
    let server = net.node("server", Some("mem:two")).await;
    book.is_now(Some(at("two")));
    let found = remote.clone().send(NodeInfo).await.unwrap();
    assert_eq!(found.incarnation, server.incarnation());
    assert_eq!(book.failures(), 1, "the old address was tried once");
}

#[actix::test]
async fn calls_go_on_while_nobody_can_be_asked_where_servers_are() {
    let net = Net::new();
    let book = Book::new("one");
    let (_client, remote) = client_with(&net, &book).await;
    let server = net.node("server", Some("mem:one")).await;
    remote.ping().await.unwrap();
    book.is_now(None);
    book.failed(server.server());
    for _ in 0..100 {
        remote.ping().await.unwrap();
    }
    drop(server);
    remote.disconnected().await;
    assert_eq!(remote.ping().await, Err(NotSent::NotResolved.into()));
    book.is_now(Some(at("two")));
    let _server = net.node("server", Some("mem:two")).await;
    remote.ping().await.expect("that nobody could be asked is not remembered");
}

#[actix::test]
async fn a_dead_server_is_not_tried_with_each_call() {
    pause();
    let net = Net::new();
    let book = Book::new("nobody");
    let (_client, remote) = client_with(&net, &book).await;
    for _ in 0..1000 {
        assert!(is_refused(&remote.ping().await));
    }
    assert_eq!(book.failures(), 1);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        assert!(is_refused(&remote.ping().await));
        sleep(Duration::from_millis(1)).await;
    }
    assert!((20..=30).contains(&book.failures()), "{} attempts in ten seconds", book.failures());
}

/// Calls a dead server for so long that the pauses between attempts are the longest, and once more.
async fn dead_for_long(remote: &RemoteAddr) {
    for _ in 0..10 {
        assert!(is_refused(&remote.ping().await));
        sleep(MAX_PAUSE).await;
    }
    assert!(is_refused(&remote.ping().await));
}

#[actix::test]
async fn a_server_that_is_back_where_it_was_is_reached_within_the_longest_pause() {
    pause();
    let net = Net::new();
    let (_client, remote) = client_with(&net, &Book::new("one")).await;
    dead_for_long(&remote).await;
    let _server = net.node("server", Some("mem:one")).await;
    assert!(is_refused(&remote.ping().await));
    sleep(MAX_PAUSE).await;
    remote.ping().await.unwrap();
}

#[actix::test]
async fn news_of_a_server_let_the_first_call_reach_it() {
    pause();
    let net = Net::new();
    let book = Book::new("one");
    let (client, remote) = client_with(&net, &book).await;
    // The address is new.
    dead_for_long(&remote).await;
    let server = net.node("server", Some("mem:two")).await;
    book.is_now(Some(at("two")));
    book.failed(&id("server"));
    remote.ping().await.unwrap();
    drop(server);
    is_gone(&net, &remote, "two").await;
    // A start is known to be new.
    dead_for_long(&remote).await;
    let server = net.node("server", Some("mem:two")).await;
    client.started_anew(&id("server"), server.incarnation());
    remote.ping().await.unwrap();
    drop(server);
    is_gone(&net, &remote, "two").await;
    // A route is set, even if it is the old one.
    client.set_route(id("server"), at("two"));
    dead_for_long(&remote).await;
    let server = net.node("server", Some("mem:two")).await;
    client.set_route(id("server"), at("two"));
    remote.ping().await.unwrap();
    drop(server);
    is_gone(&net, &remote, "two").await;
    // The server connects by itself.
    let client = net.node("listening", Some("mem:listening")).await;
    client.set_route(id("server"), at("two"));
    let remote = client.remote("server", NODE_ACTOR);
    dead_for_long(&remote).await;
    let server = net.node("server", None).await;
    server.set_route(id("listening"), at("listening"));
    server.remote("listening", NODE_ACTOR).ping().await.unwrap();
    remote.ping().await.unwrap();
}

/// Whether the next call over `remote` is answered by that start of the server, at once.
async fn is_answered_by(remote: &RemoteAddr, server: &Node) -> bool {
    let began = Instant::now();
    let found = timeout(Duration::from_secs(4), remote.send(NodeInfo)).await;
    let is_it = found.is_ok_and(|info| info.is_ok_and(|info| info.incarnation == server.incarnation()));
    is_it && began.elapsed() < Duration::from_secs(1)
}

#[actix::test]
async fn a_connection_that_is_half_open_does_not_hold_up_who_hears_of_the_next_start() {
    pause();
    for news in 0..3 {
        let net = Net::new();
        // The peer at the other end of this says nothing any more.
        let (client, _stream, _listener) = net.connected().await;
        let remote = client.remote("server", NODE_ACTOR).with_timeout(LONG);
        let lost = actix::spawn(remote.ping());
        tokio::task::yield_now().await;
        let server = net.node("server", Some("mem:elsewhere")).await;
        match news {
            // Its address is said.
            0 => client.set_route(id("server"), at("elsewhere")),
            // It connects by itself.
            1 => {
                server.set_route(id("client"), at("client"));
                server.remote("client", NODE_ACTOR).ping().await.unwrap();
            }
            // Nobody says anything: its silence does.
            _ => {
                remote.disconnected().await;
                client.set_route(id("server"), at("elsewhere"));
            }
        }
        assert!(is_answered_by(&remote, &server).await, "news {news}");
        assert_eq!(lost.await.unwrap(), Err(CallError::Unknown(Unknown::ConnectionLost)), "{news}");
    }
}

/// The network has lost the end of its last one.
#[actix::test]
async fn a_start_that_connects_again_is_answered_over_the_new_connection() {
    pause();
    for (silence_ms, is_left) in [(7000, false), (8000, true)] {
        let net = Net::new();
        let server = net.node("server", None).await;
        let (client, _stream, _listener) = net.connected_to(server.incarnation()).await;
        let remote = client.remote("server", NODE_ACTOR).with_timeout(LONG);
        sleep(Duration::from_millis(silence_ms)).await;
        server.set_route(id("client"), at("client"));
        server.remote("client", NODE_ACTOR).ping().await.unwrap();
        assert_eq!(is_answered_by(&remote, &server).await, is_left, "after {silence_ms} ms");
    }
}

#[actix::test]
async fn a_start_that_has_been_followed_by_another_is_not_sent_to_again() {
    let net = Net::new();
    let client = net.node("client", Some("mem:client")).await;
    let mut starts = Vec::new();
    for _ in 0..2 {
        let server = net.node("server", None).await;
        server.set_route(id("client"), at("client"));
        server.remote("client", NODE_ACTOR).ping().await.unwrap();
        starts.push(server);
    }
    let remote = client.remote("server", NODE_ACTOR);
    let [old, new] = &starts[..] else { panic!("there are two") };
    assert!(is_answered_by(&remote, new).await, "who connected last");
    client.started_anew(&id("server"), old.incarnation());
    assert!(is_answered_by(&remote, old).await, "who is said to be the last");
    client.started_anew(&id("server"), new.incarnation());
    assert!(is_answered_by(&remote, new).await);
    let new = starts.pop().unwrap();
    drop(new);
    remote.disconnected().await;
    let unknown = Err(NotSent::UnknownServer.into());
    assert_eq!(remote.ping().await, unknown, "the other connection stands, and is not used");
    assert_eq!(client.core().peers.links().len(), 1);
}
