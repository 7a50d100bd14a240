//! What the two sides say of themselves, and what they know of each other afterwards.

use std::{fmt, sync::Arc};

use thiserror::Error;

use crate::{Incarnation, ServerId};

/// Longest name and version of a program, in bytes.
pub const MAX_AGENT_BYTES: usize = 64;

/// What a node says of itself in a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Its id.
    pub server: ServerId,
    /// Which of its starts this is.
    pub incarnation: Incarnation,
    /// How much it takes from a peer; a peer refuses limits that fail [`PeerLimits::check`].
    pub limits: PeerLimits,
    /// The program it is.
    pub agent: Agent,
}

/// What a node knows of its peer after a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Its id.
    pub server: ServerId,
    /// Which of its starts this is.
    pub incarnation: Incarnation,
    /// How much it takes.
    pub limits: PeerLimits,
    /// The program it says it is; for logs only.
    pub agent: Agent,
}

/// What a handshake that succeeded has established.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// The protocol version that both speak from here on.
    pub version: u16,
    /// Who is at the other end.
    pub peer: PeerIdentity,
}

/// How much a node takes from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Longest frame, in bytes; at least [`Self::MIN_FRAME_BYTES`].
    pub max_frame_bytes: u32,
    /// Longest message, in bytes, all its frames together; at least [`Self::MIN_MESSAGE_BYTES`].
    pub max_message_bytes: u64,
    /// Most calls that may be unanswered at a time; at least [`Self::MIN_IN_FLIGHT`].
    pub max_in_flight: u32,
}

/// A limit so low that nothing could pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the limit {name} is {value}; it must be at least {minimum}")]
pub struct LimitError {
    /// The field of [`PeerLimits`].
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// The lowest value allowed.
    pub minimum: u64,
}

impl PeerLimits {
    /// The lowest limit of a frame: every header fits, whatever the names in it.
    pub const MIN_FRAME_BYTES: u32 = 4096;
    /// The lowest limit of a message.
    pub const MIN_MESSAGE_BYTES: u64 = 4096;
    /// The lowest limit of calls in flight.
    pub const MIN_IN_FLIGHT: u32 = 1;

    /// Checks each limit against its minimum.
    ///
    /// # Errors
    /// For the first that is lower.
    pub fn check(&self) -> Result<(), LimitError> {
        for (name, value, minimum) in [
            ("max_frame_bytes", self.max_frame_bytes.into(), Self::MIN_FRAME_BYTES.into()),
            ("max_message_bytes", self.max_message_bytes, Self::MIN_MESSAGE_BYTES),
            ("max_in_flight", self.max_in_flight.into(), Self::MIN_IN_FLIGHT.into()),
        ] {
            if value < minimum {
                return Err(LimitError { name, value, minimum });
            }
        }
        Ok(())
    }
}

/// Why a text is no [`Agent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AgentError {
    /// There is nothing.
    #[error("the agent is empty")]
    Empty,
    /// It is longer than [`MAX_AGENT_BYTES`].
    #[error("the agent has {bytes} bytes; the limit is {MAX_AGENT_BYTES}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It has a space, a control character or one outside ASCII.
    #[error("the agent has the character {found:?}; allowed is printable ASCII without spaces")]
    BadCharacter {
        /// The first such character.
        found: char,
    },
}

/// A program and its version, such as `ensemble/0.1.0`: printable ASCII without spaces, safe in a log line.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Agent(Arc<str>);

impl Agent {
    /// Checks a text.
    ///
    /// # Errors
    /// When it is empty, longer than [`MAX_AGENT_BYTES`], or has other characters than printable ASCII without
    /// spaces.
    pub fn new(text: impl AsRef<str>) -> Result<Self, AgentError> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(AgentError::Empty);
        }
        if text.len() > MAX_AGENT_BYTES {
            return Err(AgentError::TooLong { bytes: text.len() });
        }
        if let Some(found) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(AgentError::BadCharacter { found });
        }
        Ok(Self(text.into()))
    }

    /// This library in its version.
    pub fn this() -> Self {
        Self(concat!("ensemble/", env!("CARGO_PKG_VERSION")).into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Agent({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_checked() {
        assert_eq!(Agent::new(Agent::this().as_str()), Ok(Agent::this()));
        assert!(Agent::new("x".repeat(MAX_AGENT_BYTES)).is_ok());
        for (bad, why) in [
            (String::new(), AgentError::Empty),
            ("x".repeat(MAX_AGENT_BYTES + 1), AgentError::TooLong { bytes: 65 }),
            ("a b".into(), AgentError::BadCharacter { found: ' ' }),
            ("a\nb".into(), AgentError::BadCharacter { found: '\n' }),
            ("\u{7f}".into(), AgentError::BadCharacter { found: '\u{7f}' }),
            ("é".into(), AgentError::BadCharacter { found: 'é' }),
        ] {
            assert_eq!(Agent::new(&bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn limits_have_minimums() {
        let lowest = PeerLimits { max_frame_bytes: 4096, max_message_bytes: 4096, max_in_flight: 1 };
        assert_eq!(lowest.check(), Ok(()));
        for (limits, name) in [
            (PeerLimits { max_frame_bytes: 4095, ..lowest }, "max_frame_bytes"),
            (PeerLimits { max_message_bytes: 4095, ..lowest }, "max_message_bytes"),
            (PeerLimits { max_in_flight: 0, ..lowest }, "max_in_flight"),
        ] {
            assert_eq!(limits.check().unwrap_err().name, name);
        }
    }
}
