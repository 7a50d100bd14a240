//! Order, limits, fairness and what the peer may not do.

#[path = "outbox_harness.rs"]
mod harness;
#[path = "outbox_model_tests.rs"]
mod model;
#[path = "outbox_stage_tests.rs"]
mod stages;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Wake,
    time::Duration,
};

use harness::*;

use super::*;
use crate::{
    error::{CallError, Refusal, Unknown},
    wire::limits::MAX_OPEN_STREAMS,
};

const DONE: Status = Status::Done;
const QUEUE_FULL: Result<(), NotSent> = Err(NotSent::QueueFull);

#[test]
fn a_call_gets_its_reply_and_a_post_its_credit() {
    let mut pair = pair();
    let call = pair.call(1, 10);
    pair.post(1, 20).unwrap();
    assert_eq!(pair.a.outbox.in_flight(), 2);
    pair.settle();
    assert_eq!(pair.b.payloads(), [10, 20]);
    assert!(pair.poll(call).is_pending());
    pair.b.answer(0, Status::Refused(Refusal::NotAuthorized), b"why");
    pair.b.answer(0, DONE, b"");
    pair.settle();
    let refused = Status::Refused(Refusal::NotAuthorized);
    assert_eq!(pair.outcome(call), Ok((refused, Bytes::from_static(b"why"))));
    pair.assert_empty();
}

#[test]
fn what_waits_for_the_connection_goes_out_in_its_order() {
    let mut pair = Pair::connecting(limits(), limits());
    let calls: Vec<_> = (1..5).map(|bytes| pair.call(bytes as u64, bytes)).collect();
    pair.post(9, 5).unwrap();
    assert!(!pair.write_to_b());
    pair.open();
    pair.answer_all();
    for call in calls {
        assert_eq!(pair.outcome(call), Ok((DONE, Bytes::new())));
    }
    pair.assert_empty();
}

#[test]
fn the_window_is_respected_and_frees_itself() {
    let mut pair = with_window(2);
    for bytes in 1..=5 {
        pair.call(1, bytes);
        pair.post(1, 10 * bytes).unwrap();
    }
    pair.settle();
    assert_eq!(pair.b.payloads(), [1, 10]);
    assert_eq!(pair.a.outbox.in_flight(), 10);
    pair.b.answer(1, DONE, b"");
    pair.settle();
    assert_eq!(pair.b.payloads(), [1, 2], "a credit makes room for one");
    pair.b.answer(0, DONE, b"");
    pair.settle();
    assert_eq!(pair.b.payloads(), [2, 20], "a reply too");
    pair.answer_all();
    assert_eq!(pair.a.outbox.in_flight(), 0);
}

#[test]
fn the_queue_has_limits_for_posts_and_keeps_the_order_of_calls() {
    let a = Limits { max_queued: 3, max_queued_bytes: 100, ..limits() };
    let mut pair = Pair::new(a, Limits { max_in_flight: 1, ..limits() });
    pair.post(1, 1000).unwrap();
    pair.post(1, 60).unwrap();
    pair.post(1, 40).unwrap();
    assert_eq!(pair.post(1, 1), QUEUE_FULL, "bytes");
    pair.post(1, 0).unwrap();
    assert_eq!(pair.post(1, 0), QUEUE_FULL, "count");
    let calls: Vec<_> = (0..10).map(|_| pair.call(1, 50)).collect();
    assert_eq!(pair.post(1, 0), QUEUE_FULL);
    pair.answer_all();
    for call in calls {
        assert!(pair.outcome(call).is_ok());
    }
    pair.post(1, 2000).unwrap();
    pair.post(1, 2000).expect("one is let through, however long");
    pair.answer_all();
    pair.assert_empty();
}

/// They counted for nothing, and could be a thousand messages of any length.
#[test]
fn what_waits_behind_a_large_message_counts_as_waiting() {
    let a = Limits { max_queued_bytes: 50_000, ..limits() };
    let mut pair = Pair::new(a, limits());
    pair.post(1, 20_000).unwrap();
    pair.post(1, 20_000).unwrap();
    pair.post(1, 2_000).unwrap();
    assert_eq!(pair.post(1, 20_000), QUEUE_FULL);
    assert_eq!(pair.post(1, 8_001), QUEUE_FULL, "small, but not at once");
    pair.post(2, 3_000).expect("another lane's goes out at once");
    pair.answer_all();
    pair.assert_empty();
}

#[test]
fn a_lane_keeps_its_order_around_large_messages() {
    let mut pair = pair();
    for bytes in [10, 5000, 20, 9000, 30, 40] {
        pair.post(1, bytes).unwrap();
    }
    pair.post(2, 7).unwrap();
    pair.settle();
    assert_eq!(pair.b.payloads(), [10, 7, 5000, 20, 9000, 30, 40], "another lane passes");
    pair.answer_all();
    pair.assert_empty();
}

