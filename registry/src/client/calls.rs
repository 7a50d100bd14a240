//! The questions, and how they resolve a node's peers.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use ensemble::{
    Address, Incarnation, Node, RemoteAddr, RemoteMessage, Resolve, ResolveError, Resolving, RoleName,
    ServerId, WeakNode,
};
use tokio::time::Instant;

use super::{
    cache::{Cache, Remembered},
    error::ClientError,
    members::Follower,
    role::RoleAddr,
    watch::{self, Watcher},
};
use crate::{
    ACTOR, Announcement, Heartbeat, Revision, SERVER, ServerInfo,
    messages::{self, Lease, MAX_PAGE, Page},
    server_id,
};

/// Deadline of a lookup that a call waits for: shorter than the call's own, so that what was known before can still be
/// tried when the registry hangs.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks a registry. Cheap to clone; the clones share a cache and a connection.
///
/// As the [`Resolve`] of its node it remembers for a few seconds where servers are. What it remembers is forgotten when
/// nothing answers there, replaced when anything that it is asked shows another incarnation or other addresses, and used
/// for longer only while the registry is away.
#[derive(Clone)]
pub struct Client {
    registry: RemoteAddr,
    node: WeakNode,
    cache: Arc<Mutex<Cache>>,
    /// What the role addresses of all clones share, while there are any.
    follower: Arc<Mutex<Weak<Follower>>>,
}

impl Client {
    /// Asks the registry at that address from `node`: its route to the server [`SERVER`] is set to it.
    pub fn new(node: &Node, registry: Address) -> Self {
        node.set_route(server_id(), vec![registry]);
        Self::of(node)
    }

    /// Asks the registry that `node` knows already, because it has joined it or runs it.
    pub fn of(node: &Node) -> Self {
        Self {
            registry: node.remote(SERVER, ACTOR),
            node: node.downgrade(),
            cache: Arc::default(),
            follower: Arc::default(),
        }
    }

    /// The registry's actor, for what this client has no function for.
    pub fn remote(&self) -> &RemoteAddr {
        &self.registry
    }

    /// Announces the client's own node.
    ///
    /// # Errors
    /// When the registry refuses, or cannot be asked.
    pub async fn announce(&self, server: Announcement) -> Result<Lease, ClientError> {
        Ok(self.registry.send(messages::Announce::new(server)).await??)
    }

    /// Renews the lease of the client's own node, within `timeout`.
    ///
    /// # Errors
    /// When the registry refuses, or cannot be asked.
    pub async fn heartbeat(
        &self,
        id: &ServerId,
        incarnation: Incarnation,
        timeout: Duration,
    ) -> Result<Heartbeat, ClientError> {
        let message = messages::Heartbeat::new(id.clone(), incarnation);
        Ok(self.registry.clone().with_timeout(timeout).send(message).await??)
    }

    /// Takes a server out, or only one incarnation of it; says whether there was one. Without an incarnation, a node
    /// that names itself withdraws itself. Another server must not answer any more.
    ///
    /// # Errors
    /// When the registry refuses, or cannot be asked.
    pub async fn withdraw(
        &self,
        id: &ServerId,
        incarnation: Option<Incarnation>,
    ) -> Result<bool, ClientError> {
        Ok(self.registry.send(messages::Withdraw::new(id.clone(), incarnation)).await??)
    }

    /// One server.
    ///
    /// # Errors
    /// When the registry knows no such server, or cannot be asked.
    pub async fn lookup(&self, id: &ServerId) -> Result<ServerInfo, ClientError> {
        let found = self.registry.send(messages::Lookup { id: id.clone() }).await?;
        match found {
            Some(info) => {
                self.correct([&info]);
                Ok(info)
            }
            None => {
                self.cache().forget(id);
                Err(ClientError::UnknownServer(id.clone()))
            }
        }
    }

