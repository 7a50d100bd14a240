//! What runs in processes of its own: a store with writers, and a look at a store.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::rc::Rc;

use bytes::Bytes;
use ensemble_tests::Random;
use ensemble_tests::history::{Answer, Change, Digest, Found, Outcome, Step, WRITERS, Wanted, Workload};
use tokio::task::LocalSet;

use crate::engine::{Engine, EngineError, EngineOptions};
use crate::failpoint::{self, Moment};
use crate::store::{
    Applied, BackupError, Condition, Durability, OpenError, ReadError, Store, StoreOptions, Together,
    UploadDone, UploadStep, Write, WriteError,
};

const DIRECTORY: &str = "STORE_TEST_DIRECTORY";
const OUTPUT: &str = "STORE_TEST_OUTPUT";
const SEED: &str = "STORE_TEST_SEED";
const STEPS: &str = "STORE_TEST_STEPS";
/// Milliseconds between syncs; none where every commit does, and 0 where the store does as it likes.
const INTERVAL: &str = "STORE_TEST_INTERVAL";

/// Longer values are written in parts.
const PART_BYTES: usize = 12 << 10;

/// What a child with writers is to do.
#[derive(Debug)]
pub(super) struct Work {
    /// Of the store. Backups are written beside it.
    pub(super) directory: PathBuf,
    /// To which a line is added for each answer, and whatever else there is to say.
    pub(super) output: PathBuf,
    pub(super) seed: u64,
    /// How many each writer does, unless it is stopped before.
    pub(super) steps: u32,
    pub(super) durability: Durability,
    /// Where it kills itself.
    pub(super) kill_at: Option<(Moment, u64)>,
}

fn another(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", &format!("crashes::child::{test}"), "--ignored", "--nocapture"]);
    command
}

impl Work {
    pub(super) fn command(&self) -> Command {
        let mut command = another("works");
        command.env(DIRECTORY, &self.directory).env(OUTPUT, &self.output);
        command.env(SEED, self.seed.to_string()).env(STEPS, self.steps.to_string());
        match self.durability {
            Durability::Sync => {}
            Durability::Interval { ms } => drop(command.env(INTERVAL, ms.to_string())),
            Durability::None => drop(command.env(INTERVAL, "0")),
        }
        if let Some((moment, count)) = self.kill_at {
            command.env(failpoint::VARIABLE, format!("{moment:?} {count}"));
        }
        command
    }

    fn of_environment() -> Option<Self> {
        let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
        Some(Self {
            directory: env::var_os(DIRECTORY)?.into(),
            output: env::var_os(OUTPUT)?.into(),
            seed: number(SEED)?,
            steps: u32::try_from(number(STEPS)?).unwrap(),
            durability: match number(INTERVAL) {
                None => Durability::Sync,
                Some(0) => Durability::None,
                Some(ms) => Durability::Interval { ms: u32::try_from(ms).unwrap() },
            },
            kill_at: None,
        })
    }
}

/// A process that looks at the store in `directory` and writes to `output` what it finds.
pub(super) fn look(directory: &Path, output: &Path) -> Command {
    let mut command = another("looks");
    command.env(DIRECTORY, directory).env(OUTPUT, output);
    command
}

/// Where a child says something, a line at a time. Each is one write.
struct Output(File);

impl Output {
    fn open(path: &Path) -> Self {
        Self(OpenOptions::new().append(true).create(true).open(path).unwrap())
    }

    fn say(&self, line: &str) -> io::Result<()> {
        (&self.0).write_all(format!("{line}\n").as_bytes())
    }
}

fn all_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[test]
#[ignore = "run by other tests in a process of its own"]
fn looks() {
    let (Some(directory), Some(output)) = (env::var_os(DIRECTORY), env::var_os(OUTPUT)) else { return };
    let found = find(&directory).map_or_else(|error| format!("refused {error}\n"), |found| found.to_string());
    fs::write(output, found).unwrap();
}

