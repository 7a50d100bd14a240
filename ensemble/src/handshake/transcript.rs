//! What both sides have seen of each other when they prove themselves, and the proof.

use std::fmt;

use super::{
    HandshakeError, MessageKind,
    message::{decode_proof, encode_proof, expect},
};
use crate::Cookie;

/// Sets the codes of the handshake apart from anything else that a cookie may ever be used for.
const LABEL: &[u8] = b"ensemble handshake 1";

/// The Hello and the Challenge as they were on the wire, and the secret that both sides have.
pub(super) struct Transcript {
    pub(super) cookie: Cookie,
    pub(super) hello: Vec<u8>,
    pub(super) challenge: Vec<u8>,
}

/// Who proves itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Initiator,
    Acceptor,
}

impl Side {
    fn byte(self) -> u8 {
        match self {
            Self::Initiator => 1,
            Self::Acceptor => 2,
        }
    }

    fn kind(self) -> MessageKind {
        match self {
            Self::Initiator => MessageKind::Response,
            Self::Acceptor => MessageKind::Accepted,
        }
    }
}

impl Transcript {
    /// The message with which `side` proves itself.
    pub(super) fn prove(&self, side: Side) -> Vec<u8> {
        let lengths = self.lengths();
        encode_proof(side.kind(), &self.cookie.mac(&self.parts(&[side.byte()], &lengths)))
    }

    /// Checks the message with which `side` proves itself.
    pub(super) fn verify(&self, side: Side, message: &[u8]) -> Result<(), HandshakeError> {
        let code = decode_proof(expect(message, side.kind())?)?;
        let lengths = self.lengths();
        if self.cookie.verifies(&self.parts(&[side.byte()], &lengths), &code) {
            Ok(())
        } else {
            Err(HandshakeError::Authentication)
        }
    }

    fn lengths(&self) -> [[u8; 4]; 2] {
        [&self.hello, &self.challenge].map(|message| {
            u32::try_from(message.len()).expect("a message of the handshake has at most 4 KiB").to_le_bytes()
        })
    }

    fn parts<'a>(&'a self, direction: &'a [u8; 1], lengths: &'a [[u8; 4]; 2]) -> [&'a [u8]; 6] {
        let [of_hello, of_challenge] = lengths;
        [LABEL, direction, of_hello, &self.hello, of_challenge, &self.challenge]
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcript").finish_non_exhaustive()
    }
}
