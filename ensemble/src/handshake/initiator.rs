//! The side that opened the connection.

use super::{
    HandshakeError, Local, MalformedError, MessageKind, Nonce, PeerIdentity, RefuseReason, Session,
    message::{Challenge, Hello, Versions, expect},
    transcript::{Side, Transcript},
};
use crate::{Cookie, ServerId};

/// The initiator, when it has sent its Hello.
#[derive(Debug)]
pub struct Initiator {
    local: Local,
    cookie: Cookie,
    wanted: Option<ServerId>,
    nonce: Nonce,
    hello: Vec<u8>,
}

impl Initiator {
    /// Starts a handshake with the server `wanted`, or with whoever is there. The bytes are the Hello to send. The
    /// nonce must be fresh from the system's random numbers.
    pub fn start(local: Local, cookie: &Cookie, wanted: Option<ServerId>, nonce: Nonce) -> (Self, Vec<u8>) {
        let hello = Hello::encode(&local, Versions::OWN, &nonce, wanted.as_ref());
        (Self { local, cookie: cookie.clone(), wanted, nonce, hello: hello.clone() }, hello)
    }

    /// Takes the acceptor's answer. The bytes are the Response to send.
    ///
    /// # Errors
    /// When the answer is no Challenge of the wanted server. Close the connection then.
    pub fn challenge(self, message: &[u8]) -> Result<(InitiatorProved, Vec<u8>), HandshakeError> {
        let reader = expect(message, MessageKind::Challenge).map_err(|error| self.explain(error))?;
        let Challenge { version, peer, nonce } = Challenge::decode(reader)?;
        if Versions::OWN.common(Versions { lowest: version, highest: version }).is_none() {
            return Err(MalformedError::VersionNotOffered { chosen: version }.into());
        }
        if nonce == self.nonce || peer.incarnation == self.local.incarnation {
            return Err(HandshakeError::Reflected);
        }
        if peer.server == self.local.server {
            return Err(HandshakeError::SameServer { server: peer.server });
        }
        if let Some(wanted) = self.wanted.filter(|wanted| *wanted != peer.server) {
            return Err(HandshakeError::WrongServer { wanted, actual: peer.server });
        }
        let transcript = Transcript { cookie: self.cookie, hello: self.hello, challenge: message.to_vec() };
        let response = transcript.prove(Side::Initiator);
        Ok((InitiatorProved { transcript, version, peer }, response))
    }

    /// A refusal in the words that this side uses for the same failure.
    fn explain(&self, error: HandshakeError) -> HandshakeError {
        match (error, &self.wanted) {
            (HandshakeError::Refused(RefuseReason::Version { lowest, highest }), _) => {
                HandshakeError::NoCommonVersion { lowest, highest }
            }
            (HandshakeError::Refused(RefuseReason::WrongServer { actual }), Some(wanted)) => {
                HandshakeError::WrongServer { wanted: wanted.clone(), actual }
            }
            (other, _) => other,
        }
    }
}

/// The initiator, when it has proved itself.
#[derive(Debug)]
pub struct InitiatorProved {
    transcript: Transcript,
    version: u16,
    peer: PeerIdentity,
}

impl InitiatorProved {
    /// Takes the acceptor's proof.
    ///
    /// # Errors
    /// When it is none, or the acceptor refuses; [`HandshakeError::Refused`] with
    /// [`RefuseReason::Authentication`] then says that the cookies differ. Close the connection.
    pub fn accepted(self, message: &[u8]) -> Result<Session, HandshakeError> {
        self.transcript.verify(Side::Acceptor, message)?;
        Ok(Session { version: self.version, peer: self.peer })
    }
}
