//! Two endpoints joined by bytes in memory, and a clock that is moved by hand.

use std::time::Duration;

use super::super::*;
use crate::wire::{
    assembly::Assembly,
    frame::{Frame, first, read, read_head, whole_frames},
    payload::Payload,
};

/// Chunks are of 3072 bytes then.
pub(super) const SMALL_FRAMES: u32 = 4096;
pub(super) const CHUNK: usize = 3072;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Call(u32),
    Post,
}

/// A message that has come whole, and is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) origin: Origin,
    pub(super) payload: Bytes,
    pub(super) budgeted_bytes: u64,
}

/// One side: what it sends, what it receives, and what has arrived.
pub(super) struct End {
    pub(super) outbox: Outbox,
    pub(super) assembly: Assembly,
    pub(super) limits: Limits,
    pub(super) input: BytesMut,
    pub(super) arrived: Vec<Arrived>,
    /// Arrived and not answered.
    pub(super) window_used: u32,
    pub(super) cancelled: Vec<u32>,
    pub(super) pongs: Vec<u64>,
    /// Kinds of the frames that came, in their order.
    pub(super) frames: Vec<&'static str>,
    pub(super) longest_frame: usize,
}

pub(super) fn peer_limits(limits: &Limits) -> PeerLimits {
    PeerLimits {
        max_frame_bytes: SMALL_FRAMES,
        max_message_bytes: limits.max_message_bytes,
        max_in_flight: limits.max_in_flight,
    }
}

impl End {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            outbox: Outbox::new(&limits),
            assembly: Assembly::new(&limits),
            limits,
            input: BytesMut::new(),
            arrived: Vec::new(),
            window_used: 0,
            cancelled: Vec::new(),
            pongs: Vec::new(),
            frames: Vec::new(),
            longest_frame: 0,
        }
    }

    /// Takes bytes as a connection's reader does.
    pub(super) fn receive(&mut self, bytes: &[u8], now: Instant) -> Result<(), Violation> {
        self.input.extend_from_slice(bytes);
        let whole = whole_frames(&self.input).unwrap();
        let block = self.input.split_to(whole).freeze();
        let mut at = 0;
        while let Some(range) = first(&block, at).unwrap() {
            at = range.end;
            self.longest_frame = self.longest_frame.max(range.len());
            self.frame(block.slice(range), now)?;
        }
        Ok(())
    }

    pub(super) fn frame(&mut self, bytes: Bytes, now: Instant) -> Result<(), Violation> {
        let (name, granted) = match read(&bytes).unwrap() {
            Frame::Message { head, payload_at } => {
                self.message(head, bytes.slice(payload_at..), 0, now)?;
                ("message", vec![])
            }
            Frame::Open { stream, total, head } => {
                let is_granted = self.assembly.announced(stream, total, &head)?;
                ("open", if is_granted { vec![stream] } else { vec![] })
            }
            Frame::Chunk { stream, payload_at } => {
                if let Some(complete) = self.assembly.chunk(stream, &bytes[payload_at..])? {
                    let head = read_head(&complete.head).unwrap();
                    self.outbox.withdraw_grant(stream);
                    self.message(head, complete.payload, complete.budgeted_bytes, now)?;
                }
                ("chunk", vec![])
            }
            Frame::Grant { stream } => {
                self.outbox.granted(stream);
                ("grant", vec![])
            }
            Frame::Abort { stream } => {
                self.outbox.withdraw_grant(stream);
                ("abort", self.assembly.abort(stream))
            }
            Frame::Cancel { call } => {
                self.cancelled.push(call);
                ("cancel", vec![])
            }
            Frame::Credit { posts } => {
                self.outbox.credited(posts, now)?;
                ("credit", vec![])
            }
            Frame::Ping { .. } => unreachable!("nobody sends one here"),
            Frame::Pong { token } => {
                self.pongs.push(token);
                ("pong", vec![])
            }
        };
        self.frames.push(name);
        granted.into_iter().for_each(|stream| self.outbox.grant(stream));
        Ok(())
    }

    pub(super) fn message(
        &mut self,
        head: Head<'_>,
        payload: Bytes,
        budgeted_bytes: u64,
        now: Instant,
    ) -> Result<(), Violation> {
        let origin = match head {
            Head::Request { call, .. } => Origin::Call(call),
            Head::Post { .. } => Origin::Post,
            Head::Reply { call, status } => {
                let waker = self.outbox.replied(call, Status::from_code(status), payload, now)?;
                waker.into_iter().for_each(Waker::wake);
                return Ok(());
            }
        };
        self.window_used += 1;
        assert!(self.window_used <= self.limits.max_in_flight, "the window is exceeded");
        self.arrived.push(Arrived { origin, payload, budgeted_bytes });
        Ok(())
    }

    /// Answers what has arrived in that place.
    pub(super) fn answer(&mut self, at: usize, status: Status, payload: &[u8]) {
        let arrived = self.arrived.remove(at);
        self.window_used -= 1;
        match arrived.origin {
            Origin::Post => self.outbox.control(Control::Credit { posts: 1 }),
            Origin::Call(call) if payload.len() <= self.outbox.chunk_bytes() => {
                self.outbox.reply(call, status, payload);
            }
            Origin::Call(call) => self.outbox.reply_large(call, status, halves(payload)),
        }
        for stream in self.assembly.release(arrived.budgeted_bytes) {
            self.outbox.grant(stream);
        }
    }

    pub(super) fn payloads(&self) -> Vec<usize> {
        self.arrived.iter().map(|arrived| arrived.payload.len()).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outbox.is_flushed()
            && self.outbox.in_flight() == 0
            && self.outbox.unwritten_bytes() == 0
            && self.outbox.calls.keys().is_empty()
            && self.outbox.lanes.is_empty()
            && self.outbox.posts_in_flight == 0
            && self.outbox.calls.given_up() == (0, 0)
            && self.assembly.held_bytes() == 0
    }
}

