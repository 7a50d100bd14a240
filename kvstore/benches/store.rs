//! The store against its floor, LMDB used bare through heed, on the same disk in the same run.
//!
//! All contenders take turns within each round, so that a busy machine hits them alike; the table gives the
//! median of the rounds, their spread, and the median of the ratios to the floor within each round.
//!
//! `cargo bench -p ensemble-kvstore --bench store`; `BENCH_DIR` puts the files elsewhere than in the system's
//! temporary directory, `BENCH_ROUNDS` sets the number of rounds.

#![expect(clippy::print_stdout, reason = "the table is the result")]

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::Instant;

use heed::types::Bytes as Raw;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions};
use kvstore::engine::{Engine, EngineOptions};
use kvstore::store::{Store, StoreOptions};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const VALUE_BYTES: usize = 100;
/// Keys that the puts go to, and that the gets read.
const KEYS: u64 = 20_000;
/// Puts or syncs of a round, for each writer that is alone.
const SINGLE_PUTS: usize = 200;
const SINGLE_GETS: usize = 2_000;
const IN_FLIGHT_GETS: usize = 64;

fn main() {
    let rounds = std::env::var("BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(15);
    let parent = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    println!("directory {}, file system {}, {rounds} rounds\n", parent.display(), file_system(&parent));
    let directory = || TempDir::new_in(&parent).expect("the directory can be written");
    let (bare_directory, engine_directory, raw_directory) = (directory(), directory(), directory());

    let runtime = Builder::new_current_thread().build().expect("a runtime needs no more than memory");
    let bare = Bare::open(bare_directory.path());
    let store = Store::open(engine_directory.path(), StoreOptions::default()).expect("the store opens");
    let engine = Engine::start(store.clone(), &EngineOptions::default()).expect("threads are given");
    let raw = File::create(raw_directory.path().join("raw")).expect("the file can be made");
    let mut random = Random(1);
    fill(&bare, &store);

    let mut puts = Table::new("durable puts of 100 B", "bare heed, 1 put per transaction");
    let mut gets = Table::new("gets of 100 B", "bare heed");
    for _ in 0..rounds {
        puts.time("bare heed, 1 put per transaction", SINGLE_PUTS, || {
            for _ in 0..SINGLE_PUTS {
                bare.put(&random.key());
            }
        });
        puts.time("Engine, 1 writer", SINGLE_PUTS, || {
            runtime.block_on(async {
                for _ in 0..SINGLE_PUTS {
                    engine.put(random.key(), vec![7; VALUE_BYTES]).await.expect("there is room");
                }
            });
        });
        puts.time("Store, 1 writer", SINGLE_PUTS, || {
            for _ in 0..SINGLE_PUTS {
                store.put(random.key(), vec![7; VALUE_BYTES]).expect("there is room");
            }
        });
        for (name, writers) in [("Engine, 16 writers", 16), ("Engine, 256 writers", 256)] {
            let each = (SINGLE_PUTS / 4).max(SINGLE_PUTS * 16 / writers);
            puts.time(name, writers * each, || {
                put_concurrently(&runtime, &engine, &mut random, writers, each)
            });
        }
        puts.time("raw 4 KiB write and fdatasync", SINGLE_PUTS, || sync_raw(&raw));

        gets.time("bare heed", SINGLE_GETS, || {
            for _ in 0..SINGLE_GETS {
                assert!(bare.get(&random.key()) > 0);
            }
        });
        gets.time("Store", SINGLE_GETS, || {
            for _ in 0..SINGLE_GETS {
                assert!(store.get(&random.key()).expect("the record is sound").is_some());
            }
        });
        gets.time("Engine, one at a time", SINGLE_GETS, || {
            runtime.block_on(async {
                for _ in 0..SINGLE_GETS {
                    assert!(engine.get(random.key()).await.expect("the record is sound").is_some());
                }
            });
        });
        gets.time("Engine, 64 in flight", SINGLE_GETS * 8, || {
            get_concurrently(&runtime, &engine, &mut random, SINGLE_GETS * 8);
        });
    }
    puts.print();
    gets.print();
    runtime.block_on(engine.close());
}

fn put_concurrently(runtime: &Runtime, engine: &Engine, random: &mut Random, writers: usize, each: usize) {
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            let engine = engine.clone();
            let mut random = Random(random.next());
            tasks.spawn(async move {
                for _ in 0..each {
                    engine.put(random.key(), vec![7; VALUE_BYTES]).await.expect("there is room");
                }
            });
        }
        tasks.join_all().await;
    });
}

