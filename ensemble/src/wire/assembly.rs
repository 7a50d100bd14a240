//! The receiving side of large messages: which are announced, which may be sent, and their bytes so far. Memory
//! grows with the bytes that have come, never with what was claimed, and is bounded by the budget.

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::{
    frame::{self, Head},
    limits::{CHUNK_BYTES, Limits, MAX_OPEN_STREAMS},
    outbox::Violation,
};

struct Partial {
    head: Bytes,
    total: u64,
    data: BytesMut,
    is_granted: bool,
    /// Replies are not: the call that they answer was made here.
    is_budgeted: bool,
}

/// A large message that is all there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complete {
    /// To be read with [`frame::read_head`].
    pub head: Bytes,
    pub payload: Bytes,
    /// What [`Assembly::release`] must be told when the message has been dealt with.
    pub budgeted_bytes: u64,
}

/// See the module.
pub(crate) struct Assembly {
    max_message_bytes: u64,
    budget_bytes: u64,
    used_bytes: u64,
    /// Announced, and waiting for room in the budget.
    waiting: VecDeque<u32>,
    streams: HashMap<u32, Partial>,
}

impl Assembly {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            max_message_bytes: limits.max_message_bytes,
            budget_bytes: limits.max_in_flight_bytes,
            used_bytes: 0,
            waiting: VecDeque::new(),
            streams: HashMap::new(),
        }
    }

    /// A large message is announced. Says whether it may be sent now; if not, a later
    /// [`release`](Self::release) or [`abort`](Self::abort) says so.
    pub(crate) fn announced(&mut self, stream: u32, total: u64, head: &Head<'_>) -> Result<bool, Violation> {
        if self.streams.contains_key(&stream) {
            return Err(Violation::StreamInUse);
        }
        // Replies have slots of their own, so that they never wait for requests that wait for them.
        let is_budgeted = !matches!(head, Head::Reply { .. });
        let of_its_kind = self.streams.values().filter(|partial| partial.is_budgeted == is_budgeted);
        if of_its_kind.count() >= MAX_OPEN_STREAMS {
            return Err(Violation::TooManyStreams);
        }
        if total > self.max_message_bytes {
            return Err(Violation::MessageTooLong);
        }
        let is_granted = !is_budgeted || (self.waiting.is_empty() && self.fits(total));
        if is_granted && is_budgeted {
            self.used_bytes = self.used_bytes.saturating_add(total);
        } else if is_budgeted {
            self.waiting.push_back(stream);
        }
        let head = frame::keep_head(head);
        self.streams.insert(stream, Partial { head, total, data: BytesMut::new(), is_granted, is_budgeted });
        Ok(is_granted)
    }

    /// One message is always let through, so that one larger than the budget does not wait for ever.
    fn fits(&self, total: u64) -> bool {
        self.used_bytes == 0 || self.used_bytes.saturating_add(total) <= self.budget_bytes
    }

    /// The next bytes of a message; with the last of them, the message.
    pub(crate) fn chunk(&mut self, stream: u32, data: &[u8]) -> Result<Option<Complete>, Violation> {
        let partial = self.streams.get_mut(&stream).ok_or(Violation::BadChunk)?;
        let left = partial.total - partial.data.len() as u64;
        if !partial.is_granted || data.is_empty() || data.len() as u64 > left {
            return Err(Violation::BadChunk);
        }
        if partial.data.capacity() - partial.data.len() < data.len() {
            // Doubling, but never past the end.
            let more = partial.data.len().max(4 * CHUNK_BYTES).min(left as usize).max(data.len());
            partial.data.reserve(more);
        }
        partial.data.extend_from_slice(data);
        if (partial.data.len() as u64) < partial.total {
            return Ok(None);
        }
        let partial = self.streams.remove(&stream).ok_or(Violation::BadChunk)?;
        let budgeted_bytes = if partial.is_budgeted { partial.total } else { 0 };
        Ok(Some(Complete { head: partial.head, payload: partial.data.freeze(), budgeted_bytes }))
    }

    /// Bytes that are held, also those of buffers that are not filled yet.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held_bytes(&self) -> usize {
        self.streams.values().map(|partial| partial.head.len() + partial.data.capacity()).sum()
    }

    /// The rest of a message will not come. Returns the streams that may go on in its place.
    pub(crate) fn abort(&mut self, stream: u32) -> Vec<u32> {
        self.waiting.retain(|waiting| *waiting != stream);
        match self.streams.remove(&stream) {
            Some(partial) if partial.is_granted && partial.is_budgeted => self.release(partial.total),
            // It may have kept smaller ones waiting behind it.
            Some(partial) if partial.is_budgeted => self.release(0),
            _ => Vec::new(),
        }
    }

    /// A message of so many bytes has been dealt with. Returns the streams that may go on.
    pub(crate) fn release(&mut self, bytes: u64) -> Vec<u32> {
        self.used_bytes = self.used_bytes.saturating_sub(bytes);
        let mut granted = Vec::new();
        while let Some(&stream) = self.waiting.front() {
            let Some(total) = self.streams.get(&stream).map(|partial| partial.total) else { break };
            if !self.fits(total) {
                break;
            }
            self.used_bytes = self.used_bytes.saturating_add(total);
            if let Some(partial) = self.streams.get_mut(&stream) {
                partial.is_granted = true;
            }
            self.waiting.pop_front();
            granted.push(stream);
        }
        granted
    }
}

#[cfg(test)]
#[path = "assembly_tests.rs"]
mod tests;
