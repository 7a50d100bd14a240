//! One connection as the rest of the program holds it: from the moment somebody wants to send to the peer, over the
//! time when it stands, to its end. What is sent before it stands waits in its outbox.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::{
    Dispatch, alive,
    inflight::{InFlight, PendingReply},
    pump,
};
use crate::{
    address::Address,
    error::NotSent,
    handshake::{PeerIdentity, Session},
    id::ServerId,
    message::Caller,
    transport::Stream,
    wire::{
        assembly::Assembly,
        calls::Outcome,
        limits::Limits,
        outbox::{Outbox, Outgoing},
    },
};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock is held comes from a user's type; what is behind the lock stays consistent, because
    // such types are only called outside of changes.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The clock of deadlines. Tokio's, so that tests which pause it see one time everywhere.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// See the module.
pub(crate) struct Link {
    server: ServerId,
    is_initiator: bool,
    /// Of what comes in.
    pub(super) max_message_bytes: u64,
    peer: OnceLock<(PeerIdentity, Address)>,
    pub(super) outbox: Mutex<Outbox>,
    pub(super) in_flight: Mutex<InFlight>,
    pub(super) assembly: Mutex<Assembly>,
    /// There is something to write.
    pub(super) writer: Arc<Notify>,
    /// The earliest deadline has changed.
    pub(super) deadlines: Notify,
    pub(super) is_closed: AtomicBool,
    pub(super) closed: Notify,
    /// The writer has bytes in hand.
    pub(super) is_writing: AtomicBool,
    pub(super) idle: Notify,
    pub(super) received_bytes: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    /// When something came in.
    pub(super) heard: LastTime,
    /// When the writer began with what it has in hand, or the peer took some of it.
    pub(super) taken: LastTime,
    keep_alive: Duration,
}

/// When something happened last, to the millisecond.
pub(super) struct LastTime {
    began: Instant,
    after_ms: AtomicU64,
}

impl LastTime {
    fn new(now: Instant) -> Self {
        Self { began: now, after_ms: AtomicU64::new(0) }
    }

    pub(super) fn is_now(&self, now: Instant) {
        let after = now.saturating_duration_since(self.began);
        self.after_ms.store(after.as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.after_ms.load(Ordering::Relaxed))
    }
}

/// What there is to say about a connection.
#[derive(Debug, Clone)]
pub(crate) struct LinkInfo {
    pub peer: PeerIdentity,
    pub address: Address,
    pub is_initiator: bool,
    pub calls_out: usize,
    pub calls_in: usize,
    pub received_bytes: u64,
    pub sent_bytes: u64,
}

impl Link {
    /// A connection to `server` that does not stand yet.
    pub(crate) fn new(server: ServerId, is_initiator: bool, limits: &Limits) -> Arc<Self> {
        let writer = Arc::new(Notify::new());
        Arc::new(Self {
            server,
            is_initiator,
            max_message_bytes: limits.max_message_bytes,
            peer: OnceLock::new(),
            outbox: Mutex::new(Outbox::new(limits)),
            in_flight: Mutex::new(InFlight::new(limits.max_in_flight, Arc::clone(&writer))),
            assembly: Mutex::new(Assembly::new(limits)),
            writer,
            deadlines: Notify::new(),
            is_closed: AtomicBool::new(false),
            closed: Notify::new(),
            is_writing: AtomicBool::new(false),
            idle: Notify::new(),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            heard: LastTime::new(now()),
            taken: LastTime::new(now()),
            keep_alive: limits.keep_alive,
        })
    }

    /// Starts what watches over deadlines. On a thread with a `LocalSet`, as all that follows.
    pub(crate) fn start(self: &Arc<Self>) {
        tokio::task::spawn_local(pump::watch_deadlines(Arc::clone(self)));
    }

    /// The connection stands. If it was closed before it did, its tasks end at once and say so to `dispatch`.
    pub(crate) fn establish(
        self: &Arc<Self>,
        session: Session,
        address: Address,
        stream: Stream,
        dispatch: Arc<dyn Dispatch>,
    ) {
        let limits = session.peer.limits;
        let peer = session.peer.clone();
        if self.peer.set((session.peer, address)).is_err() {
            return;
        }
        let mut outbox = lock(&self.outbox);
        outbox.open(limits, now());
        self.tell_writer(outbox);
        let Stream { reader, writer, .. } = stream;
        let caller = Caller { server: peer.server, incarnation: peer.incarnation, trace: None };
        let end = pump::CloseAtEnd::new(Arc::clone(self), dispatch);
        tokio::task::spawn_local(pump::read(end, caller, reader));
        // Its polls of replies must not be cut short in the middle of a batch.
        tokio::task::spawn_local(tokio::task::unconstrained(pump::write(Arc::clone(self), writer)));
        self.writer.notify_one();
        self.heard.is_now(now());
        tokio::task::spawn_local(alive::watch_peer(Arc::clone(self), self.keep_alive));
    }

