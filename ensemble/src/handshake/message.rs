//! The messages of the handshake and their bytes. All numbers are little-endian; a text is one byte of length and
//! that many bytes of UTF-8.
//!
//! | message | bytes, after one byte of kind |
//! | --- | --- |
//! | Hello (1) | `ENSM`, lowest `u16`, highest `u16`, id text, incarnation 16, nonce 32, wanted text, limits, agent text |
//! | Challenge (2) | version `u16`, id text, incarnation 16, nonce 32, limits, agent text |
//! | Response (3), Accepted (4) | authentication code 32 |
//! | Refused (5) | code `u16`, details by code |
//!
//! Limits are frame `u32`, message `u64`, in flight `u32`; an empty wanted text wants no one in particular. A Hello up to
//! its versions, and a Refused up to its code, keep their layout in all versions to come: that is how two nodes
//! find out, and say, that they have none in common.

use std::fmt;

use super::{
    HandshakeError, Local, MalformedError, PeerIdentity, RefuseReason,
    wire::{Reader, Writer},
};
use crate::{ServerId, cookie::MAC_BYTES};

/// The lowest protocol version that this library speaks.
pub const LOWEST_VERSION: u16 = 1;
/// The highest protocol version that this library speaks.
pub const HIGHEST_VERSION: u16 = 1;
/// Longest message of a handshake, in bytes: nobody gets more from a peer that is not authenticated.
pub const MAX_HANDSHAKE_BYTES: usize = 4096;
/// Length of a nonce, in bytes.
pub const NONCE_BYTES: usize = 32;

/// Random bytes that were never used before and never will be again.
pub type Nonce = [u8; NONCE_BYTES];

const MAGIC: [u8; 4] = *b"ENSM";

/// The kinds of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// The initiator's first.
    Hello,
    /// The acceptor's answer to it.
    Challenge,
    /// The initiator's proof.
    Response,
    /// The acceptor's proof.
    Accepted,
    /// The acceptor's refusal.
    Refused,
}

impl MessageKind {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Challenge => 2,
            Self::Response => 3,
            Self::Accepted => 4,
            Self::Refused => 5,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Hello, Self::Challenge, Self::Response, Self::Accepted, Self::Refused]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "a hello",
            Self::Challenge => "a challenge",
            Self::Response => "a response",
            Self::Accepted => "an acceptance",
            Self::Refused => "a refusal",
        })
    }
}

/// The content of a message of the kind that is due. A refusal is an error where the peer may refuse.
pub(super) fn expect(message: &[u8], expected: MessageKind) -> Result<Reader<'_>, HandshakeError> {
    let (found, reader) = Reader::of(message)?;
    match (expected, found) {
        _ if found == expected => Ok(reader),
        (MessageKind::Challenge | MessageKind::Accepted, MessageKind::Refused) => {
            Err(HandshakeError::Refused(RefuseReason::decode(reader)?))
        }
        _ => Err(HandshakeError::Unexpected { expected, found }),
    }
}

/// The versions that a node speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) lowest: u16,
    pub(super) highest: u16,
}

impl Versions {
    pub(super) const OWN: Self = Self { lowest: LOWEST_VERSION, highest: HIGHEST_VERSION };

    /// The highest that both speak.
    pub(super) fn common(self, other: Self) -> Option<u16> {
        let highest = self.highest.min(other.highest);
        (highest >= self.lowest.max(other.lowest)).then_some(highest)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) peer: PeerIdentity,
    pub(super) nonce: Nonce,
    pub(super) wanted: Option<ServerId>,
}

impl Hello {
    pub(super) fn encode(
        local: &Local,
        versions: Versions,
        nonce: &Nonce,
        wanted: Option<&ServerId>,
    ) -> Vec<u8> {
        let mut message = Writer::of(MessageKind::Hello);
        message
            .bytes(&MAGIC)
            .u16(versions.lowest)
            .u16(versions.highest)
            .text(local.server.as_str())
            .bytes(local.incarnation.as_bytes())
            .bytes(nonce)
            .text(wanted.map_or("", ServerId::as_str))
            .limits(&local.limits)
            .text(local.agent.as_str());
        message.done()
    }

    /// Reads the part that all versions share.
    pub(super) fn decode_versions(reader: &mut Reader<'_>) -> Result<Versions, MalformedError> {
        if reader.array()? != MAGIC {
            return Err(MalformedError::BadMagic);
        }
        let (lowest, highest) = (reader.u16()?, reader.u16()?);
        if lowest > highest {
            return Err(MalformedError::BadVersions { lowest, highest });
        }
        Ok(Versions { lowest, highest })
    }

    /// Reads what follows the versions.
    pub(super) fn decode_rest(mut reader: Reader<'_>) -> Result<Self, MalformedError> {
        let server = reader.server_id()?;
        let incarnation = reader.incarnation()?;
        let nonce = reader.array()?;
        let wanted = reader.optional_server_id()?;
        let limits = reader.limits()?;
        let agent = reader.agent()?;
        reader.end()?;
        Ok(Self { peer: PeerIdentity { server, incarnation, limits, agent }, nonce, wanted })
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) version: u16,
    pub(super) peer: PeerIdentity,
    pub(super) nonce: Nonce,
}

impl Challenge {
    pub(super) fn encode(local: &Local, version: u16, nonce: &Nonce) -> Vec<u8> {
        let mut message = Writer::of(MessageKind::Challenge);
        message
            .u16(version)
            .text(local.server.as_str())
            .bytes(local.incarnation.as_bytes())
            .bytes(nonce)
            .limits(&local.limits)
            .text(local.agent.as_str());
        message.done()
    }

    /// Reads what follows the kind.
    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, MalformedError> {
        let version = reader.u16()?;
        let server = reader.server_id()?;
        let incarnation = reader.incarnation()?;
        let nonce = reader.array()?;
        let limits = reader.limits()?;
        let agent = reader.agent()?;
        reader.end()?;
        Ok(Self { version, peer: PeerIdentity { server, incarnation, limits, agent }, nonce })
    }
}

/// A Response or an Accepted: nothing but an authentication code.
pub(super) fn encode_proof(kind: MessageKind, code: &[u8; MAC_BYTES]) -> Vec<u8> {
    let mut message = Writer::of(kind);
    message.bytes(code);
    message.done()
}

/// Reads what follows the kind of a Response or an Accepted.
pub(super) fn decode_proof(mut reader: Reader<'_>) -> Result<[u8; MAC_BYTES], MalformedError> {
    let code = reader.array()?;
    reader.end()?;
    Ok(code)
}
