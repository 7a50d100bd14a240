//! A live way to send to an exported actor, with actix's verbs.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::{
    core::Core,
    exports::MAILBOX_CAPACITY,
    invoke::recipient_of,
    manage::{Ping, Shutdown},
    peers::{Peer, link_to},
    span::{CallSpan, Parts},
    terminated::{Termination, terminated},
};
use crate::{
    connection::{Dispatched, Link, PendingReply, now},
    error::{CallError, Failure, NotSent, Refusal, Unknown},
    id::{ActorName, MAX_NAME_BYTES, NameError, Reference},
    message::{RemoteMessage, with_short_tail},
    trace::TraceContext,
    wire::{frame::Trace, outbox::Outgoing, status::Status},
};

thread_local! {
    /// Where messages are written before they are copied into a connection's buffer.
    static SCRATCH: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// A scratch buffer that has grown beyond this is let go of.
const SCRATCH_KEPT_BYTES: usize = 1 << 20;

/// What a request can carry: 49 days.
const MAX_TIMEOUT: Duration = Duration::from_millis(u32::MAX as u64);

#[derive(Clone)]
struct Target {
    peer: Arc<Peer>,
    actor: ActorName,
    is_local: bool,
}

/// A live way to send to a [`Reference`]: an actor of this node or of any other.
///
/// Made by [`Node::remote`](super::Node::remote). Messages sent through one `RemoteAddr` (or a clone of it) arrive in
/// the order in which they were sent, as long as the connection holds; two that were made apart do not wait for each
/// other. Connections are opened when there is something to send, and again after they have been lost.
#[derive(Clone)]
pub struct RemoteAddr {
    core: Arc<Core>,
    target: Result<Target, NameError>,
    lane: u64,
    timeout: Duration,
    trace: Option<TraceContext>,
}

impl RemoteAddr {
    pub(super) fn new(core: Arc<Core>, reference: Result<Reference, NameError>) -> Self {
        let target = reference.map(|Reference { server, actor }| Target {
            is_local: server == core.server,
            peer: core.peers.get(&server),
            actor,
        });
        let timeout = core.limits.call_timeout.min(MAX_TIMEOUT);
        Self { core, target, lane: fresh_lane(), timeout, trace: None }
    }

    /// The same, with another deadline for its calls than the node's default; 49 days at most.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// The same, for messages that belong to a trace: its context travels with each, and the receiving actor finds it in the
    /// [`Caller`](crate::Caller) that [`RemoteMessage::received_from`] gets.
    #[must_use]
    pub fn with_trace(mut self, trace: TraceContext) -> Self {
        self.trace = Some(trace);
        self
    }

    /// What it refers to; an error when it was made from text that is no name.
    ///
    /// # Errors
    /// As [`ServerId::new`](crate::ServerId::new) and [`ActorName::new`].
    pub fn reference(&self) -> Result<Reference, NameError> {
        let target = self.target.as_ref().map_err(Clone::clone)?;
        Ok(Reference::new(target.peer.server.clone(), target.actor.clone()))
    }

    fn target(&self) -> Result<&Target, NotSent> {
        self.target.as_ref().map_err(|why| NotSent::BadName(why.clone()))
    }

    /// Sends a message, for a reply. It is on its way when this returns, also when the future is never polled; dropping
    /// the future cancels the call if the actor has not begun it.
    ///
    /// While the peer has no room, the message waits for it, in its order and until its deadline.
    /// At the own node, an actor with 16,384 messages that it has not answered is overloaded, and refuses more.
    pub fn send<M: RemoteMessage>(&self, message: M) -> CallFuture<M> {
        let (state, span) = match self.target() {
            Ok(target) => {
                let span = self.span::<M>(target, false);
                let entered = span.enter();
                let state = if target.is_local {
                    self.send_here(target, message, Some(now() + self.timeout))
                } else {
                    let link = link_to(&self.core, &target.peer);
                    call_over(&link, &target.actor, self.lane, self.wire_trace(), &message, self.timeout)
                };
                drop(entered);
                (state, span)
            }
            Err(why) => (State::Failed(Some(why.into())), CallSpan::NONE),
        };
        CallFuture { state, span, message: PhantomData }
    }

    fn wire_trace(&self) -> Option<Trace> {
        self.trace.map(TraceContext::to_wire)
    }

    /// The span of a message at its sender's side.
    fn span<M: RemoteMessage>(&self, target: &Target, is_post: bool) -> CallSpan {
        CallSpan::of_call(is_post, || Parts {
            from: &self.core.server,
            to: &target.peer.server,
            actor: &target.actor,
            message: M::NAME,
            trace: self.trace,
        })
    }

    fn send_here<M: RemoteMessage>(
        &self,
        target: &Target,
        mut message: M,
        deadline: Option<Instant>,
    ) -> State<M> {
        if !self.core.is_running() {
            return State::refused(Refusal::ShuttingDown);
        }
        let Some(exported) = self.core.exports.get(target.actor.as_str().as_bytes()) else {
            return State::refused(Refusal::NoSuchActor);
        };
        let typed = exported.invoke(M::NAME.as_bytes()).and_then(recipient_of::<M>);
        let Some(recipient) = typed else {
            return self.deliver_here(target, &message, deadline);
        };
        if !recipient.connected() {
            return State::refused(exported.refusal());
        }
        // No connection's window bounds what comes from here.
        if exported.load.count() >= MAILBOX_CAPACITY {
            return State::refused(Refusal::Overloaded);
        }
        message.received_from(&self.core.caller(self.trace));
        let request = recipient.send(message);
        let entered = exported.load.enter();
        State::Here(Box::pin(async move {
            let _entered = entered;
            by(deadline, async { request.await.map_err(|_| Failure::Died.into()) }).await
        }))
    }

    /// For what has no actix handler: pings, shutdowns, and messages that the actor does not take.
    fn deliver_here<M: RemoteMessage>(
        &self,
        target: &Target,
        message: &M,
        deadline: Option<Instant>,
    ) -> State<M> {
        let payload = match with_payload(message, |payload, tail| {
            payload.extend_from_slice(&tail);
            payload.split().freeze()
        }) {
            Ok(payload) => payload,
            Err(why) => return State::Failed(Some(why.into())),
        };
        let caller = self.core.caller(self.trace);
        let dispatched =
            self.core.deliver(&caller, target.actor.as_str().as_bytes(), M::NAME.as_bytes(), &payload);
        State::Here(Box::pin(async move {
            let reply = async move {
                match dispatched {
                    Dispatched::Settled(status) => outcome::<M>(status, &Bytes::new()),
                    Dispatched::Pending(reply) => {
                        let (status, bytes) = LocalReply { reply, payload: BytesMut::new() }.await;
                        outcome::<M>(status, &bytes)
                    }
                }
            };
            by(deadline, reply).await
        }))
    }

    /// Sends a message without waiting for room or a reply.
    ///
    /// # Errors
    /// When the message was certainly not sent: the queue to the peer is full, say. That it was taken does not mean
    /// that it arrives.
    pub fn try_send<M: RemoteMessage>(&self, message: M) -> Result<(), CallError> {
        let target = self.target()?;
        let span = self.span::<M>(target, true);
        let _entered = span.enter();
        if target.is_local {
            // It is in the mailbox already; the task only keeps it from being cancelled.
            return match self.send_here(target, message, None) {
                State::Failed(Some(why)) => Err(why),
                State::Here(call) => {
                    let is_kept = self.core.arbiter.spawn(async move { drop(call.await) });
                    if is_kept { Ok(()) } else { Err(NotSent::ShuttingDown.into()) }
                }
                _ => Ok(()),
            };
        }
        let link = link_to(&self.core, &target.peer);
        with_payload(&message, |payload, tail| {
            link.post(Outgoing {
                actor: &target.actor,
                message: M::NAME,
                trace: self.wire_trace(),
                lane: self.lane,
                payload,
                tail,
            })
        })??;
        Ok(())
    }

    /// Sends a message and forgets it. What cannot be sent is dropped, and the log says so.
    pub fn do_send<M: RemoteMessage>(&self, message: M) {
        if let Err(why) = self.try_send(message) {
            let to = self.reference().map_or_else(|_| "a bad name".to_owned(), |to| to.to_string());
            tracing::warn!(%to, message = M::NAME, %why, "dropped a message");
        }
    }

    /// Asks whether the actor is alive.
    pub fn ping(&self) -> CallFuture<Ping> {
        self.send(Ping)
    }

    /// Asks the actor to stop; see [`Shutdown`].
    pub fn shutdown(&self) -> CallFuture<Shutdown> {
        self.send(Shutdown)
    }

    /// Watches the actor: ends when it does, when its server shuts down or when the connection to it is lost, and at once
    /// when it is not there. Exactly one notice comes of each watch. It is on its way when this returns.
    ///
    /// What is watched is one start of the actor: when it is started again, the watch has ended. Watch the actor `node` for the
    /// server as a whole.
    ///
    /// # Errors
    /// When the address was made from text that is no name.
    pub fn terminated(&self) -> Result<Termination, NameError> {
        Ok(terminated(&self.core, self.reference()?))
    }

    /// Waits until the connection to the server has ended; returns at once when there is none.
    pub async fn disconnected(&self) {
        let Ok(target) = &self.target else { return };
        let Some(link) = target.peer.current() else { return };
        link.ended().await;
    }
}

/// A number that no other sender of this process has.
pub(super) fn fresh_lane() -> u64 {
    static LANES: AtomicU64 = AtomicU64::new(1);
    LANES.fetch_add(1, Ordering::Relaxed)
}

/// Sends a call over that connection, whether or not it is the one that others are sent over.
pub(super) fn send_over<M: RemoteMessage>(
    link: &Arc<Link>,
    actor: &ActorName,
    lane: u64,
    message: &M,
    timeout: Duration,
) -> CallFuture<M> {
    let state = call_over(link, actor, lane, None, message, timeout);
    CallFuture { state, span: CallSpan::NONE, message: PhantomData }
}

fn call_over<M: RemoteMessage>(
    link: &Arc<Link>,
    actor: &ActorName,
    lane: u64,
    trace: Option<Trace>,
    message: &M,
    timeout: Duration,
) -> State<M> {
    let now = now();
    let sent = with_payload(message, |payload, tail| {
        let outgoing = Outgoing { actor, message: M::NAME, trace, lane, payload, tail };
        link.call(outgoing, now, now + timeout)
    });
    match sent {
        Ok(Ok(key)) => State::Sent(Sent { link: Arc::clone(link), key, is_over: false }),
        Ok(Err(why)) | Err(why) => State::Failed(Some(why.into())),
    }
}

impl fmt::Debug for RemoteAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reference() {
            Ok(reference) => write!(f, "RemoteAddr({reference})"),
            Err(why) => write!(f, "RemoteAddr({why})"),
        }
    }
}

