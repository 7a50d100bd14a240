//! An authenticated peer that sends anything. Its bytes arrive in pieces, some of them whole frames, between calls,
//! posts, writes and pauses of the node's own. What the peer makes the node hold must stay within the limits.

#![no_main]

use arbitrary::Arbitrary;
use ensemble::{Limits, fuzzing::Connection, handshake::PeerLimits};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    frame_bytes: u16,
    message_bytes: u16,
    in_flight: u8,
    steps: Vec<Step<'a>>,
}

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    /// Bytes as they are.
    Receive(&'a [u8]),
    /// A frame with a length that is right: kind and content.
    Frame {
        kind: u8,
        content: &'a [u8],
    },
    /// The same frame, many times.
    Frames {
        kind: u8,
        content: &'a [u8],
        count: u8,
    },
    /// A request, or a post, with a payload whose first byte says what becomes of it.
    Request {
        call: u8,
        timeout_ms: u8,
        payload: &'a [u8],
    },
    Posted {
        payload: &'a [u8],
    },
    /// The announcement of a large message of that kind.
    Open {
        stream: u8,
        kilobytes: u8,
        kind: u8,
        call: u8,
    },
    Grant {
        stream: u8,
    },
    Credit {
        posts: u8,
    },
    /// A chunk of a large message, with so many bytes.
    Chunk {
        stream: u8,
        bytes: u16,
    },
    /// A reply to a call, with so many bytes.
    Reply {
        call: u8,
        bytes: u16,
    },
    Write,
    Call {
        lane: u8,
        bytes: u16,
        timeout_ms: u8,
    },
    Post {
        lane: u8,
        bytes: u16,
    },
    Abandon(u8),
    Poll,
    Pass(u8),
}

fn limits() -> Limits {
    Limits {
        max_message_bytes: 256 << 10,
        max_in_flight: 16,
        max_in_flight_bytes: 512 << 10,
        max_queued: 32,
        max_queued_bytes: 512 << 10,
        ..Limits::default()
    }
}

fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = (1 + content.len() as u32).to_be_bytes().to_vec();
    frame.push(kind);
    frame.extend_from_slice(content);
    frame
}

/// Actor and message, each behind its length, and no trace.
const ROUTE: &[u8] = b"\x05actor\x01m\x00";

fuzz_target!(|input: Input<'_>| {
    let peer_limits = PeerLimits {
        max_frame_bytes: u32::from(input.frame_bytes).max(PeerLimits::MIN_FRAME_BYTES),
        max_message_bytes: u64::from(input.message_bytes).max(PeerLimits::MIN_MESSAGE_BYTES),
        max_in_flight: u32::from(input.in_flight).max(PeerLimits::MIN_IN_FLIGHT),
    };
    let mut connection = Connection::new(&limits(), peer_limits);
    let mut own_bytes = 0;
    for step in &input.steps {
        let goes_on = match *step {
            Step::Receive(bytes) => connection.receive(bytes),
            Step::Frame { kind, content } => connection.receive(&frame(kind % 12, content)),
            Step::Frames { kind, content, count } => {
                let frame = frame(kind % 12, content);
                (0..count).all(|_| connection.receive(&frame))
            }
            Step::Request { call, timeout_ms, payload } => {
                let content = [&[call % 250, timeout_ms % 250], ROUTE, payload].concat();
                connection.receive(&frame(1, &content))
            }
            Step::Posted { payload } => connection.receive(&frame(2, &[ROUTE, payload].concat())),
            Step::Open { stream, kilobytes, kind, call } => {
                let total = (u32::from(kilobytes) << 10).to_le_bytes();
                let head = match kind % 3 {
                    0 => [&[0, call % 250, 250], ROUTE].concat(),
                    1 => [&[1], ROUTE].concat(),
                    _ => vec![2, call % 250, 0],
                };
                connection.receive(&frame(4, &[&[stream % 250, 252], &total[..], &head].concat()))
            }
            Step::Grant { stream } => connection.receive(&frame(5, &[stream % 250])),
            Step::Credit { posts } => connection.receive(&frame(9, &[posts % 250])),
            Step::Chunk { stream, bytes } => {
                let mut content = vec![stream % 250];
                content.resize(1 + usize::from(bytes), 1);
                connection.receive(&frame(6, &content))
            }
            Step::Reply { call, bytes } => {
                let mut content = vec![call % 250, 0];
                content.resize(2 + usize::from(bytes), 1);
                connection.receive(&frame(3, &content))
            }
            Step::Write => {
                connection.write();
                true
            }
            Step::Call { lane, bytes, timeout_ms } => {
                own_bytes += 1024 + usize::from(bytes) * 4;
                connection.call(1 + u64::from(lane % 4), usize::from(bytes) * 4, timeout_ms.into());
                true
            }
            Step::Post { lane, bytes } => {
                own_bytes += 1024 + usize::from(bytes) * 4;
                connection.post(1 + u64::from(lane % 4), usize::from(bytes) * 4);
                true
            }
            Step::Abandon(which) => {
                connection.abandon(which.into());
                true
            }
            Step::Poll => {
                connection.poll();
                true
            }
            Step::Pass(ms) => {
                connection.pass(ms.into());
                true
            }
        };
        connection.check(own_bytes);
        if !goes_on {
            return;
        }
    }
});