    /// The server at the other end.
    pub(crate) fn server(&self) -> &ServerId {
        &self.server
    }

    /// Who the other end has proved to be, once the connection stands.
    pub(crate) fn peer(&self) -> Option<&PeerIdentity> {
        self.peer.get().map(|(peer, _)| peer)
    }

    /// The address at which the other end was reached, if this side has opened the connection and it stands.
    pub(crate) fn reached_at(&self) -> Option<&Address> {
        self.peer.get().filter(|_| self.is_initiator).map(|(_, address)| address)
    }

    /// Whether it stands, and the peer should have been heard on it lately but has not been.
    pub(crate) fn is_quiet(&self) -> bool {
        let silence = now().saturating_duration_since(self.heard.last());
        self.peer.get().is_some() && silence / 3 > self.keep_alive / 2
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// What there is to say about it, once it stands.
    pub(crate) fn info(&self) -> Option<LinkInfo> {
        let (peer, address) = self.peer.get()?;
        // One lock at a time: elsewhere they are taken in the other order.
        let calls_out = lock(&self.outbox).in_flight();
        let calls_in = lock(&self.in_flight).len();
        Some(LinkInfo {
            peer: peer.clone(),
            address: address.clone(),
            is_initiator: self.is_initiator,
            calls_out,
            calls_in,
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
        })
    }

    /// Ends it, now: every call gets its outcome, and later ones are told `why`.
    pub(crate) fn close(&self, why: NotSent) {
        let mut outbox = lock(&self.outbox);
        outbox.close(why);
        let is_first = !self.is_closed.swap(true, Ordering::AcqRel);
        self.tell_writer(outbox);
        if !is_first {
            return;
        }
        self.writer.notify_one();
        self.deadlines.notify_one();
        self.closed.notify_waiters();
        self.idle.notify_waiters();
    }

    /// Lets go of the outbox, and wakes whom its changes concern: the writer, and callers.
    pub(super) fn tell_writer(&self, mut outbox: MutexGuard<'_, Outbox>) {
        let is_news = outbox.announce_output();
        let wakers = outbox.take_wakers();
        drop(outbox);
        if is_news {
            self.writer.notify_one();
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Sends a call; the number is for [`poll_call`](Self::poll_call) and [`abandon`](Self::abandon).
    pub(crate) fn call(
        &self,
        message: Outgoing<'_>,
        now: Instant,
        deadline: Instant,
    ) -> Result<usize, NotSent> {
        let mut outbox = lock(&self.outbox);
        let (key, is_earliest) = outbox.call(message, now, deadline)?;
        self.tell_writer(outbox);
        if is_earliest {
            self.deadlines.notify_one();
        }
        Ok(key)
    }

    /// Sends a message that gets no reply.
    pub(crate) fn post(&self, message: Outgoing<'_>) -> Result<(), NotSent> {
        let mut outbox = lock(&self.outbox);
        outbox.post(message, now())?;
        self.tell_writer(outbox);
        Ok(())
    }

    /// The outcome of a call.
    pub(crate) fn poll_call(&self, key: usize, waker: &Waker) -> Poll<Outcome> {
        let mut stale = None;
        lock(&self.outbox).poll_call(key, waker, &mut stale)
    }

    /// The caller no longer waits.
    pub(crate) fn abandon(&self, key: usize) {
        let mut outbox = lock(&self.outbox);
        let mut stale = None;
        outbox.abandon(key, now(), &mut stale);
        self.tell_writer(outbox);
    }

    /// Waits until the connection has ended.
    pub(crate) async fn ended(&self) {
        let closed = self.closed.notified();
        tokio::pin!(closed);
        closed.as_mut().enable();
        if !self.is_closed() {
            closed.await;
        }
    }

    /// Waits until all that came in is answered and all answers are written, or the connection ends.
    pub(crate) async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.is_closed() || self.is_idle() {
                return;
            }
            idle.await;
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        lock(&self.in_flight).len() == 0
            && lock(&self.outbox).is_flushed()
            && !self.is_writing.load(Ordering::Acquire)
    }
}

/// Brings a post of a closed connection to its end.
pub(super) struct Finish(pub(super) Pin<Box<dyn PendingReply>>);

impl Future for Finish {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll_reply(cx, &mut BytesMut::new(), &mut Bytes::new()).map(|_| ())
    }
}
