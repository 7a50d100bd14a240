//! Tests of the engine: over a real store, and over functions that wait, watch and panic on command.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;

use bytes::Bytes;
use ensemble_tests::Done;
use tokio::task::JoinSet;

use super::{Engine, EngineError, EngineOptions};
use crate::store::{
    Applied, Entry, KeyError, ReadError, Store, StoreOptions, Stored, ValueLimits, Write, WriteError,
};

const MAX_VALUE_BYTES: usize = 10_000;
const LIMITS: ValueLimits = ValueLimits { value_bytes: MAX_VALUE_BYTES, whole_bytes: MAX_VALUE_BYTES };

fn start(store: Store) -> Engine {
    Engine::start(store, &EngineOptions::default()).unwrap()
}

fn open(directory: &tempfile::TempDir) -> Store {
    Store::open(directory.path(), StoreOptions::default()).unwrap()
}

fn stored(revision: u64) -> Applied {
    Applied::Stored(Stored { stored_bytes: 0, revision })
}

fn nothing(_: &[u8], _: usize) -> Result<Option<Entry>, ReadError> {
    Ok(None)
}

/// A writer that says what it got and waits until it is let go on.
struct Gate {
    batches: Receiver<Vec<Write>>,
    release: Sender<()>,
}

impl Gate {
    fn engine(options: &EngineOptions) -> (Engine, Self) {
        let (entered, batches) = channel();
        let (release, released) = channel();
        let apply = move |batch: Vec<Write>| {
            let answers = (0..batch.len() as u64).map(|index| Ok(stored(index))).collect();
            entered.send(batch).ok();
            released.recv().ok();
            answers
        };
        (Engine::start_with(LIMITS, options, None, nothing, apply).unwrap(), Self { batches, release })
    }

    /// Waits until the writer is within a batch.
    fn entered(&self) -> Vec<Write> {
        self.batches.recv().unwrap()
    }

    fn release(&self) {
        self.release.send(()).unwrap();
    }
}

#[tokio::test]
async fn what_is_put_is_got_until_it_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let engine = start(open(&directory));
    assert_eq!(engine.get("k").await.unwrap(), None);
    assert_eq!(engine.put("k", "value").await.unwrap(), Stored { stored_bytes: 5, revision: 1 });
    assert_eq!(engine.get("k").await.unwrap().unwrap().value, "value");
    assert!(engine.remove("k").await.unwrap());
    assert!(!engine.remove("k").await.unwrap());
    assert_eq!(engine.try_get("k").unwrap().await.unwrap(), None);
    let applied = engine.try_write(Write::put("k", "")).unwrap().await.unwrap();
    assert_eq!(applied, Applied::Stored(Stored { stored_bytes: 0, revision: 3 }));
}

#[tokio::test]
async fn limits_are_told_without_asking_the_store() {
    let (engine, _gate) = Gate::engine(&EngineOptions::default());
    let empty = |error: &EngineError| {
        matches!(
            error,
            EngineError::Read(ReadError::Key(KeyError::Empty))
                | EngineError::Write(WriteError::Key(KeyError::Empty))
        )
    };
    assert!(empty(&engine.get("").await.unwrap_err()));
    assert!(empty(&engine.try_get("").unwrap_err()));
    assert!(empty(&engine.put("", "v").await.unwrap_err()));
    assert!(empty(&engine.remove("").await.unwrap_err()));
    assert!(empty(&engine.try_write(Write::remove("")).unwrap_err()));
    assert!(matches!(
        engine.put("k", vec![0; MAX_VALUE_BYTES + 1]).await,
        Err(EngineError::Write(WriteError::ValueTooLarge { bytes: 10_001, limit: 10_000 }))
    ));
}

#[tokio::test]
async fn writes_that_wait_share_a_commit_and_keep_their_order() {
    let (engine, gate) = Gate::engine(&EngineOptions::default());
    let first = engine.submit(Write::put("0", "")).await.unwrap();
    assert_eq!(gate.entered(), [Write::put("0", "")]);
    let mut waiting = Vec::new();
    for number in 1..=20 {
        waiting.push(engine.submit(Write::put(number.to_string(), "")).await.unwrap());
    }
    gate.release();
    assert_eq!(first.await.unwrap(), stored(0));
    let expected: Vec<Write> = (1..=20).map(|number| Write::put(number.to_string(), "")).collect();
    assert_eq!(gate.entered(), expected);
    gate.release();
    for (index, pending) in waiting.into_iter().enumerate() {
        assert_eq!(pending.await.unwrap(), stored(index as u64), "each gets its own answer");
    }
}

