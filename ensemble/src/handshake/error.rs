//! How a handshake fails.

use thiserror::Error;

use super::{AgentError, LimitError, MAX_HANDSHAKE_BYTES, MessageKind, RefuseReason};
use crate::{NameError, ServerId};

/// Why a handshake failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer sent no message of the protocol.
    #[error("the peer sent a malformed message")]
    Malformed(#[source] MalformedError),
    /// The peer sent a message that has no place here.
    #[error("the peer sent {found} where {expected} was due")]
    Unexpected {
        /// What was due.
        expected: MessageKind,
        /// What came.
        found: MessageKind,
    },
    /// There is no protocol version that both sides speak.
    #[error("the peer speaks only the protocol versions {lowest} to {highest}")]
    NoCommonVersion {
        /// The peer's lowest.
        lowest: u16,
        /// The peer's highest.
        highest: u16,
    },
    /// The peer does not know the cookie, or what passed was changed on the way.
    #[error("the peer does not have the cookie of this ensemble")]
    Authentication,
    /// Another server answers than the wanted one.
    #[error("the server {actual} is there, not {wanted}")]
    WrongServer {
        /// The wanted one.
        wanted: ServerId,
        /// Who it is.
        actual: ServerId,
    },
    /// The peer has our own server id: it is another start of this server, or one that was given the same name.
    #[error("the peer has the server id of this node, {server}")]
    SameServer {
        /// The id.
        server: ServerId,
    },
    /// The peer has our own incarnation or nonce: it is this node, or it sends our messages back.
    #[error("the peer is this node itself, or sends back its messages")]
    Reflected,
    /// The peer refused, for a reason that no other variant tells.
    #[error("the peer refused: {0}")]
    Refused(RefuseReason),
}

/// What is wrong with a message's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MalformedError {
    /// There are more than any message has.
    #[error("the message has {bytes} bytes; the limit is {MAX_HANDSHAKE_BYTES}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// They end within the message.
    #[error("the message is cut off")]
    Truncated,
    /// They go on after the message.
    #[error("{extra} bytes are left over")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// They start with no known kind.
    #[error("there is no message of the kind {kind}")]
    UnknownKind {
        /// The first byte.
        kind: u8,
    },
    /// A hello without its mark: the peer speaks something else.
    #[error("the hello does not start as one of this protocol")]
    BadMagic,
    /// A range of versions whose lowest is above its highest.
    #[error("the versions {lowest} to {highest} are no range")]
    BadVersions {
        /// Said to be the lowest.
        lowest: u16,
        /// Said to be the highest.
        highest: u16,
    },
    /// The acceptor chose a version that was not offered.
    #[error("the version {chosen} was not offered")]
    VersionNotOffered {
        /// The one it chose.
        chosen: u16,
    },
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    NotText,
    /// A text that is no server id.
    #[error("a text is no server id")]
    BadServerId(#[source] NameError),
    /// A text that is no agent.
    #[error("a text is no agent")]
    BadAgent(#[source] AgentError),
    /// Limits below the minimum.
    #[error("the limits are too low")]
    BadLimits(#[source] LimitError),
}

/// What an acceptor makes of a handshake that failed.
#[derive(Debug, Error)]
#[error("the handshake is refused")]
pub struct Rejection {
    /// Why.
    #[source]
    pub error: HandshakeError,
    /// The message that tells the peer. Send it, then close the connection.
    pub reply: Vec<u8>,
    /// Who the peer says it is, when it came to that; for logs only.
    pub peer: Option<ServerId>,
}

impl From<MalformedError> for HandshakeError {
    fn from(error: MalformedError) -> Self {
        Self::Malformed(error)
    }
}
