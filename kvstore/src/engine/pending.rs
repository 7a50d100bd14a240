//! The answer to a call that was accepted.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::error::EngineError;

/// The answer to a call that the engine has accepted.
///
/// Dropping it does not undo the call: an accepted write is done.
#[derive(Debug)]
#[must_use = "the answer says whether the call succeeded"]
pub struct Pending<T> {
    answer: oneshot::Receiver<Answer<T>>,
}

impl<T> Future for Pending<T> {
    type Output = Result<T, EngineError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answered| match answered {
            Ok(answer) => answer.result,
            // A thread drops what it was asked only when it panics.
            Err(_) => Err(EngineError::Panicked),
        })
    }
}

/// A result on its way.
#[derive(Debug)]
struct Answer<T> {
    result: Result<T, EngineError>,
    /// The room in the queue that a large result goes on to take until it is picked up.
    _room: Option<OwnedSemaphorePermit>,
}

/// Where the answer to a call goes.
pub(super) struct Reply<T> {
    to: oneshot::Sender<Answer<T>>,
}

impl<T> Reply<T> {
    /// A reply, and the caller's end of it.
    pub(super) fn new() -> (Self, Pending<T>) {
        let (to, answer) = oneshot::channel();
        (Self { to }, Pending { answer })
    }

    /// Whether nobody waits for it any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.to.is_closed()
    }

    /// Answers; `room` is given back when the answer is picked up or its caller gone.
    pub(super) fn send(self, result: Result<T, impl Into<EngineError>>, room: Option<OwnedSemaphorePermit>) {
        let answer = Answer { result: result.map_err(Into::into), _room: room };
        // A caller that went away wants no answer.
        drop(self.to.send(answer));
    }
}
