//! How a call can end badly. The kinds matter to a caller that wants to try again: what was not sent or was refused
//! has not been executed; of what was sent the outcome may be unknown.

use std::io;

use thiserror::Error;

use crate::{handshake::RefuseReason, id::NameError};

/// Why a call has no result.
///
/// | kind | executed? | trying again |
/// | --- | --- | --- |
/// | [`NotSent`](Self::NotSent) | no | is safe |
/// | [`Unknown`](Self::Unknown) | perhaps, at most once | only if doing it twice does no harm |
/// | [`Refused`](Self::Refused) | no | is safe, and pointless for most reasons |
/// | [`Failed`](Self::Failed) | it was begun | only if doing it twice does no harm |
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// The message never left, or never arrived whole.
    #[error("the message was not sent")]
    NotSent(#[source] NotSent),
    /// The message was sent, and no reply came.
    #[error("the message was sent and its outcome is unknown")]
    Unknown(#[source] Unknown),
    /// The receiver did not hand it to the actor.
    #[error("the message was refused")]
    Refused(#[source] Refusal),
    /// The actor got it and gave no result.
    #[error("the actor gave no result")]
    Failed(#[source] Failure),
}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotSent {
    /// The address was made from text that is no name.
    #[error("the server or the actor has no valid name")]
    BadName(#[source] NameError),
    /// Nobody knows the server.
    #[error("no such server is known")]
    UnknownServer,
    /// The registry, or whatever resolves names, could not be asked.
    #[error("the registry cannot be reached")]
    NotResolved,
    /// No address of the server could be reached.
    #[error("the server cannot be reached")]
    Unreachable(#[source] ConnectFailure),
    /// The two sides did not authenticate each other, or the peer turned the connection down.
    #[error("the connection was turned down: {0}")]
    Rejected(RefuseReason),
    /// One side did not prove to the other that it has the cookie, or runs as another user.
    #[error("this node and the peer do not have the same cookie, or run as different users")]
    NotAuthenticated,
    /// The queue to the peer is at its limit.
    #[error("the queue to the server is full")]
    QueueFull,
    /// The message is longer than the peer takes.
    #[error("the message has {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// Its length in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The message's type cannot be serialised.
    #[error("the message cannot be serialised")]
    NotEncodable,
    /// The deadline passed before the message was sent whole.
    #[error("the deadline passed before the message was sent")]
    Deadline,
    /// The connection broke before the message was sent whole.
    #[error("the connection broke before the message was sent")]
    ConnectionLost,
    /// The own node is shutting down.
    #[error("this node is shutting down")]
    ShuttingDown,
}

/// Why no connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// There is no address to try.
    #[error("it has no address")]
    NoAddress,
    /// The system refused.
    #[error("{0}")]
    Io(io::ErrorKind),
    /// It took too long.
    #[error("it did not answer in time")]
    TimedOut,
    /// A plain `tcp:` address beyond this machine, which must be allowed explicitly.
    #[error("plain TCP beyond this machine is not allowed")]
    PlainTcp,
    /// The scheme of the address is not available in this node.
    #[error("the scheme of its address is not available here")]
    Scheme,
    /// What answered does not speak the protocol.
    #[error("what answered does not speak the protocol")]
    Protocol,
    /// Another server answered at the address.
    #[error("another server answers at its address")]
    WrongServer,
}

/// Why the outcome of a message is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unknown {
    /// The connection broke before the reply.
    #[error("the connection broke before the reply came")]
    ConnectionLost,
    /// The deadline passed before the reply.
    #[error("no reply came before the deadline")]
    Deadline,
}

/// Why the receiver did not hand a message to an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No actor is exported under that name (any more).
    #[error("the server has no such actor")]
    NoSuchActor,
    /// The actor does not take such a message.
    #[error("the actor does not know the message")]
    UnknownMessage,
    /// The caller may not do that.
    #[error("the caller is not authorised")]
    NotAuthorized,
    /// There is too much to do.
    #[error("the server is overloaded")]
    Overloaded,
    /// The payload is no such message.
    #[error("the message is malformed")]
    Malformed,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The actor has ended, and is about to be started again.
    #[error("the actor is being restarted")]
    Restarting,
    /// A reason of a newer version of the protocol.
    #[error("reason {0}")]
    Other(u16),
}

/// What went wrong in the actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Failure {
    /// The actor stopped or panicked before it gave a result.
    #[error("the actor stopped or panicked before it answered")]
    Died,
    /// The receiver gave up: the deadline had passed, or the caller had cancelled. A caller that still waits is told
    /// [`Unknown::Deadline`] instead.
    #[error("the call was cancelled")]
    Cancelled,
    /// The result is longer than a message may be.
    #[error("the result is longer than a message may be")]
    ReplyTooLarge,
    /// The result's type cannot be serialised.
    #[error("the result cannot be serialised")]
    ReplyNotEncodable,
    /// The result's bytes are not what the message's type promises.
    #[error("the result has another form than the message promises")]
    ReplyMalformed,
    /// A failure of a newer version of the protocol.
    #[error("failure {0}")]
    Other(u16),
}

impl From<NotSent> for CallError {
    fn from(why: NotSent) -> Self {
        Self::NotSent(why)
    }
}

impl From<Unknown> for CallError {
    fn from(why: Unknown) -> Self {
        Self::Unknown(why)
    }
}

impl From<Refusal> for CallError {
    fn from(why: Refusal) -> Self {
        Self::Refused(why)
    }
}

impl From<Failure> for CallError {
    fn from(why: Failure) -> Self {
        Self::Failed(why)
    }
}
