//! How a node is made.

use std::sync::Arc;

use actix_rt::Arbiter;
use thiserror::Error;

use super::{
    control::{self, NODE_ACTOR},
    core::{self, Core, CoreParts},
    handle::Node,
    peers,
};
use crate::{
    address::Address,
    cookie::{Cookie, CookieError},
    handshake::LimitError,
    home::{Home, HomeError},
    id::{ActorName, NameError, RoleName, ServerId},
    transport::{MemoryNetwork, TransportError, Transports},
    wire::limits::Limits,
};

/// Why a node does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its id or one of its roles is no name.
    #[error("a node cannot have that name or role")]
    Name(#[from] NameError),
    /// There is no home.
    #[error("the home directory cannot be used")]
    Home(#[from] HomeError),
    /// There is no cookie.
    #[error("there is no cookie to authenticate with")]
    Cookie(#[from] CookieError),
    /// It cannot listen where it should.
    #[error("the node cannot listen")]
    Listen(#[from] TransportError),
    /// A limit is so low that no peer would accept it.
    #[error("a limit of the node is too low")]
    Limits(#[from] LimitError),
    /// It would tell others to reach it at an address that only means "everywhere on this machine".
    #[error("others cannot reach the node at {address}: announce the address at which they do (--announce)")]
    Unreachable {
        /// The address.
        address: Address,
    },
    /// This thread runs no actix system.
    #[error("a node must be started on a thread with an actix system")]
    NoSystem,
}

/// Makes a [`Node`]; begun with [`Node::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct NodeBuilder {
    server: Result<ServerId, NameError>,
    roles: Vec<Result<RoleName, NameError>>,
    listen: Vec<Address>,
    announce: Vec<Address>,
    cookie: Option<Cookie>,
    home: Option<Home>,
    limits: Limits,
    transports: Transports,
}

impl NodeBuilder {
    pub(super) fn new(server: Result<ServerId, NameError>) -> Self {
        Self {
            server,
            roles: Vec::new(),
            listen: Vec::new(),
            announce: Vec::new(),
            cookie: None,
            home: None,
            limits: Limits::default(),
            transports: Transports::default(),
        }
    }

    /// Adds a role: what the server is for.
    pub fn role(mut self, role: impl AsRef<str>) -> Self {
        self.roles.push(RoleName::new(role));
        self
    }

    /// Adds an address to listen at. Without any, the node can call and not be called by those it has not called.
    ///
    /// One that means all of a machine's (`tcp:0.0.0.0:7700`, `tcp:[::]:7700`) tells nobody where the node is: it
    /// needs [`announce`](Self::announce) too.
    pub fn listen(mut self, address: Address) -> Self {
        self.listen.push(address);
        self
    }

    /// Adds an address at which others are to reach the node, where that is not the one it listens at.
    pub fn announce(mut self, address: Address) -> Self {
        self.announce.push(address);
        self
    }

    /// Sets the secret of the ensemble. Without it, the one in the home directory is read.
    pub fn cookie(mut self, cookie: Cookie) -> Self {
        self.cookie = Some(cookie);
        self
    }

    /// Sets the home directory. Without it, it is found as the command line finds it ([`Home::resolve`]).
    pub fn home(mut self, home: Home) -> Self {
        self.home = Some(home);
        self
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Allows `tcp:` addresses beyond this machine. What goes over them is authenticated when the connection is made,
    /// but neither encrypted nor protected after that.
    pub fn allow_plain_tcp(mut self, allow: bool) -> Self {
        self.transports.allow_plain_tcp = allow;
        self
    }

    /// Allows `mem:` addresses of that network.
    pub fn memory(mut self, network: Arc<MemoryNetwork>) -> Self {
        self.transports.memory = Some(network);
        self
    }

    /// Whether an address to listen at has been given.
    pub fn has_listen(&self) -> bool {
        !self.listen.is_empty()
    }

    /// The node's id.
    ///
    /// # Errors
    /// When the text it was begun with is no server id.
    pub fn server(&self) -> Result<ServerId, NameError> {
        self.server.clone()
    }

    /// The home directory: the one that was set, or else the one of the command line.
    ///
    /// # Errors
    /// When none can be found.
    pub fn resolve_home(&self) -> Result<Home, HomeError> {
        match &self.home {
            Some(home) => Ok(home.clone()),
            None => Home::resolve(None),
        }
    }

    /// Starts the node on this thread, which runs its connections from now on.
    ///
    /// Actors that are exported from the same thread are reached without a change of threads; others cost one.
    ///
    /// # Errors
    /// When a name is none, a limit is too low, there is no cookie, an address cannot be listened at, or there is no actix system.
    pub async fn start(self) -> Result<Node, StartError> {
        let server = self.server?;
        let roles = self.roles.into_iter().collect::<Result<Vec<_>, _>>()?;
        let arbiter = Arbiter::try_current().ok_or(StartError::NoSystem)?;
        core::peer_limits(&self.limits).check()?;
        let (home, cookie) = match (self.home, self.cookie) {
            (home, Some(cookie)) => (home, cookie),
            (home, None) => {
                let home = home.map_or_else(|| Home::resolve(None), Ok)?;
                let cookie = Cookie::load(&home.cookie())?;
                (Some(home), cookie)
            }
        };
        let mut listeners = Vec::new();
        for address in &self.listen {
            listeners.push(self.transports.listen(address).await?);
        }
        let addresses: Vec<Address> = if self.announce.is_empty() {
            listeners.iter().map(crate::transport::Listener::address).collect()
        } else {
            self.announce
        };
        if let Some(address) = addresses.iter().find(|address| address.is_wildcard()) {
            return Err(StartError::Unreachable { address: address.clone() });
        }
        let parts = CoreParts {
            server,
            roles,
            home,
            cookie,
            limits: self.limits,
            transports: self.transports,
            arbiter,
        };
        let core = Core::new(parts);
        core.set_addresses(addresses);
        let exported = control::exports(&core);
        let name = ActorName::new(NODE_ACTOR)?;
        let exported = exported.into_exported(name).expect("its messages are named apart");
        core.exports.insert(exported).expect("it is the first");
        for listener in listeners {
            tracing::info!(server = %core.server, address = %listener.address(), "listening");
            tokio::task::spawn_local(peers::listen(Arc::clone(&core), listener));
        }
        Ok(Node::new(core))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> NodeBuilder {
        Node::builder("server").cookie(Cookie::generate().unwrap()).allow_plain_tcp(true)
    }

    #[actix::test]
    async fn an_address_that_nobody_can_reach_is_not_announced() {
        for everywhere in ["tcp:0.0.0.0:0", "tcp:[::]:0", "tcp:[::ffff:0.0.0.0]:0"] {
            let everywhere: Address = everywhere.parse().unwrap();
            let listening = builder().listen(everywhere.clone());
            let refused = listening.clone().start().await;
            assert!(matches!(refused, Err(StartError::Unreachable { .. })), "{everywhere}");
            let refused = listening.clone().announce(everywhere).start().await;
            assert!(matches!(refused, Err(StartError::Unreachable { .. })));
            let here: Address = "tcp:192.0.2.1:7700".parse().unwrap();
            let node = listening.announce(here.clone()).start().await.unwrap();
            assert_eq!(node.addresses(), [here]);
        }
    }
}
