//! Two endpoints do anything in any order, and a model watches: each call has one outcome and the right one, lanes keep
//! their order, windows and memory keep their bounds, and in the end nothing is left.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{harness::*, *};

const LANES: u64 = 3;
/// The first bytes of each payload say what it is.
const ID_BYTES: usize = 8;

#[derive(Debug, Clone)]
enum Step {
    Call {
        side: usize,
        lane: u64,
        bytes: usize,
        timeout_ms: u64,
    },
    Post {
        side: usize,
        lane: u64,
        bytes: usize,
    },
    /// A batch of a side's is written.
    Write {
        side: usize,
    },
    /// So much of what was written arrives.
    Arrive {
        side: usize,
        bytes: usize,
    },
    Answer {
        side: usize,
        which: Index,
        bytes: usize,
    },
    Abandon {
        side: usize,
        which: Index,
    },
    Poll {
        side: usize,
    },
    Pass {
        ms: u64,
    },
    Open,
}

fn step() -> impl Strategy<Value = Step> {
    let side = 0..2usize;
    let bytes = prop_oneof![5 => ID_BYTES..200usize, 2 => 2000..5000usize, 2 => 5000..40_000usize];
    let lane = 1..=LANES;
    prop_oneof![
        6 => (side.clone(), lane.clone(), bytes.clone(), prop_oneof![Just(1_000_000u64), 1..200u64])
            .prop_map(|(side, lane, bytes, timeout_ms)| Step::Call { side, lane, bytes, timeout_ms }),
        3 => (side.clone(), lane, bytes.clone()).prop_map(|(side, lane, bytes)| Step::Post { side, lane, bytes }),
        6 => side.clone().prop_map(|side| Step::Write { side }),
        6 => (side.clone(), 1..20_000usize).prop_map(|(side, bytes)| Step::Arrive { side, bytes }),
        5 => (side.clone(), any::<Index>(), bytes)
            .prop_map(|(side, which, bytes)| Step::Answer { side, which, bytes }),
        2 => (side.clone(), any::<Index>()).prop_map(|(side, which)| Step::Abandon { side, which }),
        2 => side.prop_map(|side| Step::Poll { side }),
        1 => (1..100u64).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Open),
    ]
}

/// What the model knows of one side's sending.
#[derive(Default)]
struct Sent {
    /// Calls whose outcome has not been taken: by their key.
    open: BTreeMap<usize, u64>,
    /// Of each id, its lane.
    lanes: BTreeMap<u64, u64>,
    /// Ids that the other side has got.
    arrived: BTreeSet<u64>,
    /// Ids that were said not to have been sent.
    not_sent: BTreeSet<u64>,
    /// Ids that were taken, and are neither calls nor refused.
    posts: BTreeSet<u64>,
    last_of_lane: BTreeMap<u64, u64>,
    wire: BytesMut,
}

struct World {
    ends: [End; 2],
    sent: [Sent; 2],
    now: Instant,
    next_id: u64,
}

fn small(in_flight: u32, budget: u64) -> Limits {
    Limits {
        max_message_bytes: 100_000,
        max_in_flight: in_flight,
        max_in_flight_bytes: budget,
        max_queued: 5,
        max_queued_bytes: 60_000,
        ..Limits::default()
    }
}

impl World {
    fn new(limits: [Limits; 2]) -> Self {
        let [a, b] = limits;
        Self { ends: [End::new(a), End::new(b)], sent: Default::default(), now: Instant::now(), next_id: 1 }
    }

    fn open(&mut self) {
        let limits = self.ends.each_ref().map(|end| peer_limits(&end.limits));
        self.ends[0].outbox.open(limits[1], self.now);
        self.ends[1].outbox.open(limits[0], self.now);
    }

