//! Entries that end by themselves, with a clock that the tests set.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use super::noise;
use crate::store::clock::Clock;
use crate::store::environment::End;
use crate::store::handle::Revisions;
use crate::store::{
    Applied, COLLECTED_AT_ONCE, Condition, ReadError, Store, StoreOptions, Together, Write, WriteError,
};

struct Timed {
    store: Store,
    now_ms: Arc<AtomicU64>,
    directory: TempDir,
}

fn open_at(directory: &TempDir, now_ms: &Arc<AtomicU64>) -> Store {
    let now_ms = Arc::clone(now_ms);
    let clock = Clock::of(move || now_ms.load(Ordering::Relaxed));
    Store::open_as(directory.path(), StoreOptions::default(), clock, Revisions::GoOn).unwrap()
}

impl Timed {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let now_ms = Arc::new(AtomicU64::new(1_000_000));
        Self { store: open_at(&directory, &now_ms), now_ms, directory }
    }

    fn pass(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn reopen(self) -> Self {
        drop(self.store);
        Self { store: open_at(&self.directory, &self.now_ms), ..self }
    }

    fn write(&self, write: Write) -> Result<Applied, WriteError> {
        self.store.apply(vec![write]).pop().unwrap()
    }

    fn put(&self, key: &'static str, ttl_ms: Option<u64>) {
        self.write(Write::Put { key: key.into(), value: "v".into(), condition: Condition::Always, ttl_ms })
            .unwrap();
    }

    /// How many entries the tables have, whoever sees them.
    fn in_tables(&self) -> (u64, u64) {
        let environment = self.store.environment();
        environment
            .read(|transaction, tables| {
                (tables.records.len(transaction).unwrap(), tables.expiry.len(transaction).unwrap())
            })
            .unwrap()
    }
}

#[test]
fn what_has_ended_is_seen_by_no_operation() {
    let timed = Timed::new();
    timed.put("k", Some(100));
    timed.put("stays", None);
    timed.pass(99);
    assert_eq!(timed.store.get(b"k").unwrap().unwrap().expires_at_ms, Some(1_000_100));
    assert_eq!(timed.store.meta(b"k").unwrap().unwrap().expires_in_ms, Some(1));
    assert_eq!(timed.store.status().unwrap().entries, 2);

    timed.pass(1);
    assert_eq!(timed.store.get(b"k").unwrap(), None);
    assert_eq!(timed.store.meta(b"k").unwrap(), None);
    let many = timed.store.get_many(&["k".into(), "stays".into()], 1).unwrap();
    assert!(matches!((&many[0], &many[1]), (Ok(None), Ok(Some(_)))));
    let keys = timed.store.list(b"", None, 10).unwrap().keys;
    assert_eq!(keys.iter().map(|listed| &listed.key[..]).collect::<Vec<_>>(), [b"stays"]);
    assert_eq!(timed.store.status().unwrap().entries, 1);
    let remove = |condition| timed.write(Write::Remove { key: "k".into(), condition });
    assert_eq!(remove(Condition::Always).unwrap(), Applied::Removed { revision: None });
    assert!(matches!(remove(Condition::Revision(1)), Err(WriteError::Conflict { current: None })));
    let check = Write::Check { key: "k".into(), condition: Condition::Absent };
    let together = Together::new(vec![check]).unwrap();
    let expected = Applied::Together(vec![Applied::Checked { current: None }]);
    assert_eq!(timed.write(Write::Together(together)).unwrap(), expected);
    assert_eq!(timed.in_tables(), (2, 1), "it is not collected yet");

    let timed = timed.reopen();
    assert_eq!(timed.store.get(b"k").unwrap(), None);
    let put = Write::Put { key: "k".into(), value: "w".into(), condition: Condition::Absent, ttl_ms: None };
    assert!(timed.write(put).is_ok());
    assert_eq!(timed.store.collect_expired().unwrap(), 0);
    assert_eq!(timed.store.get(b"k").unwrap().unwrap().value, "w");
    assert_eq!(timed.in_tables(), (2, 0));
}

#[test]
fn what_is_written_anew_has_its_new_time() {
    let timed = Timed::new();
    timed.put("longer", Some(100));
    timed.put("longer", Some(1000));
    timed.put("for ever", Some(100));
    timed.put("for ever", None);
    timed.put("removed", Some(100));
    assert!(timed.store.remove("removed").unwrap());
    assert_eq!(timed.in_tables(), (2, 1));
    timed.pass(500);
    assert_eq!(timed.store.collect_expired().unwrap(), 0);
    assert_eq!(timed.store.status().unwrap().entries, 2);
    timed.pass(500);
    assert_eq!(timed.store.collect_expired().unwrap(), 1);
    assert_eq!(timed.in_tables(), (1, 0));
}

