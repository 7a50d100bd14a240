//! Large messages on their way out: announced, granted, sent in chunks; and the lanes that wait behind them.

use std::time::Instant;

use super::{Item, Kind, Outbox};
use crate::{
    id::ActorName,
    wire::{
        frame::{self, Control, Route},
        limits::{CHUNK_BYTES, MAX_OPEN_STREAMS},
    },
};

/// With this much in the buffer no more chunks are added, so that a small frame that comes next is not far behind.
const CHUNKS_UP_TO_BYTES: usize = 2 * CHUNK_BYTES;

#[derive(PartialEq, Eq)]
pub(super) enum Progress {
    Unannounced,
    Announced,
    Granted,
}

pub(super) struct Bulk {
    pub(super) item: Item,
    stream: u32,
    progress: Progress,
    pub(super) sent: usize,
}

impl Outbox {
    pub(super) fn push_bulk(&mut self, item: Item) {
        self.bulk.push_back(Bulk { item, stream: 0, progress: Progress::Unannounced, sent: 0 });
    }

    /// A large message is out of the way: what waited behind it in its lane goes on.
    pub(super) fn release_lane(&mut self, lane: u64, now: Instant) {
        let Some(held) = self.lanes.get_mut(&lane) else { return };
        let mut held = std::mem::take(held);
        while let Some(item) = held.pop_front() {
            if !self.is_wanted(item.kind) {
                self.waiting_bytes -= item.payload.len();
                self.in_flight -= 1;
                continue;
            }
            if item.payload.len() > self.chunk_bytes {
                self.push_bulk(item);
                self.lanes.insert(lane, held);
                return self.pump(now);
            }
            self.dispatch_small(item, now);
        }
        self.lanes.remove(&lane);
        self.pump(now);
    }

    pub(super) fn drop_unwanted_bulk(&mut self, now: Instant) {
        let mut at = 0;
        while at < self.bulk.len() {
            let kind = self.bulk[at].item.kind;
            if self.is_wanted(kind) {
                at += 1;
                continue;
            }
            if let Some(bulk) = self.bulk.remove(at) {
                self.waiting_bytes -= bulk.item.payload.len() - bulk.sent;
                if bulk.progress != Progress::Unannounced {
                    frame::write_control(&Control::Abort { stream: bulk.stream }, &mut self.buffer);
                }
                self.in_flight -= 1;
                self.release_lane(bulk.item.lane, now);
            }
        }
    }

    pub(super) fn announce_bulk(&mut self, now: Instant) {
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
    pub(super) fn write_chunks(&mut self, now: Instant) {
        while self.buffer.len() < CHUNKS_UP_TO_BYTES {
            let granted = self.bulk.iter().position(|bulk| bulk.progress == Progress::Granted);
            let Some(mut bulk) = granted.and_then(|at| self.bulk.remove(at)) else { return };
            let payload = &bulk.item.payload;
            let chunk = payload.part(bulk.sent, self.chunk_bytes);
            frame::write_chunk(bulk.stream, chunk, &mut self.buffer);
            let written = chunk.len();
            match bulk.item.kind {
                Kind::Reply { .. } => self.reply_bytes -= written as u64,
                Kind::Call(_) | Kind::Post => self.waiting_bytes -= written,
            }
            bulk.sent += written;
            if bulk.sent < bulk.item.payload.len() {
                self.bulk.push_back(bulk);
                continue;
            }
            if let Kind::Call(key) = bulk.item.kind {
                self.calls.sent(key);
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
}
