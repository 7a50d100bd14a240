//! A server that starts again at another address, while clients that know the old one have connections and calls open.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;
mod faults;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{registry, sandbox_with_cookie, serve};
use ensemble::{CallError, RemoteAddr};
use ensemble_cli::Echo;
use ensemble_tests::{Done, Proc, Sandbox, eventually};
use faults::{
    bound::{MARGIN, within},
    observer::Observer,
};
use rustix::process::Signal;

const ID: &str = "echo";
const TIMEOUT: Duration = Duration::from_secs(3);
/// A client that has just failed to reach it leaves it alone for so long, whatever is announced.
const PAUSE: Duration = Duration::from_millis(400);

/// The server at a port that the system chooses; another each time, since the old one is not free yet.
fn at_another_port(sandbox: &Sandbox) -> Proc {
    serve(sandbox, &["run", "--roles", "echo", ID, "--listen", "tcp:127.0.0.1:0"], ID)
}

fn address(observer: &Observer) -> String {
    observer.lookup(ID).unwrap().unwrap().addresses[0].to_string()
}

struct Client {
    observer: Observer,
    remote: RemoteAddr,
}

impl Client {
    fn new(sandbox: &Sandbox) -> Self {
        let observer = Observer::new(sandbox);
        let remote = observer.node.remote(ID, ID).with_timeout(TIMEOUT);
        Self { observer, remote }
    }

    fn call(&self, text: &str) -> Result<String, CallError> {
        self.observer.wait_for(async { self.remote.send(Echo(text.to_owned())).await })
    }

    /// It is there and a call has failed lately.
    #[track_caller]
    fn reaches_it_again(&self) {
        let begin = Instant::now();
        eventually("calls go through again", || self.call("again").ok());
        within(PAUSE, "calls go through", begin.elapsed());
    }
}

#[test]
fn a_client_that_knew_it_goes_on_after_a_move() {
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    let client = Client::new(&sandbox);
    let mut server = at_another_port(&sandbox);
    let mut known = address(&client.observer);
    for number in 0..6 {
        assert_eq!(client.call("before"), Ok("before".to_owned()));
        // Killed, stopped in good order, and hung, in turn.
        let mut hung = None;
        match number % 3 {
            0 => drop(server.crash()),
            1 => drop(server.terminate().exits(0)),
            _ => {
                server.signal(Signal::STOP);
                hung = Some(server);
            }
        }
        server = at_another_port(&sandbox);
        let now = address(&client.observer);
        assert_ne!(now, known);
        known = now;
        match (hung, client.call("first")) {
            (None, answer) => assert_eq!(answer, Ok("first".to_owned()), "move {number}"),
            (Some(hung), answer) => {
                // While the connection stands, what goes over it is lost with its deadline, or with the process; unless the
                // client has been told of the new start.
                assert!(matches!(answer, Ok(_) | Err(CallError::Unknown(_))), "move {number}: {answer:?}");
                drop(hung.crash());
                client.reaches_it_again();
            }
        }
        for _ in 0..20 {
            assert_eq!(client.call("after"), Ok("after".to_owned()), "move {number}");
        }
    }
}

#[test]
fn a_client_is_not_led_to_the_server_that_has_the_old_address_now() {
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    let client = Client::new(&sandbox);
    let server = at_another_port(&sandbox);
    assert_eq!(client.call("before"), Ok("before".to_owned()));
    let old = address(&client.observer);
    server.crash();
    let other = ["run", "--roles", "echo", "other", "--listen", &old];
    let _other = serve(&sandbox, &other, "other");
    let not_there = client.call("nobody");
    assert!(matches!(not_there, Err(CallError::NotSent(_))), "{not_there:?}");
    let _server = at_another_port(&sandbox);
    assert_ne!(address(&client.observer), old);
    client.reaches_it_again();
}

/// When moves began and ended; the last may be under way.
#[derive(Default)]
struct Moves(Mutex<Vec<(Instant, Option<Instant>)>>);

impl Moves {
    fn begin(&self) {
        self.0.lock().unwrap().push((Instant::now(), None));
    }

    fn end(&self) {
        self.0.lock().unwrap().last_mut().expect("it has begun").1 = Some(Instant::now());
    }

    /// Whether a call between these times could meet a move, or the pause after it.
    fn explain(&self, begun: Instant, ended: Instant) -> bool {
        let explains = |(from, to): &(Instant, Option<Instant>)| {
            *from <= ended && to.is_none_or(|to| begun <= to + PAUSE + MARGIN)
        };
        self.0.lock().unwrap().iter().any(explains)
    }
}

#[test]
fn calls_all_the_time_fail_only_while_nobody_is_there() {
    const MOVES: usize = 5;
    /// Calls between two moves, of a client that makes none during them.
    const CALM: usize = 200;
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    let mut server = at_another_port(&sandbox);
    let clients: Vec<Client> = (0..2).map(|_| Client::new(&sandbox)).collect();
    let moves = Moves::default();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let callers: Vec<_> = clients
            .iter()
            .map(|client| {
                scope.spawn(|| {
                    let (mut answered, mut failed) = (0_usize, 0_usize);
                    while !is_over.load(Ordering::SeqCst) {
                        let begun = Instant::now();
                        match client.call("text") {
                            Ok(_) => answered += 1,
                            Err(CallError::Failed(why)) => panic!("{why:?}"),
                            Err(why) => {
                                assert!(moves.explain(begun, Instant::now()), "{why:?}");
                                failed += 1;
                            }
                        }
                    }
                    (answered, failed)
                })
            })
            .collect();
        let calm = Client::new(&sandbox);
        let over = Done::at_the_end(&is_over);
        for number in 0..MOVES {
            moves.begin();
            drop(if number % 2 == 0 { server.crash() } else { server.terminate().exits(0) });
            server = at_another_port(&sandbox);
            moves.end();
            for _ in 0..CALM {
                assert_eq!(calm.call("calm"), Ok("calm".to_owned()));
            }
        }
        drop(over);
        for caller in callers {
            let (answered, failed) = caller.join().unwrap();
            println!("{answered} calls were answered, {failed} were not");
            assert!(answered > CALM, "{answered}");
        }
    });
}
