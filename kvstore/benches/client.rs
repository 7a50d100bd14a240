//! The store through its typed client, from another process over a UNIX socket, against LMDB used bare through heed in
//! this process, with one put or one get per transaction, on the same disk in the same run.
//!
//! All contenders take turns within each round, so that a busy machine hits them alike; the table gives the median of
//! the rounds, their spread, and the median of the ratios to the floor within each round. How the store does without
//! the way to another process, the benchmark `store` tells.
//!
//! The client in the server's own process shows what the actor and the client cost; the one in another process adds the
//! way there and back. Over that way a put wakes a thread four times more than a bare one does. On a virtual machine
//! whose processors halt when they are idle, waking one costs some 50 µs, which is most of the difference: `taskset -c 0`
//! before the command keeps everything on one processor, which need not be woken.
//!
//! `cargo bench -p ensemble-kvstore --bench client [-- ROUNDS]`; `BENCH_DIR` puts the files elsewhere than in the
//! system's temporary directory.

#![expect(clippy::print_stdout, reason = "the table is the result")]

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    error::Error,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use actix::{System, SystemRunner};
use ensemble::{Address, Cookie, Node, Role, RoleContext};
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, types::Bytes as Raw};
use kvstore::{
    Client, KvStoreRole,
    engine::{Engine, EngineOptions},
    messages::GetLimits,
    store::{Store, StoreOptions, Write},
};
use tempfile::TempDir;

type AnyResult<T> = Result<T, Box<dyn Error>>;

const COOKIE: [u8; 32] = [7; 32];
const VALUE: [u8; 100] = [7; 100];
/// Keys that the puts go to, and that the gets read.
const KEYS: u64 = 20_000;
/// Puts of a round, for a writer that is alone. Few, so that what else the disk does hits all contenders of a round
/// alike; there are more such rounds instead.
const SINGLE_PUTS: usize = 8;
const SINGLE_PUT_ROUNDS: usize = 10;
/// Gets of a round, for a caller that is alone.
const SINGLE_GETS: usize = 500;

fn main() -> AnyResult<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", dir] => System::new().block_on(serve(Path::new(dir))),
        [] => measure(50),
        [rounds] => measure(rounds.parse()?),
        _ => Err("usage: client [ROUNDS]".into()),
    }
}

async fn serve(dir: &Path) -> AnyResult<()> {
    let address = Address::Unix(dir.join("socket"));
    let node = Node::builder("kvstore").cookie(Cookie::from_bytes(COOKIE)).listen(address).start().await?;
    KvStoreRole.start(RoleContext::new(node.clone(), dir.to_owned(), BTreeMap::new())).await?;
    node.run().await?;
    Ok(())
}

/// A server in a process of its own, with a store that has all the keys. Stops when dropped.
struct Server {
    process: Child,
    node: Node,
    client: Client,
    _directory: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.kill().is_ok() {
            self.process.wait().ok();
        }
    }
}

