//! One connection as the rest of the program holds it: from the moment somebody wants to send to the peer, over the
//! time when it stands, to its end. What is sent before it stands waits in its outbox.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::BytesMut;
use tokio::sync::Notify;

use super::{
    Dispatch,
    inflight::{InFlight, PendingReply},
    pump,
};
use crate::{
    address::Address,
    error::NotSent,
    handshake::{PeerIdentity, Session},
    id::{ActorName, ServerId},
    message::Caller,
    transport::Stream,
    wire::{
        assembly::Assembly,
        limits::Limits,
        outbox::{Outbox, Outcome, Outgoing},
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
    peer: OnceLock<(PeerIdentity, Address)>,
    pub(super) outbox: Mutex<Outbox>,
    pub(super) in_flight: Mutex<InFlight>,
    pub(super) assembly: Mutex<Assembly>,
    /// There is something to write.
    pub(super) writer: Arc<Notify>,
    /// The earliest deadline has changed.
    pub(super) deadlines: Notify,
    /// There may be room in the queue.
    room: Notify,
    room_waiters: AtomicUsize,
    pub(super) is_closed: AtomicBool,
    pub(super) closed: Notify,
    /// The writer has bytes in hand.
    pub(super) is_writing: AtomicBool,
    pub(super) idle: Notify,
    pub(super) received_bytes: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
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
            peer: OnceLock::new(),
            outbox: Mutex::new(Outbox::new(limits)),
            in_flight: Mutex::new(InFlight::new(limits.max_in_flight, Arc::clone(&writer))),
            assembly: Mutex::new(Assembly::new(limits)),
            writer,
            deadlines: Notify::new(),
            room: Notify::new(),
            room_waiters: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            closed: Notify::new(),
            is_writing: AtomicBool::new(false),
            idle: Notify::new(),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
        })
    }

    /// Starts what watches over deadlines. On a thread with a `LocalSet`, as all that follows.
    pub(crate) fn start(self: &Arc<Self>) {
        tokio::task::spawn_local(pump::watch_deadlines(Arc::clone(self)));
    }

    /// The connection stands.
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
        lock(&self.outbox).open(limits, now());
        let Stream { reader, writer, .. } = stream;
        let caller = Caller { server: peer.server, incarnation: peer.incarnation };
        tokio::task::spawn_local(pump::read(Arc::clone(self), caller, reader, dispatch));
        // Its polls of replies must not be cut short in the middle of a batch.
        tokio::task::spawn_local(tokio::task::unconstrained(pump::write(Arc::clone(self), writer)));
        self.writer.notify_one();
    }

    /// The server at the other end.
    pub(crate) fn server(&self) -> &ServerId {
        &self.server
    }

    /// Who the other end has proved to be, once the connection stands.
    pub(crate) fn peer(&self) -> Option<&PeerIdentity> {
        self.peer.get().map(|(peer, _)| peer)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// What there is to say about it, once it stands.
    pub(crate) fn info(&self) -> Option<LinkInfo> {
        let (peer, address) = self.peer.get()?;
        Some(LinkInfo {
            peer: peer.clone(),
            address: address.clone(),
            is_initiator: self.is_initiator,
            calls_out: lock(&self.outbox).in_flight(),
            calls_in: lock(&self.in_flight).len(),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
        })
    }

    /// Ends it, now: every call gets its outcome, and later ones are told `why`.
    pub(crate) fn close(&self, why: NotSent) {
        let wakers = lock(&self.outbox).close(why);
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return;
        }
        wake_all(wakers);
        self.writer.notify_one();
        self.deadlines.notify_one();
        self.room.notify_waiters();
        self.closed.notify_waiters();
        self.idle.notify_waiters();
    }

    /// Wakes the writer, if there is news for it.
    pub(super) fn tell_writer(&self, mut outbox: MutexGuard<'_, Outbox>) {
        let is_news = outbox.announce_output();
        drop(outbox);
        if is_news {
            self.writer.notify_one();
        }
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

    /// As [`call`](Self::call), but waits until there is room.
    pub(crate) async fn call_when_room(
        &self,
        actor: &ActorName,
        message: &'static str,
        lane: u64,
        payload: &mut BytesMut,
        deadline: Instant,
    ) -> Result<usize, NotSent> {
        struct Waiter<'a>(&'a AtomicUsize);
        impl Drop for Waiter<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::AcqRel);
            }
        }
        self.room_waiters.fetch_add(1, Ordering::AcqRel);
        let _waiter = Waiter(&self.room_waiters);
        loop {
            let room = self.room.notified();
            let outgoing = Outgoing { actor, message, trace: None, lane, payload: &mut *payload };
            match self.call(outgoing, now(), deadline) {
                Err(NotSent::QueueFull) => {}
                other => {
                    // Whoever is next in line may find room too.
                    self.room.notify_one();
                    return other;
                }
            }
            let timed_out = tokio::time::timeout_at(deadline.into(), room).await.is_err();
            if timed_out {
                return Err(NotSent::Deadline);
            }
        }
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
        lock(&self.outbox).poll_call(key, waker)
    }

    /// The caller no longer waits.
    pub(crate) fn abandon(&self, key: usize) {
        let mut outbox = lock(&self.outbox);
        outbox.abandon(key);
        self.tell_writer(outbox);
    }

    /// Something has gone out of the queue.
    pub(super) fn made_room(&self) {
        if self.room_waiters.load(Ordering::Acquire) > 0 {
            self.room.notify_one();
        }
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

pub(super) fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

/// Brings a post of a closed connection to its end.
pub(super) struct Finish(pub(super) Pin<Box<dyn PendingReply>>);

impl Future for Finish {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll_reply(cx, &mut BytesMut::new()).map(|_| ())
    }
}
