//! For tests: nodes that meet in memory, and a peer that does its handshake and then what the test wants, or nothing.

use std::{sync::Arc, time::Duration};

use super::{NODE_ACTOR, Node, NodeBuilder, core::peer_limits};
use crate::{
    address::Address,
    connection,
    cookie::Cookie,
    handshake::{Agent, Local},
    id::{Incarnation, ServerId},
    transport::{Listener, MemoryNetwork, Stream, Transports},
    wire::limits::Limits,
};

/// A deadline that is not what ends a call in these tests.
pub(super) const LONG: Duration = Duration::from_secs(100_000);

pub(super) struct Net {
    pub(super) cookie: Cookie,
    network: Arc<MemoryNetwork>,
}

impl Net {
    pub(super) fn new() -> Self {
        Self { cookie: Cookie::generate().unwrap(), network: MemoryNetwork::new() }
    }

    pub(super) fn transports(&self) -> Transports {
        Transports { allow_plain_tcp: false, memory: Some(Arc::clone(&self.network)) }
    }

    pub(super) fn builder(&self, name: &str) -> NodeBuilder {
        Node::builder(name).cookie(self.cookie.clone()).memory(Arc::clone(&self.network))
    }

    pub(super) async fn node(&self, name: &str, listen: Option<&str>) -> Node {
        let mut builder = self.builder(name);
        if let Some(at) = listen {
            builder = builder.listen(at.parse().unwrap());
        }
        builder.start().await.unwrap()
    }

    /// What a peer that is made by hand says of itself.
    pub(super) fn local(name: &str) -> Local {
        Local {
            server: ServerId::new(name).unwrap(),
            incarnation: Incarnation::fresh(),
            limits: peer_limits(&Limits::default()),
            agent: Agent::this(),
        }
    }

    /// A node `client`, and the other end of its connection to `server` at `mem:server`, which nobody serves.
    pub(super) async fn connected(&self) -> (Node, Stream, Listener) {
        self.connected_to(Incarnation::fresh()).await
    }

    /// As [`connected`](Self::connected), where the other end is to be that start of the server.
    pub(super) async fn connected_to(&self, incarnation: Incarnation) -> (Node, Stream, Listener) {
        let address: Address = "mem:server".parse().unwrap();
        let mut listener = self.transports().listen(&address).await.unwrap();
        let node = self.node("client", Some("mem:client")).await;
        node.set_route(ServerId::new("server").unwrap(), vec![address]);
        node.remote("server", NODE_ACTOR).try_send(super::Ping).unwrap();
        let mut stream = listener.accept().await.unwrap();
        let local = Local { incarnation, ..Self::local("server") };
        connection::accept(&mut stream, local, &self.cookie, None, &mut None).await.unwrap();
        (node, stream, listener)
    }
}
