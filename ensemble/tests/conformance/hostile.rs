//! Peers that do not keep to the protocol, before and after they have authenticated. They are refused, the log says
//! who and why, and everybody else is served.

use std::{io::Write, sync::Arc, sync::Mutex, time::Duration};

use ensemble::{
    Address, CallError, ConnectFailure, Cookie, Incarnation, Limits, ListConnections, NODE_ACTOR, NotSent,
    ServerId,
    handshake::{Agent, Initiator, Local, PeerLimits, RefuseReason},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
};
use tracing_subscriber::fmt::MakeWriter;

use crate::common::*;

trait Socket: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Socket for T {}

/// A peer that is made by hand.
struct Raw(Box<dyn Socket>);

fn local(id: &str) -> Local {
    Local {
        server: ServerId::new(id).unwrap(),
        incarnation: Incarnation::fresh(),
        limits: PeerLimits { max_frame_bytes: 1 << 16, max_message_bytes: 1 << 26, max_in_flight: 1024 },
        agent: Agent::this(),
    }
}

impl Raw {
    async fn connect(address: &Address) -> Self {
        match address {
            Address::Unix(path) => Self(Box::new(UnixStream::connect(path).await.unwrap())),
            Address::Tcp(at) => Self(Box::new(TcpStream::connect((at.host(), at.port())).await.unwrap())),
            other => panic!("{other}"),
        }
    }

    async fn say(&mut self, bytes: &[u8]) {
        // A peer that has been refused already may not take it.
        drop(self.0.write_all(bytes).await);
    }

    async fn say_message(&mut self, message: &[u8]) {
        self.say(&(message.len() as u16).to_be_bytes()).await;
        self.say(message).await;
    }

    async fn hear_message(&mut self) -> Vec<u8> {
        let mut message = vec![0; self.0.read_u16().await.unwrap().into()];
        self.0.read_exact(&mut message).await.unwrap();
        message
    }

    async fn authenticated(address: &Address, cookie: &Cookie, id: &str) -> Self {
        let mut raw = Self::connect(address).await;
        let (initiator, hello) = Initiator::start(local(id), cookie, None, [1; 32]);
        raw.say_message(&hello).await;
        let (proved, response) = initiator.challenge(&raw.hear_message().await).unwrap();
        raw.say_message(&response).await;
        proved.accepted(&raw.hear_message().await).unwrap();
        raw
    }

    async fn say_frame(&mut self, kind: u8, content: &[u8]) {
        self.say(&frame(kind, content)).await;
    }

    /// Waits until the other side has closed.
    async fn closed(mut self) {
        let mut rest = Vec::new();
        // Either end is one: a reset says that not all was read that was sent.
        drop(self.0.read_to_end(&mut rest).await);
    }
}

fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = (1 + content.len() as u32).to_be_bytes().to_vec();
    frame.push(kind);
    frame.extend_from_slice(content);
    frame
}

/// Actor and message, each behind its length, and no trace.
fn route(actor: &str, message: &str) -> Vec<u8> {
    let mut route = vec![actor.len() as u8];
    route.extend_from_slice(actor.as_bytes());
    route.push(message.len() as u8);
    route.extend_from_slice(message.as_bytes());
    route.push(0);
    route
}

fn number(value: u32) -> Vec<u8> {
    match value {
        0..=250 => vec![value as u8],
        251..=0xffff => [&[251][..], &(value as u16).to_le_bytes()].concat(),
        _ => [&[252][..], &value.to_le_bytes()].concat(),
    }
}

fn request(call: u32, message: &str, payload: &[u8]) -> Vec<u8> {
    frame(1, &[number(call), number(60_000), route("tester", message), payload.to_vec()].concat())
}

