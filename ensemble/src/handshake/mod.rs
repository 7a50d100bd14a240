//! The handshake: how two nodes that share a cookie prove it to each other, and agree on a protocol version, before
//! anything else passes between them.
//!
//! Here are pure state machines: each sees the bytes of one message, and gives those of the next. A step consumes
//! the state that it leaves, so that no message can be taken twice or out of order. Sockets, the length prefix in
//! front of each message, timeouts, nonces and the check of a UNIX peer's user are the connection's business.
//!
//! | | message | holds |
//! | --- | --- | --- |
//! | initiator to acceptor | Hello | versions, id, incarnation, nonce, wanted peer, limits, agent |
//! | acceptor to initiator | Challenge | the chosen version, id, incarnation, nonce, limits, agent |
//! | initiator to acceptor | Response | authentication code |
//! | acceptor to initiator | Accepted | authentication code |
//!
//! Instead of a Challenge or an Accepted, the acceptor may send Refused, with a reason; nothing authenticates that,
//! so it is good for logs and for giving up, but not for decisions that outlast the connection. The acceptor proves
//! itself only after the initiator has. An initiator that is not content just closes the connection.
//!
//! An authentication code is the HMAC-SHA-256, under the cookie, of a label, the direction, and both the Hello and
//! the Challenge as they were on the wire. So neither can be changed on the way: not the version, not the limits,
//! not who speaks with whom. The direction makes a code worthless when it is sent back to its maker, and both
//! nonces make it worthless in another handshake.
//!
//! It authenticates the start of a connection, not the bytes that follow: who can change what passes on a network can
//! let two nodes finish, and then speak for them. Within one machine nobody can; across machines that takes TLS.
//!
//! With TLS, the peer's certificate names its id before the first message. Then `Initiator::start` and
//! `Acceptor::new` take that id where they take the cookie now, Hello and Challenge are checked against it, the
//! codes of Response and Accepted are empty, and `transcript` is where the two kinds of proof part.
//!
//! ```
//! use ensemble::{Cookie, Incarnation, ServerId};
//! use ensemble::handshake::{Acceptor, Agent, Initiator, Local, PeerLimits};
//!
//! let local = |id: &str| -> Result<Local, Box<dyn std::error::Error>> {
//!     let limits = PeerLimits { max_frame_bytes: 1 << 16, max_message_bytes: 1 << 26, max_in_flight: 1024 };
//!     Ok(Local { server: ServerId::new(id)?, incarnation: Incarnation::fresh(), limits, agent: Agent::this() })
//! };
//! let cookie = Cookie::generate()?;
//! let (initiator, hello) = Initiator::start(local("a")?, &cookie, Some(ServerId::new("b")?), [1; 32]);
//! let (acceptor, challenge) = Acceptor::new(local("b")?, &cookie, [2; 32]).hello(&hello)?;
//! let (initiator, response) = initiator.challenge(&challenge)?;
//! let (at_acceptor, accepted) = acceptor.response(&response)?;
//! let at_initiator = initiator.accepted(&accepted)?;
//! assert_eq!(at_initiator.peer.server.as_str(), "b");
//! assert_eq!(at_acceptor.peer.server.as_str(), "a");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acceptor;
mod error;
mod identity;
mod initiator;
mod message;
mod refusal;
#[cfg(test)]
mod tests;
mod transcript;
mod wire;

pub use acceptor::{Acceptor, AcceptorChallenged};
pub use error::{HandshakeError, MalformedError, Rejection};
pub use identity::{
    Agent, AgentError, LimitError, Local, MAX_AGENT_BYTES, PeerIdentity, PeerLimits, Session,
};
pub use initiator::{Initiator, InitiatorProved};
pub use message::{HIGHEST_VERSION, LOWEST_VERSION, MAX_HANDSHAKE_BYTES, MessageKind, NONCE_BYTES, Nonce};
pub use refusal::{RefuseReason, refuse};
