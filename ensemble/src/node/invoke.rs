//! From bytes to an actor's mailbox and back, for one message type of one actor.
//!
//! Each message is sent through a fresh clone of the actor's address. A clone has a guaranteed place in the mailbox
//! whatever the mailbox's capacity, so messages enter it in the order in which they came, and none waits outside
//! where another could overtake it. How many there can be is bounded by the connections' windows instead.

use std::{
    any::Any,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix::{
    Actor, Addr, Handler, Message, Recipient,
    dev::{Request, ToEnvelope},
};
use bytes::{Bytes, BytesMut};
use pin_project_lite::pin_project;
use tokio::sync::Notify;

use super::{
    core::Core,
    exports::Exported,
    span::{CallSpan, Parts},
};
use crate::{
    codec::DecodeError,
    connection::{Dispatched, PendingReply},
    error::{Failure, Refusal},
    message::{Caller, RemoteMessage, with_short_tail},
    wire::status::Status,
};

/// How many messages an exported actor has not answered: the references to this, but for the export's own.
#[derive(Default)]
pub(super) struct Load {
    idle: Notify,
}

impl Load {
    pub(super) fn enter(self: &Arc<Self>) -> Entered {
        Entered(Arc::clone(self))
    }

    pub(super) fn count(self: &Arc<Self>) -> usize {
        Arc::strong_count(self) - 1
    }

    /// Waits until there is none.
    pub(super) async fn idle(self: &Arc<Self>) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            // Two that end at the same time on two threads may each take the other for the last.
            if tokio::time::timeout(IDLE_CHECK, idle).await.is_err() {
                continue;
            }
        }
    }
}

/// How often it is checked whether an actor has answered everything, besides when it seems so.
const IDLE_CHECK: Duration = Duration::from_millis(20);

/// Counts as one message until it is dropped.
pub(super) struct Entered(Arc<Load>);

impl Drop for Entered {
    fn drop(&mut self) {
        if Arc::strong_count(&self.0) <= 2 {
            self.0.idle.notify_waiters();
        }
    }
}

/// One message type of one exported actor, the types erased.
pub(super) trait Invoke: Send + Sync {
    /// Begins a call from another node.
    fn invoke(&self, payload: &Bytes, caller: &Caller, exported: &Exported, core: &Core) -> Dispatched;

    /// The actor's `Recipient` of the message type, for calls from the own node.
    fn recipient(&self) -> Box<dyn Any>;
}

/// The only implementation.
pub(super) struct Typed<A: Actor, M> {
    addr: Addr<A>,
    message: PhantomData<fn(M)>,
}

impl<A: Actor, M> Typed<A, M> {
    pub(super) fn new(addr: Addr<A>) -> Self {
        Self { addr, message: PhantomData }
    }
}

impl<A, M> Invoke for Typed<A, M>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: RemoteMessage,
    M::Result: Send,
{
    fn invoke(&self, payload: &Bytes, caller: &Caller, exported: &Exported, core: &Core) -> Dispatched {
        let span = CallSpan::of_service(|| Parts {
            from: caller.server(),
            to: &core.server,
            actor: &exported.name,
            message: M::NAME,
            trace: caller.trace(),
        });
        let entered = span.enter();
        let refused = |why| {
            span.ended("refused");
            Dispatched::Settled(Status::Refused(why))
        };
        // A panic in a message's type is that message's failure, not that of all others on the connection.
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            let mut message = M::decode(payload)?;
            message.received_from(caller);
            Ok::<M, DecodeError>(message)
        }));
        let message = match decoded {
            Ok(Ok(message)) => message,
            Ok(Err(cause)) => {
                if core.may_warn() {
                    tracing::warn!(peer = %caller.server(), message = M::NAME, %cause, "refused a malformed message");
                }
                return refused(Refusal::Malformed);
            }
            Err(_) => {
                tracing::error!(peer = %caller.server(), message = M::NAME, "a message's type panicked");
                return refused(Refusal::Malformed);
            }
        };
        if !self.addr.connected() {
            return refused(exported.refusal());
        }
        let request = self.addr.clone().send(message);
        drop(entered);
        Dispatched::Pending(Box::pin(Asked { request, span, _load: exported.load.enter() }))
    }

    fn recipient(&self) -> Box<dyn Any> {
        Box::new(self.addr.clone().recipient::<M>())
    }
}

/// The recipient behind [`Invoke::recipient`].
pub(super) fn recipient_of<M>(invoke: &dyn Invoke) -> Option<Recipient<M>>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    invoke.recipient().downcast::<Recipient<M>>().ok().map(|recipient| *recipient)
}

pin_project! {
    /// A message in an actor's mailbox. Dropping it keeps an actor that has not begun it from beginning it.
    struct Asked<A, M>
    where
        A: Actor,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message,
        M: Send,
        M: 'static,
        M::Result: Send,
    {
        #[pin]
        request: Request<A, M>,
        span: CallSpan,
        _load: Entered,
    }
}

impl<A, M> PendingReply for Asked<A, M>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: RemoteMessage,
    M::Result: Send,
{
    fn poll_reply(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        payload: &mut BytesMut,
        tail: &mut Bytes,
    ) -> Poll<Status> {
        let this = self.project();
        let _entered = this.span.enter();
        let Ok(result) = ready!(this.request.poll(cx)) else {
            this.span.ended("died");
            return Poll::Ready(Status::Failed(Failure::Died));
        };
        this.span.ended("answered");
        let start = payload.len();
        let encoded = catch_unwind(AssertUnwindSafe(|| {
            M::encode_result(&result, payload).map(|()| M::result_tail(&result))
        }));
        let cause = match encoded {
            Ok(Ok(data)) => {
                *tail = with_short_tail(payload, start, data);
                return Poll::Ready(Status::Done);
            }
            Ok(Err(cause)) => cause.to_string(),
            Err(_) => "its type panicked".to_owned(),
        };
        payload.truncate(start);
        tracing::error!(message = M::NAME, %cause, "a result cannot be serialised");
        Poll::Ready(Status::Failed(Failure::ReplyNotEncodable))
    }
}
