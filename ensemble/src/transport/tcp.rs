//! Plain TCP, without delay of small writes.

use std::io;

use tokio::net::{TcpListener, TcpStream};

use super::{Stream, TransportError};
use crate::address::{Address, HostPort};

pub(super) async fn connect(at: &HostPort) -> io::Result<Stream> {
    stream(TcpStream::connect((at.host(), at.port())).await?)
}

fn stream(socket: TcpStream) -> io::Result<Stream> {
    socket.set_nodelay(true)?;
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