fn find(directory: &OsString) -> Result<Found, String> {
    let opened = Store::open(directory.as_ref(), StoreOptions::default());
    let store = opened.map_err(|error: OpenError| all_causes(&error))?;
    let read = || -> Result<Found, ReadError> {
        let mut found = Found { revision: store.revision()?, ..Found::default() };
        let mut after: Option<Bytes> = None;
        loop {
            let part = store.verify(after.as_deref())?;
            found
                .damaged
                .extend(part.damaged.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()));
            after = part.next;
            if after.is_none() {
                break;
            }
        }
        if !found.damaged.is_empty() {
            return Ok(found);
        }
        loop {
            let page = store.list(b"", after.as_deref(), 1000)?;
            for listed in page.keys {
                // It may have ended meanwhile.
                let Some(entry) = store.get(&listed.key)? else { continue };
                let key = String::from_utf8_lossy(&listed.key).into_owned();
                found.entries.insert(key, (entry.revision, Digest::of(&entry.value)));
            }
            after = page.next;
            if after.is_none() {
                return Ok(found);
            }
        }
    };
    read().map_err(|error| all_causes(&error))
}

#[test]
#[ignore = "run by other tests in a process of its own"]
fn works() {
    let Some(work) = Work::of_environment() else { return };
    let output = Rc::new(Output::open(&work.output));
    // A map that has to grow, and parts of which a value has several.
    let options = StoreOptions {
        initial_map_bytes: 64 << 10,
        part_bytes: PART_BYTES,
        durability: work.durability,
        ..StoreOptions::default()
    };
    let store = match Store::open(&work.directory, options) {
        Ok(store) => store,
        Err(error) => {
            // Where the power is gone this is not heard, and needs no reason.
            drop(output.say(&format!("refused {}", all_causes(&error))));
            exit(1);
        }
    };
    let opened = output.say(&format!("open {}", store.revision().unwrap()));
    if opened.is_err() {
        exit(1);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let is_done = runtime.block_on(LocalSet::new().run_until(write(&work, store, &output)));
    if !is_done || output.say("closed").is_err() {
        exit(1);
    }
}

/// Has all writers do their steps, and says whether none was stopped; then the store is closed.
async fn write(work: &Work, store: Store, output: &Rc<Output>) -> bool {
    let engine = Engine::start(store, &EngineOptions::default()).unwrap();
    let known = Rc::new(RefCell::new(HashMap::new()));
    let are_done = Rc::new(Cell::new(true));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (engine, known) = (engine.clone(), Rc::clone(&known));
        let (output, are_done) = (Rc::clone(output), Rc::clone(&are_done));
        let writer = Writer { number: writer, workload: Workload::new(work.seed), engine, known, output };
        let steps = work.steps;
        writers.spawn_local(async move {
            for index in 0..steps {
                if writer.step(index).await.is_none() {
                    are_done.set(false);
                    return;
                }
            }
        });
    }
    let upkeep = tokio::task::spawn_local(upkeep(
        work.seed,
        work.directory.clone(),
        engine.clone(),
        Rc::clone(output),
    ));
    writers.join_all().await;
    upkeep.abort();
    if are_done.get() {
        engine.close().await;
    }
    are_done.get()
}

struct Writer {
    number: u32,
    workload: Workload,
    engine: Engine,
    /// The revisions that keys had last, as far as the writers know.
    known: Rc<RefCell<HashMap<String, u64>>>,
    output: Rc<Output>,
}

impl Writer {
    /// None where there is no answer, or nobody hears it.
    async fn step(&self, index: u32) -> Option<()> {
        let step = self.workload.step(self.number, index);
        let outcome = match self.ask(self.write_of(&step)).await {
            Ok(applied) => Outcome::Done(revisions(applied)),
            Err(EngineError::Write(WriteError::Conflict { .. })) => Outcome::Conflict,
            Err(error) => {
                // Heard only where there is power, and so no reason for it.
                drop(self.output.say(&format!(
                    "no answer to {index} of {}: {}",
                    self.number,
                    all_causes(&error)
                )));
                return None;
            }
        };
        let answer = Answer { writer: self.number, index, outcome };
        self.output.say(&answer.to_string()).ok()?;
        if let Outcome::Done(revisions) = answer.outcome {
            let mut known = self.known.borrow_mut();
            for (change, revision) in step.changes.iter().zip(revisions) {
                revision.and_then(|revision| known.insert(change.key().to_owned(), revision));
            }
        }
        Some(())
    }