/// `a` calls `b`, most of the time.
pub(super) struct Pair {
    pub(super) a: End,
    pub(super) b: End,
    pub(super) now: Instant,
}

pub(super) fn limits() -> Limits {
    Limits { max_message_bytes: 1 << 20, ..Limits::default() }
}

/// A long payload in the two parts that it may have.
pub(super) fn halves(payload: &[u8]) -> Payload {
    let (head, tail) =
        payload.split_at(if payload.len() > CHUNK { payload.len() / 3 } else { payload.len() });
    Payload { head: Bytes::copy_from_slice(head), tail: Bytes::copy_from_slice(tail) }
}

pub(super) fn send(
    end: &mut Outbox,
    lane: u64,
    payload: &[u8],
    now: Instant,
    deadline: Option<Instant>,
) -> Result<usize, NotSent> {
    let actor = ActorName::new("actor").unwrap();
    let Payload { head, tail } = halves(payload);
    let payload = &mut BytesMut::from(head);
    let message = Outgoing { actor: &actor, message: "message", trace: None, lane, payload, tail };
    match deadline {
        Some(deadline) => end.call(message, now, deadline).map(|(key, _)| key),
        None => end.post(message, now).map(|()| 0),
    }
}

impl Pair {
    pub(super) fn connecting(a: Limits, b: Limits) -> Self {
        Self { a: End::new(a), b: End::new(b), now: Instant::now() }
    }

    pub(super) fn new(a: Limits, b: Limits) -> Self {
        let mut pair = Self::connecting(a, b);
        pair.open();
        pair
    }

    pub(super) fn open(&mut self) {
        let (a, b) = (peer_limits(&self.a.limits), peer_limits(&self.b.limits));
        self.a.outbox.open(b, self.now);
        self.b.outbox.open(a, self.now);
    }

    pub(super) fn call(&mut self, lane: u64, bytes: usize) -> usize {
        self.call_within(lane, bytes, 1_000_000)
    }

    pub(super) fn call_within(&mut self, lane: u64, bytes: usize, ms: u64) -> usize {
        let deadline = Some(self.now + Duration::from_millis(ms));
        send(&mut self.a.outbox, lane, &vec![1; bytes], self.now, deadline).unwrap()
    }

    pub(super) fn post(&mut self, lane: u64, bytes: usize) -> Result<(), NotSent> {
        send(&mut self.a.outbox, lane, &vec![2; bytes], self.now, None).map(|_| ())
    }

    /// One batch from `a` to `b`; says whether there was any.
    pub(super) fn write_to_b(&mut self) -> bool {
        let mut batch = BytesMut::new();
        self.a.outbox.take_output(&mut batch, self.now);
        self.b.receive(&batch, self.now).unwrap();
        !batch.is_empty()
    }

    pub(super) fn write_to_a(&mut self) -> bool {
        let mut batch = BytesMut::new();
        self.b.outbox.take_output(&mut batch, self.now);
        self.a.receive(&batch, self.now).unwrap();
        !batch.is_empty()
    }

    /// Moves bytes until there are none; nothing is answered.
    pub(super) fn settle(&mut self) {
        while self.write_to_b() | self.write_to_a() {}
    }

    pub(super) fn answer_all(&mut self) {
        loop {
            self.settle();
            if self.b.arrived.is_empty() {
                break;
            }
            self.b.answer(0, Status::Done, b"");
        }
    }

    pub(super) fn poll(&mut self, key: usize) -> Poll<Outcome> {
        self.a.outbox.poll_call(key, Waker::noop(), &mut None)
    }

    pub(super) fn abandon(&mut self, key: usize) {
        self.a.outbox.abandon(key, self.now, &mut None);
    }

    pub(super) fn outcome(&mut self, key: usize) -> Outcome {
        match self.poll(key) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("it has no outcome"),
        }
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.a.outbox.expire(self.now);
    }

    pub(super) fn assert_empty(&self) {
        assert!(self.a.is_empty(), "the caller keeps something");
        assert!(self.b.is_empty(), "the receiver keeps something");
    }
}

pub(super) fn pair() -> Pair {
    Pair::new(limits(), limits())
}

pub(super) fn with_window(max_in_flight: u32) -> Pair {
    Pair::new(limits(), Limits { max_in_flight, ..limits() })
}
