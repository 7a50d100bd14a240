//! Every bound of a connection, by name, with its default and the reason for it.

use std::time::Duration;

/// What one frame carries of a payload at most. A longer payload is cut into chunks of this size, between which
/// other frames pass: at 1 GB/s a chunk holds up the next frame for 64 µs.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Longest frame after its length field: a chunk and the longest header (two names, a trace context, numbers).
pub const MAX_FRAME_BYTES: usize = CHUNK_BYTES + 1024;

/// Large requests and posts that may be in transfer at once in each direction, and as many replies. The sender queues the others, so a peer that
/// opens more breaks the protocol.
pub const MAX_OPEN_STREAMS: usize = 4;

/// What a node allows itself and its peers. Each has a default that suits a small machine.
///
/// ```
/// let limits = ensemble::Limits { max_message_bytes: 1 << 20, ..ensemble::Limits::default() };
/// assert_eq!(limits.max_in_flight, 1024);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest message (request or reply), in bytes. Default: 65 MiB, a 64 MiB value and what goes with it.
    pub max_message_bytes: u64,
    /// Requests and posts of one peer that are not answered or taken yet. The peer knows the number and holds
    /// back what is over it. Default: 1024.
    pub max_in_flight: u32,
    /// Bytes of large requests of one peer, in transfer or not answered yet; the peer may begin the next when
    /// there is room (one is always let through). Also bytes of large replies that wait to be written. Default: 256 MiB.
    pub max_in_flight_bytes: u64,
    /// Messages to one peer that wait here: for the connection, or for room at the peer. At this number, messages
    /// without a reply are refused; calls wait longer, since their callers wait with them. Default: 1024.
    pub max_queued: usize,
    /// Bytes of those messages, to the same effect. Default: 256 MiB.
    pub max_queued_bytes: usize,
    /// Actors that one peer may watch at once; also no more than half of `max_in_flight`, since each is an open call.
    /// Default: 256.
    pub max_watches: usize,
    /// Connections of other nodes at once. Default: 4096.
    pub max_connections: usize,
    /// Connections of other nodes that have not authenticated yet. Default: 256.
    pub max_handshakes: usize,
    /// Time for a handshake, from the first byte to the last. Default: 5 s.
    pub handshake_timeout: Duration,
    /// Time for reaching one address. Default: 5 s.
    pub connect_timeout: Duration,
    /// A peer of which nothing has come in for so long is asked for a sign of life; after three times that without any, or
    /// when it has taken no byte of what is sent for as long, its connection is closed as lost. An actor that blocks the thread of its
    /// node for so long makes its node look dead. [`Duration::MAX`]: never. Default: 5 s.
    pub keep_alive: Duration,
    /// Deadline of a call that sets none. Default: 5 s.
    pub call_timeout: Duration,
    /// Time that a node gives itself to answer what it has accepted when it shuts down. Default: 10 s.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 65 << 20,
            max_in_flight: 1024,
            max_in_flight_bytes: 256 << 20,
            max_queued: 1024,
            max_queued_bytes: 256 << 20,
            max_watches: 256,
            max_connections: 4096,
            max_handshakes: 256,
            handshake_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(5),
            call_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
        }
    }
}
