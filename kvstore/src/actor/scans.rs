//! Questions that read much of the store, each a part of a longer run: one at a time, so that the other threads have
//! time for everybody else.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    engine::{Engine, EngineError},
    store::Store,
};

/// How many may be asked and not answered, the one that runs included.
const MAX_WAITING: usize = 16;

/// How long one waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The engine's long questions, within bounds.
#[derive(Debug, Clone)]
pub(super) struct Scans {
    engine: Engine,
    waiting: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Scans {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, waiting: Arc::new(Semaphore::new(MAX_WAITING)), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Has a question accepted at once or not at all. It is asked when those before it are answered.
    pub(super) fn accept<R, E, F>(
        &self,
        ask: F,
    ) -> Result<impl Future<Output = Result<R, EngineError>> + use<R, E, F>, EngineError>
    where
        F: FnOnce(&Store) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: Into<EngineError> + 'static,
    {
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| EngineError::Overloaded)?;
        let scans = self.clone();
        Ok(async move {
            let turn = scans.turn().await?;
            // The thread has them until it is done: a caller that goes away does not make room for the next one.
            let held = move |store: &Store| {
                let _held = (place, turn);
                ask(store)
            };
            scans.engine.try_query(held)?.await
        })
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, EngineError> {
        match tokio::time::timeout(MAX_WAIT, Arc::clone(&self.turn).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(EngineError::Overloaded),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use tokio::task::JoinSet;

    use super::*;
    use crate::{engine::EngineOptions, store::StoreOptions};

    #[tokio::test]
    async fn of_many_at_once_one_runs_while_reads_go_on_and_too_many_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        store.put("k", "value").unwrap();
        let engine = Engine::start(store, &EngineOptions::default()).unwrap();
        let scans = Scans::new(engine.clone());
        let (entered, entries) = channel();
        let mut asked = JoinSet::new();
        let mut releases = Vec::new();
        for _ in 0..MAX_WAITING {
            let entered = entered.clone();
            let (release, released) = channel::<()>();
            releases.push(release);
            let scan = scans.accept(move |store| {
                entered.send(()).unwrap();
                released.recv().ok();
                store.verify(None)
            });
            asked.spawn(scan.unwrap());
        }
        assert!(matches!(scans.accept(|store| store.verify(None)).map(drop), Err(EngineError::Overloaded)));
        for release in releases {
            // The first runs, the others wait; nothing that is read waits for them.
            tokio::task::yield_now().await;
            entries.recv().unwrap();
            assert_eq!(engine.get("k").await.unwrap().unwrap().value, "value");
            assert!(entries.try_recv().is_err());
            release.send(()).unwrap();
            assert_eq!(asked.join_next().await.unwrap().unwrap().unwrap().records, 1);
        }
        assert!(scans.accept(|store| store.verify(None)).unwrap().await.is_ok());
        engine.close().await;
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_gives_its_turn_back_when_the_thread_is_done() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let engine = Engine::start(store, &EngineOptions::default()).unwrap();
        let scans = Scans::new(engine.clone());
        let (entered, entries) = channel();
        let (release, released) = channel::<()>();
        let scan = scans.accept(move |store| {
            entered.send(()).unwrap();
            released.recv().ok();
            store.verify(None)
        });
        let gone = tokio::spawn(scan.unwrap());
        tokio::task::yield_now().await;
        entries.recv().unwrap();
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert_eq!(scans.turn.available_permits(), 0);
        release.send(()).unwrap();
        assert!(scans.accept(|store| store.verify(None)).unwrap().await.is_ok());
        assert_eq!(scans.waiting.available_permits(), MAX_WAITING);
        engine.close().await;
    }
}
