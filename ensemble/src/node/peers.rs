//! Who this node is connected to: connections that come in, and those it opens when there is something to send.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::timeout;

use super::{core::Core, failing::Failing, race::race};
use crate::{
    address::Address,
    connection::{self, Failed, Link, LinkInfo, lock, now},
    error::{ConnectFailure, NotSent},
    handshake::{HandshakeError, RefuseReason, Session},
    id::{Incarnation, ServerId},
    resolve::ResolveError,
    transport::{Listener, Stream, TransportError},
};

/// How long a listener pauses when the system gives it no connection (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long one of a server's addresses is tried alone before the next one is tried as well: what leads nowhere must
/// not use up the deadline of the call that waits.
const HEAD_START: Duration = Duration::from_millis(500);

/// How long a peer is given to take the news that it is refused.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// A server, and the connection over which it is sent to.
pub(super) struct Peer {
    pub(super) server: ServerId,
    link: Mutex<Option<Arc<Link>>>,
    failing: Mutex<Failing>,
    /// The start of the server that is to be sent to, where that has been said.
    start: Mutex<Option<Incarnation>>,
}

impl Peer {
    fn new(server: ServerId) -> Self {
        Self { server, link: Mutex::default(), failing: Mutex::default(), start: Mutex::default() }
    }

    /// Whether a connection leads to the start of the server that is to be sent to, as far as is known.
    fn may_use(&self, link: &Link) -> bool {
        let start = *lock(&self.start);
        start.zip(link.peer()).is_none_or(|(start, peer)| peer.incarnation == start)
    }

    /// The connection, if there is one that has not ended.
    pub(super) fn current(&self) -> Option<Arc<Link>> {
        lock(&self.link).as_ref().filter(|link| !link.is_closed()).cloned()
    }
}

/// Below this many, peers that nobody needs any more are left where they are.
const MIN_SWEEP: usize = 64;

#[derive(Default)]
struct ById {
    peers: HashMap<ServerId, Arc<Peer>>,
    /// With so many, those that nobody needs are forgotten.
    sweep_at: usize,
}

impl ById {
    /// Addresses come and go without a connection: what they leave behind stays below what is in use.
    fn sweep(&mut self) {
        if self.peers.len() < self.sweep_at.max(MIN_SWEEP) {
            return;
        }
        self.peers.retain(|_, peer| Arc::strong_count(peer) > 1 || lock(&peer.link).is_some());
        self.sweep_at = 2 * self.peers.len();
    }
}

#[derive(Default)]
pub(super) struct Peers {
    by_id: Mutex<ById>,
    /// Where servers are that no resolver is asked for.
    routes: Mutex<HashMap<ServerId, Vec<Address>>>,
    /// All connections that stand, also those that nothing is sent over.
    links: Mutex<Vec<Arc<Link>>>,
    handshakes: AtomicUsize,
}

impl Peers {
    pub(super) fn get(&self, server: &ServerId) -> Arc<Peer> {
        let mut by_id = lock(&self.by_id);
        if let Some(peer) = by_id.peers.get(server) {
            return Arc::clone(peer);
        }
        by_id.sweep();
        let peer = Arc::new(Peer::new(server.clone()));
        by_id.peers.insert(server.clone(), Arc::clone(&peer));
        peer
    }

    fn known_peer(&self, server: &ServerId) -> Option<Arc<Peer>> {
        lock(&self.by_id).peers.get(server).cloned()
    }

    /// What is sent from now on goes to one of these addresses, also if there is a connection to another.
    pub(super) fn set_route(&self, server: ServerId, addresses: Vec<Address>) {
        if let Some(peer) = self.known_peer(&server) {
            lock(&peer.failing).forget();
            let mut current = lock(&peer.link);
            let leads_elsewhere =
                |link: &Arc<Link>| link.reached_at().is_some_and(|address| !addresses.contains(address));
            if current.as_ref().is_some_and(leads_elsewhere) {
                *current = None;
            }
        }
        lock(&self.routes).insert(server, addresses);
    }

    /// See [`Node::started_anew`](super::Node::started_anew).
    pub(super) fn started_anew(&self, server: &ServerId, incarnation: Incarnation) {
        let Some(peer) = self.known_peer(server) else { return };
        *lock(&peer.start) = Some(incarnation);
        lock(&peer.failing).forget();
        let other = self.latest_link(&peer);
        let mut current = lock(&peer.link);
        if current.as_ref().is_some_and(|link| !peer.may_use(link)) {
            *current = other;
        }
    }

