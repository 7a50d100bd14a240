//! Many rounds of what can happen to servers and to the registry, in random order: after each the registry says of every
//! id what a model of it says.
//!
//! The seed is printed; `ENSEMBLE_TEST_SEED` repeats it. What the machine does in its own time is not repeated.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;
mod faults;

use std::{
    collections::BTreeMap,
    env, fmt,
    time::{Duration, Instant},
};

use common::{sandbox_with_cookie, serve};
use ensemble::Incarnation;
use ensemble_tests::{Proc, Sandbox, eventually_within};
use faults::{
    bound::{GONE, HEARTBEAT, MARGIN, SUSPECT_AFTER_CRASH},
    observer::Observer,
};
use registry::{Liveness, ServerInfo};
use rustix::process::Signal;

const ROUNDS: usize = 200;
const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];
const SEED: &str = "ENSEMBLE_TEST_SEED";

/// xorshift64*: good enough to mix things up, and the same everywhere.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let fresh = || u64::from_le_bytes(Incarnation::fresh().as_bytes()[..8].try_into().unwrap());
        let seed =
            env::var(SEED).map_or_else(|_| fresh(), |text| text.parse().expect("the seed is a number"));
        eprintln!("{SEED}={seed}");
        Self(seed | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(mixed).unwrap() % limit
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// What the model says of an id.
enum Expected {
    /// Nobody has it.
    Nothing,
    /// This process has it.
    Live(Proc),
    /// The one that had it was killed then; it may be listed until its lease has ended, as suspect.
    Dead(u32, Instant),
}

/// What is done in a round to an id that a server has.
#[derive(Debug, Clone, Copy)]
enum Hit {
    Kill,
    Terminate,
    ShutDown,
    Duplicate,
    HangAndReplace,
    HangForAMoment,
    KillAndReplace,
}

/// What is done in a round to an id that nobody has, or a dead server.
#[derive(Debug, Clone, Copy)]
enum Fill {
    Start,
    Race,
}

struct Rounds {
    sandbox: Sandbox,
    registry: Option<Proc>,
    observer: Observer,
    random: Random,
    model: BTreeMap<&'static str, Expected>,
    /// Servers that hung and were replaced: they end by themselves when they notice.
    replaced: Vec<(&'static str, Proc, Instant)>,
    sockets: usize,
}

impl Rounds {
    fn new() -> Self {
        let random = Random::seeded();
        let sandbox = sandbox_with_cookie();
        let registry = Some(common::registry(&sandbox));
        let observer = Observer::new(&sandbox);
        let model = IDS.map(|id| (id, Expected::Nothing)).into();
        Self { sandbox, registry, observer, random, model, replaced: Vec::new(), sockets: 0 }
    }

    /// Begins to start a server, at its usual socket or at one of its own.
    fn begin(&mut self, id: &str, may_be_usual: bool) -> Proc {
        let is_free = self.replaced.iter().all(|(other, ..)| *other != id);
        if may_be_usual && is_free && self.random.below(2) == 0 {
            return self.sandbox.start(&["run", "--roles", "echo", id]);
        }
        self.sockets += 1;
        let socket = self.sandbox.file(&format!("{}.sock", self.sockets));
        let listen = format!("unix:{}", socket.display());
        self.sandbox.start(&["run", "--roles", "echo", id, "--listen", &listen])
    }

    fn start(&mut self, id: &str, may_be_usual: bool) -> Proc {
        let mut server = self.begin(id, may_be_usual);
        server.says(&format!("... {id} is ready at "));
        server
    }

    fn hit(&mut self, id: &'static str, server: Proc, how: Hit) -> Expected {
        match how {
            Hit::Kill => {
                let process_id = server.id();
                let at = Instant::now();
                server.crash();
                Expected::Dead(process_id, at)
            }
            Hit::KillAndReplace => {
                server.crash();
                Expected::Live(self.start(id, true))
            }
            Hit::Terminate => {
                server.terminate().exits(0);
                Expected::Nothing
            }
            Hit::ShutDown => {
                self.sandbox.ensemble(&["shutdown", "-f", id]).succeeds();
                server.finish().exits(0);
                Expected::Nothing
            }
            Hit::Duplicate => {
                let info = self.observer.lookup(id).unwrap().unwrap();
                let holder = [info.addresses[0].to_string(), info.incarnation.to_string()];
                let told = self.begin(id, false).finish().exits(1);
                let why = format!("the server {id} is running already at {}", holder[0]);
                assert!(told.err().contains(&why) && told.err().contains(&holder[1]), "{}", told.err());
                Expected::Live(server)
            }
            Hit::HangAndReplace => {
                server.signal(Signal::STOP);
                let new = self.start(id, false);
                server.signal(Signal::CONT);
                self.replaced.push((id, server, Instant::now()));
                Expected::Live(new)
            }
            Hit::HangForAMoment => {
                server.signal(Signal::STOP);
                let asked = self.sandbox.ensemble(&["ping", id, "--timeout", "0.1"]);
                asked.fails(4, &["did not answer"]);
                server.signal(Signal::CONT);
                Expected::Live(server)
            }
        }
    }

    fn fill(&mut self, id: &'static str, how: Fill) -> Expected {
        match how {
            Fill::Start => Expected::Live(self.start(id, true)),
            Fill::Race => {
                let mut both = [self.begin(id, false), self.begin(id, false)];
                let ready = format!("... {id} is ready at ");
                let winner = eventually_within(ensemble_tests::DEADLINE, "one has the id", || {
                    both.iter().position(|server| server.stdout().contains(&ready))
                });
                if winner == 1 {
                    both.swap(0, 1);
                }
                let [winner, loser] = both;
                let told = loser.finish().exits(1);
                assert!(
                    told.err().contains(&format!("the server {id} is running already")),
                    "{}",
                    told.err()
                );
                Expected::Live(winner)
            }
        }
    }

    /// The registry crashes and is there again.
    fn restart_registry(&mut self) {
        if let Some(registry) = self.registry.take() {
            registry.crash();
        }
        self.registry = Some(serve(&self.sandbox, &["registry"], "registry"));
    }

    /// Waits until the registry says what the model says, for as long as that may take.
    fn converge(&self, bound: Duration, what: &impl fmt::Display) {
        let begin = Instant::now();
        loop {
            let found = self.observer.wait_for(self.observer.client.all());
            let wrong = match &found {
                Ok(found) => self.compare(found),
                Err(cause) => Some(format!("{cause:?}")),
            };
            let Some(wrong) = wrong else { return };
            assert!(begin.elapsed() <= bound + MARGIN, "{what}: {wrong}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The first thing that the registry says otherwise than the model.
    fn compare(&self, found: &[ServerInfo]) -> Option<String> {
        let found: BTreeMap<&str, &ServerInfo> = found.iter().map(|info| (info.id.as_str(), info)).collect();
        if let Some(id) = found.keys().find(|id| !self.model.contains_key(**id)) {
            return Some(format!("{id} is listed"));
        }
        self.model.iter().find_map(|(id, expected)| {
            let found = found.get(id);
            let is_right = match (expected, found) {
                (Expected::Nothing | Expected::Dead(..), None) => true,
                (Expected::Live(server), Some(info)) => {
                    info.pid == Some(server.id()) && info.liveness == Liveness::Reachable
                }
                (Expected::Dead(process_id, at), Some(info)) => {
                    info.pid == Some(*process_id)
                        && info.liveness == Liveness::Suspect
                        && at.elapsed() < GONE + MARGIN
                }
                _ => false,
            };
            (!is_right).then(|| format!("{id}: {found:?}"))
        })
    }

    /// Those that were replaced end within a heartbeat, and say why.
    fn reap(&mut self, bound: Duration) {
        let (due, rest) = std::mem::take(&mut self.replaced)
            .into_iter()
            .partition(|(_, _, since)| since.elapsed() >= bound);
        self.replaced = rest;
        for (id, mut server, since) in due {
            assert!(!server.is_running(), "{id} goes on {:?} after it was replaced", since.elapsed());
            let done = server.finish();
            assert!(done.err().contains("has taken over the id"), "{}", done.err());
        }
    }

    /// Waits until all that were replaced have noticed.
    fn await_replaced(&mut self) {
        eventually_within(HEARTBEAT + MARGIN, "those that were replaced end", || {
            self.replaced.iter_mut().all(|(_, server, _)| !server.is_running()).then_some(())
        });
        self.reap(Duration::ZERO);
    }

    fn round(&mut self, number: usize) {
        if self.random.below(20) == 0 {
            self.restart_registry();
            let what = format!("round {number}: the registry restarts");
            eprintln!("{what}");
            return self.converge(2 * HEARTBEAT, &what);
        }
        let id = self.random.one_of(&IDS);
        let (now, what) = match self.model.insert(id, Expected::Nothing) {
            Some(Expected::Live(server)) => {
                let how = self.random.one_of(&[
                    Hit::Kill,
                    Hit::Kill,
                    Hit::Terminate,
                    Hit::ShutDown,
                    Hit::Duplicate,
                    Hit::HangAndReplace,
                    Hit::HangForAMoment,
                    Hit::KillAndReplace,
                ]);
                let what = format!("round {number}: {how:?} {id}");
                eprintln!("{what}");
                (self.hit(id, server, how), what)
            }
            _ => {
                let how = self.random.one_of(&[Fill::Start, Fill::Start, Fill::Race]);
                let what = format!("round {number}: {how:?} {id}");
                eprintln!("{what}");
                (self.fill(id, how), what)
            }
        };
        self.model.insert(id, now);
        self.converge(SUSPECT_AFTER_CRASH, &what);
        self.reap(HEARTBEAT + MARGIN);
    }
}

#[test]
fn the_registry_knows_who_has_an_id_whatever_happens() {
    let begin = Instant::now();
    let mut rounds = Rounds::new();
    for number in 1..=ROUNDS {
        rounds.round(number);
    }
    eprintln!("{ROUNDS} rounds took {:.1?}", begin.elapsed());
    // What is dead is gone, and all that is replaced.
    for expected in rounds.model.values_mut() {
        if let Expected::Dead(..) = expected {
            *expected = Expected::Nothing;
        }
    }
    rounds.converge(GONE, &"the end");
    rounds.await_replaced();
}
