//! What the targets of the handshake share: two honest sides, and a network that changes what they say.

use arbitrary::Arbitrary;
use ensemble::{
    Cookie, Incarnation, ServerId,
    handshake::{Acceptor, Agent, Initiator, Local, PeerLimits},
};

/// What arrives in the place of a message.
#[derive(Debug, Arbitrary)]
pub enum Arrival<'a> {
    /// Something else altogether.
    Other(&'a [u8]),
    /// The message with some of its bytes replaced.
    Changed {
        /// From where on.
        position: u8,
        /// By these.
        bytes: &'a [u8],
    },
    /// The message with bytes put in.
    Longer {
        /// Where.
        position: u8,
        /// These.
        bytes: &'a [u8],
    },
    /// The beginning of the message.
    Cut {
        /// So much of it.
        length: u8,
    },
}

impl Arrival<'_> {
    /// What arrives when `message` was sent.
    pub fn of(&self, message: &[u8]) -> Vec<u8> {
        let mut arrived = message.to_vec();
        match *self {
            Self::Other(bytes) => arrived = bytes.to_vec(),
            Self::Changed { position, bytes } => {
                for (byte, new) in arrived.iter_mut().skip(position.into()).zip(bytes) {
                    *byte = *new;
                }
            }
            Self::Longer { position, bytes } => {
                let position = usize::from(position).min(arrived.len());
                arrived.splice(position..position, bytes.iter().copied());
            }
            Self::Cut { length } => arrived.truncate(length.into()),
        }
        arrived
    }
}

fn local(id: &str, incarnation: u8) -> Local {
    Local {
        server: server(id),
        incarnation: Incarnation::from_bytes([incarnation; 16]),
        limits: PeerLimits { max_frame_bytes: 1 << 16, max_message_bytes: 1 << 26, max_in_flight: 1024 },
        agent: Agent::this(),
    }
}

fn server(id: &str) -> ServerId {
    ServerId::new(id).expect("the targets use valid ids")
}

fn cookie() -> Cookie {
    Cookie::from_bytes([7; 32])
}

/// An honest initiator that wants the honest acceptor, or anyone, and its Hello.
pub fn initiator(particular: bool) -> (Initiator, Vec<u8>) {
    Initiator::start(local("console", 1), &cookie(), particular.then(|| server("kv@/site")), [1; 32])
}

/// An honest acceptor.
pub fn acceptor() -> Acceptor {
    Acceptor::new(local("kv@/site", 2), &cookie(), [2; 32])
}
