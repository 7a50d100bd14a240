//! The sending side of a connection: what is queued, and what is in the buffer for the socket. It decides order,
//! limits and fairness; a connection moves its bytes to a socket.
//!
//! - A message goes out when the peer has room (its window of requests and posts that it has not finished). Until
//!   then, and until there is a connection, it waits in a queue. A post is refused when the queue is at its limit. A
//!   call is not: its caller waits for it and holds its future, so the caller bounds how many there are, and a call
//!   that waited outside could be overtaken.
//! - A message longer than a chunk is announced, granted by the peer, and sent in chunks, between which everything
//!   else passes. Messages of the same *lane* (one sender's) wait until it is sent whole, which keeps their order.
//! - Nothing that the peer sends makes it hold more than a bound: grants that were not written are withdrawn with
//!   their streams, of pings only the last is answered, and replies are taken as long as
//!   [`takes_replies`](Outbox::takes_replies) says so.

mod large;

use std::{
    collections::{HashMap, VecDeque},
    task::{Poll, Waker},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use large::Bulk;
use thiserror::Error;

use super::{
    calls::{Abandoned, Calls, Outcome},
    frame::{self, Control, Head, Route, Trace},
    limits::{CHUNK_BYTES, Limits, MAX_FRAME_BYTES},
    payload::Payload,
    status::Status,
};
use crate::{
    error::{Failure, NotSent},
    handshake::PeerLimits,
    id::ActorName,
};

/// Replies are left where they are while this much waits to be written.
pub(crate) const MAX_UNWRITTEN_BYTES: usize = 1 << 20;

/// With this much in messages that nobody waits for any more, they are thrown away at once.
const MAX_GIVEN_UP_BYTES: usize = 1 << 20;

/// What a frame holds besides its chunk or payload, at most.
const HEADER_BYTES: usize = MAX_FRAME_BYTES - CHUNK_BYTES;

/// A message on its way out, its payload in a scratch buffer of the caller. There is a tail only where both together are
/// longer than a chunk.
pub(crate) struct Outgoing<'a> {
    pub actor: &'a ActorName,
    pub message: &'static str,
    pub trace: Option<Trace>,
    /// Messages of one lane arrive in their order.
    pub lane: u64,
    pub payload: &'a mut BytesMut,
    pub tail: Bytes,
}

impl Outgoing<'_> {
    fn bytes(&self) -> usize {
        self.payload.len() + self.tail.len()
    }
}

/// Something the peer may not do: the connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Violation {
    #[error("a reply to a call that is not waiting for one")]
    UnexpectedReply,
    #[error("more credit than there were posts")]
    TooMuchCredit,
    #[error("more large messages at once than allowed")]
    TooManyStreams,
    #[error("a large message's number is in use")]
    StreamInUse,
    #[error("a large message is longer than the limit")]
    MessageTooLong,
    #[error("a chunk that was not granted, or is empty, or goes past the announced length")]
    BadChunk,
    #[error("more requests in flight than allowed")]
    WindowExceeded,
}

enum Phase {
    Connecting,
    Open(PeerLimits),
    Closed(NotSent),
}

#[derive(Clone, Copy)]
enum Kind {
    Call(usize),
    Post,
    Reply { call: u32, status: u16 },
}

struct Item {
    kind: Kind,
    actor: Option<ActorName>,
    message: &'static str,
    trace: Option<Trace>,
    lane: u64,
    payload: Payload,
}

/// See the module.
pub(crate) struct Outbox {
    phase: Phase,
    max_queued: usize,
    max_queued_bytes: usize,
    max_reply_bytes: u64,
    /// Longest payload of a frame.
    chunk_bytes: usize,
    buffer: BytesMut,
    queue: VecDeque<Item>,
    /// Of requests and posts: in the queue, behind large messages, and of large messages what is not written.
    waiting_bytes: usize,
    /// Requests and posts that the peer has not finished; at most the peer's window.
    in_flight: u32,
    posts_in_flight: u32,
    calls: Calls,
    bulk: VecDeque<Bulk>,
    /// Of large replies, what is not written.
    reply_bytes: u64,
    next_stream: u32,
    /// Lanes with a large message under way, and what waits behind it.
    lanes: HashMap<u64, VecDeque<Item>>,
    /// The writer has been told that there is something, and has not come yet.
    is_announced: bool,
    /// The token of the peer's last ping, to be answered.
    pong: Option<u64>,
    /// Streams of the peer's that it may send; not told yet.
    grants: Vec<u32>,
    /// Of callers whose calls ended while something else was done.
    wakers: Vec<Waker>,
}

