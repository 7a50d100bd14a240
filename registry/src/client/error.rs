//! How a question to the registry can end badly.

use ensemble::{CallError, NotSent, Refusal, ServerId, handshake::RefuseReason};
use thiserror::Error;

use crate::messages::Denied;

/// Why there is no answer from the registry, or a bad one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The registry knows no such server.
    #[error("the registry knows no server {0}")]
    UnknownServer(ServerId),
    /// The registry does not do that.
    #[error("the registry refused")]
    Refused(#[source] Denied),
    /// The registry cannot be reached, or does not answer.
    #[error("the registry cannot be reached")]
    Unreachable(#[source] CallError),
    /// The registry and this node have not authenticated each other: their cookies differ, say.
    #[error("the registry and this node do not authenticate each other")]
    NotAuthenticated(#[source] CallError),
    /// Anything else that can happen to a call.
    #[error("the call to the registry failed")]
    Call(#[source] CallError),
}

impl From<CallError> for ClientError {
    fn from(cause: CallError) -> Self {
        match &cause {
            CallError::NotSent(why) => match why {
                NotSent::NotAuthenticated
                | NotSent::Rejected(
                    RefuseReason::Authentication
                    | RefuseReason::PeerUser { .. }
                    | RefuseReason::SameIdentity
                    | RefuseReason::Version { .. },
                ) => Self::NotAuthenticated(cause),
                NotSent::Unreachable(_)
                | NotSent::Rejected(_)
                | NotSent::UnknownServer
                | NotSent::NotResolved
                | NotSent::Deadline
                | NotSent::ConnectionLost => Self::Unreachable(cause),
                _ => Self::Call(cause),
            },
            CallError::Unknown(_) => Self::Unreachable(cause),
            // A registry that starts or shuts down.
            CallError::Refused(Refusal::NoSuchActor | Refusal::ShuttingDown | Refusal::Overloaded) => {
                Self::Unreachable(cause)
            }
            CallError::Refused(Refusal::NotAuthorized) => Self::NotAuthenticated(cause),
            CallError::Refused(_) | CallError::Failed(_) => Self::Call(cause),
        }
    }
}

impl From<Denied> for ClientError {
    fn from(why: Denied) -> Self {
        Self::Refused(why)
    }
}