    fn payload(&mut self, side: usize, lane: u64, bytes: usize) -> (u64, Vec<u8>) {
        let id = self.next_id;
        self.next_id += 1;
        self.sent[side].lanes.insert(id, lane);
        let mut payload = id.to_be_bytes().to_vec();
        payload.resize(bytes, 7);
        (id, payload)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Call { side, lane, bytes, timeout_ms } => {
                let (id, payload) = self.payload(side, lane, bytes);
                let deadline = Some(self.now + Duration::from_millis(timeout_ms));
                let key = send(&mut self.ends[side].outbox, lane, &payload, self.now, deadline).unwrap();
                assert_eq!(self.sent[side].open.insert(key, id), None, "a number is given twice");
            }
            Step::Post { side, lane, bytes } => {
                let (id, payload) = self.payload(side, lane, bytes);
                match send(&mut self.ends[side].outbox, lane, &payload, self.now, None) {
                    Ok(_) => self.sent[side].posts.insert(id),
                    Err(why) => {
                        assert_eq!(why, NotSent::QueueFull);
                        self.sent[side].not_sent.insert(id)
                    }
                };
            }
            Step::Write { side } => self.write(side),
            Step::Arrive { side, bytes } => self.arrive(side, bytes),
            Step::Answer { side, which, bytes } => {
                let count = self.ends[side].arrived.len();
                if count > 0 {
                    self.answer(side, which.index(count), bytes);
                }
            }
            Step::Abandon { side, which } => {
                let open = &mut self.sent[side].open;
                if !open.is_empty() {
                    let key = *open.keys().nth(which.index(open.len())).unwrap();
                    open.remove(&key);
                    self.ends[side].outbox.abandon(key, self.now, &mut None);
                }
            }
            Step::Poll { side } => self.poll(side),
            Step::Pass { ms } => {
                self.now += Duration::from_millis(ms);
                for end in &mut self.ends {
                    end.outbox.expire(self.now);
                }
            }
            Step::Open => self.open(),
        }
        self.check_bounds();
    }

    fn write(&mut self, side: usize) {
        let mut batch = BytesMut::new();
        self.ends[side].outbox.take_output(&mut batch, self.now);
        self.sent[side].wire.extend_from_slice(&batch);
    }

    /// The other side gets the next bytes.
    fn arrive(&mut self, side: usize, bytes: usize) {
        let wire = &mut self.sent[side].wire;
        let bytes = wire.split_to(bytes.min(wire.len()));
        let receiver = &mut self.ends[1 - side];
        let before = receiver.arrived.len();
        receiver.receive(&bytes, self.now).unwrap();
        for arrived in &receiver.arrived[before..] {
            let id = u64::from_be_bytes(*arrived.payload.first_chunk().unwrap());
            let sent = &mut self.sent[side];
            let lane = sent.lanes[&id];
            assert!(sent.arrived.insert(id), "it arrives twice");
            assert!(!sent.not_sent.contains(&id), "it was said not to have been sent");
            let last = sent.last_of_lane.insert(lane, id).unwrap_or(0);
            assert!(last < id, "lane {lane}: {id} comes after {last}");
        }
    }

    fn answer(&mut self, side: usize, at: usize, bytes: usize) {
        let id = self.ends[side].arrived[at].payload.slice(..ID_BYTES);
        let mut payload = id.to_vec();
        payload.resize(bytes, 8);
        self.ends[side].answer(at, Status::Done, &payload);
    }

    fn poll(&mut self, side: usize) {
        let sent = &mut self.sent[side];
        let outbox = &mut self.ends[side].outbox;
        let (arrived, not_sent) = (&sent.arrived, &mut sent.not_sent);
        sent.open.retain(|key, id| {
            let Poll::Ready(outcome) = outbox.poll_call(*key, Waker::noop(), &mut None) else { return true };
            match outcome {
                Ok((status, payload)) => {
                    assert_eq!(status, Status::Done);
                    let answered = u64::from_be_bytes(*payload.first_chunk().unwrap());
                    assert_eq!(answered, *id, "the reply is another call's");
                    assert!(arrived.contains(id));
                }
                Err(CallError::NotSent(NotSent::Deadline)) => {
                    assert!(!arrived.contains(id), "it has arrived");
                    not_sent.insert(*id);
                }
                Err(CallError::Unknown(Unknown::Deadline)) => {}
                Err(other) => panic!("{other:?}"),
            }
            false
        });
    }

    fn check_bounds(&self) {
        for (end, sent) in self.ends.iter().zip(&self.sent) {
            let limits = &end.limits;
            let budget = limits.max_in_flight_bytes.max(limits.max_message_bytes) as usize;
            let replies = MAX_OPEN_STREAMS * limits.max_message_bytes as usize;
            let slack = 2 * MAX_OPEN_STREAMS * (8 * CHUNK_BYTES);
            assert!(end.assembly.held_bytes() <= 2 * (budget + replies) + slack);
            assert!(end.input.len() <= SMALL_FRAMES as usize + 4);
            assert!(end.window_used <= limits.max_in_flight);
            let waiting_posts =
                end.outbox.queue.iter().filter(|item| matches!(item.kind, Kind::Post)).count();
            assert!(waiting_posts <= limits.max_queued);
            assert!(sent.open.len() <= end.outbox.calls.keys().len());
            assert!(end.longest_frame <= SMALL_FRAMES as usize);
        }
    }

    /// Everything arrives and is answered, until nothing moves any more.
    fn flush(&mut self) {
        self.open();
        loop {
            let mut moved = false;
            for side in 0..2 {
                self.write(side);
                moved |= !self.sent[side].wire.is_empty();
                self.arrive(side, usize::MAX);
                while !self.ends[side].arrived.is_empty() {
                    moved = true;
                    self.answer(side, 0, ID_BYTES);
                }
                self.poll(side);
            }
            if !moved {
                break;
            }
        }
        for (side, (end, sent)) in self.ends.iter().zip(&self.sent).enumerate() {
            assert!(sent.open.is_empty(), "{side}: calls without an outcome: {:?}", sent.open);
            assert!(sent.posts.is_subset(&sent.arrived), "{side}: a post is lost");
            assert!(end.is_empty(), "{side}: something is left");
        }
    }

    /// The connection breaks at both ends.
    fn close(&mut self) {
        for side in 0..2 {
            self.ends[side].outbox.close(NotSent::ConnectionLost);
            let (end, sent) = (&mut self.ends[side], &mut self.sent[side]);
            for (key, id) in std::mem::take(&mut sent.open) {
                let Poll::Ready(outcome) = end.outbox.poll_call(key, Waker::noop(), &mut None) else {
                    panic!("{id} has no outcome at the end");
                };
                if let Err(CallError::NotSent(_)) = outcome {
                    assert!(!sent.arrived.contains(&id), "{id} has arrived");
                }
            }
            assert!(end.outbox.calls.keys().is_empty() && end.outbox.unwritten_bytes() == 0);
        }
    }
}

fn world() -> impl Strategy<Value = World> {
    let limits = || (1..12u32, 1..150_000u64).prop_map(|(window, budget)| small(window, budget));
    [limits(), limits()].prop_map(World::new)
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ends.iter().map(|end| &end.limits)).finish()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 5000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_everything_has_one_end(mut world in world(), steps in vec(step(), 1..150)) {
        for step in steps {
            world.step(step);
        }
        world.flush();
    }

    #[test]
    fn whenever_the_connection_breaks_nothing_is_left(mut world in world(), steps in vec(step(), 1..150)) {
        world.open();
        for step in steps {
            world.step(step);
        }
        world.close();
    }
}