#[tokio::test]
async fn a_batch_is_bounded_by_count_and_by_bytes() {
    let options = EngineOptions { max_batch_writes: 4, max_batch_bytes: 2500, ..EngineOptions::default() };
    let (engine, gate) = Gate::engine(&options);
    let _first = engine.submit(Write::put("first", "")).await.unwrap();
    gate.entered();
    let lengths = [1, 1, 1, 1, 1000, 1000, 1000, 9000, 1, 1];
    let mut waiting = JoinSet::new();
    for length in lengths {
        waiting.spawn(engine.submit(Write::put("k", vec![0; length])).await.unwrap());
    }
    let mut batches = Vec::new();
    while batches.iter().sum::<usize>() < lengths.len() {
        gate.release();
        batches.push(gate.entered().len());
    }
    gate.release();
    assert_eq!(batches, [4, 2, 1, 1, 2]);
    assert!(waiting.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_cancel_its_write() {
    let directory = tempfile::tempdir().unwrap();
    let engine = start(open(&directory));
    let mut put = Box::pin(engine.put("k", "value"));
    assert!(matches!(poll_once(put.as_mut()).await, Poll::Pending | Poll::Ready(Ok(_))));
    drop(put);
    drop(engine.submit(Write::put("l", "value")).await.unwrap());
    drop(engine.try_write(Write::put("m", "value")).unwrap());
    engine.close().await;
    let store = open(&directory);
    for key in ["k", "l", "m"] {
        assert_eq!(store.get(key.as_bytes()).unwrap().unwrap().value, "value", "{key}");
    }
}

/// Polls once.
async fn poll_once<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(std::pin::Pin::new(&mut future).poll(context))).await
}

#[tokio::test]
async fn a_queue_full_of_writes_is_told_or_waited_for() {
    let options = EngineOptions { max_queued_writes: 2, ..EngineOptions::default() };
    let (engine, gate) = Gate::engine(&options);
    let mut accepted = vec![engine.try_write(Write::put("0", "")).unwrap()];
    gate.entered();
    accepted.push(engine.try_write(Write::put("1", "")).unwrap());
    accepted.push(engine.try_write(Write::put("2", "")).unwrap());
    assert!(matches!(engine.try_write(Write::put("3", "")), Err(EngineError::Overloaded)));
    let mut waiting = Box::pin(engine.put("4", ""));
    assert!(poll_once(waiting.as_mut()).await.is_pending());
    gate.release();
    assert_eq!(gate.entered(), [Write::put("1", ""), Write::put("2", "")]);
    assert!(poll_once(waiting.as_mut()).await.is_pending(), "it is in the queue now");
    gate.release();
    assert_eq!(gate.entered(), [Write::put("4", "")]);
    gate.release();
    waiting.await.unwrap();
    for pending in accepted {
        pending.await.unwrap();
    }
}

#[tokio::test]
async fn a_queue_full_of_bytes_is_told_and_frees_itself() {
    let options = EngineOptions { max_queued_write_bytes: 5000, ..EngineOptions::default() };
    let (engine, gate) = Gate::engine(&options);
    let first = engine.try_write(Write::put("k", vec![0; 3000])).unwrap();
    gate.entered();
    assert!(matches!(engine.try_write(Write::put("k", vec![0; 3000])), Err(EngineError::Overloaded)));
    let small = engine.try_write(Write::put("k", vec![0; 1000])).unwrap();
    // Longer than the whole queue: taken when it is alone.
    let mut large = Box::pin(engine.put("k", vec![0; MAX_VALUE_BYTES]));
    assert!(poll_once(large.as_mut()).await.is_pending());
    gate.release();
    gate.entered();
    gate.release();
    // The answers of the first two are not taken yet: what they held is free all the same.
    let gate = thread::spawn(move || {
        assert_eq!(gate.entered(), [Write::put("k", vec![0; MAX_VALUE_BYTES])]);
        gate.release();
    });
    large.await.unwrap();
    gate.join().unwrap();
    first.await.unwrap();
    small.await.unwrap();
}