#[test]
fn other_messages_and_replies_pass_between_chunks() {
    let mut pair = pair();
    let big = 1 << 20;
    pair.call(1, big);
    pair.write_to_b();
    pair.write_to_a();
    let mut batches = 0;
    let mut passed = 0;
    while pair.b.payloads().last() != Some(&big) {
        pair.post(2, 5).unwrap();
        let mut batch = BytesMut::new();
        pair.a.outbox.take_output(&mut batch, pair.now);
        assert!(batch.len() <= 3 * CHUNK_BYTES, "{} bytes at once", batch.len());
        pair.b.receive(&batch, pair.now).unwrap();
        passed += usize::from(pair.b.payloads().contains(&5));
        while let Some(at) = pair.b.arrived.iter().position(|arrived| arrived.payload.len() == 5) {
            pair.b.answer(at, DONE, b"");
        }
        pair.write_to_a();
        batches += 1;
    }
    assert!(batches >= 4 && passed == batches, "{passed} of {batches}");
    // And back.
    pair.b.answer(0, DONE, &vec![3; big]);
    pair.b.outbox.answer_ping(9);
    pair.write_to_a();
    assert_eq!(pair.a.pongs, [9]);
    pair.settle();
    assert_eq!(pair.a.frames.iter().filter(|kind| **kind == "chunk").count(), big.div_ceil(CHUNK));
}

#[test]
fn only_so_many_large_messages_are_announced() {
    let mut pair = pair();
    for lane in 1..=7 {
        pair.post(lane, 4000 + lane as usize).unwrap();
    }
    pair.write_to_b();
    assert_eq!(pair.b.frames, ["open"; MAX_OPEN_STREAMS]);
    pair.settle();
    assert_eq!(pair.b.arrived.len(), 7);
    let mut sizes = pair.b.payloads();
    sizes.sort_unstable();
    assert_eq!(sizes, [4001, 4002, 4003, 4004, 4005, 4006, 4007]);
    pair.answer_all();
    pair.assert_empty();
}

#[test]
fn replies_have_places_of_their_own() {
    let mut pair = Pair::new(limits(), Limits { max_in_flight_bytes: 1, ..limits() });
    let call = pair.call(1, 1);
    for lane in 2..=6 {
        pair.post(lane, 10_000).unwrap();
    }
    pair.settle();
    assert_eq!(pair.b.payloads(), [1, 10_000], "the budget lets one through");
    pair.b.answer(0, DONE, &[5; 20_000]);
    pair.settle();
    assert_eq!(pair.outcome(call).unwrap().1.len(), 20_000);
    pair.answer_all();
    pair.assert_empty();
}

#[test]
fn the_peers_frame_limit_is_respected() {
    let mut pair = pair();
    for bytes in [CHUNK - 1, CHUNK, CHUNK + 1, 10 * CHUNK, 10 * CHUNK + 1] {
        pair.call(1, bytes);
    }
    pair.answer_all();
    assert_eq!(pair.b.frames.iter().filter(|kind| **kind == "message").count(), 2);
    assert!(pair.b.longest_frame <= SMALL_FRAMES as usize);
    assert!(pair.b.longest_frame > CHUNK);
    // A peer that takes more gets no more than a chunk of ours.
    let peer = PeerLimits { max_frame_bytes: u32::MAX, ..peer_limits(&limits()) };
    let mut end = End::new(limits());
    end.outbox.open(peer, pair.now);
    assert_eq!(end.outbox.chunk_bytes(), CHUNK_BYTES);
}

#[test]
fn a_message_over_the_peers_limit_is_not_sent() {
    let mut pair = Pair::connecting(limits(), Limits { max_message_bytes: 5000, ..limits() });
    let early = pair.call(1, 5001);
    pair.post(1, 5001).unwrap();
    pair.open();
    let too_large = NotSent::TooLarge { bytes: 5001, limit: 5000 };
    assert_eq!(pair.outcome(early), Err(CallError::NotSent(too_large.clone())));
    let deadline = Some(pair.now);
    assert_eq!(send(&mut pair.a.outbox, 1, &[0; 5001], pair.now, deadline), Err(too_large.clone()));
    assert_eq!(pair.post(1, 5001), Err(too_large));
    let call = pair.call(1, 5000);
    pair.settle();
    pair.b.limits.max_message_bytes = 1 << 20;
    // A reply that the caller does not take becomes one that says so.
    pair.b.answer(0, DONE, &vec![0; (1 << 20) + 1]);
    pair.settle();
    let failure = Status::Failed(Failure::ReplyTooLarge);
    assert_eq!(pair.outcome(call), Ok((failure, Bytes::new())));
    pair.assert_empty();
}

