//! Peers that are silent or take nothing, on a clock that passes idle time at once.

use std::time::Duration;

use actix::{Actor, Context, Handler, Message};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, pause, sleep, timeout},
};

use super::{
    Exports, NODE_ACTOR, Node, TerminationReason,
    test_net::{LONG, Net},
};
use crate::{
    connection,
    error::{CallError, NotSent, Unknown},
    message::RemoteMessage,
    wire::limits::Limits,
};

/// So many seconds on the test's clock, and a little for what is done in them.
fn took(since: Instant, seconds: u64) -> bool {
    let elapsed = since.elapsed();
    let expected = Duration::from_secs(seconds);
    elapsed >= expected - Duration::from_millis(10) && elapsed < expected + Duration::from_millis(100)
}

#[actix::test]
async fn a_silent_peer_is_asked_and_then_lost() {
    pause();
    let (node, mut stream, _listener) = Net::new().connected().await;
    let remote = node.remote("server", NODE_ACTOR).with_timeout(LONG);
    let watch = remote.terminated().unwrap();
    let began = Instant::now();
    let heard = actix::spawn(async move {
        let (mut heard, mut buffer) = (Vec::new(), Vec::with_capacity(4096));
        while stream.reader.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
            heard.push((began.elapsed().as_secs(), buffer.split_off(0)));
        }
        heard
    });
    assert_eq!(remote.ping().await, Err(CallError::Unknown(Unknown::ConnectionLost)));
    assert!(took(began, 15), "{:?}", began.elapsed());
    assert_eq!(watch.await.reason, TerminationReason::NodeLost);
    let asked: Vec<_> = heard.await.unwrap().into_iter().filter(|(second, _)| *second > 0).collect();
    assert_eq!(asked, [(5, b"\0\0\0\x02\x0a\x01".to_vec()), (10, b"\0\0\0\x02\x0a\x02".to_vec())]);
}

#[actix::test]
async fn any_byte_is_a_sign_of_life() {
    pause();
    let (node, mut stream, _listener) = Net::new().connected().await;
    let remote = node.remote("server", NODE_ACTOR).with_timeout(LONG);
    let call = actix::spawn(remote.ping());
    // The beginning of a frame that never comes whole.
    for byte in [0, 0, 1, 0].into_iter().chain([3; 200]) {
        sleep(Duration::from_millis(14_900)).await;
        stream.writer.write_all(&[byte]).await.unwrap();
    }
    assert!(!call.is_finished());
    let silent = Instant::now();
    assert_eq!(call.await.unwrap(), Err(CallError::Unknown(Unknown::ConnectionLost)));
    assert!(took(silent, 15), "{:?}", silent.elapsed());
}

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Filler(Vec<u8>);

impl RemoteMessage for Filler {
    const NAME: &'static str = "test.filler";
}

#[actix::test]
async fn a_peer_that_takes_nothing_is_lost_whatever_it_sends() {
    pause();
    let (node, stream, _listener) = Net::new().connected().await;
    let remote = node.remote("server", "actor").with_timeout(LONG);
    // More than goes into the buffers between the two.
    let call = actix::spawn(remote.send(Filler(vec![1; 1 << 20])));
    let small = remote.send(Filler(vec![1; 60_000]));
    let other = node.remote("server", "other").with_timeout(LONG);
    let calls = [other.send(Filler(vec![2; 60_000])), other.send(Filler(vec![2; 60_000])), small];
    let began = Instant::now();
    let mut writer = stream.writer;
    actix::spawn(async move {
        while writer.write_all(b"\0\0\0\x02\x0b\x01").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    for call in calls {
        let lost = call.await;
        assert!(
            matches!(
                lost,
                Err(CallError::Unknown(Unknown::ConnectionLost) | CallError::NotSent(NotSent::ConnectionLost))
            ),
            "{lost:?}"
        );
    }
    assert!(began.elapsed() >= Duration::from_secs(15) && began.elapsed() < Duration::from_secs(21));
    assert!(call.await.unwrap().is_err());
    drop(stream.reader);
}

struct Quiet;

impl Actor for Quiet {
    type Context = Context<Self>;
}

impl Handler<Filler> for Quiet {
    type Result = ();

    fn handle(&mut self, _: Filler, _: &mut Context<Self>) {}
}

#[actix::test]
async fn peers_that_answer_stay_connected_while_nothing_happens() {
    let net = Net::new();
    let server = net.node("server", Some("mem:server")).await;
    server.export("quiet", Exports::start(Quiet).message::<Filler>()).unwrap();
    let client = net.node("client", None).await;
    client.set_route(server.server().clone(), server.addresses());
    let remote = client.remote("server", "quiet");
    remote.send(Filler(vec![])).await.unwrap();
    pause();
    let received = |node: &Node| node.core().peers.infos()[0].received_bytes;
    let before = received(&server);
    let intervals = 3600;
    assert!(timeout(5 * intervals * Duration::from_secs(1), remote.disconnected()).await.is_err());
    // At most a ping and a pong in each, of eight bytes at most.
    let bytes = received(&server) - before;
    assert!(bytes >= 6 * u64::from(intervals) / 2 && bytes <= 16 * u64::from(intervals), "{bytes} bytes");
    remote.send(Filler(vec![1])).await.unwrap();
    assert_eq!(client.core().peers.infos().len(), 1);
}

#[actix::test]
async fn without_a_limit_nobody_is_lost() {
    let net = Net::new();
    let limits = Limits { keep_alive: Duration::MAX, ..Limits::default() };
    let builder = net.builder("server").limits(limits).listen("mem:server".parse().unwrap());
    let server = builder.start().await.unwrap();
    let mut stream = net.transports().connect(&server.addresses()[0]).await.unwrap();
    connection::connect(&mut stream, Net::local("client"), &net.cookie, None).await.unwrap();
    pause();
    let mut byte = [0];
    let heard = timeout(Duration::from_secs(7 * 24 * 3600), stream.reader.read(&mut byte)).await;
    assert!(heard.is_err(), "{heard:?}");
}
