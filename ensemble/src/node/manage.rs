//! What every exported actor can be asked without its author writing it: whether it is alive, and to stop.
//!
//! An actor that the export starts is managed by a future in its own context, so that a ping proves that the actor's
//! task runs, and a shutdown is `ctx.stop()`. Of an actor that was there before, only its address is known: a ping
//! tells whether its mailbox is open, and a shutdown takes back the export and with it the address; actix stops an
//! actor when its last address goes.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix::{Actor, ActorContext, Addr, AsyncContext, Message, fut::ActorFuture};
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::restart::Ending;
use crate::{
    connection::{Dispatched, PendingReply},
    error::{Failure, Refusal},
    message::RemoteMessage,
    wire::status::Status,
};

/// Commands that wait for a managed actor's attention.
const MAX_COMMANDS: usize = 256;

/// How often it is checked whether an actor that was there before its export has ended, while somebody watches it: actix
/// does not say so.
const UNMANAGED_CHECK: Duration = Duration::from_millis(200);

/// Asks an exported actor, or a node (as its actor `node`), whether it is alive.
#[derive(Debug, Clone, Copy, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
pub struct Ping;

impl RemoteMessage for Ping {
    const NAME: &'static str = "ensemble.ping";
}

/// Asks an exported actor to stop: it answers what it has accepted, and the reply says that it is gone. The node
/// itself (its actor `node`) replies at once, and is gone when its connection ends.
#[derive(Debug, Clone, Copy, Message, Serialize, Deserialize)]
#[rtype(result = "()")]
pub struct Shutdown;

impl RemoteMessage for Shutdown {
    const NAME: &'static str = "ensemble.shutdown";
}

pub(super) enum Command {
    Ping(oneshot::Sender<()>),
    Stop,
}

/// The end of an actor's management that its export holds.
pub(super) enum Manager {
    Managed {
        commands: mpsc::Sender<Command>,
        gone: Gone,
    },
    Unmanaged {
        is_connected: Box<dyn Fn() -> bool + Send + Sync>,
        /// As `is_connected`, but does not keep the actor alive.
        is_there: Arc<dyn Fn() -> bool + Send + Sync>,
        /// Dropped with the export.
        released: watch::Sender<()>,
    },
}

/// Says when the actor has ended, and how.
#[derive(Clone)]
pub(super) struct Gone(watch::Receiver<Option<Ending>>);

impl Gone {
    pub(super) async fn wait(mut self) -> Ending {
        // The sender sends when it is dropped, with the actor.
        match self.0.wait_for(Option::is_some).await {
            Ok(ending) => ending.unwrap_or(Ending::Stopped),
            Err(_) => Ending::Stopped,
        }
    }

    /// How it has ended, if it has.
    pub(super) fn ending(&self) -> Option<Ending> {
        *self.0.borrow()
    }
}

/// The end that lives in the actor's context.
pub(super) struct Managing {
    commands: mpsc::Receiver<Command>,
    gone: watch::Sender<Option<Ending>>,
}

impl Drop for Managing {
    fn drop(&mut self) {
        // An actor that panics is dropped while its thread unwinds.
        let ending = if std::thread::panicking() { Ending::Panicked } else { Ending::Stopped };
        self.gone.send_replace(Some(ending));
    }
}

pub(super) fn manage() -> (Manager, Managing) {
    let (sender, commands) = mpsc::channel(MAX_COMMANDS);
    let (gone_sender, gone) = watch::channel(None);
    let manager = Manager::Managed { commands: sender, gone: Gone(gone) };
    (manager, Managing { commands, gone: gone_sender })
}

impl<A> ActorFuture<A> for Managing
where
    A: Actor,
    A::Context: AsyncContext<A> + ActorContext,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut A, ctx: &mut A::Context, task: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(self.commands.poll_recv(task)) {
                // Whoever asked may have gone.
                Some(Command::Ping(pong)) => drop(pong.send(())),
                Some(Command::Stop) => ctx.stop(),
                None => return Poll::Ready(()),
            }
        }
    }
}

impl Manager {
    /// For an actor that was there before its export.
    pub(super) fn unmanaged<A: Actor>(addr: &Addr<A>) -> Self {
        let (mailbox, weak) = (addr.clone(), addr.downgrade());
        Self::Unmanaged {
            is_connected: Box::new(move || mailbox.connected()),
            is_there: Arc::new(move || weak.upgrade().is_some()),
            released: watch::Sender::new(()),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        match self {
            Self::Managed { commands, .. } => !commands.is_closed(),
            Self::Unmanaged { is_connected, .. } => is_connected(),
        }
    }

    /// Says when the actor has ended; nothing does for one that was there before its export.
    pub(super) fn gone(&self) -> Option<&Gone> {
        match self {
            Self::Managed { gone, .. } => Some(gone),
            Self::Unmanaged { .. } => None,
        }
    }

    /// Waits for the end of the actor, or of its export. Keeps neither alive.
    pub(super) fn ended(&self) -> Pin<Box<dyn Future<Output = Ending> + Send>> {
        match self {
            Self::Managed { gone, .. } => Box::pin(gone.clone().wait()),
            Self::Unmanaged { is_there, released, .. } => {
                let (is_there, mut released) = (Arc::clone(is_there), released.subscribe());
                Box::pin(async move {
                    // Nothing is ever sent: that something happens means that the export is gone.
                    while is_there() && timeout(UNMANAGED_CHECK, released.changed()).await.is_err() {}
                    Ending::Stopped
                })
            }
        }
    }

    /// `None` when the actor has ended.
    pub(super) fn ping(&self) -> Option<Dispatched> {
        Some(match self {
            Self::Managed { commands, .. } => {
                let (pong, ponged) = oneshot::channel();
                match commands.try_send(Command::Ping(pong)) {
                    Ok(()) => Dispatched::Pending(Box::pin(Ponged(ponged))),
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        Dispatched::Settled(Status::Refused(Refusal::Overloaded))
                    }
                    Err(mpsc::error::TrySendError::Closed(_)) => return None,
                }
            }
            Self::Unmanaged { is_connected, .. } if is_connected() => Dispatched::Settled(Status::Done),
            Self::Unmanaged { .. } => return None,
        })
    }

    /// Stops the actor, and waits until it has.
    pub(super) async fn stop(&self) {
        if let Self::Managed { commands, gone } = self {
            // An error means that it has stopped already.
            if commands.send(Command::Stop).await.is_ok() {
                gone.clone().wait().await;
            }
        }
    }
}

struct Ponged(oneshot::Receiver<()>);

impl PendingReply for Ponged {
    fn poll_reply(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut BytesMut,
        _: &mut Bytes,
    ) -> Poll<Status> {
        Pin::new(&mut self.0).poll(cx).map(|pong| match pong {
            Ok(()) => Status::Done,
            Err(_) => Status::Failed(Failure::Died),
        })
    }
}

/// A reply without content, once a task of the node's has done what was asked.
pub(super) fn reply_when(done: oneshot::Receiver<()>) -> Dispatched {
    Dispatched::Pending(Box::pin(Ponged(done)))
}