    /// The last connection with a peer that came about, stands, and leads where it should.
    fn latest_link(&self, peer: &Peer) -> Option<Arc<Link>> {
        let links = lock(&self.links);
        let leads_there =
            |link: &&Arc<Link>| *link.server() == peer.server && !link.is_closed() && peer.may_use(link);
        links.iter().rev().find(leads_there).cloned()
    }

    fn route(&self, server: &ServerId) -> Option<Vec<Address>> {
        lock(&self.routes).get(server).cloned()
    }

    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        lock(&self.links).clone()
    }

    pub(super) fn infos(&self) -> Vec<LinkInfo> {
        self.links().iter().filter_map(|link| link.info()).collect()
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        lock(&self.by_id).peers.len()
    }

    #[cfg(test)]
    pub(super) fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::Acquire)
    }

    /// Forgets a connection, and its peer when nobody holds an address there. Another connection of the peer's takes
    /// its place, if there is one: the only way, perhaps, to a node that does not listen.
    pub(super) fn closed(&self, link: &Link) {
        lock(&self.links).retain(|other| !std::ptr::eq(&**other, link));
        let Some(peer) = self.known_peer(link.server()) else { return };
        let other = self.latest_link(&peer);
        let mut current = lock(&peer.link);
        if current.as_ref().is_some_and(|current| std::ptr::eq(&**current, link)) {
            *current = other;
        }
        drop(current);
        drop(peer);
        let mut by_id = lock(&self.by_id);
        let is_unused = |peer: &mut Arc<Peer>| Arc::strong_count(peer) == 1 && lock(&peer.link).is_none();
        if by_id.peers.get_mut(link.server()).is_some_and(is_unused) {
            by_id.peers.remove(link.server());
        }
    }

    pub(super) fn close_all(&self, why: &NotSent) {
        for link in self.links() {
            link.close(why.clone());
        }
        let peers: Vec<Arc<Peer>> = lock(&self.by_id).peers.values().cloned().collect();
        for peer in peers {
            let link = lock(&peer.link).take();
            if let Some(link) = link {
                link.close(why.clone());
            }
        }
    }
}

/// The connection to send over; one is opened if there is none. What is sent meanwhile waits in it.
pub(super) fn link_to(core: &Arc<Core>, peer: &Peer) -> Arc<Link> {
    let mut current = lock(&peer.link);
    if let Some(link) = current.as_ref().filter(|link| !link.is_closed()) {
        return Arc::clone(link);
    }
    let link = Link::new(peer.server.clone(), true, &core.limits);
    *current = Some(Arc::clone(&link));
    drop(current);
    let opening = Opening { core: Arc::clone(core), link: Arc::clone(&link), why_not: NotSent::ShuttingDown };
    if !core.is_stopped() {
        // Dropped where the thread has stopped, which closes the connection too.
        core.arbiter.spawn(opening.run());
    }
    link
}

/// A connection that is being opened. Dropping it gives it up.
struct Opening {
    core: Arc<Core>,
    link: Arc<Link>,
    why_not: NotSent,
}

impl Drop for Opening {
    fn drop(&mut self) {
        if self.link.peer().is_none() {
            self.link.close(self.why_not.clone());
            self.core.peers.closed(&self.link);
        }
    }
}

impl Opening {
    async fn run(mut self) {
        let Self { core, link, why_not } = &mut self;
        link.start();
        let reached = tokio::select! {
            reached = reach(core, link.server()) => reached,
            () = link.ended() => return,
        };
        match reached {
            Ok((session, address, stream)) => {
                tracing::debug!(peer = %link.server(), %address, "connected");
                lock(&core.peers.links).push(Arc::clone(link));
                let dispatch = Arc::clone(core);
                link.establish(session, address, stream, dispatch);
            }
            Err(why) => {
                tracing::debug!(peer = %link.server(), %why, "could not connect");
                *why_not = why;
            }
        }
    }
}

type Reached = Result<(Session, Address, Stream), NotSent>;

async fn reach(core: &Core, server: &ServerId) -> Reached {
    let peer = core.peers.get(server);
    if let Some(addresses) = core.peers.route(server) {
        return attempt(core, &peer, &addresses).await;
    }
    let resolver = core.resolver().ok_or(NotSent::UnknownServer)?;
    let resolve = async || {
        resolver.resolve(server).await.map_err(|why| match why {
            ResolveError::Unknown => NotSent::UnknownServer,
            ResolveError::Unavailable => NotSent::NotResolved,
        })
    };
    let addresses = resolve().await?;
    // Nothing is tried, so nothing speaks against what the resolver says.
    if let Some(why) = lock(&peer.failing).verdict(&addresses, now()) {
        return Err(why);
    }
    let why = match attempt(core, &peer, &addresses).await {
        Err(why @ NotSent::Unreachable(_)) => why,
        other => return other,
    };
    // What was known may be out of date: the server may have moved.
    resolver.failed(server);
    match resolve().await {
        Ok(fresh) if fresh != addresses => attempt(core, &peer, &fresh).await,
        _ => Err(why),
    }
}

