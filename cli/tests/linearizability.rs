//! What many clients see of a store is what one after the other would have seen, also while its server is killed, hangs, and is started
//! again; and a store that forgets, or a client that reads what is stale or sends twice, is found out.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;
mod store_traffic;

use std::time::Instant;

use common::{ensemble, kvstore, registry, sandbox_with_cookie, serve};
use ensemble_tests::{
    eventually,
    linearizability::{Call, Condition, Operation, Outcome, Unexplained, check, check_revisions},
};
use rustix::process::Signal;
use store_traffic::{
    clients::{Recorded, Traffic},
    keys::Keys,
    mistakes::Mistake,
};

/// Operations that are recorded in all.
const OPERATIONS: usize = 100_000;
const KILLS: usize = 12;
/// Keys that are used at a time, and how often each is.
const KEYS: usize = 6;
const USES: u64 = 1_000;

fn count(history: &[Operation], is_meant: impl Fn(&Operation) -> bool) -> usize {
    history.iter().filter(|operation| is_meant(operation)).count()
}

#[test]
fn a_hundred_thousand_operations_through_crashes_are_linearizable() {
    let begin = Instant::now();
    let common::Ensemble { sandbox, registry: _registry, kvstore: mut server } = ensemble();
    let traffic = Traffic::begin(&sandbox, Keys::new(KEYS, USES), None);
    for kill in 1..=KILLS {
        traffic.await_recorded(OPERATIONS * kill / (KILLS + 1));
        drop(server.crash());
        server = kvstore(&sandbox);
        if kill == KILLS / 2 {
            // A server that hangs: calls run out of time, and are done all the same when it goes on.
            traffic.await_recorded(traffic.recorded() + 1_000);
            server.signal(Signal::STOP);
            let before = traffic.timeouts();
            eventually("calls run out of time", || (traffic.timeouts() > before).then_some(()));
            server.signal(Signal::CONT);
        }
    }
    traffic.await_recorded(OPERATIONS);
    let Recorded { history, not_done, faults, .. } = traffic.end();
    let recorded_after = begin.elapsed();
    let checked = check(&history).unwrap_or_else(|why| panic!("{why}"));
    check_revisions(&history).unwrap_or_else(|why| panic!("{why}"));
    eprintln!(
        "{} operations on {} keys, {} of them with an unknown outcome, {not_done} more not sent; {KILLS} kills; recorded in {:.1} \
         s, checked in {} steps and {:.1} s",
        checked.operations,
        checked.keys,
        checked.unknown,
        recorded_after.as_secs_f32(),
        checked.steps,
        (begin.elapsed() - recorded_after).as_secs_f32()
    );
    assert!(checked.operations >= OPERATIONS);
    assert!(checked.unknown >= KILLS, "the kills came when nothing was under way");
    // What is unknown fits nearly everything.
    assert!(checked.unknown < OPERATIONS / 50, "{}", checked.unknown);
    assert_eq!(faults, 0, "a store that is killed is sound");
    // The history is one that can show something: all kinds of answers are in it.
    let conflicts = count(&history, |it| matches!(it.outcome, Outcome::Conflict(_)));
    let found = count(&history, |it| matches!(it.outcome, Outcome::Got(Some(_))));
    let none = count(&history, |it| matches!(it.outcome, Outcome::Got(None)));
    let swapped = count(&history, |it| {
        let is_swap = matches!(it.call, Call::Put { condition: Condition::Revision(_), .. });
        is_swap && matches!(it.outcome, Outcome::Done(_))
    });
    eprintln!("{found} gets found a value, {none} none; {conflicts} conflicts; {swapped} swaps");
    assert!([conflicts, found, none, swapped].iter().all(|count| *count > OPERATIONS / 200));
}

#[track_caller]
fn is_found_out(history: &[Operation]) {
    match check(history) {
        Err(why @ Unexplained::Wrong { .. }) => eprintln!("{} operations: {why}", history.len()),
        other => panic!("nothing was found: {other:?}"),
    }
}

fn with_mistake(mistake: Mistake) -> Vec<Operation> {
    let common::Ensemble { sandbox, registry: _registry, kvstore: _server } = ensemble();
    let traffic = Traffic::begin(&sandbox, Keys::new(KEYS, USES), Some(mistake));
    traffic.await_recorded(5_000);
    traffic.end().history
}

#[test]
fn stale_reads_are_found() {
    is_found_out(&with_mistake(Mistake::StaleReads));
}

#[test]
fn writes_that_are_sent_twice_are_found() {
    is_found_out(&with_mistake(Mistake::SentTwice));
}

#[test]
fn writes_that_are_lost_are_found() {
    is_found_out(&with_mistake(Mistake::Lost));
}

/// A store that answers before it is on disk, which loses the last writes when its server is killed: as documented, and for
/// all that no register.
#[test]
fn a_server_that_answers_before_it_is_on_disk_is_found() {
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    let args = ["run", "--roles", "kvstore", "-o", "kvstore.durability=none"];
    let server = serve(&sandbox, &args, "kvstore");
    let traffic = Traffic::begin(&sandbox, Keys::new(KEYS, USES), None);
    traffic.await_recorded(5_000);
    drop(server.crash());
    let _server = serve(&sandbox, &args, "kvstore");
    traffic.await_recorded(8_000);
    let history = traffic.end().history;
    is_found_out(&history);
    let fault = check_revisions(&history).expect_err("revisions that were lost are given out again");
    eprintln!("{fault}");
}
