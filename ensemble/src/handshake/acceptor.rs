//! The side that was called.

use super::{
    HandshakeError, Local, MessageKind, Nonce, PeerIdentity, RefuseReason, Rejection, Session,
    message::{Challenge, Hello, Versions, expect},
    transcript::{Side, Transcript},
};
use crate::{Cookie, ServerId};

/// The acceptor, when nothing has come yet.
#[derive(Debug)]
pub struct Acceptor {
    local: Local,
    cookie: Cookie,
    nonce: Nonce,
}

impl Acceptor {
    /// Waits for a Hello. The nonce must be fresh from the system's random numbers.
    pub fn new(local: Local, cookie: &Cookie, nonce: Nonce) -> Self {
        Self { local, cookie: cookie.clone(), nonce }
    }

    /// Takes the initiator's Hello. The bytes are the Challenge to send.
    ///
    /// # Errors
    /// When it is none, or not for this server, or in no version that this side speaks.
    pub fn hello(self, message: &[u8]) -> Result<(AcceptorChallenged, Vec<u8>), Rejection> {
        let (version, hello) = match read_hello(message) {
            Ok(read) => read,
            Err(error) => return Err(reject(error, &self.local.server, None)),
        };
        if let Err(error) = self.check(&hello) {
            return Err(reject(error, &self.local.server, Some(hello.peer.server)));
        }
        let challenge = Challenge::encode(&self.local, version, &self.nonce);
        let transcript =
            Transcript { cookie: self.cookie, hello: message.to_vec(), challenge: challenge.clone() };
        Ok((AcceptorChallenged { own: self.local.server, transcript, version, peer: hello.peer }, challenge))
    }

    fn check(&self, hello: &Hello) -> Result<(), HandshakeError> {
        let Local { server, incarnation, .. } = &self.local;
        if hello.nonce == self.nonce || hello.peer.incarnation == *incarnation {
            return Err(HandshakeError::Reflected);
        }
        if hello.peer.server == *server {
            return Err(HandshakeError::SameServer { server: server.clone() });
        }
        match &hello.wanted {
            Some(wanted) if wanted != server => {
                Err(HandshakeError::WrongServer { wanted: wanted.clone(), actual: server.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// The acceptor, when it has sent its Challenge.
#[derive(Debug)]
pub struct AcceptorChallenged {
    own: ServerId,
    transcript: Transcript,
    version: u16,
    peer: PeerIdentity,
}

impl AcceptorChallenged {
    /// Takes the initiator's proof. The bytes are the Accepted to send.
    ///
    /// # Errors
    /// When it is none; [`HandshakeError::Authentication`] says that the cookies differ.
    pub fn response(self, message: &[u8]) -> Result<(Session, Vec<u8>), Rejection> {
        match self.transcript.verify(Side::Initiator, message) {
            Ok(()) => {
                let accepted = self.transcript.prove(Side::Acceptor);
                Ok((Session { version: self.version, peer: self.peer }, accepted))
            }
            Err(error) => Err(reject(error, &self.own, Some(self.peer.server))),
        }
    }

    /// Who the peer says it is; nothing is proved yet, so for logs only.
    pub fn claimed_peer(&self) -> &PeerIdentity {
        &self.peer
    }
}

fn read_hello(message: &[u8]) -> Result<(u16, Hello), HandshakeError> {
    let mut reader = expect(message, MessageKind::Hello)?;
    let offered = Hello::decode_versions(&mut reader)?;
    let Some(version) = Versions::OWN.common(offered) else {
        return Err(HandshakeError::NoCommonVersion { lowest: offered.lowest, highest: offered.highest });
    };
    Ok((version, Hello::decode_rest(reader)?))
}

fn reject(error: HandshakeError, own: &ServerId, peer: Option<ServerId>) -> Rejection {
    let reply = RefuseReason::of(&error, own).encode();
    Rejection { error, reply, peer }
}
