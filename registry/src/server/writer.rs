//! The thread that writes the snapshot. It takes jobs from a bounded queue, and puts as many as there are into one
//! transaction, so that many announcements share one wait for the disk.
//!
//! After a failure every job fails until one has brought the whole directory to the disk: what a later answer promises
//! must not stand on a write that is missing.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::sync::{mpsc, oneshot};

use crate::{Snapshot, SnapshotError, StoredEntry, Write};

/// Jobs that wait for the disk. More announcements than that are turned down for the moment.
const MAX_QUEUED: usize = 1024;
/// Jobs that share a transaction.
const MAX_BATCH: usize = 256;

enum Task {
    Apply(Vec<Write>),
    Replace(Vec<StoredEntry>),
}

struct Job {
    task: Task,
    done: oneshot::Sender<bool>,
}

/// The end of the queue that the actor holds. The thread ends, and closes the snapshot, when it is dropped.
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    has_failed: Arc<AtomicBool>,
    /// A job found no place in the queue.
    has_missed: bool,
}

/// Resolves to `true` when the job is on disk, and to anything else when it is not.
pub(super) type Stored = oneshot::Receiver<bool>;

impl Writer {
    /// Starts the thread. The receiver resolves when the snapshot is closed.
    pub(super) fn start(snapshot: Snapshot) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (jobs, queue) = mpsc::channel(MAX_QUEUED);
        let has_failed = Arc::new(AtomicBool::new(false));
        let (closing, closed) = oneshot::channel();
        let flag = Arc::clone(&has_failed);
        thread::Builder::new().name("registry-writer".to_owned()).spawn(move || {
            write_all(&snapshot, queue, &flag);
            drop(snapshot);
            drop(closing);
        })?;
        Ok((Self { jobs, has_failed, has_missed: false }, closed))
    }

    /// Whether the next job must be the whole directory.
    pub(super) fn needs_all(&self) -> bool {
        self.has_missed || self.has_failed.load(Ordering::Acquire)
    }

    /// Queues these writes; with none, a wait for those before. `None` when the queue is full.
    pub(super) fn apply(&mut self, writes: Vec<Write>) -> Option<Stored> {
        self.submit(Task::Apply(writes))
    }

    /// Queues the whole directory.
    pub(super) fn replace(&mut self, entries: Vec<StoredEntry>) -> Option<Stored> {
        let stored = self.submit(Task::Replace(entries))?;
        self.has_missed = false;
        Some(stored)
    }

    fn submit(&mut self, task: Task) -> Option<Stored> {
        let (done, stored) = oneshot::channel();
        if self.jobs.try_send(Job { task, done }).is_err() {
            tracing::warn!(limit = MAX_QUEUED, "the queue to the registry's disk is full");
            self.has_missed = true;
            return None;
        }
        Some(stored)
    }
}

fn write_all(snapshot: &Snapshot, mut queue: mpsc::Receiver<Job>, has_failed: &AtomicBool) {
    let mut jobs = Vec::new();
    while queue.blocking_recv_many(&mut jobs, MAX_BATCH) > 0 {
        let mut batch = Vec::new();
        let mut waiting = Vec::new();
        for Job { task, done } in jobs.drain(..) {
            match task {
                Task::Apply(writes) => {
                    batch.extend(writes);
                    waiting.push(done);
                }
                Task::Replace(entries) => {
                    apply(snapshot, &mut batch, &mut waiting, has_failed);
                    let is_stored = report(snapshot.replace_all(&entries));
                    has_failed.store(!is_stored, Ordering::Release);
                    answer(done, is_stored);
                }
            }
        }
        apply(snapshot, &mut batch, &mut waiting, has_failed);
    }
}

fn apply(
    snapshot: &Snapshot,
    batch: &mut Vec<Write>,
    waiting: &mut Vec<oneshot::Sender<bool>>,
    has_failed: &AtomicBool,
) {
    let is_stored = !has_failed.load(Ordering::Acquire) && report(snapshot.apply(batch));
    if !is_stored && !waiting.is_empty() {
        has_failed.store(true, Ordering::Release);
    }
    batch.clear();
    for done in waiting.drain(..) {
        answer(done, is_stored);
    }
}

