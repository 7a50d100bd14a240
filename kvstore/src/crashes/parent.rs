//! Starts the processes, and judges what they leave.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ensemble_tests::history::{Answer, Found, History, Workload};
use ensemble_tests::{Event, Proc};
use tempfile::TempDir;

use super::child::{Work, look};
use crate::store::{Durability, restore};

/// What a child has said.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) answers: Vec<Answer>,
    /// The revision that it found when it had opened the store.
    pub(super) opened: Option<u64>,
    /// It has done everything, and has closed the store.
    pub(super) is_closed: bool,
    /// The names of backups, and the revisions that they have.
    pub(super) backups: Vec<(String, u64)>,
    pub(super) compactions: u32,
    /// How many of the answers have to be there in any case.
    pub(super) required: usize,
    /// How many there were when the store was last asked to sync.
    before_sync: usize,
    /// How often a new state was noted as the one that a loss of power leaves, since the store was open.
    pub(super) notes: u64,
}

impl Said {
    /// Takes a line. An error says why there should be none such.
    pub(super) fn take(&mut self, line: &str) -> Result<(), String> {
        if let Some(revision) = line.strip_prefix("open ") {
            self.opened = revision.parse().ok();
        } else if line == "closed" {
            self.is_closed = true;
            self.required = self.answers.len();
        } else if line == "compacted" {
            self.compactions += 1;
        } else if line == "syncing" {
            self.before_sync = self.answers.len();
        } else if line == "synced" {
            self.required = self.required.max(self.before_sync);
        } else if line == "given up" {
            // A backup that held up writes.
        } else if let Some(backup) = line.strip_prefix("backup ") {
            let (name, revision) = backup.split_once(' ').ok_or(line)?;
            self.backups.push((name.to_owned(), revision.parse().map_err(|_| line)?));
        } else {
            self.answers.push(line.parse()?);
        }
        Ok(())
    }

    /// Takes the lines that a file has.
    pub(super) fn of_file(path: &Path, durability: Durability) -> Result<Self, String> {
        let mut said = Self::default();
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().try_for_each(|line| said.take(line))?;
        if durability == Durability::Sync {
            said.required = said.answers.len();
        }
        Ok(said)
    }

    /// Takes what was said while a disk had power, and finds out from what the disk did meanwhile which of the answers
    /// have to be there: all that came before the sync of the last state that the store has noted, and before a sync that
    /// it was asked for.
    pub(super) fn of_events(events: &[Event], durability: Durability) -> Result<Self, String> {
        let mut said = Self::default();
        let (mut at_sync, mut at_rename) = (0, None);
        for event in events {
            match event {
                Event::Said(line) => said.take(line)?,
                Event::Synced(name) if name == "data.mdb" => at_sync = said.answers.len(),
                Event::Renamed(name) if name == "synced" => at_rename = Some(at_sync),
                Event::NamesSynced => {
                    let Some(noted) = at_rename.take() else { continue };
                    said.required = said.required.max(noted);
                    said.notes += u64::from(said.opened.is_some());
                }
                Event::Synced(_) | Event::Renamed(_) => {}
            }
        }
        if said.is_closed || durability == Durability::Sync {
            said.required = said.answers.len();
        }
        Ok(said)
    }

    /// Judges what is left in a directory of which nobody else has a use, and the backups that are in another.
    pub(super) fn judge(
        &self,
        history: &mut History,
        work: &Work,
        directory: &Path,
        backups: &Path,
    ) -> Result<(), String> {
        let found = find(directory)?;
        if let Some(opened) = self.opened
            && opened != history.revision()
        {
            return Err(format!(
                "it was opened at revision {opened}, and should have {}",
                history.revision()
            ));
        }
        history.judge(Workload::new(work.seed), &self.answers, self.required, found)?;
        for (name, revision) in &self.backups {
            let restored = tempfile::tempdir().unwrap();
            let done = restore(&backups.join(name), &restored.path().join("data"));
            match done {
                Ok(done) if done.revision == *revision => {}
                other => return Err(format!("the backup {name} of revision {revision} gives {other:?}")),
            }
        }
        Ok(())
    }
}

/// What is in a store, as another process finds it: one that is damaged may end that.
pub(super) fn find(directory: &Path) -> Result<Found, String> {
    let output = tempfile::NamedTempFile::new().unwrap();
    let done = Proc::start(look(directory, output.path()), Vec::new()).finish();
    if !done.status.success() {
        let signal = done.status.signal();
        return Err(format!(
            "it cannot be read: signal {signal:?}\n{}",
            String::from_utf8_lossy(&done.stderr)
        ));
    }
    let text = fs::read_to_string(output.path()).unwrap();
    match text.strip_prefix("refused ") {
        Some(why) => Err(format!("it does not open: {why}")),
        None => text.parse(),
    }
}

/// Copies a store, as a process that was killed has left it, to the directory `data` of a new one.
pub(super) fn copy(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let to = copy.path().join("data");
    // It may have been killed before there was one.
    let Ok(entries) = fs::read_dir(directory) else { return copy };
    fs::create_dir(&to).unwrap();
    for entry in entries {
        let from = entry.unwrap().path();
        fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
    }
    copy
}

/// Does something with each of these, two at a time.
pub(super) fn at_once<T: Copy + Send + Sync, R: Send>(all: &[T], work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push(work(*one));
        }
        done
    };
    thread::scope(|scope| {
        let threads = [scope.spawn(worker), scope.spawn(worker)];
        let done = threads.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        done.into_iter().flatten().collect()
    })
}

/// Says which seed shows the error again.
pub(super) fn with_seed(seed: u64, error: &str) -> String {
    format!("{error}\nto see it again, as far as threads let it: {SEED_VARIABLE}={seed}")
}

/// The seeds of a test: `count` from `first` on, or the one that the environment names.
pub(super) fn seeds(first: u64, count: u64) -> Vec<u64> {
    match std::env::var(SEED_VARIABLE) {
        Ok(seed) => vec![seed.parse().expect("the seed is a number")],
        Err(_) => (first..first + count).collect(),
    }
}

const SEED_VARIABLE: &str = "ENSEMBLE_TEST_SEED";
