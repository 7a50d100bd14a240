//! A connection without tasks and sockets, for the fuzz targets: bytes come in as the reader gets them, bytes go out
//! as the writer takes them, and time passes when it is told to. All between is what a node runs.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::{
    Dispatch, Dispatched, Link, PendingReply,
    link::lock,
    pump::{Collected, collect_replies, receive_all},
};
use crate::{
    error::{NotSent, Refusal},
    handshake::PeerLimits,
    id::{ActorName, Incarnation, ServerId},
    message::Caller,
    wire::{
        limits::{Limits, MAX_FRAME_BYTES, MAX_OPEN_STREAMS},
        outbox::{MAX_UNWRITTEN_BYTES, Outgoing},
        status::Status,
    },
};

/// Stands for an actor: the first byte of a message says what becomes of it.
struct Actors;

/// Longest result, as a multiple of the byte that asks for it.
const RESULT_STEP_BYTES: usize = 2048;

enum Reply {
    Ready { bytes: usize, _message: Bytes },
    Never { _message: Bytes },
}

impl PendingReply for Reply {
    fn poll_reply(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        payload: &mut BytesMut,
        _: &mut Bytes,
    ) -> Poll<Status> {
        match *self {
            Self::Ready { bytes, .. } => {
                payload.resize(payload.len() + bytes, 1);
                Poll::Ready(Status::Done)
            }
            Self::Never { .. } => Poll::Pending,
        }
    }
}

impl Dispatch for Actors {
    fn dispatch(&self, _: &Caller, _: &crate::wire::frame::Route<'_>, payload: Bytes) -> Dispatched {
        match payload.first() {
            None => Dispatched::Settled(Status::Refused(Refusal::Malformed)),
            Some(0) => Dispatched::Pending(Box::pin(Reply::Never { _message: payload })),
            Some(&steps) => {
                let bytes = usize::from(steps) * RESULT_STEP_BYTES;
                Dispatched::Pending(Box::pin(Reply::Ready { bytes, _message: payload }))
            }
        }
    }

    fn closed(&self, _: &Link) {}
}

/// One side of a connection, its peer authenticated.
pub struct Connection {
    link: Arc<Link>,
    peer: Caller,
    limits: Limits,
    peer_max_in_flight: u32,
    input: BytesMut,
    output: BytesMut,
    payloads: BytesMut,
    collected: Vec<Collected>,
    calls: Vec<usize>,
    now: Instant,
}

impl Connection {
    /// A connection of a node with these limits to a peer that named those.
    pub fn new(limits: &Limits, peer_limits: PeerLimits) -> Self {
        let server = ServerId::new("peer").expect("a valid id");
        let incarnation = Incarnation::from_bytes([1; 16]);
        let peer = Caller { server: server.clone(), incarnation, trace: None };
        let link = Link::new(server, false, limits);
        let now = Instant::now();
        lock(&link.outbox).open(peer_limits, now);
        Self {
            link,
            peer,
            limits: limits.clone(),
            peer_max_in_flight: peer_limits.max_in_flight,
            input: BytesMut::new(),
            output: BytesMut::new(),
            payloads: BytesMut::new(),
            collected: Vec::new(),
            calls: Vec::new(),
            now,
        }
    }

    /// What the peer has sent; `false` when that ends the connection.
    pub fn receive(&mut self, bytes: &[u8]) -> bool {
        self.input.extend_from_slice(bytes);
        let goes_on = receive_all(&self.link, &self.peer, &mut self.input, self.now, &Actors).is_ok();
        if !goes_on {
            self.link.close(NotSent::ConnectionLost);
            drop(lock(&self.link.in_flight).close());
            self.input.clear();
        }
        goes_on
    }

    /// What the socket would take now.
    pub fn write(&mut self) -> &[u8] {
        collect_replies(&self.link, &mut self.payloads, &mut self.collected);
        self.output.clear();
        lock(&self.link.outbox).take_output(&mut self.output, self.now);
        &self.output
    }

    /// Calls the peer, with a payload of so many bytes.
    pub fn call(&mut self, lane: u64, payload_bytes: usize, timeout_ms: u32) {
        let deadline = self.now + Duration::from_millis(timeout_ms.into());
        let actor = ActorName::new("actor").expect("a valid name");
        let payload = &mut BytesMut::zeroed(payload_bytes);
        let message =
            Outgoing { actor: &actor, message: "m", trace: None, lane, payload, tail: Bytes::new() };
        if let Ok(call) = self.link.call(message, self.now, deadline) {
            self.calls.push(call);
        }
    }

    /// Posts to the peer, with a payload of so many bytes.
    pub fn post(&mut self, lane: u64, payload_bytes: usize) {
        let actor = ActorName::new("actor").expect("a valid name");
        let payload = &mut BytesMut::zeroed(payload_bytes);
        // A refusal is as good as any other outcome here.
        self.link
            .post(Outgoing { actor: &actor, message: "m", trace: None, lane, payload, tail: Bytes::new() })
            .ok();
    }

    /// Gives up one of the calls.
    pub fn abandon(&mut self, which: usize) {
        if !self.calls.is_empty() {
            let call = self.calls.swap_remove(which % self.calls.len());
            self.link.abandon(call);
        }
    }

    /// Takes the outcomes that are there.
    pub fn poll(&mut self) {
        let link = &self.link;
        self.calls.retain(|call| link.poll_call(*call, std::task::Waker::noop()).is_pending());
    }

    /// Lets time pass.
    pub fn pass(&mut self, duration_ms: u32) {
        self.now += Duration::from_millis(duration_ms.into());
        let mut outbox = lock(&self.link.outbox);
        outbox.expire(self.now);
        self.link.tell_writer(outbox);
        lock(&self.link.in_flight).expire(self.now);
    }

    /// Checks that what the peer made the connection hold is within the limits; `own_bytes` is what was called and
    /// posted from here.
    ///
    /// # Panics
    /// When it is not.
    pub fn check(&self, own_bytes: usize) {
        let limits = &self.limits;
        let max_message_bytes = limits.max_message_bytes as usize;
        let budget = limits.max_in_flight_bytes as usize + max_message_bytes;
        let partial = lock(&self.link.assembly).held_bytes();
        assert!(partial <= budget + MAX_OPEN_STREAMS * max_message_bytes, "{partial} bytes in assembly");
        assert!(self.input.len() <= MAX_FRAME_BYTES + 4, "{} bytes of input", self.input.len());
        let in_flight = lock(&self.link.in_flight).len();
        assert!(in_flight <= limits.max_in_flight as usize, "{in_flight} requests in flight");
        let largest_result = 255 * RESULT_STEP_BYTES;
        let control = 32 * (limits.max_in_flight as usize + self.peer_max_in_flight as usize);
        let unwritten = lock(&self.link.outbox).unwritten_bytes();
        let most = own_bytes
            + 2 * MAX_UNWRITTEN_BYTES
            + limits.max_in_flight_bytes as usize
            + largest_result
            + control;
        assert!(unwritten <= most, "{unwritten} bytes unwritten of at most {most}");
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.link.close(NotSent::ConnectionLost);
        self.poll();
        assert!(self.calls.is_empty(), "a call has no outcome after the end");
    }
}