    /// The servers with a role, in the order of their ids. That there is none is no error.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub async fn by_role(&self, role: &RoleName) -> Result<Vec<ServerInfo>, ClientError> {
        self.pages(|after| messages::ByRole { role: role.clone(), after, limit: MAX_PAGE }).await
    }

    /// All servers, in the order of their ids.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub async fn all(&self) -> Result<Vec<ServerInfo>, ClientError> {
        self.pages(|after| messages::All { after, limit: MAX_PAGE }).await
    }

    /// All servers, in the order of their ids, and the revision from which [`watch_from`](Self::watch_from) goes on.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub async fn snapshot(&self) -> Result<(Vec<ServerInfo>, Revision), ClientError> {
        watch::snapshot(&self.registry).await
    }

    /// Follows what changes: a snapshot first, and then each change in its order.
    pub fn watch(&self) -> Watcher {
        Watcher::new(self.registry.clone(), None)
    }

    /// As [`watch`](Self::watch), but from a revision on that is known already, without a snapshot; one comes only
    /// when the changes since that revision are no longer kept.
    pub fn watch_from(&self, revision: Revision) -> Watcher {
        Watcher::new(self.registry.clone(), Some(revision))
    }

    /// The servers with a role, to send to. Text that is no name is an error of each send.
    ///
    /// The node must find servers through this client, as one that has [joined](crate::Join) or is
    /// [connected](crate::connect) does.
    ///
    /// # Panics
    /// When this thread has no tokio runtime.
    pub fn role(&self, role: impl AsRef<str>) -> RoleAddr {
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        let following = follower.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Follower::start(self.watch(), self.node.clone(), Arc::clone(&self.cache)));
            *follower = Arc::downgrade(&started);
            started
        });
        RoleAddr::new(self.node.clone(), role.as_ref(), following)
    }

    async fn pages<M>(&self, ask: impl Fn(Option<ServerId>) -> M) -> Result<Vec<ServerInfo>, ClientError>
    where
        M: RemoteMessage<Result = Page>,
    {
        let mut servers: Vec<ServerInfo> = Vec::new();
        loop {
            let after = servers.last().map(|info| info.id.clone());
            let page = self.registry.send(ask(after)).await?;
            let is_last = !page.more || page.servers.is_empty();
            self.correct(&page.servers);
            servers.extend(page.servers);
            if is_last {
                return Ok(servers);
            }
        }
    }

    /// Where a server was when the registry was last heard of, if that is followed.
    fn followed(&self, server: &ServerId) -> Option<Vec<Address>> {
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner).upgrade()?;
        follower.addresses(server)
    }

    /// A moved or restarted server is not to be looked for where it was.
    fn correct<'a>(&self, servers: impl IntoIterator<Item = &'a ServerInfo>) {
        let (now, mut cache) = (Instant::now(), self.cache());
        for info in servers {
            cache.correct(now, &info.id, info.incarnation, &info.addresses);
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Nothing that can panic in the middle of a change happens under the lock.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn find(&self, server: &ServerId) -> Result<Vec<Address>, ResolveError> {
        let remembered = self.cache().get(Instant::now(), server);
        if let Remembered::Fresh(addresses) = remembered {
            return Ok(addresses);
        }
        let asked = self.registry.clone().with_timeout(RESOLVE_TIMEOUT);
        match asked.send(messages::Lookup { id: server.clone() }).await {
            Ok(Some(info)) => {
                self.cache().learn(Instant::now(), server, info.incarnation, &info.addresses);
                Ok(info.addresses)
            }
            Ok(None) => {
                self.cache().forget(server);
                Err(ResolveError::Unknown)
            }
            Err(cause) => match remembered {
                Remembered::Stale(addresses) => {
                    tracing::info!(%server, %cause, "the registry is away; using the address from before");
                    Ok(addresses)
                }
                _ => self.followed(server).ok_or(ResolveError::Unavailable),
            },
        }
    }
}

impl Resolve for Client {
    fn resolve<'a>(&'a self, server: &'a ServerId) -> Resolving<'a> {
        Box::pin(self.find(server))
    }

    fn failed(&self, server: &ServerId) {
        self.cache().forget(server);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?})", self.registry)
    }
}