fn report(result: Result<(), SnapshotError>) -> bool {
    if let Err(cause) = &result {
        let source = std::error::Error::source(cause).map(ToString::to_string);
        tracing::error!(%cause, source, "the registry cannot write to its disk");
    }
    result.is_ok()
}

fn answer(done: oneshot::Sender<bool>, is_stored: bool) {
    // Nobody waits for what an expiry writes.
    if done.send(is_stored).is_err() {
        tracing::trace!(is_stored, "nobody waits for this write");
    }
}

#[cfg(test)]
mod tests {
    use ensemble::{Incarnation, ServerId};

    use super::*;
    use crate::Announcement;

    fn entry(id: &str) -> StoredEntry {
        let server = Announcement {
            id: ServerId::new(id).unwrap(),
            incarnation: Incarnation::from_bytes([1; 16]),
            addresses: vec![],
            roles: vec![],
            agent: None,
            pid: None,
        };
        StoredEntry::Server { server, announced_at_ms: 1, superseded: vec![] }
    }

    #[tokio::test]
    async fn what_was_answered_is_there_after_the_thread_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, closed) = Writer::start(Snapshot::open(dir.path()).unwrap()).unwrap();
        let first = writer.apply(vec![Write::Put(entry("a"))]).unwrap();
        let second = writer.replace(vec![entry("b"), entry("c")]).unwrap();
        let third =
            writer.apply(vec![Write::Put(entry("d")), Write::Remove(ServerId::new("b").unwrap())]).unwrap();
        for stored in [first, second, third] {
            assert!(stored.await.unwrap());
        }
        drop(writer);
        assert!(closed.await.is_err());
        let found = Snapshot::open(dir.path()).unwrap().load().unwrap();
        assert_eq!(found, [entry("c"), entry("d")]);
    }

    #[test]
    fn after_a_failure_only_the_whole_directory_helps() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::open(dir.path()).unwrap();
        let has_failed = AtomicBool::new(true);
        let (jobs, queue) = mpsc::channel(4);
        let mut answers = Vec::new();
        for task in [
            Task::Apply(vec![Write::Put(entry("a"))]),
            Task::Replace(vec![entry("b")]),
            Task::Apply(vec![Write::Put(entry("c"))]),
        ] {
            let (done, stored) = oneshot::channel();
            answers.push(stored);
            assert!(jobs.try_send(Job { task, done }).is_ok());
        }
        drop(jobs);
        write_all(&snapshot, queue, &has_failed);
        let answers: Vec<bool> = answers.into_iter().map(|stored| stored.blocking_recv().unwrap()).collect();
        assert_eq!(answers, [false, true, true]);
        assert_eq!(snapshot.load().unwrap(), [entry("b"), entry("c")]);
        assert!(!has_failed.load(Ordering::Acquire));
    }

    #[tokio::test]
    async fn a_full_disk_is_told_until_there_is_room_again() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::open_sized(dir.path(), 128 << 10).unwrap();
        let (mut writer, closed) = Writer::start(snapshot).unwrap();
        let mut count = 0;
        while writer.apply(vec![Write::Put(entry(&format!("s{count}")))]).unwrap().await.unwrap() {
            count += 1;
        }
        assert!(count > 0 && writer.needs_all());
        // Not even nothing is promised while a write is missing.
        assert!(!writer.apply(vec![]).unwrap().await.unwrap());
        assert!(writer.replace(vec![entry("a")]).unwrap().await.unwrap());
        assert!(!writer.needs_all());
        assert!(writer.apply(vec![Write::Put(entry("b"))]).unwrap().await.unwrap());
        drop(writer);
        assert!(closed.await.is_err());
        assert_eq!(Snapshot::open(dir.path()).unwrap().load().unwrap(), [entry("a"), entry("b")]);
    }

    #[tokio::test]
    async fn a_full_queue_is_told_and_makes_up_for_it_later() {
        let (jobs, mut queue) = mpsc::channel(1);
        let mut writer = Writer { jobs, has_failed: Arc::default(), has_missed: false };
        assert!(writer.apply(vec![]).is_some());
        assert!(writer.apply(vec![]).is_none());
        assert!(writer.needs_all());
        drop(queue.recv().await);
        assert!(writer.replace(vec![]).is_some());
        assert!(!writer.needs_all());
    }
}