/// Runs `use_it` on the bytes of `message`, in the thread's scratch buffer, and on the tail that it has besides.
fn with_payload<M: RemoteMessage, T>(
    message: &M,
    use_it: impl FnOnce(&mut BytesMut, Bytes) -> T,
) -> Result<T, NotSent> {
    const {
        assert!(
            !M::NAME.is_empty() && M::NAME.len() <= MAX_NAME_BYTES,
            "a message's name has 1 to 100 bytes"
        );
    }
    // Taken out, so that a message whose serialisation sends a message finds an (empty) buffer too.
    let mut scratch = SCRATCH.take();
    scratch.clear();
    let result = match message.encode(&mut scratch) {
        Ok(()) => {
            let tail = with_short_tail(&mut scratch, 0, message.tail());
            Ok(use_it(&mut scratch, tail))
        }
        Err(cause) => {
            tracing::error!(message = M::NAME, %cause, "a message cannot be serialised");
            Err(NotSent::NotEncodable)
        }
    };
    if scratch.capacity() <= SCRATCH_KEPT_BYTES {
        SCRATCH.set(scratch);
    }
    result
}

/// The outcome of a call at its own node, or that of its deadline.
async fn by<T>(
    deadline: Option<Instant>,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    match deadline {
        None => call.await,
        Some(at) => tokio::time::timeout_at(at.into(), call).await.unwrap_or(Err(Unknown::Deadline.into())),
    }
}

