//! What the tests share: an ensemble in one process, over a network in memory.
use std::{future::Future, net::TcpListener, path::Path, sync::Arc, time::Duration};

use ensemble::{Address, Cookie, Incarnation, MemoryNetwork, Node, NodeBuilder, RoleName, ServerId};
use registry::{
    Announcement, Client, Join, JoinError, Options, SERVER,
    messages::{Announce, Denied, Lease},
    serve_with,
};
use tempfile::TempDir;

/// Longer than anything a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn id(text: &str) -> ServerId {
    ServerId::new(text).unwrap()
}

pub(crate) fn role(text: &str) -> RoleName {
    RoleName::new(text).unwrap()
}

pub(crate) fn address(name: &str) -> Address {
    format!("mem:{name}").parse().unwrap()
}

/// A network, a cookie, and a directory for the registry.
pub(crate) struct Ensemble {
    pub(crate) network: Arc<MemoryNetwork>,
    pub(crate) cookie: Cookie,
    pub(crate) dir: TempDir,
    pub(crate) options: Options,
}

impl Ensemble {
    pub(crate) fn new() -> Self {
        Self {
            network: MemoryNetwork::new(),
            cookie: Cookie::generate().unwrap(),
            dir: tempfile::tempdir().unwrap(),
            options: Options::default(),
        }
    }

    pub(crate) fn with_lease(lease_ms: u64) -> Self {
        Self { options: Options { lease_ms, ..Options::default() }, ..Self::new() }
    }

    pub(crate) fn builder(&self, server: &str) -> NodeBuilder {
        Node::builder(server).cookie(self.cookie.clone()).memory(Arc::clone(&self.network))
    }

    pub(crate) async fn registry(&self) -> Node {
        self.registry_in(self.dir.path()).await
    }

    pub(crate) async fn registry_in(&self, dir: &Path) -> Node {
        let node = self.builder(SERVER).listen(address(SERVER)).start().await.unwrap();
        serve_with(&node, dir, self.options.clone()).await.unwrap();
        node
    }

    /// The registry in the place of one that has gone; its address and its files are free once the tasks of the old
    /// one have run.
    pub(crate) async fn registry_again(&self, dir: &Path) -> Node {
        let node = until(async || self.builder(SERVER).listen(address(SERVER)).start().await.ok()).await;
        until(async || serve_with(&node, dir, self.options.clone()).await.ok()).await;
        node
    }

    /// A server that listens at the address of its name.
    pub(crate) async fn join(&self, server: &str) -> Result<Node, JoinError> {
        self.join_listening(server, server).await
    }

    pub(crate) async fn join_listening(&self, server: &str, at: &str) -> Result<Node, JoinError> {
        let builder = self.builder(server).role("test").listen(address(at));
        builder.join_at(address(SERVER)).await
    }

    /// A node that only calls.
    pub(crate) async fn console(&self) -> (Node, Client) {
        let builder = registry::console().cookie(self.cookie.clone()).memory(Arc::clone(&self.network));
        registry::connect(builder, Some(address(SERVER))).await.unwrap()
    }
}

/// What a node would announce, as of another incarnation if one is given.
pub(crate) fn announcement(server: &str, incarnation: Incarnation, at: &[&str]) -> Announcement {
    Announcement {
        id: id(server),
        incarnation,
        addresses: at.iter().map(|name| address(name)).collect(),
        roles: vec![],
        agent: None,
        pid: None,
    }
}

/// An address where connections are taken and nothing is ever said.
pub(crate) fn silent() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::tcp(listener.local_addr().unwrap());
    (listener, address)
}

/// Announces by hand, with nothing that keeps the lease.
pub(crate) async fn announce(node: &Node, announcement: Announcement) -> Result<Lease, Denied> {
    let client = Client::new(node, address(SERVER));
    client.remote().send(Announce::new(announcement)).await.unwrap()
}

/// Runs a node until it has shut down.
pub(crate) async fn end(node: Node) {
    node.run_until(async {}).await;
}

/// Waits until `check` gives something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(mut check: impl FnMut() -> F) -> T {
    let wait = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("what the test waits for happens")
}
