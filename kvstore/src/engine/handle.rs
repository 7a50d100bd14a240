//! The engine's handle: accepts calls, and says when there is no room for them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, watch};

use super::error::EngineError;
use super::keeper;
use super::options::EngineOptions;
use super::pending::{Pending, Reply};
use super::readers::{self, Question, Read, ReadQueue, ReadRequest};
use super::writer::{self, WriteRequest};
use crate::store::{Applied, Entry, ReadError, Store, Stored, ValueLimits, Write, WriteError, check_key};

/// What each change of a queued write costs beside its bytes: the structures around it.
const WRITE_OVERHEAD_BYTES: usize = 256;

/// A [`Store`] that asynchronous code can use: no call blocks the thread it is made on.
///
/// A handle is cheap to clone. One thread writes, and all writes that wait when a commit begins share it; a
/// few threads read, and wait for no writer. Writes are done in the order in which they were accepted, so one
/// caller's writes keep theirs. A read begins after it was called and sees every write answered before that;
/// it is not ordered with writes that are still pending.
///
/// All queues are bounded (see [`EngineOptions`]): `get`, `write` and its short forms wait for room, and the
/// `try_` forms answer [`EngineError::Overloaded`] instead. A call whose future is dropped while it waits for
/// room was never made; a write that was accepted is done even when its caller goes away.
///
/// The largest values are copied into memory for each read that waits to be picked up: a service that answers
/// peers bounds what each of them can ask for at once.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    limits: ValueLimits,
    /// Gone when the engine is closed.
    writes: RwLock<Option<mpsc::Sender<WriteRequest>>>,
    write_room: Arc<Semaphore>,
    write_room_bytes: u32,
    reads: Arc<ReadQueue>,
    read_room: Arc<Semaphore>,
    /// For what has a thread of its own; gone when the engine is closed.
    jobs: Mutex<Option<Store>>,
    job_room: Arc<Semaphore>,
    /// The keeper works until this is dropped.
    keeper: Mutex<Option<std::sync::mpsc::Sender<()>>>,
    /// Every thread holds a receiver until it has let go of the store.
    threads: watch::Sender<()>,
}

impl Engine {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The system's error when it gives no thread.
    pub fn start(store: Store, options: &EngineOptions) -> io::Result<Self> {
        let limits = store.options().value_limits();
        let (reader, queried) = (store.clone(), store.clone());
        Self::start_with(
            limits,
            options,
            Some(queried),
            move |key: &[u8], limit_bytes| reader.get_within(key, limit_bytes),
            move |batch| store.apply(batch),
        )
    }

