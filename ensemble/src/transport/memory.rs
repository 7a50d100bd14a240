//! Streams inside one process, for tests and for programs that host several nodes. All that goes over a socket goes
//! over them too: handshake, frames, limits.

use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc;

use super::{Stream, TransportError};
use crate::address::Address;

/// As much as a UNIX socket takes before it blocks, about.
const BUFFER_BYTES: usize = 64 * 1024;
/// Connections that wait to be accepted; as many as a socket's listener has.
const BACKLOG: usize = 1024;

type Listeners = Mutex<HashMap<Arc<str>, mpsc::Sender<Stream>>>;

/// A set of `mem:` addresses. Nodes that are given the same one can reach each other.
#[derive(Default)]
pub struct MemoryNetwork {
    listeners: Arc<Listeners>,
}

impl MemoryNetwork {
    /// One with no listeners.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(super) fn connect(&self, name: &str, address: &Address) -> Result<Stream, TransportError> {
        let refused = || TransportError::io(address, io::ErrorKind::ConnectionRefused.into());
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let (near, far) = tokio::io::duplex(BUFFER_BYTES);
        listeners.get(name).ok_or_else(refused)?.try_send(stream(far)).map_err(|_| refused())?;
        Ok(stream(near))
    }

    pub(super) fn listen(&self, name: &Arc<str>, address: &Address) -> Result<Listener, TransportError> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if listeners.contains_key(name) {
            return Err(TransportError::InUse { address: address.clone() });
        }
        let (incoming, accepted) = mpsc::channel(BACKLOG);
        listeners.insert(Arc::clone(name), incoming);
        Ok(Listener { accepted, name: Arc::clone(name), listeners: Arc::clone(&self.listeners) })
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryNetwork")
    }
}

fn stream(end: tokio::io::DuplexStream) -> Stream {
    let (reader, writer) = tokio::io::split(end);
    Stream { reader: Box::new(reader), writer: Box::new(writer), peer_uid: None, peer_address: None }
}

pub(crate) struct Listener {
    accepted: mpsc::Receiver<Stream>,
    name: Arc<str>,
    listeners: Arc<Listeners>,
}

impl Listener {
    pub(super) async fn accept(&mut self) -> io::Result<Stream> {
        self.accepted.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    pub(super) fn address(&self) -> Address {
        Address::Memory(Arc::clone(&self.name))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}
