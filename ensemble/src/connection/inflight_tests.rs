//! What the peer has asked, driven by hand.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::*;

/// Ready once it is told; says so to nobody but who polls it.
#[derive(Default)]
struct Stub {
    reply: Mutex<Option<(Status, &'static [u8])>>,
    waker: Mutex<Option<Waker>>,
    polls: AtomicUsize,
}

struct StubReply(Arc<Stub>);

impl PendingReply for StubReply {
    fn poll_reply(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        payload: &mut BytesMut,
        _: &mut Bytes,
    ) -> Poll<Status> {
        self.0.polls.fetch_add(1, Ordering::Relaxed);
        *self.0.waker.lock().unwrap() = Some(cx.waker().clone());
        match self.0.reply.lock().unwrap().take() {
            Some((status, bytes)) => {
                payload.extend_from_slice(bytes);
                Poll::Ready(status)
            }
            None => Poll::Pending,
        }
    }
}

impl Stub {
    fn pending(self: &Arc<Self>) -> Dispatched {
        Dispatched::Pending(Box::pin(StubReply(Arc::clone(self))))
    }

    fn finish(&self, bytes: &'static [u8]) {
        *self.reply.lock().unwrap() = Some((Status::Done, bytes));
        if let Some(waker) = self.waker.lock().unwrap().take() {
            waker.wake();
        }
    }

