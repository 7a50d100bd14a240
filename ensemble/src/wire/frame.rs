//! One frame: `length: u32 big-endian`, `kind: u8`, a header that depends on the kind, and for some kinds a payload
//! that is the rest. Reading borrows from the bytes; nothing is allocated for what a length field claims.

use std::ops::Range;

use bincode::{BorrowDecode, Encode};
use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::limits::MAX_FRAME_BYTES;
use crate::codec;

const LENGTH_BYTES: usize = 4;

const REQUEST: u8 = 1;
const POST: u8 = 2;
const REPLY: u8 = 3;
const OPEN: u8 = 4;
const GRANT: u8 = 5;
const CHUNK: u8 = 6;
const ABORT: u8 = 7;
const CANCEL: u8 = 8;
const CREDIT: u8 = 9;
const PING: u8 = 10;
const PONG: u8 = 11;

/// Where a message goes, and what it is. Names are bytes: only one that is exported means anything, and that is found
/// by comparing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Route<'a> {
    /// The exported actor.
    pub actor: &'a [u8],
    /// The message's wire name.
    pub message: &'a [u8],
    /// The trace that the call belongs to.
    pub trace: Option<Trace>,
}

/// Trace context as W3C Trace Context has it: trace id, parent span id, flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Trace {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub flags: u8,
}

/// A message without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) enum Head<'a> {
    /// A call that gets a reply.
    Request { call: u32, timeout_ms: u32, route: Route<'a> },
    /// A message that gets none.
    Post { route: Route<'a> },
    /// The answer to a request.
    Reply { call: u32, status: u16 },
}

/// A frame, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A whole message; its payload begins at `payload_at` in the frame's bytes.
    Message { head: Head<'a>, payload_at: usize },
    /// Announces a large message of `total` bytes; the peer grants it before chunks are sent.
    Open { stream: u32, total: u64, head: Head<'a> },
    /// The announced message may be sent.
    Grant { stream: u32 },
    /// The next bytes of an announced message.
    Chunk { stream: u32, payload_at: usize },
    /// The rest of an announced message will not come.
    Abort { stream: u32 },
    /// The caller no longer waits.
    Cancel { call: u32 },
    /// So many posts have been taken.
    Credit { posts: u32 },
    /// To be answered with the same number.
    Ping { token: u64 },
    /// The answer.
    Pong { token: u64 },
}

/// A frame that breaks the protocol: the connection cannot go on.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    #[error("a frame claims {bytes} bytes; the limit is {MAX_FRAME_BYTES}")]
    TooLong { bytes: usize },
    #[error("a frame is empty")]
    Empty,
    #[error("a frame has the unknown kind {0}")]
    UnknownKind(u8),
    #[error("a frame has a malformed header")]
    Header(#[from] codec::DecodeError),
}

/// How many bytes at the front of `buffer` are whole frames.
pub(crate) fn whole_frames(buffer: &[u8]) -> Result<usize, FrameError> {
    let mut at = 0;
    while let Some(length) = frame_length(&buffer[at..])? {
        if buffer.len() - at < LENGTH_BYTES + length {
            break;
        }
        at += LENGTH_BYTES + length;
    }
    Ok(at)
}

/// The length that the frame at the front of `bytes` claims, if it is there already.
fn frame_length(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(prefix) = bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    match u32::from_be_bytes(*prefix) as usize {
        0 => Err(FrameError::Empty),
        bytes if bytes > MAX_FRAME_BYTES => Err(FrameError::TooLong { bytes }),
        bytes => Ok(Some(bytes)),
    }
}

/// Where the first frame of `block`, which holds whole frames, is without its length; `None` at the end.
pub(crate) fn first(block: &[u8], from: usize) -> Result<Option<Range<usize>>, FrameError> {
    let start = from + LENGTH_BYTES;
    Ok(frame_length(&block[from..])?.map(|length| start..start + length))
}

type Decoded<T> = Result<T, codec::DecodeError>;

fn prefix<'a, T: BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Decoded<(T, usize)> {
    codec::decode_prefix::<T, MAX_FRAME_BYTES>(bytes)
}

fn exact<'a, T: BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Decoded<T> {
    codec::decode_exact::<T, MAX_FRAME_BYTES>(bytes)
}

fn request(body: &[u8]) -> Decoded<(Head<'_>, usize)> {
    let ((call, timeout_ms, route), used) = prefix(body)?;
    Ok((Head::Request { call, timeout_ms, route }, used))
}

fn post(body: &[u8]) -> Decoded<(Head<'_>, usize)> {
    let (route, used) = prefix(body)?;
    Ok((Head::Post { route }, used))
}

