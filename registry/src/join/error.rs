//! Why a node could not join.

use ensemble::{Address, CallError, HomeError, Incarnation, ServerId, StartError};
use thiserror::Error;

use crate::{
    ClientError, Refusal,
    messages::{At, Denied},
};

/// Why a node could not join its ensemble, or connect to it. No node is left behind.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The node did not start. When its id runs already on this machine, that shows here: its socket is in use.
    #[error("the node could not be started")]
    Start(#[from] StartError),
    /// There is no home to find the registry or a socket in.
    #[error("the home directory cannot be used")]
    Home(#[from] HomeError),
    /// The registry does not answer.
    #[error("the registry at {registry} cannot be reached")]
    Unreachable {
        /// Where it should be.
        registry: Address,
        /// What happened.
        #[source]
        source: CallError,
    },
    /// The registry and the node do not authenticate each other.
    #[error(
        "the registry at {registry} and this node do not authenticate each other: do they have the same cookie?"
    )]
    NotAuthenticated {
        /// Where it is.
        registry: Address,
        /// What happened.
        #[source]
        source: CallError,
    },
    /// A running server has the id.
    #[error("the server {id} is running already{} (incarnation {incarnation})", At(addresses))]
    Held {
        /// The id.
        id: ServerId,
        /// Which start of it is running.
        incarnation: Incarnation,
        /// Where it listens.
        addresses: Vec<Address>,
    },
    /// The registry refuses for another reason.
    #[error("the registry at {registry} refused")]
    Refused {
        /// Where it is.
        registry: Address,
        /// Why.
        #[source]
        source: Denied,
    },
    /// The node began to shut down meanwhile. It is not announced.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The call failed in another way.
    #[error("the call to the registry at {registry} failed")]
    Call {
        /// Where it is.
        registry: Address,
        /// What happened.
        #[source]
        source: CallError,
    },
}

impl JoinError {
    pub(super) fn of(registry: Address, cause: ClientError) -> Self {
        match cause {
            ClientError::Refused(Denied::Refused(Refusal::Held { id, incarnation, addresses })) => {
                Self::Held { id, incarnation, addresses }
            }
            ClientError::Refused(source) => Self::Refused { registry, source },
            ClientError::Unreachable(source) => Self::Unreachable { registry, source },
            ClientError::NotAuthenticated(source) => Self::NotAuthenticated { registry, source },
            ClientError::Call(source) => Self::Call { registry, source },
            ClientError::UnknownServer(_) => {
                let source = CallError::NotSent(ensemble::NotSent::UnknownServer);
                Self::Unreachable { registry, source }
            }
        }
    }
}