/// It stood again, with nobody to serve it, and its calls waited for ever.
#[test]
fn a_connection_that_was_closed_is_not_opened_again() {
    let mut pair = Pair::connecting(limits(), limits());
    let call = pair.call(1, 1);
    pair.a.outbox.close(NotSent::ShuttingDown);
    pair.open();
    assert!(pair.a.outbox.is_closed());
    assert_eq!(pair.post(1, 1), Err(NotSent::ShuttingDown));
    assert_eq!(pair.outcome(call), Err(NotSent::ShuttingDown.into()));
    assert!(!pair.write_to_b());
}

#[test]
fn a_late_reply_never_meets_another_call() {
    let mut pair = pair();
    let first = pair.call_within(1, 1, 50);
    let second = pair.call_within(1, 2, 50);
    pair.settle();
    pair.abandon(first);
    pair.pass(51);
    assert_eq!(pair.outcome(second), Err(Unknown::Deadline.into()));
    let third = pair.call(1, 3);
    assert!(third != first && third != second, "the number is still in use at the peer");
    pair.settle();
    pair.b.answer(0, DONE, b"first");
    pair.b.answer(0, DONE, b"second");
    pair.settle();
    assert!(pair.poll(third).is_pending());
    let fourth = pair.call(1, 4);
    assert!(fourth == first || fourth == second, "now it is free");
    pair.settle();
    pair.b.answer(0, DONE, b"third");
    pair.b.answer(0, DONE, b"fourth");
    pair.settle();
    assert_eq!(pair.outcome(third).unwrap().1, "third");
    assert_eq!(pair.outcome(fourth).unwrap().1, "fourth");
    pair.assert_empty();
}

#[test]
fn a_peer_cannot_give_credit_for_nothing() {
    let mut pair = pair();
    let credit = |pair: &mut Pair, posts| pair.a.outbox.credited(posts, pair.now);
    assert_eq!(credit(&mut pair, 0), Ok(()));
    assert_eq!(credit(&mut pair, 1), Err(Violation::TooMuchCredit));
    pair.call(1, 1);
    assert_eq!(credit(&mut pair, 1), Err(Violation::TooMuchCredit), "a call is no post");
    pair.post(1, 1).unwrap();
    assert_eq!(credit(&mut pair, 2), Err(Violation::TooMuchCredit));
    assert_eq!(credit(&mut pair, 1), Ok(()));
    assert_eq!(credit(&mut pair, u32::MAX), Err(Violation::TooMuchCredit));
    assert_eq!(pair.a.outbox.in_flight(), 1);
}

#[test]
fn grants_that_mean_nothing_are_ignored() {
    let mut pair = pair();
    pair.a.outbox.granted(0);
    pair.post(1, 10_000).unwrap();
    pair.a.outbox.granted(0);
    pair.write_to_b();
    pair.a.outbox.granted(0);
    pair.a.outbox.granted(0);
    pair.a.outbox.granted(1);
    pair.answer_all();
    pair.a.outbox.granted(0);
    pair.assert_empty();
}

/// A peer that opens and aborts without reading made the buffer grow without end.
#[test]
fn grants_are_withdrawn_with_their_streams() {
    let mut pair = pair();
    let route = Route { actor: b"a", message: b"m", trace: None };
    let mut bytes = BytesMut::new();
    for stream in 0..1000 {
        frame::write_open(stream, 10, &Head::Post { route }, &mut bytes);
        frame::write_control(&Control::Abort { stream }, &mut bytes);
    }
    pair.b.receive(&bytes, pair.now).unwrap();
    for token in 0..1000 {
        pair.b.outbox.answer_ping(token);
    }
    assert_eq!(pair.b.outbox.unwritten_bytes(), 0);
    pair.write_to_a();
    assert_eq!((&pair.a.frames[..], &pair.a.pongs[..]), (&["pong"][..], &[999][..]));
}

/// Two nodes with much to say each kept back the replies that the other waited for.
#[test]
fn replies_do_not_wait_for_the_own_messages() {
    let mut pair = with_window(1);
    for _ in 0..4 {
        pair.call(1, 1 << 19);
    }
    assert!(pair.a.outbox.unwritten_bytes() > MAX_UNWRITTEN_BYTES);
    assert!(pair.a.outbox.takes_replies());
    pair.a.outbox.reply_large(1, DONE, halves(&vec![0; 1 << 20]));
    assert!(pair.a.outbox.takes_replies(), "one large reply does not keep back the small");
    for call in 0..20 {
        pair.a.outbox.reply(call, DONE, &vec![0; CHUNK_BYTES]);
    }
    assert!(!pair.a.outbox.takes_replies());
    let mut few = End::new(Limits { max_in_flight_bytes: 1 << 20, ..limits() });
    few.outbox.open(peer_limits(&limits()), pair.now);
    few.outbox.reply_large(1, DONE, halves(&vec![0; 1 << 20]));
    assert!(!few.outbox.takes_replies(), "large replies have a bound too");
}

