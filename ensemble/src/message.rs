//! What makes an actix message one that can be sent to another process.

use actix::Message;
use bytes::{Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    codec::{self, DecodeError, EncodeError},
    id::{Incarnation, ServerId},
    trace::TraceContext,
    wire::limits::CHUNK_BYTES,
};

/// Prefix of the messages that every exported actor answers without its author writing them.
pub(crate) const RESERVED_PREFIX: &str = "ensemble.";

/// An actix message that can be sent to another process.
///
/// ```
/// use actix::Message;
/// use ensemble::RemoteMessage;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Message, Serialize, Deserialize)]
/// #[rtype(result = "u64")]
/// struct Add(u64);
///
/// impl RemoteMessage for Add {
///     const NAME: &'static str = "counter.add";
/// }
/// ```
///
/// The name is what the message is called on the wire. A message whose fields or result change is another message and
/// needs another name, because both ends must agree on the bytes. Names that begin with `ensemble.` are reserved.
///
/// The bytes are [`codec`]'s unless the functions below say otherwise, as they may for a message that carries
/// much data and can do without a copy.
pub trait RemoteMessage:
    Message<Result: Serialize + DeserializeOwned + Send> + Serialize + DeserializeOwned + Send + 'static
{
    /// The wire name: at most 100 bytes.
    const NAME: &'static str;

    /// Appends the message.
    ///
    /// # Errors
    /// When the type cannot be serialised.
    fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        codec::encode_message(self, out)
    }

    /// Data that comes after what [`encode`](Self::encode) writes and need not be copied for that.
    fn tail(&self) -> Bytes {
        Bytes::new()
    }

    /// Reads the message; the bytes are a slice of what came in.
    ///
    /// # Errors
    /// When the bytes are no such message.
    fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        codec::decode_message(bytes)
    }

    /// Appends a result.
    ///
    /// # Errors
    /// When the type cannot be serialised.
    fn encode_result(result: &Self::Result, out: &mut BytesMut) -> Result<(), EncodeError> {
        codec::encode_message(result, out)
    }

    /// Data that comes after what [`encode_result`](Self::encode_result) writes and need not be copied for that.
    fn result_tail(_result: &Self::Result) -> Bytes {
        Bytes::new()
    }

    /// Reads a result.
    ///
    /// # Errors
    /// When the bytes are no such result.
    fn decode_result(bytes: &Bytes) -> Result<Self::Result, DecodeError> {
        codec::decode_message(bytes)
    }

    /// Called with who sent the message, before the actor gets it. A message whose handler must know its sender keeps
    /// it in a field that is not serialised.
    fn received_from(&mut self, _caller: &Caller) {}
}

/// Who sent a message: a server that has proved its identity; and what the message belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub(crate) server: ServerId,
    pub(crate) incarnation: Incarnation,
    pub(crate) trace: Option<TraceContext>,
}

impl Caller {
    /// The server.
    pub fn server(&self) -> &ServerId {
        &self.server
    }

    /// Which of its starts.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The trace that the message belongs to, where its sender has said so
    /// ([`RemoteAddr::with_trace`](crate::RemoteAddr::with_trace)).
    pub fn trace(&self) -> Option<TraceContext> {
        self.trace
    }
}

/// Appends a tail to what was written from `start` on, if both fit into a chunk; returns it otherwise.
pub(crate) fn with_short_tail(out: &mut BytesMut, start: usize, tail: Bytes) -> Bytes {
    if out.len() - start + tail.len() > CHUNK_BYTES {
        return tail;
    }
    out.extend_from_slice(&tail);
    Bytes::new()
}