fn get_concurrently(runtime: &Runtime, engine: &Engine, random: &mut Random, total: usize) {
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..IN_FLIGHT_GETS {
            let engine = engine.clone();
            let mut random = Random(random.next());
            tasks.spawn(async move {
                for _ in 0..total / IN_FLIGHT_GETS {
                    assert!(engine.get(random.key()).await.expect("the record is sound").is_some());
                }
            });
        }
        tasks.join_all().await;
    });
}

fn sync_raw(mut file: &File) {
    for _ in 0..SINGLE_PUTS {
        file.rewind().and_then(|()| file.write_all(&[7; 4096])).expect("there is room");
        file.sync_data().expect("the disk works");
    }
}

/// The floor: what a program would write that needs nothing of the store.
struct Bare {
    database: Database<'static, Raw, Raw>,
    env: Env,
}

impl Bare {
    fn open(directory: &Path) -> Self {
        let mut options = EnvOpenOptions::new();
        options.map_size(1 << 30).max_dbs(1);
        #[expect(unsafe_code, reason = "the directory is this program's own")]
        // SAFETY: nobody else knows the directory, which was made a moment ago.
        let env = unsafe { options.open(directory) }.expect("the environment opens");
        let transaction = env.write_txn().expect("a transaction begins");
        let database = env
            .create_databases_and_commit(transaction, |opener, transaction| {
                opener.create_database(transaction, Some("records")).map(CommitOrAbort::<_, ()>::Commit)
            })
            .expect("the database is made")
            .unwrap_commit();
        Self { database, env }
    }

    fn put(&self, key: &[u8]) {
        let mut transaction = self.env.write_txn().expect("a transaction begins");
        self.database.put(&mut transaction, key, &[7; VALUE_BYTES]).expect("there is room");
        transaction.commit().expect("the disk works");
    }

    fn get(&self, key: &[u8]) -> usize {
        let transaction = self.env.read_txn().expect("a transaction begins");
        let value = self.database.get(&transaction, key).expect("the database is sound");
        value.map_or(0, |value| value.to_vec().len())
    }
}

/// Every key is there from the start, in both.
fn fill(bare: &Bare, store: &Store) {
    let keys = || (0..KEYS).map(|number| number.to_be_bytes().to_vec());
    let mut transaction = bare.env.write_txn().expect("a transaction begins");
    for key in keys() {
        bare.database.put(&mut transaction, &key, &[7; VALUE_BYTES]).expect("there is room");
    }
    transaction.commit().expect("the disk works");
    let batch = keys().map(|key| kvstore::store::Write::put(key, vec![7; VALUE_BYTES])).collect();
    assert!(store.apply(batch).iter().all(Result::is_ok));
}

/// Marsaglia's xorshift: the same keys in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn key(&mut self) -> Vec<u8> {
        (self.next() % KEYS).to_be_bytes().to_vec()
    }
}

struct Table {
    title: &'static str,
    floor: &'static str,
    rows: Vec<(&'static str, Vec<f64>)>,
}

impl Table {
    fn new(title: &'static str, floor: &'static str) -> Self {
        Self { title, floor, rows: Vec::new() }
    }

    /// Runs `work` and notes how many operations it did in a second.
    fn time(&mut self, name: &'static str, operations: usize, work: impl FnOnce()) {
        let begin = Instant::now();
        work();
        let rate = operations as f64 / begin.elapsed().as_secs_f64();
        match self.rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rates)) => rates.push(rate),
            None => self.rows.push((name, vec![rate])),
        }
    }

    fn print(&self) {
        let (_, floor) =
            self.rows.iter().find(|(name, _)| *name == self.floor).expect("the floor was measured");
        println!(
            "{:<34} {:>12} {:>12} {:>12} {:>10}",
            self.title, "median/s", "lowest", "highest", "of floor"
        );
        for (name, rates) in &self.rows {
            let ratios = rates.iter().zip(floor).map(|(rate, floor)| rate / floor).collect();
            let (ratio, ..) = spread(ratios);
            let (median, lowest, highest) = spread(rates.clone());
            println!("{name:<34} {median:>12.0} {lowest:>12.0} {highest:>12.0} {ratio:>9.2}x");
        }
        println!();
    }
}

/// Median, lowest and highest.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

/// The kind of file system that `directory` is on, where the system says so.
fn file_system(directory: &Path) -> String {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(mount, _)| directory.starts_with(mount))
        .max_by_key(|(mount, _)| mount.len())
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}
