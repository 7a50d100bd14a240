//! The sending side of a connection: what is queued, what is in the buffer for the socket, which calls wait for a
//! reply. It decides order, limits and fairness; a connection moves its bytes to a socket.
//!
//! - A message goes out when the peer has room (its window of requests and posts that it has not finished). Until
//!   then, and until there is a connection, it waits in a bounded queue.
//! - A message longer than a chunk is announced, granted by the peer, and sent in chunks, between which everything
//!   else passes. Messages of the same *lane* (one sender's) wait until it is sent whole, which keeps their order.
//! - A call's slot is its number on the wire. It is free again only when the caller has let go of it and the peer
//!   has answered, so a late reply never meets another call.

use std::{
    collections::{HashMap, VecDeque},
    task::{Poll, Waker},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use slab::Slab;
use thiserror::Error;

use super::{
    frame::{self, Control, Head, Route, Trace},
    limits::{CHUNK_BYTES, Limits, MAX_OPEN_STREAMS},
    status::Status,
};
use crate::{
    error::{CallError, Failure, NotSent, Unknown},
    handshake::PeerLimits,
    id::ActorName,
};

/// With this much in the buffer no more chunks are added, so that a small frame that comes next is not far behind.
const CHUNKS_UP_TO_BYTES: usize = 2 * CHUNK_BYTES;

/// What a reply brought: how the call ended, and the result's bytes.
pub(crate) type Outcome = Result<(Status, Bytes), CallError>;

/// A message on its way out, its payload in a scratch buffer of the caller.
pub(crate) struct Outgoing<'a> {
    pub actor: &'a ActorName,
    pub message: &'static str,
    pub trace: Option<Trace>,
    /// Messages of one lane arrive in their order.
    pub lane: u64,
    pub payload: &'a mut BytesMut,
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The peer cannot have begun it.
    Queued,
    /// The peer has it, or will.
    Sent,
    /// The peer owes nothing any more.
    Settled,
}

enum Wait {
    Waiting(Option<Waker>),
    Done(Outcome),
    /// The caller has the outcome, or has gone.
    Taken,
}

struct Call {
    wait: Wait,
    place: Place,
    deadline: Instant,
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
    payload: Bytes,
}

#[derive(PartialEq, Eq)]
enum Progress {
    Unannounced,
    Announced,
    Granted,
}

struct Bulk {
    item: Item,
    stream: u32,
    progress: Progress,
    sent: usize,
}

/// See the module.
pub(crate) struct Outbox {
    phase: Phase,
    max_queued: usize,
    max_queued_bytes: usize,
    buffer: BytesMut,
    queue: VecDeque<Item>,
    queued_bytes: usize,
    /// Requests and posts that the peer has not finished; at most the peer's window.
    in_flight: u32,
    posts_in_flight: u32,
    calls: Slab<Call>,
    bulk: VecDeque<Bulk>,
    bulk_bytes: usize,
    next_stream: u32,
    /// Lanes with a large message under way, and what waits behind it.
    lanes: HashMap<u64, VecDeque<Item>>,
    /// The writer has been told that there is something, and has not come yet.
    is_announced: bool,
    /// The token of the peer's last ping, to be answered.
    pong: Option<u64>,
    /// No call's deadline is earlier.
    earliest: Option<Instant>,
}

