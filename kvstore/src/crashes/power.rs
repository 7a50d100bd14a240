//! Losses of power, on a file system that keeps apart what is not synced.

use ensemble_tests::history::{Answer, History, Outcome};
use ensemble_tests::{Cut, PowerLoss, Proc, Random};

use super::child::Work;
use super::parent::{Said, at_once, seeds, with_seed};
use crate::store::Durability;

/// Disks, each of which goes through several losses.
const DISKS: u64 = 24;
const ROUNDS: u64 = 10;

/// The same for those that lose it early.
const EARLY_DISKS: u64 = 40;
const EARLY_ROUNDS: u64 = 3;

/// About how many changes it takes to make a store and to write the first keys.
const EARLY_CHANGES: u64 = 30;

/// What was seen, to know that it was much.
#[derive(Debug, Default)]
struct Seen {
    rounds: u64,
    answers: u64,
    /// Answers about what is not there.
    lost: u64,
    closed: u64,
    /// Rounds of stores that sync now and then, and those of them that did once they were open.
    intervals: u64,
    noted: u64,
    backups: u64,
    compactions: u64,
    during_opening: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.answers += other.answers;
        self.lost += other.lost;
        self.closed += other.closed;
        self.intervals += other.intervals;
        self.noted += other.noted;
        self.backups += other.backups;
        self.compactions += other.compactions;
        self.during_opening += other.during_opening;
    }
}

/// How stores run on a disk, and how they are judged.
#[derive(Clone, Copy)]
struct Plan {
    rounds: u64,
    /// The power goes while the store is made or opened, or soon after.
    is_early: bool,
    /// None for another in each round.
    durability: Option<Durability>,
    /// By the rule of which one they are judged; none for their own.
    judged_by: Option<Durability>,
}

fn cut(random: &mut Random, is_early: bool) -> Cut {
    match random.below(10) {
        _ if is_early => Cut::AtChange(1 + random.below(EARLY_CHANGES)),
        0 => Cut::AtChange(1 + random.below(EARLY_CHANGES)),
        1..6 => Cut::AtChange(1 + random.below(1000)),
        _ => Cut::AtLine(1 + random.below(200)),
    }
}

fn durability(random: &mut Random) -> Durability {
    match random.below(4) {
        0 => Durability::None,
        1 => Durability::Interval { ms: 1 + u32::try_from(random.below(40)).unwrap() },
        _ => Durability::Sync,
    }
}

/// Loses the power of one disk again and again. None where there can be none.
fn lose_power(disk: PowerLoss, seed: u64, plan: Plan) -> Result<Seen, String> {
    let mut disk = disk;
    let mut random = Random::new(seed);
    let mut history = History::default();
    let mut seen = Seen::default();
    for round in 0..plan.rounds {
        let work = Work {
            directory: disk.path().join("data"),
            output: disk.console(),
            seed: random.next(),
            steps: 20 + u32::try_from(random.below(150)).unwrap(),
            durability: plan.durability.unwrap_or_else(|| durability(&mut random)),
            kill_at: None,
        };
        disk.cut_at(cut(&mut random, plan.is_early));
        let child = Proc::start(work.command(), Vec::new()).finish();
        disk.cut();
        let after = || {
            format!("round {round} with {:?}: {}", work.durability, String::from_utf8_lossy(&child.stderr))
        };
        let judged_by = plan.judged_by.unwrap_or(work.durability);
        let said = Said::of_events(&disk.take_events(), judged_by);
        let said = said.map_err(|error| format!("{error}, {}", after()))?;
        let left = tempfile::tempdir().unwrap();
        disk.copy_to(left.path());
        let judged = said.judge(&mut history, &work, &left.path().join("data"), left.path());
        judged.map_err(|error| format!("{error}, {}", after()))?;
        let last = history.revision();
        let is_lost = |answer: &Answer| match &answer.outcome {
            Outcome::Done(revisions) => revisions.iter().flatten().any(|revision| *revision > last),
            Outcome::Conflict => false,
        };
        let is_interval = matches!(work.durability, Durability::Interval { .. });
        seen.add(&Seen {
            rounds: 1,
            answers: said.answers.len() as u64,
            lost: said.answers.iter().filter(|answer| is_lost(answer)).count() as u64,
            closed: u64::from(said.is_closed),
            intervals: u64::from(is_interval),
            noted: u64::from(is_interval && said.notes > 0),
            backups: said.backups.len() as u64,
            compactions: said.compactions.into(),
            during_opening: u64::from(said.opened.is_none()),
        });
        disk.power_on();
    }
    Ok(seen)
}

/// What was seen on all disks; none where there can be none.
fn lose_power_of(seeds: &[u64], plan: Plan) -> Option<Seen> {
    let disks = at_once(seeds, |seed| {
        let seen = lose_power(PowerLoss::new(seed)?, seed, plan);
        Some(seen.unwrap_or_else(|error| panic!("{}", with_seed(seed, &error))))
    });
    let mut all = Seen::default();
    for seen in disks {
        all.add(&seen?);
    }
    println!("{all:?}");
    Some(all)
}

#[test]
fn a_loss_of_power_takes_back_no_more_than_is_documented() {
    let plan = Plan { rounds: ROUNDS, is_early: false, durability: None, judged_by: None };
    let seeds = seeds(1, DISKS);
    let Some(all) = lose_power_of(&seeds, plan) else { return };
    if seeds.len() as u64 == DISKS {
        assert_eq!(all.rounds, DISKS * ROUNDS);
        let least = [all.answers / 1000, all.lost, all.closed, all.backups, all.compactions];
        assert!(least.into_iter().all(|count| count > 5), "{all:?}");
        assert!(all.closed * 4 < all.rounds, "{all:?}");
        assert!(all.intervals > 20 && all.noted * 2 > all.intervals, "{all:?}");
    }
}

#[test]
fn a_store_that_loses_power_while_it_is_made_or_opened_opens_again() {
    let plan = Plan { rounds: EARLY_ROUNDS, is_early: true, durability: None, judged_by: None };
    let seeds = seeds(1000, EARLY_DISKS);
    let Some(all) = lose_power_of(&seeds, plan) else { return };
    if seeds.len() as u64 == EARLY_DISKS {
        assert!(all.during_opening > 5 && all.answers > 0, "{all:?}");
    }
}

/// How many losses of power it takes at most until a mistake is seen.
const ROUNDS_UNTIL_SEEN: u64 = 20;

#[test]
fn a_store_that_answers_before_it_syncs_is_caught() {
    let plan = Plan {
        rounds: ROUNDS_UNTIL_SEEN,
        is_early: false,
        durability: Some(Durability::None),
        judged_by: Some(Durability::Sync),
    };
    let Some(disk) = PowerLoss::new(1) else { return };
    let caught = lose_power(disk, 1, plan).unwrap_err();
    assert!(caught.contains("that must be there is lost"), "{caught}");
}

#[test]
fn a_disk_that_only_says_that_it_syncs_is_caught() {
    let plan = Plan {
        rounds: ROUNDS_UNTIL_SEEN,
        is_early: false,
        durability: Some(Durability::Sync),
        judged_by: None,
    };
    let Some(disk) = PowerLoss::new(2) else { return };
    let caught = lose_power(disk.ignoring_syncs(), 2, plan).unwrap_err();
    assert!(caught.contains("that must be there is lost"), "{caught}");
}
