//! Sockets, and what stands in for them: each transport gives streams and listeners of one type, so that nothing
//! above knows which it is. No framing and no authentication here.

mod memory;
mod tcp;
mod unix;

use std::{io, net::SocketAddr, sync::Arc};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

pub use memory::MemoryNetwork;

use crate::address::{Address, MAX_SOCKET_PATH_BYTES};

pub(crate) type BoxReader = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type BoxWriter = Box<dyn AsyncWrite + Send + Unpin>;

/// A stream of bytes to a peer, whatever carries it.
pub(crate) struct Stream {
    pub reader: BoxReader,
    pub writer: BoxWriter,
    /// The user at the other end, where the system says who it is.
    pub peer_uid: Option<u32>,
    /// Where the other end is, where it has a place.
    pub peer_address: Option<SocketAddr>,
}

impl Stream {
    /// What is known of the other end without believing it, for the log.
    pub(crate) fn from(&self) -> String {
        match (self.peer_address, self.peer_uid) {
            (Some(address), _) => address.to_string(),
            (None, Some(uid)) => format!("user {uid}"),
            (None, None) => "this process".to_owned(),
        }
    }
}

/// Which addresses a node may use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transports {
    /// Plain TCP to and from other machines.
    pub allow_plain_tcp: bool,
    pub memory: Option<Arc<MemoryNetwork>>,
}

/// Why a node cannot listen or connect.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Something listens there already.
    #[error("{address} is in use by a running server")]
    InUse {
        /// Where.
        address: Address,
    },
    /// The path of a UNIX socket is longer than the system takes.
    #[error(
        "the socket path {address} has {bytes} bytes; the limit is {MAX_SOCKET_PATH_BYTES}: use a shorter home or address"
    )]
    PathTooLong {
        /// Where.
        address: Address,
        /// Its length in bytes.
        bytes: usize,
    },
    /// Plain TCP beyond this machine must be allowed explicitly.
    #[error(
        "{address} is plain TCP beyond this machine, which is not encrypted and must be allowed explicitly"
    )]
    PlainTcp {
        /// Where.
        address: Address,
    },
    /// The node cannot use such addresses.
    #[error("addresses of the form {address} are not available here")]
    Scheme {
        /// Which.
        address: Address,
    },
    /// There is a file that is no socket.
    #[error("{address} exists and is no socket; remove it or choose another address")]
    NotASocket {
        /// Where.
        address: Address,
    },
    /// The system refused.
    #[error("{address} cannot be used")]
    Io {
        /// Where.
        address: Address,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl TransportError {
    fn io(address: &Address, source: io::Error) -> Self {
        Self::Io { address: address.clone(), source }
    }
}

/// Where connections come in.
pub(crate) enum Listener {
    Unix(unix::Listener),
    Tcp(tcp::Listener),
    Memory(memory::Listener),
}

impl Transports {
    fn check(&self, address: &Address) -> Result<(), TransportError> {
        match address {
            Address::Tcp(_) if !self.allow_plain_tcp && !address.is_loopback() => {
                Err(TransportError::PlainTcp { address: address.clone() })
            }
            Address::Tls(_) => Err(TransportError::Scheme { address: address.clone() }),
            _ => Ok(()),
        }
    }

    fn memory(&self, address: &Address) -> Result<&Arc<MemoryNetwork>, TransportError> {
        self.memory.as_ref().ok_or_else(|| TransportError::Scheme { address: address.clone() })
    }

    /// Opens a stream to `address`.
    pub(crate) async fn connect(&self, address: &Address) -> Result<Stream, TransportError> {
        self.check(address)?;
        match address {
            Address::Unix(path) => unix::connect(path).await,
            Address::Tcp(at) | Address::Tls(at) => tcp::connect(at).await,
            Address::Memory(name) => return self.memory(address)?.connect(name, address),
        }
        .map_err(|source| TransportError::io(address, source))
    }

    /// Listens at `address`.
    pub(crate) async fn listen(&self, address: &Address) -> Result<Listener, TransportError> {
        self.check(address)?;
        match address {
            Address::Unix(path) => unix::Listener::bind(path, address).map(Listener::Unix),
            Address::Tcp(at) | Address::Tls(at) => tcp::Listener::bind(at, address).await.map(Listener::Tcp),
            Address::Memory(name) => self.memory(address)?.listen(name, address).map(Listener::Memory),
        }
    }
}

impl Listener {
    /// The next connection.
    pub(crate) async fn accept(&mut self) -> io::Result<Stream> {
        match self {
            Self::Unix(listener) => listener.accept().await,
            Self::Tcp(listener) => listener.accept().await,
            Self::Memory(listener) => listener.accept().await,
        }
    }

    /// Where it listens really: with the port that the system gave.
    pub(crate) fn address(&self) -> Address {
        match self {
            Self::Unix(listener) => listener.address(),
            Self::Tcp(listener) => listener.address(),
            Self::Memory(listener) => listener.address(),
        }
    }
}
