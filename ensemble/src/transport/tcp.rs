//! Plain TCP, without delay of small writes, and with probes of peers that say nothing.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

use super::{Stream, TransportError};
use crate::address::{Address, HostPort};

/// A connection over which nothing has come for so long is probed. A peer whose machine has lost its power, or the
/// way here, says nothing of it: without probes its connection would stay for ever.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// After so many probes without an answer the connection is broken: a minute after the last sign of life.
const KEEPALIVE_PROBES: u32 = 3;

pub(super) async fn connect(at: &HostPort) -> io::Result<Stream> {
    stream(TcpStream::connect((at.host(), at.port())).await?)
}

/// The same on both sides.
fn set_up(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

fn stream(socket: TcpStream) -> io::Result<Stream> {
    set_up(&socket)?;
    let peer_address = socket.peer_addr().ok();
    let (reader, writer) = socket.into_split();
    Ok(Stream { reader: Box::new(reader), writer: Box::new(writer), peer_uid: None, peer_address })
}

pub(crate) struct Listener {
    listener: TcpListener,
    address: Address,
}

impl Listener {
    pub(super) async fn bind(at: &HostPort, address: &Address) -> Result<Self, TransportError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => TransportError::InUse { address: address.clone() },
            _ => TransportError::io(address, source),
        };
        let listener = TcpListener::bind((at.host(), at.port())).await.map_err(failed)?;
        let address = Address::tcp(listener.local_addr().map_err(failed)?);
        Ok(Self { listener, address })
    }

    pub(super) async fn accept(&mut self) -> io::Result<Stream> {
        stream(self.listener.accept().await?.0)
    }

    pub(super) fn address(&self) -> Address {
        self.address.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_peer_is_probed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (connected, accepted) = tokio::join!(TcpStream::connect(at), listener.accept());
        for socket in [connected.unwrap(), accepted.unwrap().0] {
            set_up(&socket).unwrap();
            assert!(socket.nodelay().unwrap());
            let socket = SockRef::from(&socket);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        }
    }
}