/// Tries to reach a peer, unless that has just failed.
async fn attempt(core: &Core, peer: &Peer, addresses: &[Address]) -> Reached {
    if let Some(why) = lock(&peer.failing).verdict(addresses, now()) {
        return Err(why);
    }
    let reached = try_all(core, &peer.server, addresses).await;
    let mut failing = lock(&peer.failing);
    match &reached {
        Ok(_) => failing.forget(),
        Err(why) => failing.failed(addresses, why.clone(), now()),
    }
    reached
}

async fn try_all(core: &Core, server: &ServerId, addresses: &[Address]) -> Reached {
    let attempt = async |address: &Address| {
        let (session, stream) = try_one(core, server, address).await?;
        Ok((session, address.clone(), stream))
    };
    let attempts = addresses.iter().map(attempt).collect();
    race(attempts, HEAD_START, NotSent::Unreachable(ConnectFailure::NoAddress), more_telling).await
}

/// The one of two failures that says more of the server; the later one if both say as much.
fn more_telling(earlier: NotSent, later: NotSent) -> NotSent {
    let rank = |why: &NotSent| match why {
        NotSent::Unreachable(ConnectFailure::Protocol | ConnectFailure::WrongServer) => 1,
        NotSent::Unreachable(_) => 0,
        // A server was there and answered.
        _ => 2,
    };
    if rank(&earlier) > rank(&later) { earlier } else { later }
}

async fn try_one(core: &Core, server: &ServerId, address: &Address) -> Result<(Session, Stream), NotSent> {
    let unreachable = |failure| Err(NotSent::Unreachable(failure));
    let mut stream = match timeout(core.limits.connect_timeout, core.transports.connect(address)).await {
        Err(_) => return unreachable(ConnectFailure::TimedOut),
        Ok(Err(cause)) => {
            tracing::debug!(peer = %server, %address, %cause, "could not connect");
            return unreachable(connect_failure(&cause));
        }
        Ok(Ok(stream)) => stream,
    };
    let wanted = Some(server.clone());
    let handshake = connection::connect(&mut stream, core.local(), &core.cookie, wanted);
    match timeout(core.limits.handshake_timeout, handshake).await {
        Err(_) => unreachable(ConnectFailure::TimedOut),
        Ok(Err(cause)) => {
            let chain = error_chain(&cause);
            tracing::warn!(peer = %server, %address, cause = %chain, "the handshake failed");
            Err(handshake_failure(cause))
        }
        Ok(Ok(session)) => Ok((session, stream)),
    }
}

fn connect_failure(cause: &TransportError) -> ConnectFailure {
    match cause {
        TransportError::Io { source, .. } => ConnectFailure::Io(source.kind()),
        TransportError::PlainTcp { .. } => ConnectFailure::PlainTcp,
        _ => ConnectFailure::Scheme,
    }
}

fn handshake_failure(cause: Failed) -> NotSent {
    match cause {
        Failed::Handshake(HandshakeError::Authentication) => NotSent::NotAuthenticated,
        Failed::PeerUser(uid) => NotSent::Rejected(RefuseReason::PeerUser { uid }),
        Failed::Handshake(HandshakeError::Refused(reason)) => match reason {
            RefuseReason::WrongServer { .. } => NotSent::Unreachable(ConnectFailure::WrongServer),
            RefuseReason::Authentication => NotSent::NotAuthenticated,
            reason => NotSent::Rejected(reason),
        },
        Failed::Handshake(HandshakeError::WrongServer { .. }) => {
            NotSent::Unreachable(ConnectFailure::WrongServer)
        }
        Failed::Io(cause) => NotSent::Unreachable(ConnectFailure::Io(cause.kind())),
        Failed::Handshake(_) | Failed::TooLong(_) | Failed::Random => {
            NotSent::Unreachable(ConnectFailure::Protocol)
        }
    }
}

