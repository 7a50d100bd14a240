//! What becomes of a call that ends at each stage of its way.

use std::time::Duration;

use super::{harness::*, *};
use crate::wire::frame::Frame;

/// A call at each stage of its way, and whether the peer may have begun it.
fn at_each_stage(mut check: impl FnMut(&str, Pair, usize, bool)) {
    let mut waiting = Pair::connecting(limits(), limits());
    let call = waiting.call_within(1, 100, 50);
    check("waits for the connection", waiting, call, false);

    let mut queued = with_window(1);
    queued.call(1, 1);
    let call = queued.call_within(1, 100, 50);
    queued.settle();
    check("waits for the window", queued, call, false);

    let mut behind = pair();
    behind.call(1, 500_000);
    let call = behind.call_within(1, 100, 50);
    behind.write_to_b();
    check("waits behind a large one", behind, call, false);

    let mut unannounced = pair();
    for lane in 2..=5 {
        unannounced.call(lane, 100_000);
    }
    let call = unannounced.call_within(1, 100_000, 50);
    unannounced.write_to_b();
    check("is not announced", unannounced, call, false);

    let mut announced = pair();
    let call = announced.call_within(1, 100_000, 50);
    announced.write_to_b();
    check("is announced", announced, call, false);

    let mut half = pair();
    let call = half.call_within(1, 500_000, 50);
    half.write_to_b();
    half.write_to_a();
    half.write_to_b();
    assert!(half.b.frames.contains(&"chunk") && half.b.arrived.is_empty());
    check("is half sent", half, call, false);

    let mut buffered = pair();
    let call = buffered.call_within(1, 100, 50);
    check("is in the buffer", buffered, call, true);

    let mut sent = pair();
    let call = sent.call_within(1, 100, 50);
    sent.settle();
    check("is sent", sent, call, true);

    let mut sent = pair();
    let call = sent.call_within(1, 100_000, 50);
    sent.settle();
    check("is sent in chunks", sent, call, true);
}

/// Takes the outcomes of the other calls, which have all been answered, and checks that nothing is left.
fn finish(mut pair: Pair, stage: &str) {
    for key in pair.a.outbox.calls.keys() {
        pair.outcome(key).ok();
    }
    assert!(pair.a.is_empty() && pair.b.is_empty(), "{stage}: something is left");
}

#[test]
fn a_deadline_tells_what_was_sent() {
    at_each_stage(|stage, mut pair, call, is_sent| {
        pair.pass(51);
        let expected: CallError = if is_sent { Unknown::Deadline.into() } else { NotSent::Deadline.into() };
        assert_eq!(pair.outcome(call), Err(expected), "{stage}");
        pair.open();
        pair.settle();
        let arrived = pair.b.arrived.iter().any(|arrived| arrived.origin == Origin::Call(call as u32));
        assert_eq!(arrived, is_sent, "{stage}");
        pair.answer_all();
        finish(pair, stage);
    });
}

#[test]
fn an_abandoned_call_leaves_nothing_behind() {
    at_each_stage(|stage, mut pair, call, is_sent| {
        pair.abandon(call);
        pair.open();
        pair.settle();
        assert_eq!(pair.b.cancelled, if is_sent { vec![call as u32] } else { vec![] }, "{stage}");
        pair.answer_all();
        finish(pair, stage);
    });
}

/// Its deadline passes first, then the caller goes without looking.
#[test]
fn an_expired_call_that_is_dropped_leaves_nothing_behind() {
    at_each_stage(|stage, mut pair, call, _| {
        pair.pass(51);
        pair.abandon(call);
        pair.open();
        pair.answer_all();
        finish(pair, stage);
    });
}

#[test]
fn the_end_of_the_connection_tells_what_was_sent() {
    at_each_stage(|stage, mut pair, call, is_sent| {
        pair.a.outbox.close(NotSent::ConnectionLost);
        let expected: CallError =
            if is_sent { Unknown::ConnectionLost.into() } else { NotSent::ConnectionLost.into() };
        assert_eq!(pair.outcome(call), Err(expected), "{stage}");
        for key in pair.a.outbox.calls.keys() {
            assert!(pair.outcome(key).is_err(), "{stage}");
        }
        assert!(pair.a.is_empty(), "{stage}: something is left");
        pair.a.outbox.close(NotSent::ShuttingDown);
        assert_eq!(pair.post(1, 1), Err(NotSent::ConnectionLost), "the first reason is the one");
        assert!(!pair.write_to_b(), "{stage}: it still sends");
    });
}

#[test]
fn a_peer_cannot_answer_what_it_has_not_got() {
    let reply = |pair: &mut Pair, call: usize| {
        pair.a.outbox.replied(call as u32, DONE, Bytes::new(), pair.now).map(|_| ())
    };
    let unexpected = Err(Violation::UnexpectedReply);
    at_each_stage(|stage, mut pair, call, is_sent| {
        assert_eq!(reply(&mut pair, call), if is_sent { Ok(()) } else { unexpected }, "{stage}");
        assert_eq!(reply(&mut pair, call), unexpected, "{stage}: twice");
        assert_eq!(reply(&mut pair, 77), unexpected, "{stage}: never called");
        pair.a.outbox.close(NotSent::ConnectionLost);
        assert_eq!(reply(&mut pair, call), unexpected, "{stage}: after the end");
    });
}

#[test]
fn what_is_left_of_its_time_goes_with_a_call() {
    let mut pair = Pair::connecting(limits(), limits());
    pair.call_within(1, 10, 50);
    pair.call_within(1, 10_000, 50);
    pair.now += Duration::from_millis(30);
    pair.open();
    let mut bytes = BytesMut::new();
    pair.a.outbox.take_output(&mut bytes, pair.now);
    let block = bytes.freeze();
    let mut left_ms = Vec::new();
    let mut at = 0;
    while let Some(range) = frame::first(&block, at).unwrap() {
        at = range.end;
        match frame::read(&block[range]).unwrap() {
            Frame::Message { head: Head::Request { timeout_ms, .. }, .. }
            | Frame::Open { head: Head::Request { timeout_ms, .. }, .. } => left_ms.push(timeout_ms),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(left_ms, [20, 20]);
}
