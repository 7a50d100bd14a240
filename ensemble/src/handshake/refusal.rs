//! Why an acceptor refuses, as it tells the peer.

use std::fmt;

use super::{
    HIGHEST_VERSION, HandshakeError, LOWEST_VERSION, MalformedError, MessageKind,
    wire::{Reader, Writer},
};
use crate::ServerId;

/// Why an acceptor refuses, as it tells the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefuseReason {
    /// It could not read what the peer sent, or not where it came.
    Malformed,
    /// It speaks no version that the peer offered.
    Version {
        /// Its lowest.
        lowest: u16,
        /// Its highest.
        highest: u16,
    },
    /// The peer did not prove that it has the cookie.
    Authentication,
    /// It is not the server that the peer wants.
    WrongServer {
        /// The one it is.
        actual: ServerId,
    },
    /// The peer has its server id, its incarnation or its nonce.
    SameIdentity,
    /// It is about to shut down.
    Draining,
    /// It has all the connections it can take.
    Overloaded,
    /// The process at the other end of the UNIX socket runs as another user.
    PeerUser {
        /// That user.
        uid: u32,
    },
    /// The peer took too long.
    TimedOut,
    /// A reason that this version does not know, by its code.
    Other(u16),
}

// On the wire for good: a code is never used for another reason.
const MALFORMED: u16 = 1;
const VERSION: u16 = 2;
const AUTHENTICATION: u16 = 3;
const WRONG_SERVER: u16 = 4;
const SAME_IDENTITY: u16 = 5;
const DRAINING: u16 = 6;
const OVERLOADED: u16 = 7;
const PEER_USER: u16 = 8;
const TIMED_OUT: u16 = 9;

/// The message that refuses a peer before a machine has anything to say: because of its user, say, or because this
/// node is draining.
pub fn refuse(reason: &RefuseReason) -> Vec<u8> {
    reason.encode()
}

impl RefuseReason {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut details = Writer::default();
        let code = match self {
            Self::Malformed => MALFORMED,
            Self::Version { lowest, highest } => {
                details.u16(*lowest).u16(*highest);
                VERSION
            }
            Self::Authentication => AUTHENTICATION,
            Self::WrongServer { actual } => {
                details.text(actual.as_str());
                WRONG_SERVER
            }
            Self::SameIdentity => SAME_IDENTITY,
            Self::Draining => DRAINING,
            Self::Overloaded => OVERLOADED,
            Self::PeerUser { uid } => {
                details.u32(*uid);
                PEER_USER
            }
            Self::TimedOut => TIMED_OUT,
            Self::Other(code) => *code,
        };
        let mut message = Writer::of(MessageKind::Refused);
        message.u16(code).bytes(&details.done());
        message.done()
    }

    /// Reads what follows the kind. Only a known reason has details that can be checked.
    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, MalformedError> {
        let reason = match reader.u16()? {
            MALFORMED => Self::Malformed,
            VERSION => Self::Version { lowest: reader.u16()?, highest: reader.u16()? },
            AUTHENTICATION => Self::Authentication,
            WRONG_SERVER => Self::WrongServer { actual: reader.server_id()? },
            SAME_IDENTITY => Self::SameIdentity,
            DRAINING => Self::Draining,
            OVERLOADED => Self::Overloaded,
            PEER_USER => Self::PeerUser { uid: reader.u32()? },
            TIMED_OUT => Self::TimedOut,
            code => return Ok(Self::Other(code)),
        };
        reader.end()?;
        Ok(reason)
    }

    /// What an acceptor says of its own failure; `own` is its id.
    pub(super) fn of(error: &HandshakeError, own: &ServerId) -> Self {
        match error {
            HandshakeError::Malformed(_) | HandshakeError::Unexpected { .. } | HandshakeError::Refused(_) => {
                Self::Malformed
            }
            HandshakeError::NoCommonVersion { .. } => {
                Self::Version { lowest: LOWEST_VERSION, highest: HIGHEST_VERSION }
            }
            HandshakeError::Authentication => Self::Authentication,
            HandshakeError::WrongServer { .. } => Self::WrongServer { actual: own.clone() },
            HandshakeError::SameServer { .. } | HandshakeError::Reflected => Self::SameIdentity,
        }
    }
}

impl fmt::Display for RefuseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("it does not understand this node"),
            Self::Version { lowest, highest } => {
                write!(f, "it speaks only the protocol versions {lowest} to {highest}")
            }
            Self::Authentication => f.write_str("this node does not have its cookie"),
            Self::WrongServer { actual } => write!(f, "it is the server {actual}"),
            Self::SameIdentity => f.write_str("it has the identity of this node"),
            Self::Draining => f.write_str("it is shutting down"),
            Self::Overloaded => f.write_str("it has too many connections"),
            Self::PeerUser { uid } => write!(f, "it does not serve the user with the number {uid}"),
            Self::TimedOut => f.write_str("this node took too long"),
            Self::Other(code) => write!(f, "for a reason of a newer version, with the code {code}"),
        }
    }
}
