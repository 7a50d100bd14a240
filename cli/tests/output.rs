//! What each command shows, to people and as JSON, in the files of `tests/output/`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use common::{Ensemble, ensemble, serve, transcript::Transcript};
use rustix::process::Signal;

#[test]
fn of_list_and_lookup() {
    let Ensemble { sandbox, registry: _registry, kvstore } = &ensemble();
    let _echo = serve(sandbox, &["run", "--roles", "echo"], "echo");
    let mut transcript = Transcript::new(sandbox);
    transcript.types("ensemble list servers");
    transcript.types("ensemble list servers --json");
    transcript.types("ensemble lookup kvstore");
    transcript.types("ensemble lookup registry");
    transcript.types("ensemble lookup --role kvstore --json");
    transcript.types("ensemble lookup nope");
    transcript.types("ensemble lookup --role nope");
    transcript.types("ensemble list actors kvstore");
    transcript.types("ensemble list actors kvstore --json");
    transcript.types("ensemble list connections kvstore");
    transcript.types("ensemble list connections kvstore --json");
    transcript.types("ensemble list actors nope");
    transcript.is("list");
    // One that does not answer is suspect before its lease ends.
    kvstore.signal(Signal::KILL);
    ensemble_tests::eventually("the registry suspects it", || {
        let shown = sandbox.ensemble(&["list", "servers"]).exits(0);
        let line = shown.out().lines().find(|line| line.starts_with("kvstore "))?.to_owned();
        line.contains("suspect").then_some(())
    });
}

#[test]
fn of_ping() {
    let Ensemble { sandbox, registry: _registry, kvstore } = &ensemble();
    let mut transcript = Transcript::new(sandbox);
    transcript.types("ensemble ping kvstore");
    transcript.types("ensemble ping kvstore kvstore --json");
    transcript.types("ensemble ping kvstore --count 3 --interval 1ms");
    transcript.types("ensemble ping kvstore -c 3 --json");
    transcript.types("ensemble ping nope --count 3");
    transcript.types("ensemble ping kvstore nope --count 3");
    transcript.types("ensemble ping kvstore --interval 1");
    kvstore.signal(Signal::STOP);
    transcript.types("ensemble ping kvstore --count 2 --timeout 1");
    transcript.types("ensemble ping kvstore --count 2 --timeout 1 --json");
    transcript.is("ping");
    kvstore.signal(Signal::CONT);
}

#[test]
fn of_shutdown() {
    let Ensemble { sandbox, registry: _registry, kvstore } = &ensemble();
    let echo = serve(sandbox, &["run", "--roles", "echo"], "echo");
    let mut transcript = Transcript::new(sandbox);
    transcript.types("ensemble shutdown");
    transcript.types("ensemble shutdown -f nope");
    transcript.types("ensemble shutdown -f echo nope");
    transcript.types("ensemble shutdown -f echo echo");
    drop(echo.crash());
    transcript.types("ensemble shutdown -f echo");
    let _echo = serve(sandbox, &["run", "--roles", "echo"], "echo");
    kvstore.signal(Signal::STOP);
    transcript.types("ensemble shutdown -f kvstore --timeout 1");
    transcript.types("ensemble shutdown -f --timeout 1 --json kvstore");
    transcript.types("ensemble shutdown -f --timeout 3");
    transcript.types("ensemble shutdown -f");
    transcript.types("ensemble shutdown -f kvstore");
    transcript.is("shutdown");
    kvstore.signal(Signal::CONT);
}

#[test]
fn a_ping_goes_on_after_a_lost_one_and_ends_with_the_summary() {
    let Ensemble { sandbox, registry: _registry, kvstore } = &ensemble();
    kvstore.signal(Signal::STOP);
    let args = ["ping", "kvstore", "--count", "1000000", "--interval", "1ms", "--timeout", "1"];
    let mut ping = sandbox.start(&args);
    ping.says("1 lost: kvstore did not answer");
    kvstore.signal(Signal::CONT);
    ping.says(" ms");
    ping.signal(Signal::INT);
    let done = ping.finish().exits(4);
    let summary: Vec<&str> = done.out().lines().rev().take(2).collect();
    assert!(summary[0].starts_with("min ") && summary[0].contains(", p99 "), "{summary:?}");
    let numbers: Vec<u64> = summary[1].split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers[0], numbers[1] + numbers[2], "{summary:?}");
    assert!(numbers[1] > 0 && numbers[2] > 0, "{summary:?}");
}