macro_rules! on_every_socket {
    ($($name:ident),* $(,)?) => {
        mod unix { $(#[actix::test] async fn $name() { within(super::$name(Net::new(Transport::Unix))).await })*
            use crate::common::{Net, Transport, within}; }
        mod tcp { $(#[actix::test] async fn $name() { within(super::$name(Net::new(Transport::Tcp))).await })*
            use crate::common::{Net, Transport, within}; }
    };
}

on_every_socket!(
    what_is_no_handshake_is_refused,
    silent_peers_are_dropped_in_time,
    a_request_is_given_up_when_the_time_it_names_is_over,
    watches_that_are_malformed_or_too_many_are_refused,
    frames_against_the_protocol_end_their_connection_only,
    a_peer_that_never_reads_holds_up_nobody,
    peers_that_do_not_authenticate_are_limited,
    the_log_names_who_was_refused_and_why,
);

async fn what_is_no_handshake_is_refused(net: Net) {
    let (server, shared, client) = net.pair().await;
    let address = &server.addresses()[0];
    let hello = Initiator::start(local("raw"), &net.cookie, None, [1; 32]).1;
    let garbage: Vec<u8> = (0..5000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut broken = hello.clone();
    broken[0] ^= 0xff;
    for bytes in [
        &garbage[..],
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[0xff; 8192],
        &[0, 0],
        &[0, 1, 99],
        &[&(broken.len() as u16).to_be_bytes()[..], &broken].concat(),
    ] {
        let mut raw = Raw::connect(address).await;
        raw.say(bytes).await;
        raw.closed().await;
        client.remote("server", "tester").ping().await.unwrap();
    }
    // Half of it, and gone.
    for end in 1..hello.len() {
        let mut raw = Raw::connect(address).await;
        raw.say(&(hello.len() as u16).to_be_bytes()).await;
        raw.say(&hello[..end]).await;
    }
    // A proof without the cookie.
    let mut raw = Raw::connect(address).await;
    raw.say_message(&hello).await;
    raw.hear_message().await;
    raw.say_message(&[&[3][..], &[0; 32]].concat()).await;
    raw.closed().await;
    client.remote("server", "tester").ping().await.unwrap();
    assert_eq!(shared.seen(), [0; 0]);
}

async fn silent_peers_are_dropped_in_time(net: Net) {
    let limits = Limits { handshake_timeout: Duration::from_secs(1), ..Limits::default() };
    let (server, _) = net.serve_with("server", limits.clone()).await;
    let client = net.client_with("client", &[&server], limits).await;
    let address = &server.addresses()[0];
    let silent = Raw::connect(address).await;
    let mut halfway = Raw::connect(address).await;
    halfway.say_message(&Initiator::start(local("raw"), &net.cookie, None, [1; 32]).1).await;
    client.remote("server", "tester").ping().await.unwrap();
    silent.closed().await;
    halfway.closed().await;
    client.remote("server", "tester").ping().await.unwrap();
    // The other way round: what answers at an address says nothing, or nonsense.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at: Address = format!("tcp:{}", listener.local_addr().unwrap()).parse().unwrap();
    client.set_route("odd".parse().unwrap(), vec![at.clone()]);
    let odd = client.remote("odd", "tester").with_timeout(LONG);
    let timed_out = NotSent::Unreachable(ConnectFailure::TimedOut);
    assert_eq!(odd.ping().await, Err(timed_out.into()));
    // So that it is tried again at once.
    client.set_route("odd".parse().unwrap(), vec![at]);
    let answer = async {
        let (_silent, _) = listener.accept().await.unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(&[0, 3, 1, 2, 3]).await.unwrap();
        socket
    };
    let (call, _socket) = tokio::join!(odd.ping(), answer);
    assert_eq!(call, Err(NotSent::Unreachable(ConnectFailure::Protocol).into()));
}

/// Whoever has sent it does nothing more.
async fn a_request_is_given_up_when_the_time_it_names_is_over(net: Net) {
    let (server, shared, _) = net.pair().await;
    let mut raw = Raw::authenticated(&server.addresses()[0], &net.cookie, "raw").await;
    raw.say(&request(1, "test.occupy", &[])).await;
    raw.say_frame(1, &[number(2), number(20), route("tester", "test.record"), vec![9]].concat()).await;
    let mut reply = [0; 7];
    raw.0.read_exact(&mut reply).await.unwrap();
    // A reply to the second, with status 33.
    assert_eq!(reply, [0, 0, 0, 3, 3, 2, 33]);
    shared.open();
    raw.0.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply[4..], [3, 1, 0]);
    assert_eq!(server.remote("server", "tester").send(Seen()).await, Ok(vec![]));
}

async fn watches_that_are_malformed_or_too_many_are_refused(net: Net) {
    let (server, _, client) = net.pair().await;
    let mut raw = Raw::authenticated(&server.addresses()[0], &net.cookie, "raw").await;
    let mut reply = [0; 7];
    for (call, payload) in [(1, &[][..]), (2, &[1, 2]), (3, &[253, 1])] {
        raw.say(&request(call, "ensemble.watch", payload)).await;
        raw.0.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply[4..], [3, call as u8, 5], "it is malformed");
    }
    for number in 0..=250 {
        raw.say(&request(number, "ensemble.watch", &[number as u8])).await;
    }
    for (call, number) in (300..310).zip([251, 252, 253, 254, 255, 0, 256, 257, 1, 258]) {
        let number = [&[251][..], &u16::to_le_bytes(number)].concat();
        raw.say(&request(call, "ensemble.watch", &number)).await;
    }
    // Of the last ten, the sixth and the ninth are known numbers, and the first five are in time.
    let mut reply = [0; 9];
    for call in [306_u16, 307, 309] {
        raw.0.read_exact(&mut reply).await.unwrap();
        assert_eq!(
            reply[4..],
            [3, 251, call.to_le_bytes()[0], call.to_le_bytes()[1], 4],
            "{call} is too many"
        );
    }
    client.remote("server", "tester").ping().await.unwrap();
}

async fn frames_against_the_protocol_end_their_connection_only(net: Net) {
    let limits = Limits { max_in_flight: 4, max_message_bytes: 50_000, ..Limits::default() };
    let (server, shared) = net.serve_with("server", limits).await;
    let client = net.client("client", &[&server]).await;
    let address = &server.addresses()[0];
    let open = |total: u32| {
        // Head 1 is a post.
        frame(4, &[number(1), number(total), vec![1], route("tester", "test.record")].concat())
    };
    let holds: Vec<u8> = (0..5).flat_map(|call| request(call, "test.hold", &[1])).collect();
    let opens: Vec<u8> = (0..5)
        .flat_map(|stream| {
            frame(4, &[number(stream), number(1000), vec![1], route("tester", "test.record")].concat())
        })
        .collect();
    for (what, bytes) in [
        ("a frame of 4 GiB", vec![0xff; 4]),
        ("a frame over the limit", (ensemble::MAX_FRAME_BYTES as u32 + 1).to_be_bytes().to_vec()),
        ("an empty frame", vec![0; 4]),
        ("an unknown kind", frame(99, &[1, 2, 3])),
        ("kind 0", frame(0, &[])),
        ("a request cut short", frame(1, &[5])),
        ("a name longer than its frame", frame(2, &[250, b'a'])),
        ("bytes after a header", frame(10, &[1, 1])),
        ("a reply to nothing", frame(3, &[7, 0])),
        ("credit for nothing", frame(9, &[1])),
        ("a chunk of nothing", frame(6, &[1, 1, 2, 3])),
        ("a message over the limit", open(50_001)),
        ("one in a single frame", request(1, "test.record", &[0; 50_001])),
        ("a chunk beyond the end", [open(5), frame(6, &[1, 1, 2, 3, 4, 5, 6])].concat()),
        ("an empty chunk", [open(5), frame(6, &[1])].concat()),
        ("a stream twice", [open(5), open(5)].concat()),
        ("too many streams", opens),
        ("more than the window", holds),
    ] {
        let mut raw = Raw::authenticated(address, &net.cookie, "raw").await;
        raw.say_frame(10, &[42]).await;
        let mut pong = [0; 6];
        raw.0.read_exact(&mut pong).await.unwrap();
        assert_eq!(pong, [0, 0, 0, 2, 11, 42], "what keeps to the protocol is answered");
        raw.say(&bytes).await;
        tokio::time::timeout(HANG, raw.closed()).await.unwrap_or_else(|_| panic!("{what} is let pass"));
        client.remote("server", "tester").ping().await.unwrap();
    }
    // A frame may come in as many pieces as it likes.
    let mut raw = Raw::authenticated(address, &net.cookie, "raw").await;
    for byte in request(2, "test.seen", &[]) {
        raw.say(&[byte]).await;
        tokio::task::yield_now().await;
    }
    let mut reply = [0; 7];
    raw.0.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply[4..], [3, 2, 0]);
    // Half a frame is none.
    let mut raw = Raw::authenticated(address, &net.cookie, "raw").await;
    raw.say(&request(1, "test.record", &[9])[..10]).await;
    drop(raw);
    // What is not there any more is not an error: grants, cancels and aborts may have crossed.
    let mut raw = Raw::authenticated(address, &net.cookie, "raw").await;
    for kind in [5, 7, 8] {
        raw.say_frame(kind, &[77]).await;
    }
    raw.say(&request(3, "test.record", &[1])).await;
    let mut reply = [0; 8];
    raw.0.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply[..7], [0, 0, 0, 4, 3, 3, 0]);
    assert!(!shared.seen().contains(&9));
}

