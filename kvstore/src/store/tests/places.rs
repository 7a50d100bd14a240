//! Damage of a thousand records at random places. What a record carries protects it: its damage is told and named, without an
//! exception, and harms nothing else. Damage of the file under the records is in `flips`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use super::noise;
use crate::store::environment::{End, Tables};
use crate::store::parts::part_key;
use crate::store::{Condition, Layout, ReadError, Store, StoreOptions};

pub(super) const PLACES: usize = 1000;
pub(super) const PART_BYTES: usize = 1024;

fn open(directory: &Path) -> Store {
    Store::open(directory, StoreOptions { part_bytes: PART_BYTES, ..StoreOptions::default() }).unwrap()
}

/// The same numbers for the same seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

pub(super) fn key(number: usize) -> String {
    format!("key-{number:04}")
}

/// Raw, compressed, empty, with pages of its own, and in parts.
pub(super) fn value(number: usize) -> Vec<u8> {
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
pub(super) fn fill(directory: &Path, count: usize) -> Store {
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
pub(super) fn named(store: &Store) -> Result<BTreeSet<String>, ReadError> {
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
