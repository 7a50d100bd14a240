//! The node as its program holds it.

use std::{
    fmt,
    future::Future,
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use actix::{Actor, Recipient};
use actix_rt::Arbiter;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::Instant,
};

use super::{
    builder::{NodeBuilder, StartError},
    core::{Core, by, stop_actor},
    exports::{ExportError, Exports},
    peers,
    remote::RemoteAddr,
    restart::RestartPolicy,
    supervise,
    terminated::{self, Terminated, Termination, WatchGuard},
};
use crate::{
    address::Address,
    connection::lock,
    error::NotSent,
    home::Home,
    id::{ActorName, Incarnation, NameError, Reference, RoleName, ServerId},
    resolve::Resolve,
    wire::limits::Limits,
};

/// What has been answered is written within this time, also when actors have used up the rest.
const WRITE_TIME: Duration = Duration::from_secs(1);

struct Owner(Arc<Core>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.begin_draining();
        self.0.set_stopped();
        self.0.stop_listening.notify_waiters();
        self.0.peers.close_all(&NotSent::ShuttingDown);
        drop(self.0.exports.close());
        // These often hold remote addresses, and through them the node's state.
        let resolver = self.0.resolver.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(resolver);
        for hooks in [&self.0.at_leave, &self.0.at_stop] {
            let hooks = std::mem::take(&mut *lock(hooks));
            drop(hooks);
        }
    }
}

/// A process, or a part of one, that hosts actors and is known by a server id. Cheap to clone; when the last clone is
/// dropped, the node's connections are closed at once. [`run`](Self::run) ends it in good order.
#[derive(Clone)]
pub struct Node(Arc<Owner>);

/// A node that is not kept running by it, for what lives in the node itself.
#[derive(Clone)]
pub struct WeakNode(Weak<Owner>);

impl WeakNode {
    /// The node, while it has other handles.
    pub fn upgrade(&self) -> Option<Node> {
        self.0.upgrade().map(Node)
    }
}

impl fmt::Debug for WeakNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakNode")
    }
}

