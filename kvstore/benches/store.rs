//! The store against its floor, LMDB used bare through heed, on the same disk in the same run.
//!
//! All contenders take turns within each round, so that a busy machine hits them alike; the table gives the
//! median of the rounds, their spread, and the median of the ratios to the floor within each round. Another table shows
//! what writers gain who share commits: how many puts all of them do for one of a writer that is alone, and for each sync
//! of the disk, again round by round.
//!
//! `cargo bench -p ensemble-kvstore --bench store`; `BENCH_DIR` puts the files elsewhere than in the system's
//! temporary directory, `BENCH_ROUNDS` sets the number of rounds.

#![expect(clippy::print_stdout, reason = "the table is the result")]

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::Instant;

use heed::types::Bytes as Raw;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions};
use kvstore::engine::{Engine, EngineOptions};
use kvstore::store::{Store, StoreOptions, Write};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const VALUE_BYTES: usize = 100;
/// Keys that the puts go to, and that the gets read.
const KEYS: u64 = 20_000;
/// Puts or syncs of a round, for a writer that is alone.
const SINGLE_PUTS: usize = 50;
/// Gets of a round, for a reader that is alone.
const SINGLE_GETS: usize = 2_000;

fn main() {
    // `cargo test --all-targets` starts this too, without the argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let rounds = std::env::var("BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(60);
    let parent = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    println!("directory {}, file system {}, {rounds} rounds\n", parent.display(), file_system(&parent));
    let directory = || TempDir::new_in(&parent).expect("the directory can be written");
    let directories: Vec<TempDir> = std::iter::repeat_with(directory).take(5).collect();
    let [bare, store, engine, shared_engine, raw] = &directories[..] else { unreachable!("five were taken") };

    let bench = Bench {
        runtime: Builder::new_current_thread().build().expect("a runtime needs no more than memory"),
        bare: Bare::open(bare.path()),
        store: open_filled(store.path()),
        engine: start(open_filled(engine.path())),
        shared_engine: start(open_filled(shared_engine.path())),
        raw: File::create(raw.path().join("raw")).expect("the file can be made"),
    };
    let mut random = Random(1);

    let mut puts = Table::new("durable puts of 100 B");
    let mut gets = Table::new("gets of 100 B");
    for round in 0..rounds {
        // Nobody always comes first: what ran before has its effect on the disk and on the caches.
        for turn in 0..PUTS.len() {
            let (name, run) = PUTS[(turn + round) % PUTS.len()];
            puts.time(name, || run(&bench, &mut random));
        }
        for turn in 0..GETS.len() {
            let (name, run) = GETS[(turn + round) % GETS.len()];
            gets.time(name, || run(&bench, &mut random));
        }
    }
    puts.print(&PUTS);
    puts.print_ratios("puts that share a commit", &SHARED);
    gets.print(&GETS);
    bench.runtime.block_on(async {
        bench.engine.close().await;
        bench.shared_engine.close().await;
    });
}

fn open_filled(directory: &Path) -> Store {
    let store = Store::open(directory, StoreOptions::default()).expect("the store opens");
    let batch = keys().map(|key| Write::put(key, vec![7; VALUE_BYTES])).collect();
    assert!(store.apply(batch).iter().all(Result::is_ok));
    store
}

fn start(store: Store) -> Engine {
    Engine::start(store, &EngineOptions::default()).expect("threads are given")
}

/// Every key is there from the start, in all of them.
fn keys() -> impl Iterator<Item = Vec<u8>> {
    (0..KEYS).map(|number| number.to_be_bytes().to_vec())
}

