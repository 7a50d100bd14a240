//! `kill -9` at the moments in the code at which it matters most.

use std::os::unix::process::ExitStatusExt as _;

use ensemble_tests::history::History;
use ensemble_tests::{Proc, Random};

use super::child::Work;
use super::parent::{Said, at_once, copy, seeds, with_seed};
use crate::failpoint::{ALL, Moment};
use crate::store::Durability;

/// How often each moment is met.
const KILLS: u64 = 12;

const STEPS: u32 = 1_000_000;

/// The how many-th time is the last at most, how the store answers, and whether it must first be left as a crash leaves it.
fn setting(moment: Moment, random: &mut Random) -> (u64, Durability, bool) {
    let interval = Durability::Interval { ms: 3 };
    let any = if random.percent(70) { Durability::Sync } else { interval };
    match moment {
        Moment::BeforeTransaction | Moment::BeforeCommit | Moment::AfterCommit | Moment::BeforeReplies => {
            (60, any, false)
        }
        Moment::BeforeNote | Moment::AfterNote => (10, interval, false),
        Moment::BeforeSwap | Moment::AfterSwap => (3, any, false),
        Moment::PutBack => (1, interval, true),
    }
}

/// How many answers there were.
fn kill_at(moment: Moment, seed: u64) -> Result<usize, String> {
    let place = tempfile::tempdir().unwrap();
    let mut random = Random::of_part(seed, moment as u64);
    let (mut history, mut answers) = (History::default(), 0);
    let mut run = |round: u64, moment: Moment, most: u64, durability: Durability, random: &mut Random| {
        let work = Work {
            directory: place.path().join("data"),
            output: place.path().join(format!("said-{round}-{moment:?}")),
            seed: random.next(),
            steps: STEPS,
            durability,
            kill_at: Some((moment, 1 + random.below(most))),
        };
        let after =
            |error: String| format!("{error}, in round {round} with {:?} with {durability:?}", work.kill_at);
        let ended = Proc::start(work.command(), Vec::new()).finish();
        let said = Said::of_file(&work.output, durability).map_err(after)?;
        if ended.status.signal() != Some(9) {
            return Err(after(format!("it was not killed: {ended:?}")));
        }
        answers += said.answers.len();
        let left = copy(&work.directory);
        said.judge(&mut history, &work, &left.path().join("data"), place.path()).map_err(after)
    };
    for round in 0..KILLS {
        let (most, durability, is_after_a_crash) = setting(moment, &mut random);
        if is_after_a_crash {
            // Then there is a note in any case; a compaction does without for a moment.
            run(round, Moment::AfterNote, 10, durability, &mut random)?;
        }
        run(round, moment, most, durability, &mut random)?;
    }
    Ok(answers)
}

#[test]
fn what_was_answered_survives_kill_9_at_the_worst_moments() {
    for seed in seeds(1, 1) {
        let answers = at_once(&ALL, |moment| {
            kill_at(moment, seed).unwrap_or_else(|error| panic!("{}", with_seed(seed, &error)))
        });
        println!("{answers:?} answers");
        assert!(
            answers.iter().sum::<usize>() > 1000 && answers.iter().all(|count| *count > 0),
            "{answers:?}"
        );
    }
}
