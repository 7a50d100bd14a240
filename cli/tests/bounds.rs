//! The times that docs/GUARANTEES.md promises of the registry, measured on real processes: servers are killed and stopped,
//! and what lookups answer is watched.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;
mod faults;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{registry, sandbox_with_cookie, serve};
use ensemble::Incarnation;
use ensemble_tests::{Proc, Sandbox};
use faults::{
    bound::{GONE, HEARTBEAT, SUSPECT_AFTER_CRASH, SUSPECT_AFTER_SILENCE, within},
    observer::Observer,
};
use registry::Liveness;
use rustix::process::Signal;

/// When in the time between two heartbeats something happens to a server.
const MOMENTS: [(&str, Duration); 3] = [
    ("after-a-heartbeat", Duration::ZERO),
    ("between-heartbeats", Duration::from_millis(HEARTBEAT.as_millis() as u64 / 2)),
    ("before-a-heartbeat", Duration::from_millis(HEARTBEAT.as_millis() as u64 * 9 / 10)),
];

fn echo(sandbox: &Sandbox, id: &str) -> Proc {
    serve(sandbox, &["run", "--roles", "echo", id], id)
}

/// Waits until the last heartbeat of a server is about so long ago.
fn await_moment(observer: &Observer, id: &str, since_heartbeat: Duration) {
    let (from, to) = (since_heartbeat.as_millis(), (since_heartbeat + HEARTBEAT / 10).as_millis());
    observer.sees(id, "at that moment", |info| {
        info.is_some_and(|info| (from..to).contains(&u128::from(info.unheard_ms)))
    });
}

#[test]
fn a_killed_server_is_suspect_at_once_and_gone_with_its_lease() {
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    let observer = Observer::new(&sandbox);
    let servers: Vec<Proc> = MOMENTS.iter().map(|(id, _)| echo(&sandbox, id)).collect();
    let mut killed = Vec::new();
    for (&(id, moment), server) in MOMENTS.iter().zip(servers) {
        await_moment(&observer, id, moment);
        let at = Instant::now();
        server.crash();
        let suspect = observer.sees_it(id, Liveness::Suspect);
        within(SUSPECT_AFTER_CRASH, &format!("{id}: suspect"), suspect - at);
        killed.push((id, at));
    }
    let shown = sandbox.ensemble(&["lookup", MOMENTS[0].0]).exits(0);
    assert!(shown.out().contains("suspect"), "{}", shown.out());
    thread::scope(|scope| {
        for (id, at) in killed {
            let sandbox = &sandbox;
            scope.spawn(move || {
                let gone = Observer::new(sandbox).sees_it_gone(id);
                within(GONE, &format!("{id}: gone"), gone - at);
            });
        }
    });
    sandbox.ensemble(&["lookup", MOMENTS[0].0]).fails(3, &["the registry knows no server"]);
}

#[test]
fn a_server_that_hangs_is_suspect_within_half_a_lease_and_back_at_once() {
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    let servers: Vec<Proc> = MOMENTS.iter().map(|(id, _)| echo(&sandbox, id)).collect();
    thread::scope(|scope| {
        for (&(id, moment), server) in MOMENTS.iter().zip(&servers) {
            let sandbox = &sandbox;
            scope.spawn(move || {
                let observer = Observer::new(sandbox);
                await_moment(&observer, id, moment);
                let stopped = Instant::now();
                server.signal(Signal::STOP);
                let suspect = observer.sees_it(id, Liveness::Suspect);
                within(SUSPECT_AFTER_SILENCE, &format!("{id}: suspect"), suspect - stopped);
                let begin = Instant::now();
                server.signal(Signal::CONT);
                let back = observer.sees_it(id, Liveness::Reachable);
                within(HEARTBEAT, &format!("{id}: back"), back - begin);
            });
        }
    });
}

#[test]
fn a_server_that_hangs_is_gone_with_its_lease_and_back_at_once() {
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    let observer = Observer::new(&sandbox);
    let mut server = echo(&sandbox, "echo");
    let before = observer.lookup("echo").unwrap().unwrap();
    let stopped = Instant::now();
    server.signal(Signal::STOP);
    let gone = observer.sees_it_gone("echo");
    within(GONE, "gone", gone - stopped);
    let begin = Instant::now();
    server.signal(Signal::CONT);
    let back = observer.sees_it("echo", Liveness::Reachable);
    within(HEARTBEAT, "back", back - begin);
    assert_eq!(observer.lookup("echo").unwrap().unwrap().incarnation, before.incarnation);
    assert!(server.is_running());
}

/// What a lookup answered, and how many starts of the server had been answered by the registry when it was asked.
struct Answer {
    starts_before: usize,
    process_id: u32,
    incarnation: Incarnation,
}

#[test]
fn a_lookup_never_answers_an_older_incarnation_than_the_newest_that_was_announced() {
    const STARTS: usize = 24;
    let sandbox = sandbox_with_cookie();
    let mut registry = common::registry(&sandbox);
    let starts_ready = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    let answers = Mutex::new(Vec::new());
    let hammer = |observer: &Observer| {
        let mut own = Vec::new();
        while !is_over.load(Ordering::SeqCst) {
            let starts_before = starts_ready.load(Ordering::SeqCst);
            // The registry is away now and then.
            if let Ok(Some(info)) = observer.lookup("echo") {
                let process_id = info.pid.unwrap();
                own.push(Answer { starts_before, process_id, incarnation: info.incarnation });
            }
        }
        answers.lock().unwrap().push(own);
    };
    let mut process_ids = Vec::new();
    thread::scope(|scope| {
        for _ in 0..2 {
            let observer = Observer::new(&sandbox);
            let hammer = &hammer;
            scope.spawn(move || hammer(&observer));
        }
        let mut hanging: Option<Proc> = None;
        for start in 1..=STARTS {
            // Each has a socket of its own, so that one that hangs is not in the next one's way.
            let listen = format!("unix:{}", sandbox.file(&format!("{start}.sock")).display());
            let server = serve(&sandbox, &["run", "--roles", "echo", "--listen", &listen], "echo");
            process_ids.push(server.id());
            starts_ready.store(start, Ordering::SeqCst);
            if let Some(old) = hanging.take() {
                // It finds out that it was taken for dead, and must not get its place back.
                old.signal(Signal::CONT);
                assert!(old.finish().err().contains("has taken over the id"));
            }
            if start % 5 == 0 {
                registry.crash();
                registry = common::registry(&sandbox);
            }
            if start % 4 == 0 {
                server.signal(Signal::STOP);
                hanging = Some(server);
            } else {
                server.crash();
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
    let answers = answers.into_inner().unwrap();
    for own in &answers {
        let mut newest = 0;
        for answer in own {
            let start = process_ids.iter().position(|id| *id == answer.process_id).unwrap() + 1;
            let at_least = newest.max(answer.starts_before);
            assert!(start >= at_least, "{} is of start {start}, not {at_least}", answer.incarnation);
            newest = start;
        }
    }
    let count: usize = answers.iter().map(Vec::len).sum();
    println!("{count} lookups during {STARTS} starts");
    assert!(count > STARTS);
}
