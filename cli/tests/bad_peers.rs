//! Strangers at the socket of a running server: it refuses them, says so in its log, and goes on serving the others.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
};

use common::{Ensemble, ensemble, socket};
use ensemble::{
    Cookie, Incarnation, ServerId,
    handshake::{Agent, Initiator, Local, PeerLimits},
};
use ensemble_tests::Sandbox;

/// What the server's memory may grow by for bytes that are only claimed.
const MEMORY_SLACK_KIB: u64 = 32 << 10;

fn connect(sandbox: &Sandbox) -> UnixStream {
    UnixStream::connect(socket(sandbox, "kvstore")).unwrap()
}

fn write_message(stream: &mut UnixStream, message: &[u8]) {
    stream.write_all(&u16::try_from(message.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(message).unwrap();
}

fn read_message(stream: &mut UnixStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

fn initiator(sandbox: &Sandbox, own: &str) -> (Initiator, Vec<u8>) {
    let limits = PeerLimits { max_frame_bytes: 1 << 17, max_message_bytes: 1 << 26, max_in_flight: 1024 };
    let server = ServerId::new(own).unwrap();
    let local = Local { server, incarnation: Incarnation::fresh(), limits, agent: Agent::this() };
    let cookie = Cookie::load(&sandbox.home().join("cookie")).unwrap();
    Initiator::start(local, &cookie, Some(ServerId::new("kvstore").unwrap()), [7; 32])
}

/// A connection on which the handshake is done, as the server `own`.
fn authenticated(sandbox: &Sandbox, own: &str) -> UnixStream {
    let mut stream = connect(sandbox);
    let (initiator, hello) = initiator(sandbox, own);
    write_message(&mut stream, &hello);
    let (proved, response) = initiator.challenge(&read_message(&mut stream)).unwrap();
    write_message(&mut stream, &response);
    proved.accepted(&read_message(&mut stream)).unwrap();
    stream
}

/// Reads until the server closes the connection.
fn is_closed(mut stream: UnixStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(cause) => assert_eq!(cause.kind(), io::ErrorKind::ConnectionReset, "{cause}"),
    }
}

fn memory_kib(process_id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process_id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn serves(sandbox: &Sandbox) {
    assert_eq!(sandbox.ensemble(&["ping", "kvstore", "kvstore"]).succeeds(), b"OK\n");
}

#[test]
fn random_bytes() {
    let Ensemble { sandbox, registry: _registry, mut kvstore } = ensemble();
    let mut state = 1_u32;
    for length in [1, 2, 3, 10, 100, 5000, 100_000] {
        let mut stream = connect(&sandbox);
        let noise: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        // The server may close before it has read all.
        if let Err(cause) = stream.write_all(&noise) {
            assert!(
                matches!(cause.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
                "{cause}"
            );
        }
        drop(stream);
        serves(&sandbox);
    }
    let log = kvstore.logs("refused a connection");
    assert!(log.contains("kvstore.sock") && log.contains("from=user "), "{log}");
    let mut stream = connect(&sandbox);
    write_message(&mut stream, b"GET / HTTP/1.1");
    is_closed(stream);
    kvstore.logs("the peer sent a malformed message");
    serves(&sandbox);
}

#[test]
fn half_a_frame() {
    let Ensemble { sandbox, registry: _registry, mut kvstore } = ensemble();
    let (_, hello) = initiator(&sandbox, "half");
    let mut stream = connect(&sandbox);
    stream.write_all(&u16::try_from(hello.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&hello[..hello.len() / 2]).unwrap();
    serves(&sandbox);
    drop(stream);
    kvstore.logs("the connection broke during the handshake");
    // After the handshake too.
    let mut stream = authenticated(&sandbox, "half");
    stream.write_all(&[0, 0, 1]).unwrap();
    serves(&sandbox);
    drop(stream);
    let log = kvstore.logs("the connection ended within a frame");
    assert!(log.contains("half"), "{log}");
    serves(&sandbox);
}

#[test]
fn a_frame_that_claims_4_gib() {
    let Ensemble { sandbox, registry: _registry, mut kvstore } = ensemble();
    serves(&sandbox);
    let before_kib = memory_kib(kvstore.id());
    let mut stream = connect(&sandbox);
    stream.write_all(&[0xff; 4]).unwrap();
    is_closed(stream);
    kvstore.logs("a handshake message claims 65535 bytes");

    let mut stream = authenticated(&sandbox, "boaster");
    stream.write_all(&u32::MAX.to_be_bytes()).unwrap();
    stream.write_all(&[0; 64]).unwrap();
    is_closed(stream);
    let log = kvstore.logs("the peer broke the protocol");
    assert!(log.contains("boaster"), "{log}");
    serves(&sandbox);
    let grown_kib = memory_kib(kvstore.id()).saturating_sub(before_kib);
    assert!(grown_kib < MEMORY_SLACK_KIB, "it has grown by {grown_kib} KiB");
}

#[test]
fn a_hello_and_then_silence() {
    let Ensemble { sandbox, registry: _registry, mut kvstore } = ensemble();
    let (_, hello) = initiator(&sandbox, "silent");
    let silent: Vec<UnixStream> = (0..20)
        .map(|_| {
            let mut stream = connect(&sandbox);
            write_message(&mut stream, &hello);
            stream
        })
        .collect();
    serves(&sandbox);
    let log = kvstore.logs("no handshake within");
    assert!(log.contains("silent"), "{log}");
    silent.into_iter().for_each(is_closed);
    serves(&sandbox);
}
