//! Death watch: being told once when an actor, its node or the connection to it goes. What the watched node does for
//! it is in [`watch`](super::watch).
//!
//! A watch is a call that is answered when the actor has ended. It is bound to the connection over which it went
//! out: when that ends, so does the watch. Before its deadline another call takes over, while the first still stands, so
//! that there is no moment without.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix::{Message, Recipient};
use tokio::{sync::oneshot, time::Instant};

use super::{
    core::Core,
    peers::link_to,
    remote::{CallFuture, fresh_lane, send_over},
    watch::{self, Ended, Watch},
};
use crate::{
    connection::Link,
    error::{CallError, Failure, Refusal, Unknown},
    id::{ActorName, Reference},
};

/// How long a watch stands before it is renewed at the latest.
const WATCH_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long before that it is.
const RENEWED_AHEAD: Duration = Duration::from_secs(60);

/// Why nothing is to be expected of an actor any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TerminationReason {
    /// It stopped, was shut down, or its export was taken back.
    Stopped,
    /// It panicked.
    Panicked,
    /// Its node shuts down.
    NodeShutDown,
    /// The connection to its node broke, could not be made, or was closed because the own node is dropped. Whether the
    /// actor lives is not known.
    NodeLost,
    /// Its node had no such actor when the watch arrived.
    NoSuchActor,
    /// Its node does not take the watch: [`Overloaded`](Refusal::Overloaded) when it holds as many of this
    /// node's as it may, [`UnknownMessage`](Refusal::UnknownMessage) when it runs an older version. Whether the actor
    /// lives is not known.
    NotWatched(Refusal),
}

impl fmt::Display for TerminationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the actor has stopped"),
            Self::Panicked => f.write_str("the actor has panicked"),
            Self::NodeShutDown => f.write_str("its server shuts down"),
            Self::NodeLost => f.write_str("the connection to its server is lost"),
            Self::NoSuchActor => f.write_str("the server has no such actor"),
            Self::NotWatched(why) => write!(f, "its server does not take the watch: {why}"),
        }
    }
}

/// A watched actor has come to its end, or it cannot be known any more whether it has. The actor `node` stands for its server.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Terminated {
    /// Which actor.
    pub reference: Reference,
    /// Why.
    pub reason: TerminationReason,
}

/// Ends with what becomes of a watched actor. The watch begins when this is made, also if it is never polled; dropping it ends it.
#[must_use = "the watch ends when this is dropped"]
pub struct Termination(Pin<Box<dyn Future<Output = Terminated> + Send>>);

impl Future for Termination {
    type Output = Terminated;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Terminated> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Termination")
    }
}

/// A watch whose notice goes to an actor. Dropping it ends the watch: no notice is sent after that.
#[derive(Debug)]
#[must_use = "the watch ends when this is dropped"]
pub struct WatchGuard {
    /// Never used: the watch ends when it is gone.
    _cancel: oneshot::Sender<Infallible>,
}

/// Begins to watch.
pub(super) fn terminated(core: &Arc<Core>, reference: Reference) -> Termination {
    if reference.server == core.server { here(core, reference) } else { there(core, reference) }
}

/// Begins to watch for an actor of the own process.
pub(super) fn notify(core: &Arc<Core>, reference: Reference, recipient: Recipient<Terminated>) -> WatchGuard {
    let (cancel, cancelled) = oneshot::channel();
    let termination = terminated(core, reference);
    core.arbiter.spawn(async move {
        tokio::select! {
            biased;
            _ = cancelled => {}
            // At most one for each watch that this process has begun: no peer can fill the mailbox with them.
            terminated = termination => recipient.do_send(terminated),
        }
    });
    WatchGuard { _cancel: cancel }
}

fn here(core: &Core, reference: Reference) -> Termination {
    let exported = core.exports.get(reference.actor.as_str().as_bytes());
    let ended = match exported {
        _ if !core.is_running() => Err(TerminationReason::NodeShutDown),
        None => Err(TerminationReason::NoSuchActor),
        Some(exported) => Ok(watch::ended(&exported, core.draining())),
    };
    Termination(Box::pin(async move {
        let reason = match ended {
            Ok(ended) => ended.await.into(),
            Err(reason) => reason,
        };
        Terminated { reference, reason }
    }))
}

fn there(core: &Arc<Core>, reference: Reference) -> Termination {
    let link = link_to(core, &core.peers.get(&reference.server));
    let watching = Watching { link, actor: reference.actor.clone(), number: fresh_lane() };
    let first = watching.ask();
    Termination(Box::pin(async move {
        let reason = watching.wait(first).await;
        Terminated { reference, reason }
    }))
}

struct Watching {
    link: Arc<Link>,
    actor: ActorName,
    number: u64,
}

impl Watching {
    fn ask(&self) -> CallFuture<Watch> {
        let watch = Watch { number: self.number };
        send_over(&self.link, &self.actor, self.number, &watch, WATCH_TIMEOUT)
    }

    async fn wait(&self, mut asked: CallFuture<Watch>) -> TerminationReason {
        loop {
            let renew_at = Instant::now() + (WATCH_TIMEOUT - RENEWED_AHEAD);
            let outcome = tokio::select! {
                biased;
                outcome = &mut asked => outcome,
                () = tokio::time::sleep_until(renew_at) => {
                    let next = self.ask();
                    // Both stand now. The first one's answer comes first, since it was asked first.
                    match asked.await {
                        Err(CallError::Unknown(Unknown::Deadline) | CallError::Failed(Failure::Cancelled)) => {
                            asked = next;
                            continue;
                        }
                        outcome => outcome,
                    }
                }
            };
            return reason(outcome);
        }
    }
}

fn reason(outcome: Result<u8, CallError>) -> TerminationReason {
    match outcome {
        Ok(code) => Ended::from_code(code).into(),
        Err(CallError::Refused(Refusal::NoSuchActor)) => TerminationReason::NoSuchActor,
        Err(CallError::Refused(Refusal::ShuttingDown)) => TerminationReason::NodeShutDown,
        Err(CallError::Refused(why)) => TerminationReason::NotWatched(why),
        Err(CallError::Failed(_)) => TerminationReason::Stopped,
        Err(CallError::NotSent(_) | CallError::Unknown(_)) => TerminationReason::NodeLost,
    }
}

impl From<Ended> for TerminationReason {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Stopped => Self::Stopped,
            Ended::Panicked => Self::Panicked,
            Ended::NodeShutDown => Self::NodeShutDown,
        }
    }
}