#[tokio::test]
async fn a_queue_full_of_reads_is_told_or_waited_for() {
    let (release, released) = channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let read = move |_: &[u8], _| {
        released.lock().unwrap().recv().ok();
        Ok(None)
    };
    let options = EngineOptions { max_queued_reads: 3, ..EngineOptions::default() };
    let engine = Engine::start_with(LIMITS, &options, None, read, |_| Vec::new()).unwrap();
    let accepted: Vec<_> = (0..3).map(|_| engine.try_get("k").unwrap()).collect();
    assert!(matches!(engine.try_get("k"), Err(EngineError::Overloaded)));
    let mut waiting = Box::pin(engine.get("k"));
    assert!(poll_once(waiting.as_mut()).await.is_pending());
    for _ in 0..4 {
        release.send(()).unwrap();
    }
    for pending in accepted {
        assert_eq!(pending.await.unwrap(), None);
    }
    assert_eq!(waiting.await.unwrap(), None);
    assert!(engine.try_get("k").is_ok());
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_callers_only() {
    let read = |key: &[u8], _| if key == b"panic" { panic!("on command") } else { Ok(None) };
    let apply = |batch: Vec<Write>| {
        assert!(!batch.contains(&Write::remove("panic")), "on command");
        batch.iter().map(|_| Ok(stored(1))).collect()
    };
    let options = EngineOptions { reader_threads: 1, ..EngineOptions::default() };
    let engine = Engine::start_with(LIMITS, &options, None, read, apply).unwrap();
    for _ in 0..3 {
        assert!(matches!(engine.get("panic").await, Err(EngineError::Panicked)));
        assert_eq!(engine.get("k").await.unwrap(), None);
        assert!(matches!(engine.remove("panic").await, Err(EngineError::Panicked)));
        assert!(engine.put("k", "v").await.is_ok());
    }
    engine.close().await;
}

#[tokio::test]
async fn closing_finishes_what_was_accepted_and_refuses_the_rest() {
    let options = EngineOptions { max_queued_write_bytes: 2000, ..EngineOptions::default() };
    let (engine, gate) = Gate::engine(&options);
    let running = engine.try_write(Write::put("0", "")).unwrap();
    gate.entered();
    let queued = engine.try_write(Write::put("1", "")).unwrap();
    let mut waiting = Box::pin(engine.put("2", vec![0; 5000]));
    assert!(poll_once(waiting.as_mut()).await.is_pending());
    let mut closing = Box::pin(engine.close());
    assert!(poll_once(closing.as_mut()).await.is_pending());
    assert!(matches!(waiting.await, Err(EngineError::Closed)));
    assert!(matches!(engine.put("3", "").await, Err(EngineError::Closed)));
    assert!(matches!(engine.try_write(Write::remove("3")), Err(EngineError::Closed)));
    assert!(matches!(engine.get("3").await, Err(EngineError::Closed)));
    assert!(matches!(engine.try_get("3"), Err(EngineError::Closed)));
    gate.release();
    assert_eq!(gate.entered(), [Write::put("1", "")]);
    gate.release();
    closing.await;
    engine.close().await;
    running.await.unwrap();
    queued.await.unwrap();
}

#[tokio::test]
async fn a_closed_store_can_be_opened_again_at_once() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let engine = start(open(&directory));
        assert_eq!(engine.put("k", "v").await.unwrap().revision, round + 1);
        let clone = engine.clone();
        engine.close().await;
        assert!(matches!(clone.put("k", "v").await, Err(EngineError::Closed)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_can_be_opened_again_at_once_while_programs_are_started() {
    let directory = tempfile::tempdir().unwrap();
    let is_done = AtomicBool::new(false);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_done.load(Ordering::Relaxed) {
                        // A child has all files of this process until it is another program.
                        assert!(Command::new("true").status().unwrap().success());
                    }
                });
            }
            let _done = Done::at_the_end(&is_done);
            for round in 0..100 {
                let engine = start(open(&directory));
                let put = runtime.block_on(engine.put("k", "v"));
                assert_eq!(put.unwrap().revision, round + 1);
                runtime.block_on(engine.close());
            }
        });
    });
}

#[tokio::test]
async fn dropping_the_last_handle_finishes_and_lets_go_of_the_store() {
    /// Says when the threads have dropped what they were given.
    struct Guard(Sender<()>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.send(()).ok();
        }
    }
    let (sender, dropped) = channel();
    let writes = Arc::new(Mutex::new(Vec::new()));
    let (seen, guard) = (writes.clone(), Guard(sender));
    let apply = move |batch: Vec<Write>| {
        let _held = &guard;
        let answers = batch.iter().map(|_| Ok(stored(1))).collect();
        seen.lock().unwrap().extend(batch);
        answers
    };
    let engine = Engine::start_with(LIMITS, &EngineOptions::default(), None, nothing, apply).unwrap();
    drop(engine.try_write(Write::put("k", "v")).unwrap());
    drop(engine);
    dropped.recv().unwrap();
    assert_eq!(*writes.lock().unwrap(), [Write::put("k", "v")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_at_once_all_get_what_they_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let engine = start(open(&directory));
    let mut tasks = JoinSet::new();
    for task in 0..64_u32 {
        let engine = engine.clone();
        tasks.spawn(async move {
            for round in 0..20_u32 {
                let value = Bytes::from(format!("{task} {round} ").repeat(100));
                engine.put(task.to_string(), value.clone()).await.unwrap();
                assert_eq!(engine.get(task.to_string()).await.unwrap().unwrap().value, value);
            }
            assert!(engine.remove(task.to_string()).await.unwrap());
        });
    }
    tasks.join_all().await;
    engine.close().await;
    let store = open(&directory);
    assert_eq!(store.revision().unwrap(), 64 * 21);
    assert_eq!(store.get(b"0").unwrap(), None);
}
