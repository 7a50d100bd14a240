//! Losses of power, on a file system that keeps apart what is not synced.

use ensemble_tests::history::History;
use ensemble_tests::{Cut, PowerLoss, Proc, Random};

use super::child::Work;
use super::parent::{Said, at_once, seeds, with_seed};
use crate::store::Durability;

/// Disks, each of which goes through several losses.
const DISKS: u64 = 24;
const ROUNDS: u64 = 10;

/// What was seen, to know that it was much.
#[derive(Debug, Default)]
struct Seen {
    rounds: u64,
    answers: u64,
    lost: u64,
    closed: u64,
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
        self.backups += other.backups;
        self.compactions += other.compactions;
        self.during_opening += other.during_opening;
    }
}

/// How stores run on a disk, and how they are judged.
#[derive(Clone, Copy)]
struct Plan {
    rounds: u64,
    /// None for another in each round.
    durability: Option<Durability>,
    /// By the rule of which one they are judged; none for their own.
    judged_by: Option<Durability>,
}

/// When the power goes: early ones meet the making and the opening of the store.
fn cut(random: &mut Random) -> Cut {
    match random.below(10) {
        0..2 => Cut::AtChange(1 + random.below(30)),
        2..7 => Cut::AtChange(1 + random.below(1500)),
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
        disk.cut_at(cut(&mut random));
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
        seen.add(&Seen {
            rounds: 1,
            answers: said.answers.len() as u64,
            lost: (said.answers.len() - said.required) as u64,
            closed: u64::from(said.is_closed),
            backups: said.backups.len() as u64,
            compactions: said.compactions.into(),
            during_opening: u64::from(said.opened.is_none()),
        });
        disk.power_on();
    }
    Ok(seen)
}

#[test]
fn a_loss_of_power_takes_back_no_more_than_is_documented() {
    let plan = Plan { rounds: ROUNDS, durability: None, judged_by: None };
    let seeds = seeds(1, DISKS);
    let disks = at_once(&seeds, |seed| {
        let seen = lose_power(PowerLoss::new(seed)?, seed, plan);
        Some(seen.unwrap_or_else(|error| panic!("{}", with_seed(seed, &error))))
    });
    let mut all = Seen::default();
    for seen in disks {
        let Some(seen) = seen else { return };
        all.add(&seen);
    }
    println!("{all:?}");
    if seeds.len() as u64 == DISKS {
        assert_eq!(all.rounds, DISKS * ROUNDS);
        let least =
            [all.answers / 1000, all.lost, all.closed, all.backups, all.compactions, all.during_opening];
        assert!(least.into_iter().all(|count| count > 5), "{all:?}");
    }
}

/// How many losses of power it takes at most until a mistake is seen.
const ROUNDS_UNTIL_SEEN: u64 = 20;

#[test]
fn a_store_that_answers_before_it_syncs_is_caught() {
    let plan = Plan {
        rounds: ROUNDS_UNTIL_SEEN,
        durability: Some(Durability::None),
        judged_by: Some(Durability::Sync),
    };
    let Some(disk) = PowerLoss::new(1) else { return };
    let caught = lose_power(disk, 1, plan).unwrap_err();
    assert!(caught.contains("that must be there is lost"), "{caught}");
}

#[test]
fn a_disk_that_only_says_that_it_syncs_is_caught() {
    let plan = Plan { rounds: ROUNDS_UNTIL_SEEN, durability: Some(Durability::Sync), judged_by: None };
    let Some(disk) = PowerLoss::new(2) else { return };
    let caught = lose_power(disk.ignoring_syncs(), 2, plan).unwrap_err();
    println!("{caught}");
}