async fn a_peer_that_never_reads_holds_up_nobody(net: Net) {
    let (server, _, client) = net.pair().await;
    let address = &server.addresses()[0];
    let mut raw = Raw::authenticated(address, &net.cookie, "raw").await;
    let make = [&[252][..], &200_000u32.to_le_bytes()].concat();
    for call in 0..500 {
        raw.say(&request(call, "test.make", &make)).await;
    }
    for _ in 0..20_000 {
        raw.say(&frame(10, &[1])).await;
        raw.say(&frame(4, &[number(1), number(1000), vec![1], route("tester", "test.record")].concat()))
            .await;
        raw.say(&frame(7, &[1])).await;
    }
    for _ in 0..20 {
        assert_eq!(client.remote("server", "tester").send(echo(1000)).await.unwrap(), echo(1000).0);
    }
    let node = server.remote("server", NODE_ACTOR);
    let connections = node.send(ListConnections).await.unwrap();
    let stuck = connections.iter().find(|connection| connection.peer.as_str() == "raw").unwrap();
    assert!(stuck.sent_bytes < 500 * 200_000, "it was not stuck");
    drop(raw);
    eventually("the server has noticed", async || node.send(ListConnections).await.unwrap().len() == 1).await;
}

async fn peers_that_do_not_authenticate_are_limited(net: Net) {
    let limits = Limits { max_handshakes: 2, handshake_timeout: LONG, ..Limits::default() };
    let (server, _) = net.serve_with("server", limits).await;
    let client = net.client("client", &[&server]).await;
    let address = &server.addresses()[0];
    let first = [Raw::connect(address).await, Raw::connect(address).await];
    let turned_down = client.remote("server", "tester").ping().await;
    assert_eq!(turned_down, Err(NotSent::Rejected(RefuseReason::Overloaded).into()));
    let more = [Raw::connect(address).await, Raw::connect(address).await];
    Raw::connect(address).await.closed().await;
    drop(first);
    drop(more);
    eventually("there is room again", async || client.remote("server", "tester").ping().await.is_ok()).await;
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn warns(&self, of: &[&str]) -> bool {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().any(|line| line.contains("WARN") && of.iter().all(|part| line.contains(part)))
    }
}

