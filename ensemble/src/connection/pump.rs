//! The three tasks of a connection: one reads, one writes, one watches over deadlines. Reading and writing are apart,
//! because one task that did both would stand still for ever when both sockets' buffers are full.

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    Dispatch,
    inflight::Origin,
    link::{Finish, Link, lock, now},
};
use crate::{
    error::NotSent,
    message::Caller,
    transport::{BoxReader, BoxWriter},
    wire::{
        frame::{self, Control, Frame, FrameError, Head},
        limits::CHUNK_BYTES,
        outbox::{MAX_UNWRITTEN_BYTES, Violation},
        payload::Payload,
        status::Status,
    },
};

/// Room in the buffer for each read: several small frames, or a chunk.
const READ_BYTES: usize = CHUNK_BYTES;

/// That room as long as no read has filled it. Most connections of a registry never carry more than a heartbeat.
const FIRST_READ_BYTES: usize = 4096;

/// A connection's buffer that has grown beyond this is let go of.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// Frames after which the reader lets others run. Actors then work on the first while the rest is still to be read, and
/// their answers are under way while the peer would otherwise wait.
const FRAMES_PER_TURN: usize = 64;

/// Batches after which the writer lets others run, since nothing else makes it.
const BATCHES_PER_TURN: u32 = 64;

