//! The registry is killed and started again while servers that know each other call each other all the time.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;
mod faults;

use std::{
    fs,
    time::{Duration, Instant},
};

use common::sandbox_with_cookie;
use ensemble_tests::{DEADLINE, Proc, Sandbox};
use faults::{
    bound::{HEARTBEAT, LEASE, MARGIN, within},
    observer::Observer,
    traffic::{self, Outcome, Servers},
};
use registry::Liveness;

const IDS: [&str; 3] = ["a", "b", "c"];
/// Between two calls of a server to another.
const EVERY: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_secs(5);

fn serve(sandbox: &Sandbox, id: &str) -> Proc {
    let mut server = Proc::start(traffic::command(sandbox, id, &[]), Vec::new());
    server.says(&format!("... {id} is ready at "));
    server
}

/// As many calls of each server to each other as come in that time, all answered.
fn calls_go_on_for(servers: &Servers<'_>, time: Duration) {
    let before = servers.progress().values().map(|progress| progress.answered_in_a_row).min().unwrap();
    let more = usize::try_from(time.as_millis() / EVERY.as_millis()).unwrap();
    servers.await_answers(before + more, time + DEADLINE, |_, _| true);
}

#[test]
fn no_call_fails_and_all_servers_are_back_within_two_heartbeats() {
    let sandbox = sandbox_with_cookie();
    let mut registry = common::registry(&sandbox);
    let _processes = IDS.map(|id| serve(&sandbox, id));
    let observer = Observer::new(&sandbox);
    let servers = Servers::begin(&observer, &IDS, EVERY, TIMEOUT);
    servers.await_answers(10, DEADLINE, |_, _| true);
    let starts = IDS.map(|id| observer.lookup(id).unwrap().unwrap().incarnation);

    // Killed and started again at once; after a time in which servers try again; after one in which leases end; and
    // with nothing left of what it knew.
    let rounds = [
        ("at once", Duration::ZERO, false),
        ("after a heartbeat", HEARTBEAT, false),
        ("after a lease", LEASE, false),
        ("without its files", Duration::from_millis(200), true),
    ];
    for (when, away, has_lost_all) in rounds {
        registry.crash();
        calls_go_on_for(&servers, away);
        if has_lost_all {
            fs::remove_dir_all(sandbox.home().join("server/registry")).unwrap();
        }
        let begin = Instant::now();
        registry = common::registry(&sandbox);
        for (id, incarnation) in IDS.iter().zip(starts) {
            let back = observer.sees_it(id, Liveness::Reachable);
            within(2 * HEARTBEAT, &format!("{when}: {id} is back"), back - begin);
            assert_eq!(observer.lookup(id).unwrap().unwrap().incarnation, incarnation);
        }
        calls_go_on_for(&servers, Duration::from_millis(500));
    }
    let tally = servers.settle(MARGIN);
    assert_eq!(tally.failed(), 0, "{tally}");
    assert!(tally.of(Outcome::Answered) > 1000, "{tally}");
}