/// An error and its causes in one line, for the log.
pub(super) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Takes connections until the node stops listening.
pub(super) async fn listen(core: Arc<Core>, mut listener: Listener) {
    let address = listener.address();
    let stop = core.stop_listening.notified();
    tokio::pin!(stop);
    stop.as_mut().enable();
    if !core.is_running() {
        return;
    }
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => return,
        };
        match accepted {
            Ok(stream) => {
                tokio::task::spawn_local(welcome(Arc::clone(&core), stream, address.clone()));
            }
            Err(cause) => {
                tracing::warn!(%address, %cause, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Handshaking<'a>(&'a AtomicUsize);

impl Drop for Handshaking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn welcome(core: Arc<Core>, mut stream: Stream, address: Address) {
    let limits = &core.limits;
    let count = core.peers.handshakes.fetch_add(1, Ordering::AcqRel);
    let handshaking = Handshaking(&core.peers.handshakes);
    // To be told why, a peer must be let say hello first. There is a limit to that too.
    if count >= limits.max_handshakes.saturating_mul(2) {
        if core.may_warn() {
            tracing::warn!(%address, from = %stream.from(), "dropped a connection: too many have not authenticated");
        }
        return;
    }
    let connections = lock(&core.peers.links).len().saturating_add(count);
    let turned_down = if !core.is_running() {
        Some(RefuseReason::Draining)
    } else if count >= limits.max_handshakes || connections >= limits.max_connections {
        Some(RefuseReason::Overloaded)
    } else {
        None
    };
    let mut claimed = None;
    let handshake = connection::accept(&mut stream, core.local(), &core.cookie, turned_down, &mut claimed);
    let ended = tokio::select! {
        ended = timeout(limits.handshake_timeout, handshake) => ended,
        () = core.until_stopped() => return,
    };
    let session = match ended {
        Ok(Ok(session)) => session,
        failed => {
            let (cause, reason) = match failed {
                Ok(Err(cause @ Failed::TooLong(_))) => (error_chain(&cause), Some(RefuseReason::Malformed)),
                // The peer has been told, or cannot be.
                Ok(Err(cause)) => (error_chain(&cause), None),
                _ => {
                    let limit = limits.handshake_timeout.as_secs_f32();
                    (format!("no handshake within {limit} s"), Some(RefuseReason::TimedOut))
                }
            };
            let peer = claimed.as_ref().map_or("unknown", ServerId::as_str);
            if core.may_warn() {
                tracing::warn!(%address, peer, from = %stream.from(), %cause, "refused a connection");
            }
            if let Some(reason) = reason {
                turn_down(&mut stream, &reason).await;
            }
            return;
        }
    };
    let server = session.peer.server.clone();
    tracing::debug!(peer = %server, %address, from = %stream.from(), "accepted a connection");
    let link = Link::new(server.clone(), false, limits);
    link.start();
    adopt(&core, &server, &link, &session);
    lock(&core.peers.links).push(Arc::clone(&link));
    drop(handshaking);
    let dispatch = Arc::clone(&core);
    link.establish(session, address, stream, dispatch);
    // The node may have gone after the last look, and then has not seen this connection.
    if core.is_stopped() {
        link.close(NotSent::ShuttingDown);
    }
}

/// Tells a peer why it is refused, if it takes that in time.
async fn turn_down(stream: &mut Stream, reason: &RefuseReason) {
    match timeout(REFUSAL_TIMEOUT, connection::refuse(stream, reason)).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => tracing::debug!(%cause, "the peer went before it was told"),
        Err(_) => tracing::debug!("the peer does not take that it is refused"),
    }
}

/// A connection that came in is the one to send over, unless there is one to the same start of the server already, and
/// that is not silent: the network may have lost its end.
///
/// A connection to another start of it stays open: whoever knows the cookie may have begun a second server under the
/// id of one that runs, and must not be able to cut that one's calls short. When the other start is dead, its
/// connection ends by itself.
fn adopt(core: &Core, server: &ServerId, link: &Arc<Link>, session: &Session) {
    let peer = core.peers.get(server);
    lock(&peer.failing).forget();
    let mut current = lock(&peer.link);
    let keep = current.as_ref().is_some_and(|other| {
        let same_start = other.peer().is_none_or(|known| known.incarnation == session.peer.incarnation);
        !other.is_closed() && same_start && !other.is_quiet()
    });
    if !keep {
        *current = Some(Arc::clone(link));
        *lock(&peer.start) = None;
    }
}

/// See [`Node::probe`](super::Node::probe).
pub(super) async fn probe(core: &Core, server: &ServerId, address: &Address) -> Result<Incarnation, NotSent> {
    try_one(core, server, address).await.map(|(session, _)| session.peer.incarnation)
}

/// See [`Node::lost`](super::Node::lost).
pub(super) async fn lost(core: Weak<Core>, server: ServerId, incarnation: Incarnation) {
    let is_wanted = |link: &Arc<Link>| {
        let peer = link.peer().filter(|_| !link.is_closed());
        peer.is_some_and(|peer| peer.server == server && peer.incarnation == incarnation)
    };
    while let Some(link) = core.upgrade().and_then(|core| core.peers.links().into_iter().find(is_wanted)) {
        link.ended().await;
    }
}

#[cfg(test)]
mod tests;