    /// Nobody holds its reply any more.
    fn is_dropped(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
    }
}

fn in_flight(limit: u32) -> (InFlight, Arc<Notify>) {
    let writer = Arc::new(Notify::new());
    (InFlight::new(limit, Arc::clone(&writer)), writer)
}

fn drained(in_flight: &mut InFlight) -> Vec<(Origin, Status, Vec<u8>)> {
    let mut all = Vec::new();
    let mut payloads = BytesMut::new();
    in_flight.drain(&mut payloads, |finished, payloads, start| {
        all.push((finished.origin, finished.status, payloads[start..].to_vec()));
        true
    });
    all
}

fn was_told(writer: &Notify) -> bool {
    let mut told = std::pin::pin!(writer.notified());
    told.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

const CANCELLED: Status = Status::Failed(Failure::Cancelled);

#[test]
fn replies_are_handed_over_when_they_are_ready() {
    let (mut in_flight, writer) = in_flight(10);
    let (one, two) = (Arc::new(Stub::default()), Arc::new(Stub::default()));
    in_flight.insert(Origin::Call(1), one.pending(), None, 0).unwrap();
    in_flight.insert(Origin::Post, two.pending(), None, 0).unwrap();
    in_flight.insert(Origin::Call(3), Dispatched::Settled(Status::Done), None, 0).unwrap();
    assert!(was_told(&writer));
    assert_eq!(drained(&mut in_flight), [(Origin::Call(3), Status::Done, vec![])]);
    assert_eq!(drained(&mut in_flight), [], "what is not woken is not polled");
    assert_eq!(one.polls.load(Ordering::Relaxed), 1);
    assert!(!was_told(&writer));
    two.finish(b"");
    one.finish(b"result");
    assert!(was_told(&writer));
    assert_eq!(
        drained(&mut in_flight),
        [(Origin::Post, Status::Done, vec![]), (Origin::Call(1), Status::Done, b"result".to_vec())]
    );
    assert_eq!(in_flight.len(), 0);
}

#[test]
fn the_window_is_enforced() {
    let (mut in_flight, _) = in_flight(2);
    let settled = || Dispatched::Settled(Status::Done);
    in_flight.insert(Origin::Call(1), settled(), None, 0).unwrap();
    in_flight.insert(Origin::Post, settled(), None, 0).unwrap();
    assert_eq!(in_flight.insert(Origin::Post, settled(), None, 0), Err(Violation::WindowExceeded));
    assert_eq!(drained(&mut in_flight).len(), 2);
    in_flight.insert(Origin::Call(1), settled(), None, 0).unwrap();
}

#[test]
fn a_cancelled_call_is_given_up_at_once() {
    let (mut in_flight, writer) = in_flight(10);
    let (call, post) = (Arc::new(Stub::default()), Arc::new(Stub::default()));
    in_flight.insert(Origin::Call(5), call.pending(), None, 77).unwrap();
    in_flight.insert(Origin::Post, post.pending(), None, 0).unwrap();
    drained(&mut in_flight);
    was_told(&writer);
    in_flight.cancel(6);
    assert!(!call.is_dropped() && !was_told(&writer), "another call");
    in_flight.cancel(5);
    assert!(call.is_dropped() && was_told(&writer));
    in_flight.cancel(5);
    let mut budgeted = Vec::new();
    in_flight.drain(&mut BytesMut::new(), |finished, _, _| {
        budgeted.push((finished.origin, finished.status, finished.budgeted_bytes));
        true
    });
    assert_eq!(budgeted, [(Origin::Call(5), CANCELLED, 77)], "once, with its budget");
    assert_eq!(in_flight.len(), 1);
    // The actor was done at the same time: its wake finds nothing, or the next in the slot.
    call.finish(b"late");
    assert_eq!(drained(&mut in_flight), []);
}

#[test]
fn deadlines_are_kept_in_their_order() {
    let (mut in_flight, _) = in_flight(10);
    let now = Instant::now();
    let at = |ms| Some(now + Duration::from_millis(ms));
    let stubs: Vec<_> = (0..3).map(|_| Arc::new(Stub::default())).collect();
    assert_eq!(in_flight.insert(Origin::Call(0), stubs[0].pending(), at(20), 0), Ok(true));
    assert_eq!(in_flight.insert(Origin::Call(1), stubs[1].pending(), at(30), 0), Ok(false));
    assert_eq!(in_flight.insert(Origin::Call(2), stubs[2].pending(), at(10), 0), Ok(true), "an earlier one");
    assert_eq!(in_flight.insert(Origin::Post, Dispatched::Settled(Status::Done), None, 0), Ok(false));
    assert_eq!(in_flight.next_deadline(), at(10));
    in_flight.expire(at(25).unwrap());
    assert_eq!(in_flight.next_deadline(), at(30));
    assert!(stubs[0].is_dropped() && !stubs[1].is_dropped() && stubs[2].is_dropped());
    let ended = drained(&mut in_flight);
    assert_eq!(ended.iter().filter(|(_, status, _)| *status == CANCELLED).count(), 2);
    in_flight.expire(at(30).unwrap());
    assert_eq!(in_flight.next_deadline(), None);
    assert_eq!(drained(&mut in_flight), [(Origin::Call(1), CANCELLED, vec![])]);
}

#[test]
fn a_drain_that_is_stopped_goes_on_later() {
    let (mut in_flight, writer) = in_flight(10);
    for call in 0..5 {
        in_flight.insert(Origin::Call(call), Dispatched::Settled(Status::Done), None, 0).unwrap();
    }
    was_told(&writer);
    let mut ended = 0;
    for left in (0..5).rev() {
        in_flight.drain(&mut BytesMut::new(), |_, _, _| {
            ended += 1;
            false
        });
        assert_eq!(in_flight.len(), left);
        assert_eq!(was_told(&writer), left > 0, "nobody else would");
    }
    assert_eq!(ended, 5);
}

#[test]
fn posts_survive_the_end_and_calls_do_not() {
    let (mut in_flight, _) = in_flight(10);
    let (call, post) = (Arc::new(Stub::default()), Arc::new(Stub::default()));
    in_flight.insert(Origin::Call(1), call.pending(), None, 0).unwrap();
    in_flight.insert(Origin::Post, post.pending(), None, 0).unwrap();
    in_flight.insert(Origin::Post, Dispatched::Settled(Status::Done), None, 0).unwrap();
    let mut posts = in_flight.close();
    assert!(call.is_dropped() && !post.is_dropped());
    assert_eq!(posts.len(), 1);
    post.finish(b"");
    let mut cx = Context::from_waker(Waker::noop());
    let ended = posts[0].as_mut().poll_reply(&mut cx, &mut BytesMut::new(), &mut Bytes::new());
    assert_eq!(ended, Poll::Ready(Status::Done));
    assert_eq!(in_flight.len(), 0);
    assert!(in_flight.close().is_empty());
}

struct Bound {
    _held: Arc<()>,
}

impl PendingReply for Bound {
    fn poll_reply(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut BytesMut,
        _: &mut Bytes,
    ) -> Poll<Status> {
        Poll::Pending
    }

    fn outlives_connection(&self) -> bool {
        false
    }
}

#[test]
fn a_post_that_is_bound_to_its_connection_ends_with_it() {
    let (mut in_flight, _) = in_flight(10);
    let held = Arc::new(());
    let bound = Dispatched::Pending(Box::pin(Bound { _held: Arc::clone(&held) }));
    in_flight.insert(Origin::Post, bound, None, 0).unwrap();
    assert_eq!(drained(&mut in_flight), []);
    assert_eq!(Arc::strong_count(&held), 2);
    assert!(in_flight.close().is_empty());
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn a_repeated_cancel_takes_no_memory() {
    let mut in_flight = InFlight::new(4, Arc::default());
    in_flight.insert(Origin::Call(7), Arc::<Stub>::default().pending(), None, 0).unwrap();
    in_flight.insert(Origin::Call(8), Dispatched::Settled(Status::Done), None, 0).unwrap();
    for _ in 0..1000 {
        in_flight.cancel(7);
        in_flight.cancel(8);
        in_flight.cancel(9);
    }
    assert_eq!(in_flight.ready.keys.lock().unwrap().len(), 1);
    let cancelled = Status::Failed(Failure::Cancelled);
    assert_eq!(
        drained(&mut in_flight),
        [(Origin::Call(7), cancelled, vec![]), (Origin::Call(8), Status::Done, vec![])]
    );
    assert_eq!(in_flight.len(), 0);
}

#[test]
fn a_cancel_means_the_call_that_is_not_settled() {
    let mut in_flight = InFlight::new(4, Arc::default());
    for _ in 0..2 {
        in_flight.insert(Origin::Call(7), Arc::<Stub>::default().pending(), None, 0).unwrap();
        in_flight.cancel(7);
    }
    assert_eq!(drained(&mut in_flight).len(), 2);
}