impl Server {
    fn start(system: &SystemRunner, parent: &Path, name: &str) -> AnyResult<Self> {
        let directory = TempDir::new_in(parent)?;
        let mut process = Command::new(std::env::current_exe()?);
        let process = process.arg("serve").arg(directory.path()).stdin(Stdio::null()).spawn()?;
        let socket = directory.path().join("socket");
        let node = Node::builder(name).cookie(Cookie::from_bytes(COOKIE)).start();
        let node = system.block_on(node)?;
        node.set_route("kvstore".parse()?, vec![Address::Unix(socket)]);
        let client = Client::new(&node, "kvstore").with_timeout(Duration::from_secs(60));
        let server = Self { process, node, client, _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(10);
        let actor = server.node.remote("kvstore", kvstore::ACTOR);
        while let Err(why) = system.block_on(async { actor.send(GetLimits).await }) {
            if Instant::now() > deadline {
                return Err(why.into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        system.block_on(fill(&server.client));
        Ok(server)
    }
}

/// Puts all the keys.
async fn fill(client: &Client) {
    let (client, next) = (client.clone(), Cell::new(0));
    let put_next = move || {
        let (client, key) = (client.clone(), next.replace(next.get() + 1));
        async move { put(&client, key).await }
    };
    concurrently(256, KEYS as usize, put_next).await;
}

async fn put(client: &Client, key: u64) {
    client.put(key_bytes(key), &VALUE[..]).await.expect("there is room");
}

async fn get(client: &Client, key: u64) {
    let found = client.get(key_bytes(key)).await.expect("the record is sound");
    assert_eq!(found.expect("every key is there").bytes.len(), VALUE.len());
}

fn key_bytes(key: u64) -> [u8; 8] {
    key.to_be_bytes()
}

/// Runs one contender for one round, and says how many operations it did.
type Contender = (&'static str, fn(&Bench, &Random) -> usize);

const FLOOR: Contender = ("bare heed, 1 put per transaction", |bench, random| {
    for _ in 0..SINGLE_PUTS {
        bench.bare.put(random.key());
    }
    SINGLE_PUTS
});

/// The first is the floor.
const SINGLE: [Contender; 4] = [
    FLOOR,
    // What of the next is the store's, without the way to another process.
    ("Engine in this process, 1 writer", |bench, random| bench.engine_puts(random, SINGLE_PUTS)),
    ("Client in the server's process, 1 writer", |bench, random| {
        bench.puts(&bench.local, random, 1, SINGLE_PUTS)
    }),
    ("Client, 1 writer", |bench, random| bench.puts(&bench.single.client, random, 1, SINGLE_PUTS)),
];

/// The first is the floor.
const SHARED: [Contender; 3] = [
    FLOOR,
    ("Client, 16 writers", |bench, random| bench.puts(&bench.shared.client, random, 16, 16 * 20)),
    ("Client, 256 writers", |bench, random| bench.puts(&bench.shared.client, random, 256, 256 * 10)),
];

/// The first is the floor.
const GETS: [Contender; 6] = [
    ("bare heed, 1 get per transaction", |bench, random| {
        for _ in 0..SINGLE_GETS {
            bench.bare.get(random.key());
        }
        SINGLE_GETS
    }),
    ("Client, 1 at a time", |bench, random| bench.gets(random, 1, SINGLE_GETS)),
    ("Client, 16 in flight", |bench, random| bench.gets(random, 16, 5 * SINGLE_GETS)),
    ("Client, 256 in flight", |bench, random| bench.gets(random, 256, 20 * SINGLE_GETS)),
    // What of the above is the way there and back: the actor answers these by itself.
    ("only the way, 1 at a time", |bench, _| bench.round_trips(1, SINGLE_GETS)),
    ("only the way, 256 in flight", |bench, _| bench.round_trips(256, 20 * SINGLE_GETS)),
];

/// A database for each way of writing: what a commit costs depends on how the earlier ones left the file.
struct Bench {
    bare: Bare,
    engine: Engine,
    _engine_directory: TempDir,
    /// Of a store that this process offers itself.
    local: Client,
    _local_node: Node,
    _local_directory: TempDir,
    single: Server,
    shared: Server,
    system: SystemRunner,
}

impl Bench {
    fn engine_puts(&self, random: &Random, puts: usize) -> usize {
        self.system.block_on(async {
            for _ in 0..puts {
                let put = self.engine.put(key_bytes(random.key()).to_vec(), &VALUE[..]);
                put.await.expect("there is room");
            }
        });
        puts
    }

    fn puts(&self, client: &Client, random: &Random, writers: usize, puts: usize) -> usize {
        let (client, random) = (client.clone(), random.clone());
        self.system.block_on(concurrently(writers, puts, move || {
            let (client, key) = (client.clone(), random.key());
            async move { put(&client, key).await }
        }));
        puts
    }

    fn gets(&self, random: &Random, in_flight: usize, gets: usize) -> usize {
        let (client, random) = (self.single.client.clone(), random.clone());
        self.system.block_on(concurrently(in_flight, gets, move || {
            let (client, key) = (client.clone(), random.key());
            async move { get(&client, key).await }
        }));
        gets
    }

    fn round_trips(&self, in_flight: usize, calls: usize) -> usize {
        let actor = self.single.node.remote("kvstore", kvstore::ACTOR);
        self.system.block_on(concurrently(in_flight, calls, move || {
            let call = actor.send(GetLimits);
            async move { assert!(call.await.expect("the actor answers").max_value_bytes > 0) }
        }));
        calls
    }
}

/// Does so many calls, with so many under way at any time.
async fn concurrently<F: Future<Output = ()> + 'static>(
    in_flight: usize,
    calls: usize,
    call: impl Fn() -> F + 'static,
) {
    let call = Rc::new(call);
    let left = Rc::new(Cell::new(calls));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
        let (left, call) = (Rc::clone(&left), Rc::clone(&call));
        tasks.spawn_local(async move {
            while left.get() > 0 {
                left.set(left.get() - 1);
                call().await;
            }
        });
    }
    tasks.join_all().await;
}

/// The floor: what a program would write that needs nothing of the store.
struct Bare {
    database: Database<'static, Raw, Raw>,
    env: Env,
    _directory: TempDir,
}

impl Bare {
    fn open(parent: &Path) -> AnyResult<Self> {
        let directory = TempDir::new_in(parent)?;
        let mut options = EnvOpenOptions::new();
        options.map_size(1 << 30).max_dbs(1);
        #[expect(unsafe_code, reason = "the directory is this program's own")]
        // SAFETY: nobody else knows the directory, which was made a moment ago.
        let env = unsafe { options.open(directory.path()) }?;
        let transaction = env.write_txn()?;
        let database: Database<'static, Raw, Raw> = env
            .create_databases_and_commit(transaction, |opener, transaction| {
                opener.create_database(transaction, Some("records")).map(CommitOrAbort::<_, ()>::Commit)
            })?
            .unwrap_commit();
        let mut transaction = env.write_txn()?;
        for key in 0..KEYS {
            database.put(&mut transaction, &key_bytes(key), &VALUE)?;
        }
        transaction.commit()?;
        Ok(Self { database, env, _directory: directory })
    }

    fn put(&self, key: u64) {
        let mut transaction = self.env.write_txn().expect("a transaction begins");
        self.database.put(&mut transaction, &key_bytes(key), &VALUE).expect("there is room");
        transaction.commit().expect("the disk works");
    }

    fn get(&self, key: u64) {
        let transaction = self.env.read_txn().expect("a transaction begins");
        let value = self.database.get(&transaction, &key_bytes(key)).expect("the database is sound");
        assert_eq!(value.expect("every key is there").to_vec().len(), VALUE.len());
    }
}

/// Marsaglia's xorshift: the same keys in every run.
#[derive(Clone)]
struct Random(Rc<Cell<u64>>);

impl Random {
    fn key(&self) -> u64 {
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        state % KEYS
    }
}

fn measure(rounds: usize) -> AnyResult<()> {
    let parent: PathBuf = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let system = System::new();
    let directory = TempDir::new_in(&parent)?;
    let store = Store::open(directory.path(), StoreOptions::default())?;
    let keys = (0..KEYS).map(|key| Write::put(key_bytes(key).to_vec(), &VALUE[..])).collect();
    assert!(store.apply(keys).iter().all(Result::is_ok));
    let local_directory = TempDir::new_in(&parent)?;
    let local_node = system.block_on(async {
        let node = Node::builder("kvstore").cookie(Cookie::from_bytes(COOKIE)).start().await?;
        let context = RoleContext::new(node.clone(), local_directory.path().to_owned(), BTreeMap::new());
        KvStoreRole.start(context).await?;
        AnyResult::Ok(node)
    })?;
    let local = Client::new(&local_node, "kvstore").with_timeout(Duration::from_secs(60));
    system.block_on(fill(&local));
    let bench = Bench {
        local,
        _local_node: local_node,
        _local_directory: local_directory,
        bare: Bare::open(&parent)?,
        engine: Engine::start(store, &EngineOptions::default())?,
        _engine_directory: directory,
        single: Server::start(&system, &parent, "bench-single")?,
        shared: Server::start(&system, &parent, "bench-shared")?,
        system,
    };
    let random = Random(Rc::new(Cell::new(1)));
    let (mut single, mut shared, mut gets) = (Rates::default(), Rates::default(), Rates::default());
    // The first round warms up.
    for round in 0..=rounds {
        for part in 0..SINGLE_PUT_ROUNDS {
            single.round(&SINGLE, round * SINGLE_PUT_ROUNDS + part, |run| run(&bench, &random));
        }
        shared.round(&SHARED, round, |run| run(&bench, &random));
        gets.round(&GETS, round, |run| run(&bench, &random));
    }
    println!("directory {}, medians of {rounds} rounds", parent.display());
    single.print("durable puts of 100 B", &SINGLE);
    shared.print("durable puts of 100 B", &SHARED);
    gets.print("gets of 100 B", &GETS);
    Ok(())
}

/// The rates of each contender, a round after the other.
#[derive(Default)]
struct Rates(HashMap<&'static str, Vec<f64>>);

impl Rates {
    /// Nobody always comes first: what ran before has its effect on the disk and on the caches.
    fn round(
        &mut self,
        contenders: &[Contender],
        round: usize,
        work: impl Fn(fn(&Bench, &Random) -> usize) -> usize,
    ) {
        for turn in 0..contenders.len() {
            let (name, run) = contenders[(turn + round) % contenders.len()];
            let began = Instant::now();
            let operations = work(run);
            let rate = operations as f64 / began.elapsed().as_secs_f64();
            if round > 0 {
                self.0.entry(name).or_default().push(rate);
            }
        }
    }

    fn print(&self, title: &str, contenders: &[Contender]) {
        let (floor, _) = contenders[0];
        println!("\n{title:<42} {:>10} {:>10} {:>10} {:>9}", "median/s", "lowest", "highest", "of floor");
        for (name, _) in contenders {
            let rates = &self.0[name];
            let ratios = rates.iter().zip(&self.0[floor]).map(|(rate, floor)| rate / floor).collect();
            let (ratio, ..) = spread(ratios);
            let (median, lowest, highest) = spread(rates.clone());
            println!("{name:<42} {median:>10.0} {lowest:>10.0} {highest:>10.0} {ratio:>8.2}x");
        }
    }
}

/// Median, lowest and highest.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}
