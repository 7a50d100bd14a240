//! Writing and reading requests as frames, against their floors: copying the same bytes, and walking over the length
//! fields. Both sides in turn, round by round.
//!
//! `cargo bench -p ensemble --features benching --bench frames [-- ROUNDS]`

#![expect(clippy::print_stdout, reason = "a benchmark's report goes to stdout")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use ensemble::benching::{read_all, write_request};

/// Bytes per measurement, about.
const BATCH_BYTES: usize = 4 << 20;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(31);
    println!("ns per frame, medians of {rounds} rounds");
    println!(
        "{:<18} {:>9} {:>9} {:>7}   {:<20} spread of ours",
        "", "floor", "ours", "ratio", "spread of floor"
    );
    for payload_bytes in [100, 1024, 16 * 1024, 64 * 1024] {
        measure(payload_bytes, rounds);
    }
}

fn measure(payload_bytes: usize, rounds: usize) {
    let payload = vec![1; payload_bytes];
    let mut one = BytesMut::new();
    write_request(7, &payload, &mut one);
    let count = (BATCH_BYTES / one.len()).max(1);
    let mut out = BytesMut::with_capacity(count * one.len());

    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..=rounds {
        floor.push(time(|| {
            out.clear();
            for _ in 0..count {
                out.extend_from_slice(black_box(&one));
            }
        }));
        ours.push(time(|| {
            out.clear();
            for call in 0..count {
                write_request(call as u32 % 128, black_box(&payload), &mut out);
            }
        }));
    }
    report(&format!("write {payload_bytes} B"), count, &mut floor, &mut ours);

    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..=rounds {
        let mut walked = out.clone();
        let mut read = out.clone();
        floor.push(time(|| {
            let mut sum = 0;
            while walked.has_remaining() {
                let length = walked.get_u32() as usize;
                sum += length;
                walked.advance(length);
            }
            black_box(sum);
        }));
        ours.push(time(|| {
            black_box(read_all(&mut read));
        }));
    }
    report(&format!("read {payload_bytes} B"), count, &mut floor, &mut ours);
}

fn time(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn report(what: &str, frames: usize, floor: &mut Vec<Duration>, ours: &mut Vec<Duration>) {
    let per_frame = |times: &mut Vec<Duration>| {
        // The first round warms up.
        times.remove(0);
        times.sort();
        let ns = |time: Duration| time.as_nanos() as f64 / frames as f64;
        (ns(times[times.len() / 2]), ns(times[0]), ns(times[times.len() - 1]))
    };
    let (floor, floor_least, floor_most) = per_frame(floor);
    let (ours, ours_least, ours_most) = per_frame(ours);
    println!(
        "{what:<18} {floor:>9.1} {ours:>9.1} {:>7.2}   {:<20} {ours_least:.1}..{ours_most:.1}",
        ours / floor,
        format!("{floor_least:.1}..{floor_most:.1}"),
    );
}
