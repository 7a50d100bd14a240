//! `kill -9` at random moments.

use std::fs;
use std::thread;
use std::time::Duration;

use ensemble_tests::history::History;
use ensemble_tests::{Proc, Random};

use super::child::Work;
use super::parent::{Said, at_once, copy, seeds, with_seed};
use crate::store::{Durability, OpenError, Store, StoreOptions};

/// Stores, each of which is killed many times.
const STORES: u64 = 16;
const KILLS: u64 = 25;

/// From when the process is started: opening the store takes some of it.
const LONGEST_LIFE_MS: u64 = 150;

/// More than anybody does in that time.
const STEPS: u32 = 1_000_000;

/// Answers, and processes that were killed before their store was open.
fn kill(seed: u64) -> Result<(u64, u64), String> {
    let place = tempfile::tempdir().unwrap();
    let mut random = Random::new(seed);
    let mut history = History::default();
    let (mut answers, mut during_opening) = (0, 0);
    for round in 0..KILLS {
        let durability = match random.below(6) {
            0 => Durability::None,
            1 => Durability::Interval { ms: 5 },
            _ => Durability::Sync,
        };
        let work = Work {
            directory: place.path().join("data"),
            output: place.path().join(format!("said-{round}")),
            seed: random.next(),
            steps: STEPS,
            durability,
            kill_at: None,
        };
        let after = |error: String| format!("{error}, round {round} with {durability:?}");
        let child = Proc::start(work.command(), Vec::new());
        // Any moment will do: there is nothing to be waited for.
        thread::sleep(Duration::from_micros(random.below(LONGEST_LIFE_MS * 1000)));
        if fs::read_to_string(&work.output).is_ok_and(|said| said.starts_with("open ")) {
            let refused = Store::open(&work.directory, StoreOptions::default());
            assert!(matches!(refused, Err(OpenError::InUse { .. })), "another process has it");
        }
        child.crash();
        let said = Said::of_file(&work.output, durability).map_err(after)?;
        let left = copy(&work.directory);
        said.judge(&mut history, &work, &left.path().join("data"), place.path()).map_err(after)?;
        answers += said.answers.len() as u64;
        during_opening += u64::from(said.opened.is_none());
    }
    Ok((answers, during_opening))
}

#[test]
fn what_was_answered_survives_kill_9_at_any_moment() {
    let seeds = seeds(1, STORES);
    let killed =
        at_once(&seeds, |seed| kill(seed).unwrap_or_else(|error| panic!("{}", with_seed(seed, &error))));
    let (answers, during_opening) = killed.iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let kills = seeds.len() as u64 * KILLS;
    println!("{kills} kills, {during_opening} of them before the store was open, {answers} answers");
    assert!(answers > 10 * kills && during_opening * 4 < kills * 3, "{answers} {during_opening}");
}
