//! The state of a node that everything shares, and how what its peers send finds the exported actors.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use actix_rt::ArbiterHandle;
use bytes::Bytes;
use tokio::{
    sync::{Notify, oneshot, watch},
    time::Instant,
};

use super::{
    control::NODE_ACTOR,
    exports::{ExportTable, Exported},
    manage::{self, Ping, Shutdown},
    peers::Peers,
    warnings::{Verdict, WINDOW, Warnings, shown},
    watch::{self as watching, Watch, Watches},
};
use crate::{
    address::Address,
    connection::{Dispatch, Dispatched, Link, now},
    cookie::Cookie,
    error::Refusal,
    handshake::{Agent, Local, PeerLimits},
    home::Home,
    id::{Incarnation, RoleName, ServerId},
    message::{Caller, RemoteMessage},
    resolve::Resolve,
    trace::TraceContext,
    transport::Transports,
    wire::{
        frame::Route,
        limits::{Limits, MAX_FRAME_BYTES},
        status::Status,
    },
};

pub(super) type Hook = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An actor that has been told to stop gets this much time for it, also when there is none left for its answers.
const STOP_TIME: Duration = Duration::from_secs(1);

const RUNNING: u8 = 0;
const DRAINING: u8 = 1;
const STOPPED: u8 = 2;

/// See the module.
pub(crate) struct Core {
    pub(super) server: ServerId,
    pub(super) incarnation: Incarnation,
    roles: RwLock<Arc<[RoleName]>>,
    pub(super) home: Option<Home>,
    pub(super) cookie: Cookie,
    pub(super) limits: Limits,
    pub(super) transports: Transports,
    /// The thread of the connections.
    pub(super) arbiter: ArbiterHandle,
    pub(super) exports: ExportTable,
    pub(super) peers: Peers,
    pub(super) resolver: RwLock<Option<Arc<dyn Resolve>>>,
    /// Where others are to reach this node.
    pub(super) addresses: RwLock<Vec<Address>>,
    /// How often its roles or addresses have changed.
    pub(super) changes: watch::Sender<u64>,
    state: AtomicU8,
    /// Becomes true when the node begins to drain.
    draining: watch::Sender<bool>,
    pub(super) watches: Watches,
    pub(super) shutdown_requested: Notify,
    pub(super) stop_listening: Notify,
    pub(super) stopped: Notify,
    /// Run when the node begins to shut down: it leaves the registry.
    pub(super) at_leave: Mutex<Vec<Hook>>,
    /// Run when its actors have stopped: stores are closed.
    pub(super) at_stop: Mutex<Vec<Hook>>,
    warnings: Warnings,
    /// Of a twin: the node that what comes in is for.
    original: Option<Weak<Core>>,
    pub(super) weak: Weak<Core>,
}

pub(super) struct CoreParts {
    pub(super) server: ServerId,
    pub(super) roles: Vec<RoleName>,
    pub(super) home: Option<Home>,
    pub(super) cookie: Cookie,
    pub(super) limits: Limits,
    pub(super) transports: Transports,
    pub(super) arbiter: ArbiterHandle,
}

impl Core {
    pub(super) fn new(parts: CoreParts) -> Arc<Self> {
        Self::with_identity(parts, Incarnation::fresh(), None)
    }

    /// The same node with connections of its own, on the thread of `arbiter`.
    pub(super) fn twin(&self, arbiter: ArbiterHandle) -> Arc<Self> {
        let parts = CoreParts {
            server: self.server.clone(),
            roles: self.roles().to_vec(),
            home: self.home.clone(),
            cookie: self.cookie.clone(),
            limits: self.limits.clone(),
            transports: self.transports.clone(),
            arbiter,
        };
        let original = self.original.clone().unwrap_or_else(|| self.weak.clone());
        Self::with_identity(parts, self.incarnation, Some(original))
    }