    /// Does a write, that of a long value part by part.
    async fn ask(&self, write: Write) -> Result<Applied, EngineError> {
        let Write::Put { key, value, condition, ttl_ms } = write else {
            return self.engine.write(write).await;
        };
        if value.len() <= PART_BYTES {
            return self.engine.write(Write::Put { key, value, condition, ttl_ms }).await;
        }
        let step = async |step| self.engine.write(Write::Upload(step)).await;
        let value_bytes = value.len() as u64;
        let begun =
            step(UploadStep::Begin { key: key.clone(), condition, value_bytes: Some(value_bytes) }).await?;
        let Applied::Upload(UploadDone::Begun { upload, part_bytes }) = begun else {
            unreachable!("an upload was begun: {begun:?}");
        };
        for (number, part) in (0..).zip(value.chunks(part_bytes as usize)) {
            step(UploadStep::Part { upload, number, bytes: value.slice_ref(part) }).await?;
        }
        let checksum = crc32fast::hash(&value);
        step(UploadStep::Finish { upload, key, condition, ttl_ms, value_bytes, checksum }).await
    }

    fn write_of(&self, step: &Step) -> Write {
        let condition = |key: &str| match step.wanted {
            Wanted::Always => Condition::Always,
            Wanted::Absent => Condition::Absent,
            Wanted::AsLast => {
                self.known.borrow().get(key).map_or(Condition::Always, |known| Condition::Revision(*known))
            }
        };
        let mut writes: Vec<Write> = step
            .changes
            .iter()
            .map(|change| match change.clone() {
                Change::Put { key, value, ttl_ms } => {
                    Write::Put { condition: condition(&key), key: key.into(), value: value.into(), ttl_ms }
                }
                Change::Remove { key } => Write::Remove { condition: condition(&key), key: key.into() },
            })
            .collect();
        match writes.len() {
            1 => writes.remove(0),
            _ => Write::Together(Together::new(writes).unwrap()),
        }
    }
}

fn revisions(applied: Applied) -> Vec<Option<u64>> {
    match applied {
        Applied::Stored(stored) => vec![Some(stored.revision)],
        Applied::Removed { revision } => vec![revision],
        Applied::Together(all) => all.into_iter().flat_map(revisions).collect(),
        other => unreachable!("nothing else was asked for: {other:?}"),
    }
}

/// Compactions, backups and syncs while all this goes on.
async fn upkeep(seed: u64, directory: PathBuf, engine: Engine, output: Rc<Output>) {
    let mut random = Random::of_part(seed, u64::MAX);
    for number in 0_u32.. {
        tokio::time::sleep(std::time::Duration::from_millis(2 + random.below(40))).await;
        let line = if random.percent(40) {
            // What was answered before this line is on disk when the next one says so.
            if output.say("syncing").is_err() {
                return;
            }
            engine.try_job(Store::sync).unwrap().await.map(|()| "synced".to_owned())
        } else if random.percent(50) {
            let compacted = engine.try_job(Store::compact).unwrap().await;
            compacted.map(|_| "compacted".to_owned())
        } else {
            let name = format!("backup-{seed}-{number}");
            let path = directory.with_file_name(&name);
            let backup = move |store: &Store| Ok::<_, EngineError>(store.backup(&path));
            match engine.try_job(backup).unwrap().await {
                Ok(Ok(done)) => Ok(format!("backup {name} {}", done.revision)),
                Ok(Err(BackupError::GivenUp)) => Ok("given up".to_owned()),
                Ok(Err(error)) => Ok(format!("no backup: {}", all_causes(&error))),
                Err(error) => Err(error),
            }
        };
        let Ok(line) = line else { return };
        if output.say(&line).is_err() {
            return;
        }
    }
}