impl Outbox {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            phase: Phase::Connecting,
            max_queued: limits.max_queued,
            max_queued_bytes: limits.max_queued_bytes,
            buffer: BytesMut::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            in_flight: 0,
            posts_in_flight: 0,
            calls: Slab::new(),
            bulk: VecDeque::new(),
            bulk_bytes: 0,
            next_stream: 0,
            lanes: HashMap::new(),
            is_announced: false,
            pong: None,
            earliest: None,
        }
    }

    /// The connection stands: what has waited for it goes out.
    pub(crate) fn open(&mut self, peer: PeerLimits, now: Instant) {
        self.phase = Phase::Open(peer);
        self.pump(now);
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed(_))
    }

    /// Bytes that wait here: in the buffer, in the queue, and of large messages.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.buffer.len() + self.queued_bytes + self.bulk_bytes
    }

    /// Calls that are not answered, and posts that are not taken.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight as usize + self.queue.len()
    }

    /// Whether there is something for [`take_output`](Self::take_output) that the writer has not been told of. Whoever
    /// is told `true` must tell it.
    pub(crate) fn announce_output(&mut self) -> bool {
        let is_news = !self.is_announced && (!self.is_flushed() || self.pong.is_some());
        self.is_announced |= is_news;
        is_news
    }

    /// Answers the peer's ping. Only the last one, if it sends them faster than it reads the answers.
    pub(crate) fn answer_ping(&mut self, token: u64) {
        self.pong = Some(token);
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

    /// Whether a message with such a payload is taken now.
    fn admit(&self, payload_bytes: usize) -> Result<(), NotSent> {
        match &self.phase {
            Phase::Closed(why) => return Err(why.clone()),
            Phase::Open(peer) if payload_bytes as u64 > peer.max_message_bytes => {
                return Err(NotSent::TooLarge { bytes: payload_bytes as u64, limit: peer.max_message_bytes });
            }
            _ => {}
        }
        let goes_out_now = self.queue.is_empty() && self.has_window() && payload_bytes <= CHUNK_BYTES;
        if !goes_out_now
            && (self.queue.len() >= self.max_queued
                || (self.waiting_bytes() > 0 && self.waiting_bytes() + payload_bytes > self.max_queued_bytes))
        {
            return Err(NotSent::QueueFull);
        }
        Ok(())
    }

    fn waiting_bytes(&self) -> usize {
        self.queued_bytes + self.bulk_bytes
    }

    /// Takes a call; its outcome is got with [`poll_call`](Self::poll_call). The flag says that its deadline comes
    /// before all others.
    pub(crate) fn call(
        &mut self,
        message: Outgoing<'_>,
        now: Instant,
        deadline: Instant,
    ) -> Result<(usize, bool), NotSent> {
        self.admit(message.payload.len())?;
        let call = Call { wait: Wait::Waiting(None), place: Place::Queued, deadline };
        let key = self.calls.insert(call);
        self.submit(Kind::Call(key), message, now);
        let is_earliest = self.earliest.is_none_or(|earliest| deadline < earliest);
        if is_earliest {
            self.earliest = Some(deadline);
        }
        Ok((key, is_earliest))
    }

    /// Takes a message that gets no reply.
    pub(crate) fn post(&mut self, message: Outgoing<'_>, now: Instant) -> Result<(), NotSent> {
        self.admit(message.payload.len())?;
        self.submit(Kind::Post, message, now);
        Ok(())
    }

    fn submit(&mut self, kind: Kind, message: Outgoing<'_>, now: Instant) {
        let direct = self.queue.is_empty()
            && self.has_window()
            && message.payload.len() <= CHUNK_BYTES
            && (self.lanes.is_empty() || !self.lanes.contains_key(&message.lane));
        if direct {
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
            payload: message.payload.split().freeze(),
        };
        self.queued_bytes += item.payload.len();
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
    pub(crate) fn reply_large(&mut self, call: u32, status: Status, payload: Bytes) {
        let Some(peer) = self.peer_limits() else { return };
        if payload.len() as u64 > peer.max_message_bytes {
            return self.reply(call, Status::Failed(Failure::ReplyTooLarge), &[]);
        }
        let kind = Kind::Reply { call, status: status.code() };
        self.push_bulk(Item { kind, actor: None, message: "", trace: None, lane: 0, payload });
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
                let left = self.calls[key].deadline.saturating_duration_since(now);
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
            self.calls[key].place = Place::Sent;
        }
    }

    fn push_bulk(&mut self, item: Item) {
        self.bulk_bytes += item.payload.len();
        self.bulk.push_back(Bulk { item, stream: 0, progress: Progress::Unannounced, sent: 0 });
    }

    /// Whether somebody still waits for it. A call that nobody waits for is settled here.
    fn is_wanted(&mut self, kind: Kind) -> bool {
        let Kind::Call(key) = kind else { return true };
        let call = &mut self.calls[key];
        match call.wait {
            Wait::Waiting(_) => true,
            Wait::Done(_) => {
                call.place = Place::Settled;
                false
            }
            Wait::Taken => {
                self.calls.remove(key);
                false
            }
        }
    }

    /// Moves what may go from the queue on its way.
    fn pump(&mut self, now: Instant) {
        while self.has_window()
            && let Some(item) = self.queue.pop_front()
        {
            self.queued_bytes -= item.payload.len();
            if self.is_wanted(item.kind) {
                let peer_limit = self.peer_limits().map_or(u64::MAX, |peer| peer.max_message_bytes);
                if item.payload.len() as u64 > peer_limit {
                    self.settle_unsent(
                        item.kind,
                        NotSent::TooLarge { bytes: item.payload.len() as u64, limit: peer_limit },
                    );
                    continue;
                }
                self.count_in(item.kind);
                self.dispatch(item, now);
            }
        }
    }

    fn settle_unsent(&mut self, kind: Kind, why: NotSent) {
        if let Kind::Call(key) = kind {
            self.calls[key].place = Place::Settled;
            if let Some(waker) = self.finish(key, Err(why.into())) {
                waker.wake();
            }
        }
    }

    /// Sends what has its place in the peer's window, or puts it behind a large message of its lane.
    fn dispatch(&mut self, item: Item, now: Instant) {
        if let Some(held) = self.lanes.get_mut(&item.lane) {
            held.push_back(item);
        } else if item.payload.len() <= CHUNK_BYTES {
            self.dispatch_small(item, now);
        } else {
            self.lanes.insert(item.lane, VecDeque::new());
            self.push_bulk(item);
        }
    }

    fn dispatch_small(&mut self, item: Item, now: Instant) {
        let actor = item.actor.as_ref().map_or("", ActorName::as_str).as_bytes();
        let route = Route { actor, message: item.message.as_bytes(), trace: item.trace };
        self.write_whole(item.kind, route, &item.payload, now);
    }

    /// A large message is out of the way: what waited behind it in its lane goes on.
    fn release_lane(&mut self, lane: u64, now: Instant) {
        let Some(held) = self.lanes.get_mut(&lane) else { return };
        let mut held = std::mem::take(held);
        while let Some(item) = held.pop_front() {
            if !self.is_wanted(item.kind) {
                self.in_flight -= 1;
                continue;
            }
            if item.payload.len() > CHUNK_BYTES {
                self.push_bulk(item);
                self.lanes.insert(lane, held);
                return self.pump(now);
            }
            self.dispatch_small(item, now);
        }
        self.lanes.remove(&lane);
        self.pump(now);
    }

    /// Moves what is to be written into `into`, which must be empty. Large messages get their turn here.
    pub(crate) fn take_output(&mut self, into: &mut BytesMut, now: Instant) {
        self.is_announced = false;
        if let Some(token) = self.pong.take() {
            self.control(Control::Pong { token });
        }
        if !self.bulk.is_empty() && self.peer_limits().is_some() {
            self.drop_unwanted_bulk(now);
            self.announce_bulk(now);
            self.write_chunks(now);
        }
        std::mem::swap(&mut self.buffer, into);
    }

    fn drop_unwanted_bulk(&mut self, now: Instant) {
        let mut at = 0;
        while at < self.bulk.len() {
            let kind = self.bulk[at].item.kind;
            if self.is_wanted(kind) {
                at += 1;
                continue;
            }
            if let Some(bulk) = self.bulk.remove(at) {
                self.bulk_bytes -= bulk.item.payload.len() - bulk.sent;
                if bulk.progress != Progress::Unannounced {
                    frame::write_control(&Control::Abort { stream: bulk.stream }, &mut self.buffer);
                }
                self.in_flight -= 1;
                self.release_lane(bulk.item.lane, now);
            }
        }
    }

    fn announce_bulk(&mut self, now: Instant) {
        for replies in [false, true] {
            let of_kind = |bulk: &Bulk| matches!(bulk.item.kind, Kind::Reply { .. }) == replies;
            let is_open = |bulk: &&Bulk| of_kind(bulk) && bulk.progress != Progress::Unannounced;
            for _ in self.bulk.iter().filter(is_open).count()..MAX_OPEN_STREAMS {
                let is_next = |bulk: &Bulk| of_kind(bulk) && bulk.progress == Progress::Unannounced;
                let Some(at) = self.bulk.iter().position(is_next) else { break };
                self.announce(at, now);
            }
        }
    }

    fn announce(&mut self, at: usize, now: Instant) {
        let stream = self.next_stream;
        self.next_stream = self.next_stream.wrapping_add(1);
        let item = &self.bulk[at].item;
        let actor = item.actor.as_ref().map_or("", ActorName::as_str).as_bytes();
        let route = Route { actor, message: item.message.as_bytes(), trace: item.trace };
        let head = self.head(item.kind, route, now);
        frame::write_open(stream, item.payload.len() as u64, &head, &mut self.buffer);
        self.bulk[at].stream = stream;
        self.bulk[at].progress = Progress::Announced;
    }

    /// One chunk of each granted message in turn, until the buffer holds enough.
    fn write_chunks(&mut self, now: Instant) {
        while self.buffer.len() < CHUNKS_UP_TO_BYTES {
            let granted = self.bulk.iter().position(|bulk| bulk.progress == Progress::Granted);
            let Some(mut bulk) = granted.and_then(|at| self.bulk.remove(at)) else { return };
            let payload = &bulk.item.payload;
            let until = payload.len().min(bulk.sent + CHUNK_BYTES);
            frame::write_chunk(bulk.stream, &payload[bulk.sent..until], &mut self.buffer);
            self.bulk_bytes -= until - bulk.sent;
            bulk.sent = until;
            if until < payload.len() {
                self.bulk.push_back(bulk);
                continue;
            }
            if let Kind::Call(key) = bulk.item.kind {
                self.calls[key].place = Place::Sent;
            }
            if !matches!(bulk.item.kind, Kind::Reply { .. }) {
                self.release_lane(bulk.item.lane, now);
            }
            self.announce_bulk(now);
        }
    }

    /// The peer has room for an announced message. One that was dropped meanwhile is not an error.
    pub(crate) fn granted(&mut self, stream: u32) {
        let announced =
            self.bulk.iter_mut().find(|bulk| bulk.progress == Progress::Announced && bulk.stream == stream);
        if let Some(bulk) = announced {
            bulk.progress = Progress::Granted;
        }
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
        let key = call as usize;
        match self.calls.get_mut(key) {
            Some(call) if call.place == Place::Sent => call.place = Place::Settled,
            _ => return Err(Violation::UnexpectedReply),
        }
        self.in_flight -= 1;
        let waker = self.finish(key, Ok((status, payload)));
        if !self.queue.is_empty() {
            self.pump(now);
        }
        Ok(waker)
    }

    /// Gives a call its outcome, if it still waits for one.
    fn finish(&mut self, key: usize, outcome: Outcome) -> Option<Waker> {
        let call = &mut self.calls[key];
        match &mut call.wait {
            Wait::Waiting(waker) => {
                let waker = waker.take();
                call.wait = Wait::Done(outcome);
                waker
            }
            Wait::Done(_) => None,
            Wait::Taken => {
                if call.place == Place::Settled {
                    self.calls.remove(key);
                }
                None
            }
        }
    }

    /// The outcome of a call, which can be had once.
    pub(crate) fn poll_call(&mut self, key: usize, waker: &Waker) -> Poll<Outcome> {
        let call = &mut self.calls[key];
        if let Wait::Waiting(waiting) = &mut call.wait {
            if !waiting.as_ref().is_some_and(|known| known.will_wake(waker)) {
                *waiting = Some(waker.clone());
            }
            return Poll::Pending;
        }
        let taken = std::mem::replace(&mut call.wait, Wait::Taken);
        if call.place == Place::Settled {
            self.calls.remove(key);
        }
        match taken {
            Wait::Done(outcome) => Poll::Ready(outcome),
            _ => unreachable!("a call's outcome is taken once"),
        }
    }

    /// The caller of a call whose outcome it has not taken no longer waits.
    pub(crate) fn abandon(&mut self, key: usize) {
        let call = &mut self.calls[key];
        let was_waiting = matches!(call.wait, Wait::Waiting(_));
        call.wait = Wait::Taken;
        match call.place {
            Place::Settled => {
                self.calls.remove(key);
            }
            Place::Sent if was_waiting => self.control(Control::Cancel { call: key as u32 }),
            Place::Sent | Place::Queued => {}
        }
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// Ends the calls whose deadline has passed; the wakers are their callers'.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let mut earliest: Option<Instant> = None;
        for (_, call) in &mut self.calls {
            let Wait::Waiting(waker) = &mut call.wait else { continue };
            if call.deadline > now {
                earliest = Some(earliest.map_or(call.deadline, |other| other.min(call.deadline)));
                continue;
            }
            wakers.extend(waker.take());
            let why = match call.place {
                Place::Queued => CallError::NotSent(NotSent::Deadline),
                Place::Sent | Place::Settled => CallError::Unknown(Unknown::Deadline),
            };
            call.wait = Wait::Done(Err(why));
        }
        self.earliest = earliest;
        wakers
    }

    /// Ends everything: there is no connection (any more). `why` is what later messages are told.
    pub(crate) fn close(&mut self, why: NotSent) -> Vec<Waker> {
        if self.is_closed() {
            return Vec::new();
        }
        self.phase = Phase::Closed(why.clone());
        self.queue.clear();
        self.bulk.clear();
        self.lanes.clear();
        self.buffer = BytesMut::new();
        (self.queued_bytes, self.bulk_bytes, self.in_flight, self.posts_in_flight) = (0, 0, 0, 0);
        let mut wakers = Vec::new();
        self.calls.retain(|_, call| {
            let place = std::mem::replace(&mut call.place, Place::Settled);
            if let Wait::Waiting(waker) = &mut call.wait {
                wakers.extend(waker.take());
                call.wait = Wait::Done(Err(match place {
                    Place::Queued => CallError::NotSent(why.clone()),
                    Place::Sent | Place::Settled => CallError::Unknown(Unknown::ConnectionLost),
                }));
            }
            !matches!(call.wait, Wait::Taken)
        });
        self.earliest = None;
        wakers
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
