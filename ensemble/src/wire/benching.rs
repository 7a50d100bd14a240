//! What the benchmark of the frames needs of them. Not part of the API.

use bytes::BytesMut;

use super::frame::{self, Frame, Head, Route};

/// Appends a request as a connection does.
pub fn write_request(call: u32, payload: &[u8], out: &mut BytesMut) {
    let route = Route { actor: b"echo", message: b"bench.echo", trace: None };
    frame::write_message(&Head::Request { call, timeout_ms: 5000, route }, payload, out);
}

/// Reads all frames of `buffer` as a connection does, and returns the sum of their payloads' lengths.
pub fn read_all(buffer: &mut BytesMut) -> usize {
    let whole = frame::whole_frames(buffer).expect("they were written here");
    let block = buffer.split_to(whole).freeze();
    let (mut at, mut sum) = (0, 0);
    while let Some(range) = frame::first(&block, at).expect("they were written here") {
        at = range.end;
        if let Ok(Frame::Message { payload_at, .. }) = frame::read(&block[range.clone()]) {
            sum += block.slice(range.start + payload_at..range.end).len();
        }
    }
    sum
}
