use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    cookie::Cookie,
    handshake::refuse,
    node::Node,
    transport::{MemoryNetwork, Transports},
    wire::limits::Limits,
};

#[actix::test]
async fn who_is_too_slow_or_says_too_much_is_told() {
    let network = MemoryNetwork::new();
    let address: Address = "mem:server".parse().unwrap();
    let limits = Limits { handshake_timeout: Duration::from_millis(50), ..Limits::default() };
    let builder = Node::builder("server").cookie(Cookie::generate().unwrap()).limits(limits);
    let _node = builder.memory(Arc::clone(&network)).listen(address.clone()).start().await.unwrap();
    let transports = Transports { allow_plain_tcp: false, memory: Some(network) };
    for (said, reason) in [
        (&[][..], RefuseReason::TimedOut),
        (&[0], RefuseReason::TimedOut),
        (&[0xff, 0xff], RefuseReason::Malformed),
    ] {
        let mut stream = transports.connect(&address).await.unwrap();
        stream.writer.write_all(said).await.unwrap();
        let mut heard = BytesMut::new();
        while stream.reader.read_buf(&mut heard).await.unwrap() > 0 {}
        let message = refuse(&reason);
        assert_eq!(heard[..2], (message.len() as u16).to_be_bytes());
        assert_eq!(heard[2..], message, "{reason}");
    }
}

#[test]
fn the_most_telling_failure_counts() {
    let io = NotSent::Unreachable(ConnectFailure::Io(std::io::ErrorKind::ConnectionRefused));
    let timed_out = NotSent::Unreachable(ConnectFailure::TimedOut);
    let wrong = NotSent::Unreachable(ConnectFailure::WrongServer);
    assert_eq!(more_telling(io.clone(), timed_out.clone()), timed_out);
    assert_eq!(more_telling(timed_out.clone(), io.clone()), io);
    assert_eq!(more_telling(wrong.clone(), io), wrong);
    assert_eq!(more_telling(wrong, NotSent::NotAuthenticated), NotSent::NotAuthenticated);
    assert_eq!(more_telling(NotSent::NotAuthenticated, timed_out), NotSent::NotAuthenticated);
}
