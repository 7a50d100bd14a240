//! Drives the handshake's state machines over a stream: each message is a length (u16, big-endian) and its bytes.

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    cookie::Cookie,
    handshake::{
        self, Acceptor, HandshakeError, Initiator, Local, MAX_HANDSHAKE_BYTES, RefuseReason, Session,
    },
    id::ServerId,
    transport::Stream,
};

/// Why there is no session.
#[derive(Debug, Error)]
pub(crate) enum Failed {
    #[error("the handshake failed")]
    Handshake(#[from] HandshakeError),
    #[error("the connection broke during the handshake")]
    Io(#[from] std::io::Error),
    #[error("a handshake message claims {0} bytes; the limit is {MAX_HANDSHAKE_BYTES}")]
    TooLong(usize),
    #[error("the peer's user is {0}, neither the own nor root")]
    PeerUser(u32),
    #[error("the system gives no random numbers")]
    Random,
}

async fn read_message(stream: &mut Stream) -> Result<Vec<u8>, Failed> {
    let bytes = usize::from(stream.reader.read_u16().await?);
    if bytes > MAX_HANDSHAKE_BYTES {
        return Err(Failed::TooLong(bytes));
    }
    let mut message = vec![0; bytes];
    stream.reader.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut Stream, message: &[u8]) -> Result<(), Failed> {
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend_from_slice(&(message.len() as u16).to_be_bytes());
    framed.extend_from_slice(message);
    stream.writer.write_all(&framed).await?;
    stream.writer.flush().await?;
    Ok(())
}

/// Tells a peer why there will be no session, where [`accept`] has not done so itself.
pub(crate) async fn refuse(stream: &mut Stream, reason: &RefuseReason) -> Result<(), Failed> {
    write_message(stream, &handshake::refuse(reason)).await
}

fn nonce() -> Result<[u8; 32], Failed> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|_| Failed::Random)?;
    Ok(nonce)
}

/// On a UNIX socket both sides must be the same user, or root.
fn check_user(stream: &Stream) -> Result<(), Failed> {
    match stream.peer_uid {
        Some(uid) if uid != 0 && uid != rustix::process::geteuid().as_raw() => Err(Failed::PeerUser(uid)),
        _ => Ok(()),
    }
}

/// The side that opened the connection, to reach `wanted`.
pub(crate) async fn connect(
    stream: &mut Stream,
    local: Local,
    cookie: &Cookie,
    wanted: Option<ServerId>,
) -> Result<Session, Failed> {
    check_user(stream)?;
    let (initiator, hello) = Initiator::start(local, cookie, wanted, nonce()?);
    write_message(stream, &hello).await?;
    let challenge = read_message(stream).await?;
    let (proved, response) = initiator.challenge(&challenge)?;
    write_message(stream, &response).await?;
    let accepted = read_message(stream).await?;
    Ok(proved.accepted(&accepted)?)
}

/// The side that was called. `admit` can turn a peer down once it has proved itself.
pub(crate) async fn accept(
    stream: &mut Stream,
    local: Local,
    cookie: &Cookie,
    turned_down: Option<RefuseReason>,
    claimed: &mut Option<ServerId>,
) -> Result<Session, Failed> {
    if let Err(failed @ Failed::PeerUser(uid)) = check_user(stream) {
        refuse(stream, &RefuseReason::PeerUser { uid }).await?;
        return Err(failed);
    }
    let hello = read_message(stream).await?;
    if let Some(reason) = turned_down {
        refuse(stream, &reason).await?;
        return Err(HandshakeError::Refused(reason).into());
    }
    let (challenged, challenge) = match Acceptor::new(local, cookie, nonce()?).hello(&hello) {
        Ok(next) => next,
        Err(rejection) => {
            *claimed = rejection.peer;
            write_message(stream, &rejection.reply).await?;
            return Err(rejection.error.into());
        }
    };
    *claimed = Some(challenged.claimed_peer().server.clone());
    write_message(stream, &challenge).await?;
    let response = read_message(stream).await?;
    match challenged.response(&response) {
        Ok((session, accepted)) => {
            write_message(stream, &accepted).await?;
            Ok(session)
        }
        Err(rejection) => {
            *claimed = rejection.peer;
            write_message(stream, &rejection.reply).await?;
            Err(rejection.error.into())
        }
    }
}