    fn with_identity(parts: CoreParts, incarnation: Incarnation, original: Option<Weak<Self>>) -> Arc<Self> {
        let CoreParts { server, roles, home, cookie, limits, transports, arbiter } = parts;
        Arc::new_cyclic(|weak| Self {
            server,
            incarnation,
            roles: RwLock::new(roles.into()),
            home,
            cookie,
            limits,
            transports,
            arbiter,
            exports: ExportTable::default(),
            peers: Peers::default(),
            resolver: RwLock::default(),
            addresses: RwLock::default(),
            changes: watch::Sender::new(0),
            state: AtomicU8::new(RUNNING),
            draining: watch::Sender::new(false),
            watches: Watches::default(),
            shutdown_requested: Notify::new(),
            stop_listening: Notify::new(),
            stopped: Notify::new(),
            at_leave: Mutex::default(),
            at_stop: Mutex::default(),
            warnings: Warnings::default(),
            original,
            weak: weak.clone(),
        })
    }

    /// What it says of itself in a handshake.
    pub(super) fn local(&self) -> Local {
        Local {
            server: self.server.clone(),
            incarnation: self.incarnation,
            limits: peer_limits(&self.limits),
            agent: Agent::this(),
        }
    }

    pub(super) fn addresses(&self) -> Vec<Address> {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_addresses(&self, addresses: Vec<Address>) {
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = addresses;
        self.has_changed();
    }

    pub(super) fn roles(&self) -> Arc<[RoleName]> {
        Arc::clone(&self.roles.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn add_role(&self, role: RoleName) -> bool {
        let mut roles = self.roles.write().unwrap_or_else(PoisonError::into_inner);
        if roles.contains(&role) {
            return false;
        }
        *roles = roles.iter().cloned().chain([role]).collect();
        drop(roles);
        self.has_changed();
        true
    }

    pub(super) fn remove_role(&self, role: &RoleName) -> bool {
        let mut roles = self.roles.write().unwrap_or_else(PoisonError::into_inner);
        if !roles.contains(role) {
            return false;
        }
        *roles = roles.iter().filter(|other| *other != role).cloned().collect();
        drop(roles);
        self.has_changed();
        true
    }

    fn has_changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn caller(&self, trace: Option<TraceContext>) -> Caller {
        Caller { server: self.server.clone(), incarnation: self.incarnation, trace }
    }

    pub(super) fn is_running(&self) -> bool {
        self.state.load(Ordering::Acquire) == RUNNING
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state.load(Ordering::Acquire) == STOPPED
    }

    /// Begins to drain; says whether it is the first to.
    pub(super) fn begin_draining(&self) -> bool {
        let begun = self.state.compare_exchange(RUNNING, DRAINING, Ordering::AcqRel, Ordering::Acquire);
        if begun.is_ok() {
            self.draining.send_replace(true);
        }
        begun.is_ok()
    }

    /// Says when the node begins to drain.
    pub(super) fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    pub(super) fn set_stopped(&self) {
        self.state.store(STOPPED, Ordering::Release);
        self.stopped.notify_waiters();
    }

    pub(super) async fn until_stopped(&self) {
        let stopped = self.stopped.notified();
        tokio::pin!(stopped);
        stopped.as_mut().enable();
        if !self.is_stopped() {
            stopped.await;
        }
    }

    pub(super) fn resolver(&self) -> Option<Arc<dyn Resolve>> {
        self.resolver.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs the hooks of one list, in the order in which they were added.
    pub(super) async fn run_hooks(hooks: &Mutex<Vec<Hook>>) {
        let hooks = std::mem::take(&mut *hooks.lock().unwrap_or_else(PoisonError::into_inner));
        for hook in hooks {
            hook.await;
        }
    }

    /// Hands a message over to the actor it is for.
    pub(super) fn deliver(
        &self,
        caller: &Caller,
        actor: &[u8],
        message: &[u8],
        payload: &Bytes,
    ) -> Dispatched {
        let refused = |why| Dispatched::Settled(Status::Refused(why));
        if !self.is_running() && actor != NODE_ACTOR.as_bytes() {
            return refused(Refusal::ShuttingDown);
        }
        let Some(exported) = self.exports.get(actor) else {
            let is_over = !self.is_running();
            return refused(if is_over { Refusal::ShuttingDown } else { Refusal::NoSuchActor });
        };
        if let Some(invoke) = exported.invoke(message) {
            return invoke.invoke(payload, caller, &exported, self);
        }
        match std::str::from_utf8(message).unwrap_or_default() {
            Watch::NAME => watching::begin(self, caller, &exported, payload),
            Ping::NAME => exported.manager.ping().unwrap_or_else(|| refused(exported.refusal())),
            Shutdown::NAME if actor == NODE_ACTOR.as_bytes() => {
                tracing::info!(by = %caller.server(), "asked to shut down");
                self.shutdown_requested.notify_one();
                Dispatched::Settled(Status::Done)
            }
            Shutdown::NAME => {
                tracing::info!(by = %caller.server(), actor = %exported.name, "asked to shut down an actor");
                self.shut_down_actor(exported)
            }
            _ => {
                if self.may_warn() {
                    let (actor, message) = (&exported.name, shown(message));
                    tracing::warn!(by = %caller.server(), %actor, %message, "refused an unexpected message");
                }
                refused(Refusal::UnknownMessage)
            }
        }
    }

    /// Whether to write a warning that a peer has caused: it must not be able to fill the log.
    pub(super) fn may_warn(&self) -> bool {
        let verdict = self.warnings.judge(now());
        if verdict == Verdict::LeaveOutAndReport {
            let core = self.weak.clone();
            self.arbiter.spawn(async move {
                tokio::time::sleep(WINDOW).await;
                if let Some(core) = core.upgrade() {
                    let left_out = core.warnings.take_left_out();
                    tracing::warn!(left_out, "peers cause too many warnings; some were left out");
                }
            });
        }
        verdict == Verdict::Say
    }

    fn shut_down_actor(&self, exported: Arc<Exported>) -> Dispatched {
        self.exports.remove(exported.name.as_str());
        let (done, is_done) = oneshot::channel();
        let drain = self.limits.drain_timeout;
        self.arbiter.spawn(async move {
            stop_actor(&exported, Instant::now().checked_add(drain)).await;
            drop(exported);
            if done.send(()).is_err() {
                tracing::debug!("nobody waits for the shutdown of an actor any more");
            }
        });
        manage::reply_when(is_done)
    }
}

/// What a node with these limits takes from a peer.
pub(super) fn peer_limits(limits: &Limits) -> PeerLimits {
    PeerLimits {
        max_frame_bytes: MAX_FRAME_BYTES as u32,
        max_message_bytes: limits.max_message_bytes,
        max_in_flight: limits.max_in_flight,
    }
}

/// Lets an actor answer what it has, until `deadline` if there is one, and stops it.
pub(super) async fn stop_actor(exported: &Exported, deadline: Option<Instant>) {
    if by(deadline, exported.load.idle()).await.is_none() {
        tracing::warn!(actor = %exported.name, unanswered = exported.load.count(), "stopping an actor that has not answered everything");
    }
    let deadline = deadline.map(|at| at.max(Instant::now() + STOP_TIME));
    if by(deadline, exported.manager.stop()).await.is_none() {
        tracing::error!(actor = %exported.name, "an actor does not stop");
    }
}

/// What comes of `future` before `deadline`.
pub(super) async fn by<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        None => Some(future.await),
        Some(at) => tokio::time::timeout_at(at, future).await.ok(),
    }
}

impl Dispatch for Core {
    fn dispatch(&self, peer: &Caller, route: &Route<'_>, payload: Bytes) -> Dispatched {
        let original = self.original.as_ref().map(Weak::upgrade);
        let core = match &original {
            None => self,
            Some(Some(original)) => original,
            Some(None) => return Dispatched::Settled(Status::Refused(Refusal::ShuttingDown)),
        };
        let Some(trace) = route.trace.and_then(TraceContext::from_wire) else {
            return core.deliver(peer, route.actor, route.message, &payload);
        };
        let caller = Caller { trace: Some(trace), ..peer.clone() };
        core.deliver(&caller, route.actor, route.message, &payload)
    }

    fn closed(&self, link: &Link) {
        self.peers.closed(link);
    }
}