fn outcome<M: RemoteMessage>(status: Status, bytes: &Bytes) -> Result<M::Result, CallError> {
    match status {
        Status::Done => M::decode_result(bytes).map_err(|cause| {
            tracing::warn!(message = M::NAME, %cause, "a result has another form than its message promises");
            Failure::ReplyMalformed.into()
        }),
        Status::Refused(why) => Err(why.into()),
        // The receiver keeps the same deadline, and may be the first to notice.
        Status::Failed(Failure::Cancelled) => Err(Unknown::Deadline.into()),
        Status::Failed(why) => Err(why.into()),
    }
}

/// A call that is with a connection. Dropping it gives it up.
struct Sent {
    link: Arc<Link>,
    key: usize,
    is_over: bool,
}

impl Drop for Sent {
    fn drop(&mut self) {
        if !self.is_over {
            self.link.abandon(self.key);
        }
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, CallError>> + Send>>;

enum State<M: RemoteMessage> {
    Sent(Sent),
    Here(Boxed<M::Result>),
    Failed(Option<CallError>),
}

impl<M: RemoteMessage> State<M> {
    fn refused(why: Refusal) -> Self {
        Self::Failed(Some(why.into()))
    }
}

/// A call under way; its output is the actor's result.
#[must_use = "the call is cancelled when this is dropped"]
pub struct CallFuture<M: RemoteMessage> {
    state: State<M>,
    span: CallSpan,
    message: PhantomData<fn(M)>,
}

// Nothing in it is pinned in place.
impl<M: RemoteMessage> Unpin for CallFuture<M> {}

impl<M: RemoteMessage> Future for CallFuture<M> {
    type Output = Result<M::Result, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let _entered = this.span.enter();
        let result = match &mut this.state {
            State::Sent(sent) => {
                let reply = ready!(sent.link.poll_call(sent.key, cx.waker()));
                sent.is_over = true;
                reply.and_then(|(status, bytes)| outcome::<M>(status, &bytes))
            }
            State::Here(call) => ready!(call.as_mut().poll(cx)),
            State::Failed(why) => Err(why.take().expect("a future is not polled after it is ready")),
        };
        // The call's number may mean another call from now on.
        this.state = State::Failed(None);
        this.span.ended_with(result.as_ref().err());
        Poll::Ready(result)
    }
}

impl<M: RemoteMessage> fmt::Debug for CallFuture<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallFuture({})", M::NAME)
    }
}

struct LocalReply {
    reply: Pin<Box<dyn PendingReply>>,
    payload: BytesMut,
}

impl Future for LocalReply {
    type Output = (Status, Bytes);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut tail = Bytes::new();
        let status = ready!(this.reply.as_mut().poll_reply(cx, &mut this.payload, &mut tail));
        this.payload.extend_from_slice(&tail);
        Poll::Ready((status, this.payload.split().freeze()))
    }
}