async fn the_log_names_who_was_refused_and_why(net: Net) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let limits = Limits { handshake_timeout: Duration::from_secs(1), ..Limits::default() };
    let (server, _) = net.serve_with("server", limits).await;
    let address = &server.addresses()[0];
    let from = match address {
        Address::Tcp(_) => "127.0.0.1:",
        _ => "user ",
    };
    let stranger = net.builder("stranger").cookie(Cookie::generate().unwrap()).start().await.unwrap();
    stranger.set_route("server".parse().unwrap(), server.addresses());
    let call = stranger.remote("server", "tester").ping().await;
    assert_eq!(call, Err(CallError::NotSent(NotSent::NotAuthenticated)));
    assert!(log.warns(&["refused a connection", "stranger", from]));
    let mut silent = Raw::connect(address).await;
    silent.say_message(&Initiator::start(local("silent"), &net.cookie, None, [1; 32]).1).await;
    silent.closed().await;
    assert!(log.warns(&["refused a connection", "silent", from, "no handshake within 1 s"]));
    let mut garbage = Raw::connect(address).await;
    garbage.say(&[0xff; 100]).await;
    garbage.closed().await;
    assert!(log.warns(&["refused a connection", "unknown", from, "65535 bytes"]));
    let mut odd = Raw::authenticated(address, &net.cookie, "odd").await;
    odd.say(&[0xff; 4]).await;
    odd.closed().await;
    eventually("the log says so", async || log.warns(&["odd", "broke the protocol", "4294967295 bytes"]))
        .await;
}