/// Runs one contender for one round, and says how many operations it did.
type Contender = (&'static str, fn(&Bench, &mut Random) -> usize);

const ONE_WRITER: &str = "Engine, 1 writer";
const SIXTEEN_WRITERS: &str = "Engine, 16 writers";
const MANY_WRITERS: &str = "Engine, 256 writers";
const RAW_SYNC: &str = "raw 4 KiB write and fdatasync";

/// Whose puts are compared with what.
const SHARED: [(&str, &str); 5] = [
    (SIXTEEN_WRITERS, ONE_WRITER),
    (MANY_WRITERS, ONE_WRITER),
    (ONE_WRITER, RAW_SYNC),
    (SIXTEEN_WRITERS, RAW_SYNC),
    (MANY_WRITERS, RAW_SYNC),
];

/// The first is the floor.
const PUTS: [Contender; 6] = [
    ("bare heed, 1 put per transaction", |bench, random| {
        for _ in 0..SINGLE_PUTS {
            bench.bare.put(&random.key());
        }
        SINGLE_PUTS
    }),
    (ONE_WRITER, |bench, random| {
        bench.runtime.block_on(async {
            for _ in 0..SINGLE_PUTS {
                bench.engine.put(random.key(), vec![7; VALUE_BYTES]).await.expect("there is room");
            }
        });
        SINGLE_PUTS
    }),
    ("Store, 1 writer", |bench, random| {
        for _ in 0..SINGLE_PUTS {
            bench.store.put(random.key(), vec![7; VALUE_BYTES]).expect("there is room");
        }
        SINGLE_PUTS
    }),
    (SIXTEEN_WRITERS, |bench, random| put_concurrently(bench, random, 16, 25)),
    (MANY_WRITERS, |bench, random| put_concurrently(bench, random, 256, 10)),
    (RAW_SYNC, |bench, _| sync_raw(&bench.raw)),
];

/// The first is the floor.
const GETS: [Contender; 4] = [
    ("bare heed", |bench, random| {
        for _ in 0..SINGLE_GETS {
            assert!(bench.bare.get(&random.key()) > 0);
        }
        SINGLE_GETS
    }),
    ("Store", |bench, random| {
        for _ in 0..SINGLE_GETS {
            assert!(bench.store.get(&random.key()).expect("the record is sound").is_some());
        }
        SINGLE_GETS
    }),
    ("Engine, one at a time", |bench, random| get_concurrently(bench, random, 1, SINGLE_GETS)),
    ("Engine, 64 in flight", |bench, random| get_concurrently(bench, random, 64, SINGLE_GETS / 8)),
];

/// A database for each way of writing: what a commit costs depends on how the earlier ones left the file.
struct Bench {
    runtime: Runtime,
    bare: Bare,
    store: Store,
    engine: Engine,
    shared_engine: Engine,
    raw: File,
}

fn put_concurrently(bench: &Bench, random: &mut Random, writers: usize, each: usize) -> usize {
    bench.runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            let engine = bench.shared_engine.clone();
            let mut random = Random(random.next());
            tasks.spawn(async move {
                for _ in 0..each {
                    engine.put(random.key(), vec![7; VALUE_BYTES]).await.expect("there is room");
                }
            });
        }
        tasks.join_all().await;
    });
    writers * each
}

fn get_concurrently(bench: &Bench, random: &mut Random, readers: usize, each: usize) -> usize {
    bench.runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..readers {
            let engine = bench.engine.clone();
            let mut random = Random(random.next());
            tasks.spawn(async move {
                for _ in 0..each {
                    assert!(engine.get(random.key()).await.expect("the record is sound").is_some());
                }
            });
        }
        tasks.join_all().await;
    });
    readers * each
}

fn sync_raw(mut file: &File) -> usize {
    for _ in 0..SINGLE_PUTS {
        file.rewind().and_then(|()| file.write_all(&[7; 4096])).expect("there is room");
        file.sync_data().expect("the disk works");
    }
    SINGLE_PUTS
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
        let database: Database<'static, Raw, Raw> = env
            .create_databases_and_commit(transaction, |opener, transaction| {
                opener.create_database(transaction, Some("records")).map(CommitOrAbort::<_, ()>::Commit)
            })
            .expect("the database is made")
            .unwrap_commit();
        let mut transaction = env.write_txn().expect("a transaction begins");
        for key in keys() {
            database.put(&mut transaction, &key, &[7; VALUE_BYTES]).expect("there is room");
        }
        transaction.commit().expect("the disk works");
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
    rates: HashMap<&'static str, Vec<f64>>,
}

impl Table {
    fn new(title: &'static str) -> Self {
        Self { title, rates: HashMap::new() }
    }

    /// Runs `work` and notes how many operations it did in a second.
    fn time(&mut self, name: &'static str, work: impl FnOnce() -> usize) {
        let begin = Instant::now();
        let operations = work();
        let rate = operations as f64 / begin.elapsed().as_secs_f64();
        self.rates.entry(name).or_default().push(rate);
    }

    fn print(&self, contenders: &[Contender]) {
        let (floor, _) = contenders[0];
        println!(
            "{:<34} {:>10} {:>10} {:>10} {:>9}",
            self.title, "median/s", "lowest", "highest", "of floor"
        );
        for (name, _) in contenders {
            let rates = &self.rates[name];
            let ratios = rates.iter().zip(&self.rates[floor]).map(|(rate, floor)| rate / floor).collect();
            let (ratio, ..) = spread(ratios);
            let (median, lowest, highest) = spread(rates.clone());
            println!("{name:<34} {median:>10.0} {lowest:>10.0} {highest:>10.0} {ratio:>8.2}x");
        }
        println!();
    }

    fn print_ratios(&self, title: &str, pairs: &[(&'static str, &'static str)]) {
        println!("{title:<54} {:>9} {:>9} {:>9}", "median", "lowest", "highest");
        for (of, to) in pairs {
            let ratios = self.rates[of].iter().zip(&self.rates[to]).map(|(of, to)| of / to).collect();
            let (median, lowest, highest) = spread(ratios);
            let name = format!("{of} : {to}");
            println!("{name:<54} {median:>8.2}x {lowest:>8.2}x {highest:>8.2}x");
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