impl Outbox {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            phase: Phase::Connecting,
            max_queued: limits.max_queued,
            max_queued_bytes: limits.max_queued_bytes,
            max_reply_bytes: limits.max_in_flight_bytes,
            chunk_bytes: CHUNK_BYTES,
            buffer: BytesMut::new(),
            queue: VecDeque::new(),
            waiting_bytes: 0,
            in_flight: 0,
            posts_in_flight: 0,
            calls: Calls::default(),
            bulk: VecDeque::new(),
            reply_bytes: 0,
            next_stream: 0,
            lanes: HashMap::new(),
            is_announced: false,
            pong: None,
            grants: Vec::new(),
            wakers: Vec::new(),
        }
    }

    /// The connection stands: what has waited for it goes out. One that was closed before stays closed.
    pub(crate) fn open(&mut self, peer: PeerLimits, now: Instant) {
        if self.is_closed() {
            return;
        }
        let frame_bytes = usize::try_from(peer.max_frame_bytes).unwrap_or(usize::MAX);
        self.chunk_bytes = frame_bytes.saturating_sub(HEADER_BYTES).clamp(1, CHUNK_BYTES);
        self.phase = Phase::Open(peer);
        self.pump(now);
    }

    /// The longest result that [`reply`](Self::reply) takes.
    pub(crate) fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed(_))
    }

    /// Whether replies are to be handed over now. The own messages do not count: they may wait for room at the peer,
    /// which may wait for these replies.
    pub(crate) fn takes_replies(&self) -> bool {
        self.buffer.len() < MAX_UNWRITTEN_BYTES && self.reply_bytes < self.max_reply_bytes
    }

    /// Calls that are not answered, and posts that are not taken.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight as usize + self.queue.len()
    }

    /// Whether there is something for [`take_output`](Self::take_output) that the writer has not been told of. Whoever
    /// is told `true` must tell it.
    pub(crate) fn announce_output(&mut self) -> bool {
        let has_output = !self.is_flushed() || self.pong.is_some() || !self.grants.is_empty();
        let is_news = !self.is_announced && has_output;
        self.is_announced |= is_news;
        is_news
    }

    /// Answers the peer's ping. Only the last one, if it sends them faster than it reads the answers.
    pub(crate) fn answer_ping(&mut self, token: u64) {
        self.pong = Some(token);
    }

    /// Lets the peer send an announced message.
    pub(crate) fn grant(&mut self, stream: u32) {
        if self.peer_limits().is_some() {
            self.grants.push(stream);
        }
    }

    /// The announced message needs no grant any more: it is there, or will not come.
    pub(crate) fn withdraw_grant(&mut self, stream: u32) {
        self.grants.retain(|granted| *granted != stream);
    }

    /// The callers to be woken; to be called where user code may run.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }

    /// Whether nothing is left to be written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.buffer.is_empty() && self.bulk.is_empty()
    }

    fn peer_limits(&self) -> Option<&PeerLimits> {
        match &self.phase {
            Phase::Open(peer) => Some(peer),
            _ => None,
        }
    }

    fn has_window(&self) -> bool {
        self.peer_limits().is_some_and(|peer| self.in_flight < peer.max_in_flight)
    }

    fn check_length(&self, payload_bytes: usize) -> Result<(), NotSent> {
        match &self.phase {
            Phase::Closed(why) => Err(why.clone()),
            Phase::Open(peer) if payload_bytes as u64 > peer.max_message_bytes => {
                Err(NotSent::TooLarge { bytes: payload_bytes as u64, limit: peer.max_message_bytes })
            }
            _ => Ok(()),
        }
    }

    /// Whether a message can be written at once.
    fn goes_out_now(&self, lane: u64, payload_bytes: usize) -> bool {
        self.queue.is_empty()
            && self.has_window()
            && payload_bytes <= self.chunk_bytes
            && (self.lanes.is_empty() || !self.lanes.contains_key(&lane))
    }

    /// Takes a call; its outcome is got with [`poll_call`](Self::poll_call). The flag says that its deadline comes
    /// before all others.
    pub(crate) fn call(
        &mut self,
        message: Outgoing<'_>,
        now: Instant,
        deadline: Instant,
    ) -> Result<(usize, bool), NotSent> {
        self.check_length(message.bytes())?;
        let (key, is_earliest) = self.calls.insert(message.bytes(), deadline);
        self.submit(Kind::Call(key), message, now);
        Ok((key, is_earliest))
    }

    /// Takes a message that gets no reply.
    pub(crate) fn post(&mut self, message: Outgoing<'_>, now: Instant) -> Result<(), NotSent> {
        let bytes = message.bytes();
        self.check_length(bytes)?;
        let waiting = self.waiting_bytes;
        if !self.goes_out_now(message.lane, bytes)
            && (self.queue.len() >= self.max_queued
                || (waiting > 0 && waiting.saturating_add(bytes) > self.max_queued_bytes))
        {
            return Err(NotSent::QueueFull);
        }
        self.submit(Kind::Post, message, now);
        Ok(())
    }

    fn submit(&mut self, kind: Kind, message: Outgoing<'_>, now: Instant) {
        if self.goes_out_now(message.lane, message.bytes()) {
            self.count_in(kind);
            let route = Route {
                actor: message.actor.as_str().as_bytes(),
                message: message.message.as_bytes(),
                trace: message.trace,
            };
            self.write_whole(kind, route, message.payload, now);
            message.payload.clear();
            return;
        }
        let item = Item {
            kind,
            actor: Some(message.actor.clone()),
            message: message.message,
            trace: message.trace,
            lane: message.lane,
            payload: Payload { head: message.payload.split().freeze(), tail: message.tail },
        };
        self.waiting_bytes += item.payload.len();
        self.queue.push_back(item);
        self.pump(now);
    }

    /// Takes a reply whose result is not longer than a chunk.
    pub(crate) fn reply(&mut self, call: u32, status: Status, payload: &[u8]) {
        if self.peer_limits().is_some() {
            let head = Head::Reply { call, status: status.code() };
            frame::write_message(&head, payload, &mut self.buffer);
        }
    }

    /// Takes a reply with a longer result. One that the peer cannot take is replaced by the failure that says so.
    pub(crate) fn reply_large(&mut self, call: u32, status: Status, payload: Payload) {
        let Some(peer) = self.peer_limits() else { return };
        if payload.len() as u64 > peer.max_message_bytes {
            return self.reply(call, Status::Failed(Failure::ReplyTooLarge), &[]);
        }
        let kind = Kind::Reply { call, status: status.code() };
        self.reply_bytes += payload.len() as u64;
        self.push_bulk(Item { kind, actor: None, message: "", trace: None, lane: 0, payload });
    }

    /// Bytes that wait here, whatever they are.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn unwritten_bytes(&self) -> usize {
        self.buffer.len() + self.waiting_bytes + self.reply_bytes as usize + 4 * self.grants.len()
    }

    /// Takes a frame that steers the connection.
    pub(crate) fn control(&mut self, frame: Control) {
        if self.peer_limits().is_some() {
            frame::write_control(&frame, &mut self.buffer);
        }
    }

    fn count_in(&mut self, kind: Kind) {
        self.in_flight += 1;
        if matches!(kind, Kind::Post) {
            self.posts_in_flight += 1;
        }
    }

    fn head<'a>(&self, kind: Kind, route: Route<'a>, now: Instant) -> Head<'a> {
        match kind {
            Kind::Call(key) => {
                let left = self.calls.deadline(key).saturating_duration_since(now);
                let timeout_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
                Head::Request { call: key as u32, timeout_ms, route }
            }
            Kind::Post => Head::Post { route },
            Kind::Reply { call, status } => Head::Reply { call, status },
        }
    }

    fn write_whole(&mut self, kind: Kind, route: Route<'_>, payload: &[u8], now: Instant) {
        let head = self.head(kind, route, now);
        frame::write_message(&head, payload, &mut self.buffer);
        if let Kind::Call(key) = kind {
            self.calls.sent(key);
        }
    }

    /// Moves what may go from the queue on its way.
    fn pump(&mut self, now: Instant) {
        while self.has_window()
            && let Some(item) = self.queue.pop_front()
        {
            if !self.is_wanted(item.kind) {
                self.waiting_bytes -= item.payload.len();
                continue;
            }
            if let Err(why) = self.check_length(item.payload.len()) {
                self.waiting_bytes -= item.payload.len();
                self.refuse(&item, why);
                continue;
            }
            self.count_in(item.kind);
            self.dispatch(item, now);
        }
    }

    fn is_wanted(&mut self, kind: Kind) -> bool {
        is_wanted(&mut self.calls, kind)
    }

    /// For what was taken before the peer's limits were known.
    fn refuse(&mut self, item: &Item, why: NotSent) {
        match item.kind {
            Kind::Call(key) => self.wakers.extend(self.calls.refuse(key, why)),
            _ => tracing::warn!(message = item.message, %why, "dropped a message"),
        }
    }

    /// Throws away messages that nobody waits for, when there are many or they are long.
    fn tidy(&mut self, now: Instant) {
        let (count, bytes) = self.calls.given_up();
        if count == 0 || (2 * count < self.queue.len() && bytes < MAX_GIVEN_UP_BYTES) {
            return;
        }
        let Self { calls, queue, lanes, waiting_bytes, in_flight, .. } = self;
        let mut keep = |item: &Item| {
            let is_wanted = is_wanted(calls, item.kind);
            if !is_wanted {
                *waiting_bytes -= item.payload.len();
            }
            is_wanted
        };
        queue.retain(&mut keep);
        for held in lanes.values_mut() {
            let before = held.len();
            held.retain(&mut keep);
            *in_flight -= (before - held.len()) as u32;
        }
        self.pump(now);
    }

    /// Sends what has its place in the peer's window, or puts it behind a large message of its lane.
    fn dispatch(&mut self, item: Item, now: Instant) {
        if let Some(held) = self.lanes.get_mut(&item.lane) {
            held.push_back(item);
        } else if item.payload.len() <= self.chunk_bytes {
            self.dispatch_small(item, now);
        } else {
            self.lanes.insert(item.lane, VecDeque::new());
            self.push_bulk(item);
        }
    }

    fn dispatch_small(&mut self, item: Item, now: Instant) {
        self.waiting_bytes -= item.payload.len();
        let actor = item.actor.as_ref().map_or("", ActorName::as_str).as_bytes();
        let route = Route { actor, message: item.message.as_bytes(), trace: item.trace };
        debug_assert!(item.payload.tail.is_empty(), "a message with a tail is longer than a chunk");
        self.write_whole(item.kind, route, &item.payload.head, now);
    }

    /// Moves what is to be written into `into`, which must be empty. Large messages get their turn here.
    pub(crate) fn take_output(&mut self, into: &mut BytesMut, now: Instant) {
        self.is_announced = false;
        if let Some(token) = self.pong.take() {
            self.control(Control::Pong { token });
        }
        for stream in self.grants.drain(..) {
            frame::write_control(&Control::Grant { stream }, &mut self.buffer);
        }
        if !self.bulk.is_empty() && self.peer_limits().is_some() {
            self.drop_unwanted_bulk(now);
            self.announce_bulk(now);
            self.write_chunks(now);
        }
        std::mem::swap(&mut self.buffer, into);
    }

    /// The peer has taken so many posts.
    pub(crate) fn credited(&mut self, posts: u32, now: Instant) -> Result<(), Violation> {
        if posts > self.posts_in_flight {
            return Err(Violation::TooMuchCredit);
        }
        self.posts_in_flight -= posts;
        self.in_flight -= posts;
        self.pump(now);
        Ok(())
    }

    /// The peer has answered a call. The waker is the caller's.
    pub(crate) fn replied(
        &mut self,
        call: u32,
        status: Status,
        payload: Bytes,
        now: Instant,
    ) -> Result<Option<Waker>, Violation> {
        let waker = self.calls.replied(call as usize, status, payload).ok_or(Violation::UnexpectedReply)?;
        self.in_flight -= 1;
        if !self.queue.is_empty() {
            self.pump(now);
        }
        Ok(waker)
    }

    /// The outcome of a call, which can be had once. A waker that is not needed any more goes to `stale`, to be dropped
    /// where user code may run.
    pub(crate) fn poll_call(
        &mut self,
        key: usize,
        waker: &Waker,
        stale: &mut Option<Waker>,
    ) -> Poll<Outcome> {
        self.calls.poll(key, waker, stale)
    }

    /// The caller of a call whose outcome it has not taken no longer waits. Its waker goes to `stale`.
    pub(crate) fn abandon(&mut self, key: usize, now: Instant, stale: &mut Option<Waker>) {
        match self.calls.abandon(key, stale) {
            Abandoned::Cancel => self.control(Control::Cancel { call: key as u32 }),
            Abandoned::Unsent => self.tidy(now),
            Abandoned::Nothing => {}
        }
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.calls.next_deadline()
    }

    /// Ends the calls whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant) {
        let wakers = self.calls.expire(now);
        self.wakers.extend(wakers);
        self.tidy(now);
    }

    /// Ends everything: there is no connection (any more). `why` is what later messages are told.
    pub(crate) fn close(&mut self, why: NotSent) {
        if self.is_closed() {
            return;
        }
        let wakers = self.calls.close(&why);
        self.wakers.extend(wakers);
        self.phase = Phase::Closed(why);
        self.queue.clear();
        self.bulk.clear();
        self.lanes.clear();
        self.grants.clear();
        self.pong = None;
        self.buffer = BytesMut::new();
        (self.waiting_bytes, self.reply_bytes, self.in_flight, self.posts_in_flight) = (0, 0, 0, 0);
    }
}

/// Whether somebody still waits for a message that has not been sent. If not, it must be thrown away.
fn is_wanted(calls: &mut Calls, kind: Kind) -> bool {
    match kind {
        Kind::Call(key) => calls.is_wanted(key),
        Kind::Post | Kind::Reply { .. } => true,
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