#[test]
fn collecting_is_bounded_and_gives_revisions() {
    let timed = Timed::new();
    let count = 2 * COLLECTED_AT_ONCE + 10;
    let writes = (0..count).map(|number| Write::Put {
        key: number.to_string().into(),
        value: "v".into(),
        condition: Condition::Always,
        ttl_ms: Some(number as u64),
    });
    assert!(timed.store.apply(writes.collect()).iter().all(Result::is_ok));
    timed.pass(count as u64);
    let collected: Vec<_> = (0..4).map(|_| timed.store.collect_expired().unwrap()).collect();
    assert_eq!(collected, [COLLECTED_AT_ONCE, COLLECTED_AT_ONCE, 10, 0]);
    assert_eq!(timed.in_tables(), (0, 0));
    assert_eq!(timed.store.revision().unwrap(), 2 * count as u64);
}

#[test]
fn damage_does_not_hide_a_key_and_is_not_collected() {
    let timed = Timed::new();
    timed.put("k", Some(100));
    let plant = |change: &dyn Fn(&mut Vec<u8>)| {
        let environment = timed.store.environment();
        let written = environment.write(|transaction, tables| {
            let mut record = tables.records.get(transaction, b"k")?.unwrap().to_vec();
            change(&mut record);
            tables.records.put(transaction, b"k", &record)?;
            Ok(End::Commit(()))
        });
        written.unwrap();
    };
    // The expiry time itself: it seems to have ended long ago.
    plant(&|record| record[20..28].fill(0));
    assert!(matches!(timed.store.get(b"k"), Err(ReadError::Damaged { .. })));
    assert_eq!(timed.store.list(b"", None, 10).unwrap().keys.len(), 1);
    timed.pass(100);
    assert_eq!(timed.store.collect_expired().unwrap(), 1);
    assert!(matches!(timed.store.get(b"k"), Err(ReadError::Damaged { .. })));
    assert!(timed.store.remove("k").unwrap());
}

#[test]
fn an_index_that_another_program_left_behind_harms_nothing() {
    let timed = Timed::new();
    timed.put("k", Some(100));
    let environment = timed.store.environment();
    let other = timed.store.put("other", "kept").unwrap();
    let copied = environment.write(|transaction, tables| {
        // As a program leaves it that knows nothing of the index, and puts the key anew.
        let record = tables.records.get(transaction, b"other")?.unwrap().to_vec();
        tables.expiry.put(transaction, &crate::store::expiry::index_key(1, other.revision), b"other")?;
        tables.records.put(transaction, b"other", &record)?;
        Ok(End::Commit(()))
    });
    copied.unwrap();
    assert_eq!(timed.store.collect_expired().unwrap(), 1);
    assert_eq!(timed.store.get(b"other").unwrap().unwrap().value, "kept");
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, Option<u64>),
    Remove(u8),
    Pass(u64),
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..5_u8, prop::option::of(0..50_u64)).prop_map(|(key, ttl_ms)| Step::Put(key, ttl_ms)),
        1 => (0..5_u8).prop_map(Step::Remove),
        2 => (0..30_u64).prop_map(Step::Pass),
        1 => Just(Step::Collect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_store_sees_what_a_map_with_times_has(steps in prop::collection::vec(step(), 1..60)) {
        let timed = Timed::new();
        let mut model = std::collections::BTreeMap::new();
        for step in steps {
            let now_ms = timed.now_ms.load(Ordering::Relaxed);
            match step {
                Step::Put(key, ttl_ms) => {
                    let (value, condition) = ("v".into(), Condition::Always);
                    timed.write(Write::Put { key: vec![key].into(), value, condition, ttl_ms }).unwrap();
                    model.insert(vec![key], ttl_ms.map(|ttl_ms| now_ms + ttl_ms));
                }
                Step::Remove(key) => {
                    let existed = model.remove(&vec![key]).is_some();
                    prop_assert_eq!(timed.store.remove(vec![key]).unwrap(), existed);
                }
                Step::Pass(ms) => timed.pass(ms),
                Step::Collect => drop(timed.store.collect_expired().unwrap()),
            }
            let now_ms = timed.now_ms.load(Ordering::Relaxed);
            model.retain(|_, at_ms| at_ms.is_none_or(|at_ms| at_ms > now_ms));
            let keys = timed.store.list(b"", None, 100).unwrap().keys;
            prop_assert!(keys.iter().map(|listed| listed.key.to_vec()).eq(model.keys().cloned()));
            prop_assert_eq!(timed.store.status().unwrap().entries, model.len() as u64);
        }
        while timed.store.collect_expired().unwrap() > 0 {}
        let timed_keys = model.values().flatten().count() as u64;
        prop_assert_eq!(timed.in_tables(), (model.len() as u64, timed_keys));
    }
}

#[test]
fn a_page_passes_over_few_long_records_that_have_ended() {
    let timed = Timed::new();
    for number in 0..5_u64 {
        let value = noise(number, 6 << 20).into();
        let condition = Condition::Always;
        let ttl_ms = Some(10);
        timed.write(Write::Put { key: format!("k{number}").into(), value, condition, ttl_ms }).unwrap();
    }
    timed.put("last", None);
    timed.pass(10);
    let first = timed.store.list(b"", None, 1000).unwrap();
    assert_eq!((first.keys.len(), first.next.as_deref()), (0, Some(&b"k2"[..])));
    let second = timed.store.list(b"", first.next.as_deref(), 1000).unwrap();
    assert_eq!((second.keys.len(), second.next), (1, None));
}