fn reply(body: &[u8]) -> Decoded<(Head<'_>, usize)> {
    let ((call, status), used) = prefix(body)?;
    Ok((Head::Reply { call, status }, used))
}

/// Reads a frame without its length.
pub(crate) fn read(frame: &[u8]) -> Result<Frame<'_>, FrameError> {
    let (&kind, body) = frame.split_first().ok_or(FrameError::Empty)?;
    Ok(match kind {
        REQUEST => {
            let (head, used) = request(body)?;
            Frame::Message { head, payload_at: 1 + used }
        }
        POST => {
            let (head, used) = post(body)?;
            Frame::Message { head, payload_at: 1 + used }
        }
        REPLY => {
            let (head, used) = reply(body)?;
            Frame::Message { head, payload_at: 1 + used }
        }
        OPEN => {
            let (stream, total, head) = exact(body)?;
            Frame::Open { stream, total, head }
        }
        GRANT => Frame::Grant { stream: exact(body)? },
        CHUNK => {
            let (stream, used) = prefix(body)?;
            Frame::Chunk { stream, payload_at: 1 + used }
        }
        ABORT => Frame::Abort { stream: exact(body)? },
        CANCEL => Frame::Cancel { call: exact(body)? },
        CREDIT => Frame::Credit { posts: exact(body)? },
        PING => Frame::Ping { token: exact(body)? },
        PONG => Frame::Pong { token: exact(body)? },
        unknown => return Err(FrameError::UnknownKind(unknown)),
    })
}

/// Reads the head that an [`Frame::Open`] announced and that was kept with [`keep_head`].
pub(crate) fn read_head(kept: &[u8]) -> Result<Head<'_>, FrameError> {
    Ok(exact(kept)?)
}

/// The bytes of a head, to be kept until its message is complete.
pub(crate) fn keep_head(head: &Head<'_>) -> Bytes {
    let mut out = BytesMut::new();
    put(head, &mut out);
    out.freeze()
}

fn put(value: &impl Encode, out: &mut BytesMut) {
    codec::encode_into(value, out).expect("headers are numbers and text, which always encode");
}

/// Appends one frame whose header `write` appends.
fn append(kind: u8, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_u8(kind);
    write(out);
    let bytes = out.len() - start - LENGTH_BYTES;
    debug_assert!(bytes <= MAX_FRAME_BYTES, "a frame of {bytes} bytes");
    out[start..start + LENGTH_BYTES].copy_from_slice(&(bytes as u32).to_be_bytes());
}

/// Appends a whole message. The payload must not be longer than a chunk.
pub(crate) fn write_message(head: &Head<'_>, payload: &[u8], out: &mut BytesMut) {
    let kind = match head {
        Head::Request { .. } => REQUEST,
        Head::Post { .. } => POST,
        Head::Reply { .. } => REPLY,
    };
    append(kind, out, |out| {
        match head {
            Head::Request { call, timeout_ms, route } => put(&(*call, *timeout_ms, *route), out),
            Head::Post { route } => put(route, out),
            Head::Reply { call, status } => put(&(*call, *status), out),
        }
        out.extend_from_slice(payload);
    });
}

/// Appends the announcement of a large message.
pub(crate) fn write_open(stream: u32, total: u64, head: &Head<'_>, out: &mut BytesMut) {
    append(OPEN, out, |out| put(&(stream, total, *head), out));
}

/// Appends a chunk of a large message.
pub(crate) fn write_chunk(stream: u32, data: &[u8], out: &mut BytesMut) {
    append(CHUNK, out, |out| {
        put(&stream, out);
        out.extend_from_slice(data);
    });
}

/// Appends a frame that steers the connection and carries no message.
pub(crate) fn write_control(frame: &Control, out: &mut BytesMut) {
    match *frame {
        Control::Grant { stream } => append(GRANT, out, |out| put(&stream, out)),
        Control::Abort { stream } => append(ABORT, out, |out| put(&stream, out)),
        Control::Cancel { call } => append(CANCEL, out, |out| put(&call, out)),
        Control::Credit { posts } => append(CREDIT, out, |out| put(&posts, out)),
        Control::Ping { token } => append(PING, out, |out| put(&token, out)),
        Control::Pong { token } => append(PONG, out, |out| put(&token, out)),
    }
}

/// The frames that [`write_control`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Grant { stream: u32 },
    Abort { stream: u32 },
    Cancel { call: u32 },
    Credit { posts: u32 },
    Ping { token: u64 },
    Pong { token: u64 },
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
