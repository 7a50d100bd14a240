//! Damage at a thousand random places: of records, and of the file under them.
//!
//! What a record carries protects it: its damage is told and named, without an exception. The pages of LMDB carry no checksums. So of the
//! file only this is asked: that nothing is ever returned that was not written. How often LMDB tells, how often keys are missing,
//! and how often it ends the process is counted; the damage is done to copies that processes of their own open.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use super::noise;
use crate::store::environment::{End, Tables};
use crate::store::parts::part_key;
use crate::store::{Condition, Layout, ReadError, Store, StoreOptions};

const PLACES: usize = 1000;
const PART_BYTES: usize = 1024;

fn open(directory: &Path) -> Store {
    Store::open(directory, StoreOptions { part_bytes: PART_BYTES, ..StoreOptions::default() }).unwrap()
}

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

fn key(number: usize) -> String {
    format!("key-{number:04}")
}

/// Raw, compressed, empty, with pages of its own, and in parts.
fn value(number: usize) -> Vec<u8> {
    match number % 6 {
        0 => noise(number as u64, 60),
        1 => format!("{number}, ").repeat(200).into_bytes(),
        2 => Vec::new(),
        3 => noise(number as u64, 9_000),
        4 => noise(number as u64, 3 * PART_BYTES + 100),
        _ => noise(number as u64, 700),
    }
}

fn is_in_parts(number: usize) -> bool {
    number % 6 == 4
}

/// A store with so many keys.
fn fill(directory: &Path, count: usize) -> Store {
    let store = open(directory);
    for number in 0..count {
        if is_in_parts(number) {
            let mut writer = store.writer(key(number), Condition::Always).unwrap();
            writer.write_all(&value(number)).unwrap();
            writer.finish(None).unwrap();
        } else {
            store.put(key(number), value(number)).unwrap();
        }
    }
    store
}

/// The keys that are named as damaged.
fn named(store: &Store) -> Result<BTreeSet<String>, ReadError> {
    let (mut keys, mut after) = (BTreeSet::new(), None);
    loop {
        let part = store.verify(after.as_deref())?;
        keys.extend(part.damaged.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()));
        after = part.next;
        if after.is_none() {
            return Ok(keys);
        }
    }
}

/// Another record than the one that was there: with a bit flipped, cut short, or longer.
fn damaged(mut record: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    match dice.below(4) {
        0 | 1 => {
            let bit = dice.below(record.len() * 8);
            record[bit / 8] ^= 1 << (bit % 8);
        }
        2 => record.truncate(dice.below(record.len())),
        _ => record.extend(noise(dice.below(1000) as u64, 1 + dice.below(40))),
    }
    record
}

#[test]
fn a_thousand_damaged_records_are_told_and_named_and_the_others_are_not_harmed() {
    let directory = tempfile::tempdir().unwrap();
    let count = 2 * PLACES;
    let store = fill(directory.path(), count);
    assert_eq!(named(&store).unwrap(), BTreeSet::new());
    let mut dice = Dice(0x5eed);
    let mut hurt = BTreeSet::new();
    while hurt.len() < PLACES {
        hurt.insert(dice.below(count));
    }
    let mut hurt_parts = 0;
    for number in &hurt {
        // Of a value in parts, what it says of them, or one of them.
        let part = match store.layout(key(*number).as_bytes()).unwrap() {
            Some(Layout::InParts(parts)) if dice.below(4) > 0 => {
                Some(part_key(parts.value, dice.below(4) as u32))
            }
            _ => None,
        };
        hurt_parts += usize::from(part.is_some());
        let place = |tables: &Tables| match &part {
            Some(part) => (tables.parts, part.to_vec()),
            None => (tables.records, key(*number).into_bytes()),
        };
        let written = store.environment().write(|transaction, tables| {
            let (table, at) = place(tables);
            let record = table.get(transaction, &at)?.expect("it was put").to_vec();
            table.put(transaction, &at, &damaged(record, &mut dice))?;
            Ok(End::Commit(()))
        });
        written.unwrap();
    }
    assert!(hurt_parts > PLACES / 20, "{hurt_parts}");
    drop(store);

    let store = open(directory.path());
    let names: BTreeSet<String> = hurt.iter().map(|number| key(*number)).collect();
    // What says nothing more of its parts leaves them without an owner, which has no name.
    let mut found = named(&store).unwrap();
    found.remove("");
    assert!(found == names, "{:?}", found.symmetric_difference(&names).collect::<Vec<_>>());
    for number in 0..count {
        match store.get(key(number).as_bytes()) {
            Err(ReadError::Damaged { .. } | ReadError::NewerFormat { .. }) => assert!(hurt.contains(&number)),
            Ok(Some(entry)) => {
                assert!(!hurt.contains(&number), "the damage of {number} is not told");
                assert!(entry.value == value(number), "{number}");
            }
            other => panic!("{number}: {other:?}"),
        }
    }
    for number in hurt {
        store.put(key(number), "healed").unwrap();
    }
    let left = named(&store).unwrap();
    assert!(left.iter().all(String::is_empty), "{left:?}");
}

