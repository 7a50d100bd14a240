//! Servers that offer a store, and nodes that use them, in one process.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "these are tests, though the lint does not see it")]

use std::{collections::BTreeMap, future::Future, path::Path, sync::Arc};

use ensemble::{
    Address, Cookie, ListConnections, MemoryNetwork, NODE_ACTOR, Node, NodeBuilder, Role, RoleContext,
    RoleError,
};
use kvstore::{Client, KvStoreRole};
use tempfile::TempDir;

/// The id of the server, and the name of its actor.
pub(crate) const KVSTORE: &str = "kvstore";

/// One network of nodes that trust each other, and a directory.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    cookie: Cookie,
    memory: Option<Arc<MemoryNetwork>>,
}

impl World {
    /// Nodes that meet over UNIX sockets.
    pub(crate) fn unix() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, cookie: Cookie::generate().unwrap(), memory: None }
    }

    /// Nodes that meet in memory.
    pub(crate) fn memory() -> Self {
        Self { memory: Some(MemoryNetwork::new()), ..Self::unix() }
    }

    fn builder(&self, name: &str) -> NodeBuilder {
        let builder = Node::builder(name).cookie(self.cookie.clone());
        match &self.memory {
            Some(network) => builder.memory(network.clone()),
            None => builder,
        }
    }

    fn address(&self, name: &str) -> Address {
        match &self.memory {
            Some(_) => format!("mem:{name}").parse().unwrap(),
            None => Address::Unix(self.dir.path().join(format!("{name}.sock"))),
        }
    }

    /// The directory of the server's store.
    pub(crate) fn store_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("kvstore.db")
    }

    /// A node named `kvstore` that listens.
    pub(crate) async fn node(&self) -> Node {
        self.builder(KVSTORE).listen(self.address(KVSTORE)).start().await.unwrap()
    }

    /// A node that offers a store under the role's options.
    pub(crate) async fn server(&self, options: &[(&str, &str)]) -> Node {
        let node = self.node().await;
        start_role(&node, self.dir.path(), options).await.unwrap();
        node
    }

    /// Another node, which knows the way to the server.
    pub(crate) async fn user(&self, name: &str) -> Node {
        let node = self.builder(name).start().await.unwrap();
        node.set_route(KVSTORE.parse().unwrap(), vec![self.address(KVSTORE)]);
        node
    }
}

/// Starts the role in a node.
pub(crate) async fn start_role(node: &Node, dir: &Path, options: &[(&str, &str)]) -> Result<(), RoleError> {
    let options: BTreeMap<_, _> =
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    KvStoreRole.start(RoleContext::new(node.clone(), dir.to_owned(), options)).await
}

/// Runs `test` with a client over each kind of connection: a socket, memory, and none at all.
pub(crate) fn on_each_path<F: Future<Output = ()>>(options: &[(&str, &str)], test: impl Fn(Client) -> F) {
    actix::System::new().block_on(async {
        for world in [World::unix(), World::memory()] {
            let server = world.server(options).await;
            let user = world.user("user").await;
            test(Client::new(&user, KVSTORE)).await;
            stop(&server).await;
        }
        let world = World::unix();
        let server = world.server(options).await;
        test(Client::new(&server, KVSTORE)).await;
        stop(&server).await;
    });
}

/// Shuts a node down in good order.
pub(crate) async fn stop(node: &Node) {
    node.shutdown();
    node.run_until(std::future::pending()).await;
}

/// The bytes that a node has sent to and received from the server.
pub(crate) async fn bytes_moved(node: &Node) -> (u64, u64) {
    let own = node.remote(node.server().as_str(), NODE_ACTOR);
    let connections = own.send(ListConnections).await.unwrap();
    let to_server = connections.iter().filter(|connection| connection.peer.as_str() == KVSTORE);
    to_server.fold((0, 0), |(sent, received), it| (sent + it.sent_bytes, received + it.received_bytes))
}

/// Bytes that do not compress, the same for each seed.
pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}