impl Node {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self(Arc::new(Owner(core)))
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.0.0
    }

    /// Begins to make a node named `server`.
    pub fn builder(server: impl AsRef<str>) -> NodeBuilder {
        NodeBuilder::new(ServerId::new(server))
    }

    /// Its id.
    pub fn server(&self) -> &ServerId {
        &self.core().server
    }

    /// Which of its starts this is.
    pub fn incarnation(&self) -> Incarnation {
        self.core().incarnation
    }

    /// What it is for, now.
    pub fn roles(&self) -> Arc<[RoleName]> {
        self.core().roles()
    }

    /// Adds a role to those that it was started with; says whether it is new. Whoever keeps the node announced
    /// learns of it ([`changes`](Self::changes)).
    pub fn add_role(&self, role: RoleName) -> bool {
        self.core().add_role(role)
    }

    /// Takes a role back, as when nothing offers it any more; says whether the node had it. Whoever keeps the node announced
    /// learns of it, as of a new one.
    pub fn remove_role(&self, role: &RoleName) -> bool {
        self.core().remove_role(role)
    }

    /// Counts how often the node's roles or addresses have changed, for whoever announces them. It ends with the node.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.core().changes.subscribe()
    }

    /// Where others are to reach it.
    pub fn addresses(&self) -> Vec<Address> {
        self.core().addresses()
    }

    /// The home directory, where the node has one.
    pub fn home(&self) -> Option<&Home> {
        self.core().home.as_ref()
    }

    /// The limits it works under.
    pub fn limits(&self) -> &Limits {
        &self.core().limits
    }

    /// Makes an actor reachable under `name`, from now until it is shut down, dies, or the node ends.
    ///
    /// # Errors
    /// When the name is none or taken, a message's name is, or the node is shutting down.
    pub fn export<A: Actor>(&self, name: impl AsRef<str>, exports: Exports<A>) -> Result<(), ExportError> {
        let name = ActorName::new(name)?;
        self.core().exports.insert(exports.into_exported(name)?)
    }

    /// As [`export`](Self::export), for an actor that is started again when it ends. `make` makes it and its exports anew
    /// each time, on this thread, which must be one with an actix system.
    ///
    /// While it is started again, messages to it are refused as [`Restarting`](crate::Refusal::Restarting); a remote address
    /// finds the new start by itself. When `policy` says that it has ended for good, the log says so, and messages are refused
    /// as for an actor that never was. A panic of `make` counts as one of the actor's. An actor that is shut down
    /// from outside, or whose export is taken back, is not started again.
    ///
    /// ```
    /// # use actix::{Actor, Context, Handler, Message};
    /// # use ensemble::{Cookie, Exports, Node, RemoteMessage, Restart, RestartPolicy};
    /// # #[derive(Message, serde::Serialize, serde::Deserialize)]
    /// # #[rtype(result = "u64")]
    /// # struct Add(u64);
    /// # impl RemoteMessage for Add { const NAME: &'static str = "counter.add"; }
    /// # struct Counter(u64);
    /// # impl Actor for Counter { type Context = Context<Self>; }
    /// # impl Handler<Add> for Counter {
    /// #     type Result = u64;
    /// #     fn handle(&mut self, add: Add, _: &mut Context<Self>) -> u64 { self.0 += add.0; self.0 }
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # actix::System::new().block_on(async {
    /// # let node = Node::builder("a").cookie(Cookie::generate()?).start().await?;
    /// let policy = RestartPolicy::new(Restart::OnFailure);
    /// node.export_supervised("counter", policy, || Exports::start(Counter(0)).message::<Add>())?;
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`export`](Self::export), when the first `make` panics, or when what it exports runs already.
    pub fn export_supervised<A: Actor>(
        &self,
        name: impl AsRef<str>,
        policy: RestartPolicy,
        make: impl FnMut() -> Exports<A> + 'static,
    ) -> Result<(), ExportError> {
        supervise::start(self.core(), &ActorName::new(name)?, policy, make)
    }

    /// Whether an actor is exported under `name` and runs, or is about to be started again.
    pub fn has_actor(&self, name: impl AsRef<str>) -> bool {
        self.core().exports.get(name.as_ref().as_bytes()).is_some_and(|exported| exported.is_there())
    }

    /// Takes back an export. The actor goes on; what it has accepted is answered. Says whether there was one.
    pub fn unexport(&self, name: impl AsRef<str>) -> bool {
        let name = name.as_ref();
        name != super::NODE_ACTOR && self.core().exports.remove(name).is_some()
    }

    /// A way to send to the actor `actor` of `server`. Text that is no name is an error of each send.
    pub fn remote(&self, server: impl AsRef<str>, actor: impl AsRef<str>) -> RemoteAddr {
        let parse = || -> Result<Reference, NameError> {
            Ok(Reference::new(ServerId::new(server)?, ActorName::new(actor)?))
        };
        RemoteAddr::new(Arc::clone(self.core()), parse())
    }

    /// A way to send to what a reference names.
    pub fn remote_to(&self, reference: &Reference) -> RemoteAddr {
        RemoteAddr::new(Arc::clone(self.core()), Ok(reference.clone()))
    }

    /// Watches an actor, of this or another node; see [`RemoteAddr::terminated`].
    pub fn terminated(&self, reference: &Reference) -> Termination {
        terminated::terminated(self.core(), reference.clone())
    }

    /// As [`terminated`](Self::terminated), but the notice goes to an actor of this process as a message. Dropping the guard ends
    /// the watch.
    pub fn watch(&self, reference: &Reference, recipient: Recipient<Terminated>) -> WatchGuard {
        terminated::notify(self.core(), reference.clone(), recipient)
    }

    /// The same node once more, for what must not depend on the thread of its connections, such as keeping a lease: it
    /// has the same id and incarnation, and connections of its own, which live on this thread. It listens nowhere; what
    /// its peers send is for this node, and is refused when that has gone. Routes, the resolver and hooks are its own. It is
    /// for sending to others only: what it exports is reached by nobody, nor does it reach this node's actors.
    ///
    /// # Errors
    /// When this thread runs no actix system.
    #[doc(hidden)]
    pub fn twin(&self) -> Result<Self, StartError> {
        let arbiter = Arbiter::try_current().ok_or(StartError::NoSystem)?;
        Ok(Self::new(self.core().twin(arbiter)))
    }

    /// A handle that does not keep the node running.
    pub fn downgrade(&self) -> WeakNode {
        WeakNode(Arc::downgrade(&self.0))
    }

    /// Asks who is at `address`, over a connection of its own that ends at once: the incarnation of `server` that has
    /// authenticated there. Routes, the resolver and other connections are left alone.
    ///
    /// # Errors
    /// When nobody does, or another server.
    pub fn probe(
        &self,
        server: &ServerId,
        address: &Address,
    ) -> impl Future<Output = Result<Incarnation, NotSent>> + Send + use<> {
        let (core, server, address) = (Arc::clone(self.core()), server.clone(), address.clone());
        async move { peers::probe(&core, &server, &address).await }
    }

    /// Waits until there is no connection with that incarnation of a server; returns at once when there is none.
    pub fn lost(
        &self,
        server: &ServerId,
        incarnation: Incarnation,
    ) -> impl Future<Output = ()> + Send + use<> {
        peers::lost(Arc::downgrade(self.core()), server.clone(), incarnation)
    }

    /// Says which start of a server is the one to send to, for whoever hears of it otherwise than by a connection: a registry's
    /// client. A connection with another start is not used for what is sent from now on (it may be dead without having ended);
    /// what is under way on it goes on. That the server could not be reached a moment ago is forgotten.
    pub fn started_anew(&self, server: &ServerId, incarnation: Incarnation) {
        self.core().peers.started_anew(server, incarnation);
    }

    /// Says where a server is, so that no resolver is asked for it. A connection that was opened to another address is
    /// not used for what is sent from now on.
    pub fn set_route(&self, server: ServerId, addresses: Vec<Address>) {
        self.core().peers.set_route(server, addresses);
    }

    /// Sets who is asked where servers are.
    pub fn set_resolver(&self, resolver: Arc<dyn Resolve>) {
        *self.core().resolver.write().unwrap_or_else(PoisonError::into_inner) = Some(resolver);
    }

    /// Adds something to be done when the node begins to shut down, before it stops to listen: leaving a registry. Says
    /// whether it is in time for that; it is dropped if not.
    pub fn at_leave(&self, hook: impl Future<Output = ()> + Send + 'static) -> bool {
        let mut hooks = lock(&self.core().at_leave);
        // The hooks are taken after this has changed.
        let is_in_time = self.core().is_running();
        if is_in_time {
            hooks.push(Box::pin(hook));
        }
        is_in_time
    }

    /// Adds something to be done when its actors have stopped: closing what they used.
    pub fn at_stop(&self, hook: impl Future<Output = ()> + Send + 'static) {
        lock(&self.core().at_stop).push(Box::pin(hook));
    }

    /// Asks the node to shut down: [`run`](Self::run) then begins to drain.
    pub fn shutdown(&self) {
        self.core().shutdown_requested.notify_one();
    }

    /// Runs until the node is asked to shut down, from another node or by SIGTERM or SIGINT, and drains: it leaves the
    /// registry, answers what it has accepted (within [`Limits::drain_timeout`]), stops its actors, the last exported
    /// first, and has its answers written. Its connections end with its last handle.
    ///
    /// # Errors
    /// When the system gives no signal handlers.
    pub async fn run(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let signalled = async {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "asked to shut down");
        };
        self.run_until(signalled).await;
        Ok(())
    }

    /// As [`run`](Self::run), but with `ended` in place of the signals.
    pub async fn run_until(&self, ended: impl Future<Output = ()>) {
        let core = self.core();
        tokio::select! {
            () = core.shutdown_requested.notified() => {}
            () = ended => {}
        }
        self.drain().await;
    }

    async fn drain(&self) {
        let core = self.core();
        if !core.begin_draining() {
            return;
        }
        tracing::info!(server = %core.server, "shutting down");
        let limit = core.limits.drain_timeout;
        let deadline = Instant::now().checked_add(limit);
        if by(deadline, Core::run_hooks(&core.at_leave)).await.is_none() {
            tracing::warn!("could not leave the registry in time");
        }
        core.stop_listening.notify_waiters();
        let actors = core.exports.close();
        for exported in &actors {
            stop_actor(exported, deadline).await;
        }
        drop(actors);
        Core::run_hooks(&core.at_stop).await;
        let links = core.peers.links();
        let drained = async {
            for link in &links {
                link.drained().await;
            }
        };
        let deadline = deadline.map(|at| at.max(Instant::now() + WRITE_TIME));
        if by(deadline, drained).await.is_none() {
            tracing::warn!("some answers could not be written in time");
        }
        core.set_stopped();
        tracing::info!(server = %core.server, "stopped");
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({}, {})", self.server(), self.incarnation())
    }
}