    /// Starts the threads over any two functions that read and write; queries need a store.
    pub(super) fn start_with(
        limits: ValueLimits,
        options: &EngineOptions,
        queried: Option<Store>,
        get: impl Fn(&[u8], usize) -> Result<Option<Entry>, ReadError> + Clone + Send + 'static,
        apply: impl FnMut(Vec<Write>) -> Vec<Result<Applied, WriteError>> + Send + 'static,
    ) -> io::Result<Self> {
        let (writes, write_queue) = mpsc::channel(options.max_queued_writes.clamp(1, Semaphore::MAX_PERMITS));
        let write_room_bytes = u32::try_from(options.max_queued_write_bytes.max(1)).unwrap_or(u32::MAX);
        let read_room = options.max_queued_reads.clamp(1, Semaphore::MAX_PERMITS);
        let engine = Self {
            shared: Arc::new(Shared {
                limits,
                writes: RwLock::new(Some(writes)),
                write_room: Arc::new(Semaphore::new(write_room_bytes as usize)),
                write_room_bytes,
                jobs: Mutex::new(queried.clone()),
                job_room: Arc::new(Semaphore::new(1)),
                keeper: Mutex::new(None),
                reads: Arc::new(ReadQueue::default()),
                read_room: Arc::new(Semaphore::new(read_room)),
                threads: watch::Sender::new(()),
            }),
        };
        if let Some(store) = queried.clone() {
            engine.shared.start_keeper(store)?;
        }
        for index in 0..options.reader_threads.max(1) {
            let alive = engine.shared.threads.subscribe();
            let queue = engine.shared.reads.clone();
            let (get, queried) = (get.clone(), queried.clone());
            thread::Builder::new().name(format!("store-reader-{index}")).spawn(move || {
                readers::run(&queue, get, queried.as_ref());
                // The store is closed before it is said that the thread has ended.
                drop(queried);
                drop(alive);
            })?;
        }
        let alive = engine.shared.threads.subscribe();
        let options = options.clone();
        thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            writer::run(write_queue, &options, apply);
            drop(alive);
        })?;
        Ok(engine)
    }

    /// Reads a key; `None` where there is no such key.
    ///
    /// # Errors
    ///
    /// [`EngineError::Read`], [`EngineError::Closed`] or [`EngineError::Panicked`].
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Entry>, EngineError> {
        let key = key.into();
        check_key(&key).map_err(EngineError::of_read_key)?;
        let room = self.shared.read_room.clone().acquire_owned().await.map_err(closed)?;
        self.shared.push_read(key, usize::MAX, room)?.await
    }

    /// Has a read accepted at once or not at all.
    ///
    /// # Errors
    ///
    /// [`EngineError::Overloaded`] while the queue is full, [`EngineError::Read`] for a key that cannot be one,
    /// [`EngineError::Closed`].
    pub fn try_get(&self, key: impl Into<Bytes>) -> Result<Pending<Option<Entry>>, EngineError> {
        self.try_get_within(key, usize::MAX)
    }

    /// As [`try_get`](Self::try_get), for a value of at most `limit_bytes`: one that is longer is answered with its
    /// length, as [`Store::get_within`] does.
    ///
    /// # Errors
    ///
    /// As [`try_get`](Self::try_get).
    pub fn try_get_within(
        &self,
        key: impl Into<Bytes>,
        limit_bytes: usize,
    ) -> Result<Pending<Option<Entry>>, EngineError> {
        let key = key.into();
        check_key(&key).map_err(EngineError::of_read_key)?;
        let room = self.shared.read_room.clone().try_acquire_owned().map_err(no_room)?;
        self.shared.push_read(key, limit_bytes, room)
    }

    /// Has a question to the store accepted at once or not at all. A reader thread asks it; what takes long is asked
    /// in parts.
    ///
    /// # Errors
    ///
    /// [`EngineError::Overloaded`] while the queue is full, [`EngineError::Closed`]; and, as the answer, the error of
    /// `ask`, or [`EngineError::Panicked`].
    pub fn try_query<R, E>(
        &self,
        ask: impl FnOnce(&Store) -> Result<R, E> + Send + 'static,
    ) -> Result<Pending<R>, EngineError>
    where
        R: Send + 'static,
        E: Into<EngineError> + 'static,
    {
        let room = self.shared.read_room.clone().try_acquire_owned().map_err(no_room)?;
        let (reply, pending) = Reply::new();
        self.shared.push(Read::Query(Box::new(Question { ask, reply })), room)?;
        Ok(pending)
    }

    /// Has what takes long done on a thread of its own, one such thing at a time. Closing waits for it.
    ///
    /// # Errors
    ///
    /// [`EngineError::Overloaded`] while there is another, or the system gives no thread; [`EngineError::Closed`]; and, as
    /// the answer, the error of `work`, or [`EngineError::Panicked`].
    pub fn try_job<R, E>(
        &self,
        work: impl FnOnce(&Store) -> Result<R, E> + Send + 'static,
    ) -> Result<Pending<R>, EngineError>
    where
        R: Send + 'static,
        E: Into<EngineError> + 'static,
    {
        let jobs = self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let store = jobs.clone().ok_or(EngineError::Closed)?;
        let room = self.shared.job_room.clone().try_acquire_owned().map_err(no_room)?;
        let (reply, pending) = Reply::new();
        let alive = self.shared.threads.subscribe();
        let job = move || {
            let result = work(&store);
            drop(store);
            drop(room);
            reply.send(result, None);
            drop(alive);
        };
        let started = thread::Builder::new().name("store-job".to_owned()).spawn(job);
        started.map_err(|_| EngineError::Overloaded)?;
        Ok(pending)
    }

    /// Stores a value under a key, and answers when it is on disk.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<Stored, EngineError> {
        match self.write(Write::put(key, value)).await? {
            Applied::Stored(stored) => Ok(stored),
            _ => unreachable!("a put was asked for"),
        }
    }

    /// Removes a key, and says whether there was one.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn remove(&self, key: impl Into<Bytes>) -> Result<bool, EngineError> {
        match self.write(Write::remove(key)).await? {
            Applied::Removed { revision } => Ok(revision.is_some()),
            _ => unreachable!("a remove was asked for"),
        }
    }

    /// Does a write, and answers when it is on disk.
    ///
    /// # Errors
    ///
    /// [`EngineError::Write`], [`EngineError::Closed`] or [`EngineError::Panicked`].
    pub async fn write(&self, write: Write) -> Result<Applied, EngineError> {
        self.submit(write).await?.await
    }

    /// Waits for room for a write; the answer comes by itself.
    ///
    /// # Errors
    ///
    /// [`EngineError::Write`] for a write over a limit, [`EngineError::Closed`].
    pub async fn submit(&self, write: Write) -> Result<Pending<Applied>, EngineError> {
        write.check(self.shared.limits)?;
        let writes = self.shared.sender()?;
        // The bytes first: both queues serve in turn, so writes cannot overtake each other between them.
        let room = self.shared.write_room.clone().acquire_many_owned(self.shared.cost(&write)).await;
        let room = room.map_err(closed)?;
        let (reply, pending) = Reply::new();
        writes.send(WriteRequest { write, reply, room }).await.map_err(|_| EngineError::Closed)?;
        Ok(pending)
    }

    /// Has a write accepted at once or not at all.
    ///
    /// # Errors
    ///
    /// [`EngineError::Overloaded`] while the queue is full, [`EngineError::Write`] for a write over a limit,
    /// [`EngineError::Closed`].
    pub fn try_write(&self, write: Write) -> Result<Pending<Applied>, EngineError> {
        write.check(self.shared.limits)?;
        let writes = self.shared.sender()?;
        let room = self.shared.write_room.clone().try_acquire_many_owned(self.shared.cost(&write));
        let room = room.map_err(no_room)?;
        let (reply, pending) = Reply::new();
        writes.try_send(WriteRequest { write, reply, room }).map_err(|refused| match refused {
            TrySendError::Full(_) => EngineError::Overloaded,
            TrySendError::Closed(_) => EngineError::Closed,
        })?;
        Ok(pending)
    }

    /// Accepts nothing more, finishes what was accepted, and lets go of the store, which is closed with its
    /// last handle. Calls that wait for room, and all later ones, get [`EngineError::Closed`].
    ///
    /// The engine closes even when this future is dropped. Dropping the last handle does the same, without a
    /// way to wait for the end.
    pub async fn close(&self) {
        self.shared.close();
        self.shared.threads.closed().await;
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Shared {
    fn sender(&self) -> Result<mpsc::Sender<WriteRequest>, EngineError> {
        self.writes.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(EngineError::Closed)
    }

    fn start_keeper(&self, store: Store) -> io::Result<()> {
        let (keeper, stop) = std::sync::mpsc::channel();
        let alive = self.threads.subscribe();
        thread::Builder::new().name("store-keeper".to_owned()).spawn(move || {
            keeper::run(&store, &stop, keeper::RECLAIM_EVERY);
            drop(store);
            drop(alive);
        })?;
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        Ok(())
    }

    fn push_read(
        &self,
        key: Bytes,
        limit_bytes: usize,
        room: OwnedSemaphorePermit,
    ) -> Result<Pending<Option<Entry>>, EngineError> {
        let (reply, pending) = Reply::new();
        self.push(Read::Value { key, limit_bytes, reply }, room)?;
        Ok(pending)
    }

    fn push(&self, read: Read, room: OwnedSemaphorePermit) -> Result<(), EngineError> {
        self.reads.push(ReadRequest { read, room }).map_err(|_| EngineError::Closed)
    }

    fn cost(&self, write: &Write) -> u32 {
        let overhead = write.changes().saturating_mul(WRITE_OVERHEAD_BYTES);
        let bytes = write.bytes().saturating_add(overhead);
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.write_room_bytes)
    }

    fn close(&self) {
        // The writer ends when the last sender is gone, which those who are just sending hold a copy of.
        drop(self.writes.write().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.write_room.close();
        self.read_room.close();
        self.reads.close();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.reads.close();
    }
}

fn closed(_: AcquireError) -> EngineError {
    EngineError::Closed
}

fn no_room(error: TryAcquireError) -> EngineError {
    match error {
        TryAcquireError::Closed => EngineError::Closed,
        TryAcquireError::NoPermits => EngineError::Overloaded,
    }
}
