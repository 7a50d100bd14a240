//! A server that starts again at another address, while clients that know the old one have connections and calls open.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;
mod faults;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{registry, sandbox_with_cookie, serve};
use ensemble::{CallError, RemoteAddr};
use ensemble_cli::Echo;
use ensemble_tests::{DEADLINE, Proc, Sandbox, eventually_within};
use faults::observer::Observer;
use rustix::process::Signal;

const ID: &str = "echo";
const TIMEOUT: Duration = Duration::from_secs(3);

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
                // The connection stands: what goes over it is lost with its deadline, or with the process.
                assert!(matches!(answer, Err(CallError::Unknown(_))), "move {number}: {answer:?}");
                drop(hung.crash());
                eventually_within(DEADLINE, "the connection is lost", || client.call("again").ok());
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
    assert_eq!(client.call("after"), Ok("after".to_owned()));
}

#[test]
fn calls_all_the_time_fail_only_while_nobody_is_there() {
    const MOVES: usize = 5;
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    let mut server = at_another_port(&sandbox);
    let clients: Vec<Client> = (0..2).map(|_| Client::new(&sandbox)).collect();
    // Odd while the server moves.
    let moves = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    // Each with whether it met a move.
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let counts: Vec<_> = clients
            .iter()
            .map(|client| {
                scope.spawn(|| {
                    let mut answered = 0_usize;
                    while !is_over.load(Ordering::SeqCst) {
                        let began_at = moves.load(Ordering::SeqCst);
                        match client.call("text") {
                            Ok(_) => answered += 1,
                            Err(why) => {
                                let is_during_a_move =
                                    began_at % 2 == 1 || began_at != moves.load(Ordering::SeqCst);
                                failures.lock().unwrap().push((is_during_a_move, why));
                            }
                        }
                    }
                    answered
                })
            })
            .collect();
        for number in 0..MOVES {
            moves.fetch_add(1, Ordering::SeqCst);
            drop(if number % 2 == 0 { server.crash() } else { server.terminate() });
            server = at_another_port(&sandbox);
            moves.fetch_add(1, Ordering::SeqCst);
            client_has_answers(&clients[0]);
        }
        is_over.store(true, Ordering::SeqCst);
        for count in counts {
            assert!(count.join().unwrap() > MOVES);
        }
    });
    let failures = failures.into_inner().unwrap();
    println!("{} calls failed", failures.len());
    for (is_during_a_move, why) in failures {
        assert!(is_during_a_move, "{why:?}");
        assert!(!matches!(why, CallError::Failed(_)), "{why:?}");
    }
}

fn client_has_answers(client: &Client) {
    for _ in 0..20 {
        client.call("text").unwrap();
    }
}