#[test]
fn messages_that_nobody_waits_for_are_thrown_away() {
    let mut pair = with_window(1);
    pair.call(1, 1);
    let calls: Vec<_> = (0..100).map(|_| pair.call(1, 100_000)).collect();
    for call in &calls[1..] {
        pair.abandon(*call);
    }
    assert!(pair.a.outbox.unwritten_bytes() < 2_000_000);
    let many: Vec<_> = (0..1000).map(|_| pair.call(1, 1)).collect();
    for call in many {
        pair.abandon(call);
    }
    assert!(pair.a.outbox.in_flight() < 200, "{} are kept", pair.a.outbox.in_flight());
    pair.answer_all();
    assert_eq!(pair.outcome(0), Ok((DONE, Bytes::new())));
    assert_eq!(pair.outcome(calls[0]), Ok((DONE, Bytes::new())));
    pair.assert_empty();
}

#[test]
fn deadlines_are_known_in_their_order() {
    let mut pair = pair();
    assert_eq!(pair.a.outbox.next_deadline(), None);
    let start = pair.now;
    let mut send_within = |ms| {
        let actor = ActorName::new("actor").unwrap();
        let payload = &mut BytesMut::new();
        let message =
            Outgoing { actor: &actor, message: "m", trace: None, lane: 1, payload, tail: Bytes::new() };
        pair.a.outbox.call(message, start, start + Duration::from_millis(ms)).unwrap().1
    };
    assert!(send_within(100));
    assert!(!send_within(200));
    assert!(send_within(50), "an earlier one is news");
    assert!(!send_within(50));
    let at = |ms| Some(start + Duration::from_millis(ms));
    assert_eq!(pair.a.outbox.next_deadline(), at(50));
    pair.pass(50);
    assert_eq!(pair.a.outbox.next_deadline(), at(100));
    pair.pass(1000);
    assert_eq!(pair.a.outbox.next_deadline(), None);
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn callers_are_woken_however_their_call_ends() {
    let mut pair = Pair::connecting(limits(), Limits { max_message_bytes: 4096, ..limits() });
    let calls = [
        pair.call_within(1, 1, 1000),
        pair.call_within(2, 2, 50),
        pair.call_within(3, 5000, 1000),
        pair.call_within(4, 4, 1000),
    ];
    let wakes: Vec<_> = calls.iter().map(|_| Arc::new(Wakes::default())).collect();
    let old = Waker::from(Arc::new(Wakes::default()));
    for (call, wakes) in calls.iter().zip(&wakes) {
        let mut stale = None;
        assert!(pair.a.outbox.poll_call(*call, &old, &mut stale).is_pending());
        let waker = Waker::from(Arc::clone(wakes));
        assert!(pair.a.outbox.poll_call(*call, &waker, &mut stale).is_pending());
        assert!(stale.take().is_some_and(|stale| stale.will_wake(&old)), "the old one comes back");
        assert!(pair.a.outbox.poll_call(*call, &waker, &mut stale).is_pending() && stale.is_none());
    }
    let woken = |pair: &mut Pair| -> Vec<usize> {
        pair.a.outbox.take_wakers().into_iter().for_each(Waker::wake);
        wakes.iter().map(|wakes| wakes.0.load(Ordering::Relaxed)).collect()
    };
    pair.pass(50);
    assert_eq!(woken(&mut pair), [0, 1, 0, 0], "its deadline");
    pair.open();
    assert_eq!(woken(&mut pair), [0, 1, 1, 0], "too long");
    pair.settle();
    pair.b.answer(0, DONE, b"");
    pair.settle();
    assert_eq!(woken(&mut pair), [1, 1, 1, 0], "its reply");
    pair.a.outbox.close(NotSent::ConnectionLost);
    assert_eq!(woken(&mut pair), [1, 1, 1, 1], "the end");
}

#[test]
fn the_writer_is_told_once() {
    let mut pair = pair();
    assert!(!pair.a.outbox.announce_output(), "there is nothing");
    pair.post(1, 1).unwrap();
    assert!(pair.a.outbox.announce_output());
    pair.post(1, 1).unwrap();
    assert!(!pair.a.outbox.announce_output(), "it has not come yet");
    pair.settle();
    assert!(!pair.a.outbox.announce_output());
    for tell in [
        |outbox: &mut Outbox| outbox.answer_ping(1),
        |outbox: &mut Outbox| outbox.grant(1),
        |outbox: &mut Outbox| outbox.reply_large(1, DONE, halves(&vec![0; 10_000])),
    ] {
        tell(&mut pair.a.outbox);
        assert!(pair.a.outbox.announce_output());
        pair.a.outbox.take_output(&mut BytesMut::new(), pair.now);
    }
}