#[derive(Debug, Error)]
pub(super) enum ReadEnd {
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
    #[error("the connection ended within a frame")]
    WithinFrame,
    #[error("the peer broke the protocol")]
    Frame(#[from] FrameError),
    #[error("the peer broke the protocol")]
    Violation(#[from] Violation),
}

/// Ends the connection when its reader ends: also by a panic in a user's type, and when its thread stops before it
/// has begun.
pub(super) struct CloseAtEnd {
    link: Arc<Link>,
    dispatch: Arc<dyn Dispatch>,
}

impl CloseAtEnd {
    pub(super) fn new(link: Arc<Link>, dispatch: Arc<dyn Dispatch>) -> Self {
        Self { link, dispatch }
    }
}

impl Drop for CloseAtEnd {
    fn drop(&mut self) {
        self.link.close(NotSent::ConnectionLost);
        // What was posted is delivered; what was called for has nobody who waits for it.
        let posts = lock(&self.link.in_flight).close();
        for post in posts {
            tokio::task::spawn_local(Finish(post));
        }
        self.dispatch.closed(&self.link);
    }
}

/// Reads until the connection ends.
pub(super) async fn read(end: CloseAtEnd, peer: Caller, mut reader: BoxReader) {
    match read_frames(&end.link, &peer, &mut reader, &*end.dispatch).await {
        Ok(()) => tracing::debug!(peer = %peer.server(), "the connection has ended"),
        Err(ReadEnd::Io(cause)) => tracing::info!(peer = %peer.server(), %cause, "the connection broke"),
        Err(ReadEnd::WithinFrame) => {
            tracing::warn!(peer = %peer.server(), "the connection ended within a frame");
        }
        Err(ReadEnd::Frame(cause)) => {
            tracing::warn!(peer = %peer.server(), %cause, "closed the connection: the peer broke the protocol");
        }
        Err(ReadEnd::Violation(cause)) => {
            tracing::warn!(peer = %peer.server(), %cause, "closed the connection: the peer broke the protocol");
        }
    }
}

async fn read_frames(
    link: &Link,
    peer: &Caller,
    reader: &mut BoxReader,
    dispatch: &dyn Dispatch,
) -> Result<(), ReadEnd> {
    let mut buffer = BytesMut::new();
    let mut room = FIRST_READ_BYTES;
    let closed = link.closed.notified();
    tokio::pin!(closed);
    closed.as_mut().enable();
    while !link.is_closed() {
        buffer.reserve(room);
        let count = tokio::select! {
            biased;
            count = reader.read_buf(&mut buffer) => count?,
            () = &mut closed => return Ok(()),
        };
        if count == 0 {
            // Whole frames have been taken from it: what is left is the beginning of one.
            return if buffer.is_empty() { Ok(()) } else { Err(ReadEnd::WithinFrame) };
        }
        if count >= room && room < READ_BYTES {
            room = READ_BYTES;
            buffer.reserve(2 * READ_BYTES);
        }
        link.received_bytes.fetch_add(count as u64, Ordering::Relaxed);
        let now = now();
        link.heard.is_now(now);
        let mut block = Block::whole(&mut buffer)?;
        while block.receive(FRAMES_PER_TURN, link, peer, now, dispatch)? {
            tokio::task::yield_now().await;
            if link.is_closed() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Whole frames that have come in, and how far they have been dealt with.
struct Block {
    bytes: Bytes,
    at: usize,
}

impl Block {
    /// Takes the whole frames from the front of `buffer`.
    fn whole(buffer: &mut BytesMut) -> Result<Self, FrameError> {
        let whole = frame::whole_frames(buffer)?;
        Ok(Self { bytes: buffer.split_to(whole).freeze(), at: 0 })
    }

    /// Deals with so many frames; says whether that was not the end.
    fn receive(
        &mut self,
        frames: usize,
        link: &Link,
        peer: &Caller,
        now: Instant,
        dispatch: &dyn Dispatch,
    ) -> Result<bool, ReadEnd> {
        for _ in 0..frames {
            let Some(range) = frame::first(&self.bytes, self.at)? else { return Ok(false) };
            self.at = range.end;
            receive(link, peer, &self.bytes, range, now, dispatch)?;
        }
        Ok(true)
    }
}

/// Deals with all whole frames at the front of `buffer`.
#[cfg(feature = "fuzzing")]
pub(super) fn receive_all(
    link: &Link,
    peer: &Caller,
    buffer: &mut BytesMut,
    now: Instant,
    dispatch: &dyn Dispatch,
) -> Result<(), ReadEnd> {
    let is_more = Block::whole(buffer)?.receive(usize::MAX, link, peer, now, dispatch)?;
    debug_assert!(!is_more, "no block holds so many frames");
    Ok(())
}

fn receive(
    link: &Link,
    peer: &Caller,
    block: &Bytes,
    range: Range<usize>,
    now: Instant,
    dispatch: &dyn Dispatch,
) -> Result<(), ReadEnd> {
    let bytes = &block[range.clone()];
    match frame::read(bytes)? {
        Frame::Message { head, payload_at } => {
            let payload = block.slice(range.start + payload_at..range.end);
            if payload.len() as u64 > link.max_message_bytes {
                return Err(Violation::MessageTooLong.into());
            }
            message(link, peer, head, payload, 0, now, dispatch)?;
        }
        Frame::Open { stream, total, head } => {
            if lock(&link.assembly).announced(stream, total, &head)? {
                grant(link, &[stream]);
            }
        }
        Frame::Chunk { stream, payload_at } => {
            let complete = lock(&link.assembly).chunk(stream, &bytes[payload_at..])?;
            if let Some(complete) = complete {
                lock(&link.outbox).withdraw_grant(stream);
                let head = frame::read_head(&complete.head)?;
                message(link, peer, head, complete.payload, complete.budgeted_bytes, now, dispatch)?;
            }
        }
        Frame::Abort { stream } => {
            let granted = lock(&link.assembly).abort(stream);
            lock(&link.outbox).withdraw_grant(stream);
            grant(link, &granted);
        }
        Frame::Grant { stream } => {
            let mut outbox = lock(&link.outbox);
            outbox.granted(stream);
            link.tell_writer(outbox);
        }
        Frame::Cancel { call } => lock(&link.in_flight).cancel(call),
        Frame::Credit { posts } => {
            let mut outbox = lock(&link.outbox);
            outbox.credited(posts, now)?;
            link.tell_writer(outbox);
        }
        Frame::Ping { token } => {
            let mut outbox = lock(&link.outbox);
            outbox.answer_ping(token);
            link.tell_writer(outbox);
        }
        Frame::Pong { .. } => {}
    }
    Ok(())
}

fn message(
    link: &Link,
    peer: &Caller,
    head: Head<'_>,
    payload: Bytes,
    budgeted_bytes: u64,
    now: Instant,
    dispatch: &dyn Dispatch,
) -> Result<(), ReadEnd> {
    let (origin, route, deadline) = match head {
        Head::Request { call, timeout_ms, route } => {
            let deadline = now + std::time::Duration::from_millis(timeout_ms.into());
            (Origin::Call(call), route, Some(deadline))
        }
        Head::Post { route } => (Origin::Post, route, None),
        Head::Reply { call, status } => {
            let waker = {
                let mut outbox = lock(&link.outbox);
                let waker = outbox.replied(call, Status::from_code(status), payload, now)?;
                link.tell_writer(outbox);
                waker
            };
            waker.into_iter().for_each(std::task::Waker::wake);
            return Ok(());
        }
    };
    let what = dispatch.dispatch(peer, &route, payload);
    let is_earliest = lock(&link.in_flight).insert(origin, what, deadline, budgeted_bytes)?;
    if is_earliest {
        link.deadlines.notify_one();
    }
    Ok(())
}

fn grant(link: &Link, streams: &[u32]) {
    if streams.is_empty() {
        return;
    }
    let mut outbox = lock(&link.outbox);
    for &stream in streams {
        outbox.grant(stream);
    }
    link.tell_writer(outbox);
}

/// Ends the connection when its writer ends, even by a panic in a user's type.
struct CloseWithWriter(Arc<Link>);

impl Drop for CloseWithWriter {
    fn drop(&mut self) {
        self.0.close(NotSent::ConnectionLost);
    }
}

/// Writes until the connection ends.
pub(super) async fn write(link: Arc<Link>, mut writer: BoxWriter) {
    let _end = CloseWithWriter(Arc::clone(&link));
    let mut batch = BytesMut::new();
    let (mut payloads, mut collected) = (BytesMut::new(), Vec::new());
    let mut batches = 0;
    while !link.is_closed() {
        let something = link.writer.notified();
        // Before anything is taken from where a drain looks for it.
        link.is_writing.store(true, Ordering::Release);
        collect_replies(&link, &mut payloads, &mut collected);
        let now = now();
        link.taken.is_now(now);
        lock(&link.outbox).take_output(&mut batch, now);
        if batch.is_empty() {
            link.is_writing.store(false, Ordering::Release);
            link.idle.notify_waiters();
            something.await;
            continue;
        }
        let written = tokio::select! {
            written = write_batch(&link, &mut writer, &batch) => written,
            () = link.ended() => break,
        };
        if let Err(cause) = written {
            tracing::debug!(peer = %link.server(), %cause, "the connection broke while writing");
            break;
        }
        batch.clear();
        if batch.capacity() > BUFFER_KEPT_BYTES {
            batch = BytesMut::new();
        }
        batches += 1;
        if batches % BATCHES_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
        // What this batch left behind (chunks, replies beyond the bound) is next, without anybody's wake.
        link.writer.notify_one();
    }
}

async fn write_batch(link: &Link, writer: &mut BoxWriter, batch: &[u8]) -> std::io::Result<()> {
    let mut left = batch;
    loop {
        let count = writer.write(left).await?;
        link.sent_bytes.fetch_add(count as u64, Ordering::Relaxed);
        left = &left[count..];
        if left.is_empty() {
            return writer.flush().await;
        }
        if count == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        link.taken.is_now(now());
    }
}

/// A reply on its way from an actor to the outbox.
pub(super) struct Collected {
    call: u32,
    status: Status,
    /// Where its result is in the payloads of the batch; a large one has its own bytes.
    payload: Result<Range<usize>, Payload>,
}

/// Moves the replies that are ready into the outbox, as long as it does not hold too much.
pub(super) fn collect_replies(link: &Link, payloads: &mut BytesMut, collected: &mut Vec<Collected>) {
    let mut in_flight = lock(&link.in_flight);
    if in_flight.len() == 0 {
        return;
    }
    let outbox = lock(&link.outbox);
    if !outbox.takes_replies() {
        return;
    }
    let chunk_bytes = outbox.chunk_bytes();
    drop(outbox);
    let mut credit = 0;
    let mut released = Vec::new();
    let mut collected_bytes = 0;
    in_flight.drain(payloads, |finished, payloads, start| {
        if finished.budgeted_bytes > 0 {
            released.push(finished.budgeted_bytes);
        }
        let Origin::Call(call) = finished.origin else {
            payloads.truncate(start);
            credit += 1;
            return true;
        };
        let tail = finished.tail;
        let bytes = payloads.len() - start + tail.len();
        collected_bytes += bytes;
        let payload = if bytes <= chunk_bytes {
            Ok(start..start + bytes)
        } else {
            Err(Payload { head: payloads.split_off(start).freeze(), tail })
        };
        collected.push(Collected { call, status: finished.status, payload });
        collected_bytes < MAX_UNWRITTEN_BYTES
    });
    drop(in_flight);
    let mut outbox = lock(&link.outbox);
    for Collected { call, status, payload } in collected.drain(..) {
        match payload {
            Ok(range) => outbox.reply(call, status, &payloads[range]),
            Err(large) => outbox.reply_large(call, status, large),
        }
    }
    if credit > 0 {
        outbox.control(Control::Credit { posts: credit });
    }
    drop(outbox);
    payloads.clear();
    if payloads.capacity() > 2 * BUFFER_KEPT_BYTES {
        *payloads = BytesMut::new();
    }
    for bytes in released {
        let granted = lock(&link.assembly).release(bytes);
        grant(link, &granted);
    }
}

/// Ends calls at their deadlines, the own ones and the peer's.
pub(super) async fn watch_deadlines(link: Arc<Link>) {
    while !link.is_closed() {
        let changed = link.deadlines.notified();
        let now = now();
        {
            let mut outbox = lock(&link.outbox);
            if outbox.next_deadline().is_some_and(|deadline| deadline <= now) {
                outbox.expire(now);
                link.tell_writer(outbox);
            }
        }
        {
            let mut in_flight = lock(&link.in_flight);
            if in_flight.next_deadline().is_some_and(|deadline| deadline <= now) {
                in_flight.expire(now);
            }
        }
        let outgoing = lock(&link.outbox).next_deadline();
        let incoming = lock(&link.in_flight).next_deadline();
        match outgoing.into_iter().chain(incoming).min() {
            None => changed.await,
            Some(deadline) => tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(deadline.into()) => {}
            },
        }
    }
}