const FILE_VARIABLE: &str = "STORE_DAMAGE_TEST_FILE";
const FIRST_VARIABLE: &str = "STORE_DAMAGE_TEST_FIRST";
const KEYS_IN_FILE: usize = 400;

/// What became of a copy with one flipped bit.
fn outcome(sound: &[u8], values: &[Vec<u8>], round: usize) -> &'static str {
    let mut dice = Dice((round as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    // In memory where there is such a place: a thousand stores wait for their disk otherwise.
    let place = Path::new("/dev/shm");
    let directory = tempfile::tempdir_in(place).or_else(|_| tempfile::tempdir()).unwrap();
    let mut bytes = sound.to_vec();
    let bit = dice.below(bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(directory.path().join("data.mdb"), bytes).unwrap();
    let options = StoreOptions { part_bytes: PART_BYTES, ..StoreOptions::default() };
    let Ok(store) = Store::open(directory.path(), options) else { return "refused" };
    let (mut missing, mut told) = (0, 0);
    for (number, value) in values.iter().enumerate() {
        match store.get(key(number).as_bytes()) {
            Ok(Some(entry)) => assert!(entry.value == *value, "round {round}: a wrong value is returned"),
            Ok(None) => missing += 1,
            Err(_) => told += 1,
        }
    }
    let is_named = named(&store).map_or(true, |names| !names.is_empty());
    // It is used on: whatever comes of it, nothing that was not written.
    drop(store.put("more", "more"));
    drop(store.remove(key(1)));
    if let Ok(Some(entry)) = store.get(b"more") {
        assert!(entry.value == "more", "round {round}: a wrong value is returned");
    }
    match (told > 0 || is_named, missing > 0) {
        (true, _) => "told",
        (false, true) => "missing",
        (false, false) => "harmless",
    }
}

/// Not a test of its own: what the other one runs, until LMDB ends the process.
#[test]
#[ignore = "run by the test below"]
fn child() {
    let Some(file) = env::var_os(FILE_VARIABLE) else { return };
    let sound = fs::read(file).unwrap();
    let first = env::var(FIRST_VARIABLE).unwrap().parse().unwrap();
    let values: Vec<Vec<u8>> = (0..KEYS_IN_FILE).map(value).collect();
    for round in first..PLACES {
        println!("\nround {round}");
        println!("\noutcome {}", outcome(&sound, &values, round));
    }
}

#[test]
fn a_thousand_flipped_bits_of_the_file_never_give_a_wrong_value() {
    let directory = tempfile::tempdir().unwrap();
    drop(fill(directory.path(), KEYS_IN_FILE));
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let mut next = 0;
    while next < PLACES {
        let output = Command::new(env::current_exe().unwrap())
            .args(["store::tests::places::child", "--exact", "--ignored", "--nocapture"])
            .env(FILE_VARIABLE, directory.path().join("data.mdb"))
            .env(FIRST_VARIABLE, next.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = |prefix: &str| -> Vec<String> {
            text.lines().filter_map(|line| Some(line.strip_prefix(prefix)?.to_owned())).collect()
        };
        let (begun, ended) = (lines("round "), lines("outcome "));
        assert_eq!(begun.first().map(String::as_str), Some(&next.to_string()[..]), "{output:?}");
        for outcome in &ended {
            *outcomes.entry(outcome.clone()).or_default() += 1;
        }
        next += begun.len();
        if begun.len() > ended.len() {
            use std::os::unix::process::ExitStatusExt as _;
            let error = String::from_utf8_lossy(&output.stderr);
            let signal = output.status.signal().unwrap_or_else(|| panic!("round {}: {error}", next - 1));
            *outcomes.entry(format!("ended by signal {signal}")).or_default() += 1;
        }
    }
    println!("of {PLACES} flipped bits: {outcomes:?}");
    assert_eq!(outcomes.values().sum::<usize>(), PLACES);
    let of = |outcome: &str| outcomes.get(outcome).copied().unwrap_or_default();
    assert!(of("told") > PLACES / 4, "most bits of the file are of records");
}
