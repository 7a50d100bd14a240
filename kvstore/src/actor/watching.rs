//! Answering those who watch: at once where there is something for them, or else when it comes.
//!
//! Nobody who waits asks the disk. While there are any, one task reads each change once, when it is committed, and wakes
//! those whom it concerns.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix::{
    Context, Handler,
    dev::{MessageResponse, OneshotSender},
};
use ensemble::Incarnation;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{
    answers::answer,
    handlers::KvStore,
    places::{Place, Places},
    reads::Reads,
    waiters::{Ticket, Waiters},
};
use crate::{
    engine::EngineError,
    messages::{
        Attached, Change, ChangeKind, Changes, MAX_WAIT_MS, MAX_WATCHES, MAX_WATCHES_OF_ONE, Watch,
        WatchRefused,
    },
    store::{self, ChangesError, ChangesPage, ChangesQuery, MAX_PAGE_CHANGES},
};

/// How often one question looks by itself before the sender has to ask again. Once is enough, save where changes come at
/// that very moment.
const MAX_LOOKS: usize = 8;

/// How long the task that wakes the others waits when the store has too much to do.
const PAUSE: Duration = Duration::from_millis(10);

/// The answer to a watch.
type Answer = Result<Changes, WatchRefused>;

/// Those who watch a store. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Watchers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reads: Reads,
    committed: watch::Receiver<u64>,
    places: Places,
    /// Whether nobody is to wait any more.
    closing: watch::Sender<bool>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiters: Waiters,
    /// There is the task that wakes them.
    is_fed: bool,
}

impl Watchers {
    pub(super) fn new(reads: Reads, committed: watch::Receiver<u64>) -> Self {
        Self(Arc::new(Shared {
            reads,
            committed,
            places: Places::bounded(MAX_WATCHES, MAX_WATCHES_OF_ONE),
            closing: watch::Sender::new(false),
            state: Mutex::default(),
        }))
    }

    /// Answers all who wait, and has nobody wait any more: before a node shuts down, which waits for all answers.
    pub(super) fn release(&self) {
        self.0.closing.send_replace(true);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self, watch: Watch, peer: Option<Incarnation>) -> Answer {
        let _place = match peer.map(|peer| self.0.places.take(peer)) {
            Some(None) => return Err(WatchRefused::TooManyWatches),
            Some(Some(place)) => Some(place),
            None => None::<Place>,
        };
        let wait = Duration::from_millis(watch.wait_ms.min(MAX_WAIT_MS).into());
        let until = Instant::now() + wait;
        let may_wait = peer.is_some() && !wait.is_zero() && watch.after.is_some();
        let mut query = ChangesQuery {
            prefix: watch.prefix,
            after: watch.after,
            history: watch.history,
            most: usize::try_from(watch.limit).unwrap_or(usize::MAX),
            values_bytes: None,
        };
        let mut closing = self.0.closing.subscribe();
        let mut looks = 0;
        loop {
            let mut page = self.look(&query, watch.values).await?;
            looks += 1;
            let is_done = !page.is_empty() || page.next < page.last;
            if is_done || !may_wait || looks >= MAX_LOOKS || *closing.borrow_and_update() {
                return Ok(page);
            }
            (query.after, query.history) = (Some(page.next), Some(page.history));
            let Some(mut waiting) = self.wait(&query, page.next) else { continue };
            tokio::select! {
                biased;
                woken = &mut waiting.ticket.woken => query.after = woken.ok().or(query.after),
                _ = closing.changed() => {
                    page.moved_to(waiting.leave());
                    return Ok(page);
                }
                () = sleep_until(until) => {
                    page.moved_to(waiting.leave());
                    return Ok(page);
                }
            }
        }
    }

    /// Has the engine look once.
    async fn look(&self, query: &ChangesQuery, values: bool) -> Answer {
        match self.0.reads.changes(query.clone(), values).await {
            Ok(Ok((page, room))) => {
                let changes = on_the_wire(page);
                Ok(match room {
                    Some(room) => changes.holding(room),
                    None => changes,
                })
            }
            Ok(Err(why)) => Err(refused(query, why)),
            Err(cause) => Err(answer("watch", &query.prefix, &cause).into()),
        }
    }

    /// Has one wait. None where it has to look again.
    fn wait(&self, query: &ChangesQuery, at: u64) -> Option<Waiting> {
        let mut state = self.state();
        let is_fed = state.is_fed;
        let ticket = state.waiters.wait(query.prefix.clone(), at, is_fed)?;
        if !std::mem::replace(&mut state.is_fed, true) {
            actix::spawn(self.clone().feed());
        }
        Some(Waiting { watchers: self.clone(), ticket })
    }

    /// Wakes those who wait, for as long as there are any.
    async fn feed(self) {
        let mut committed = self.0.committed.clone();
        loop {
            let seen = {
                let mut state = self.state();
                if state.waiters.is_empty() {
                    state.is_fed = false;
                    return;
                }
                state.waiters.seen()
            };
            if committed.wait_for(|last| *last > seen).await.is_err() {
                // The store is closed.
                let mut state = self.state();
                state.waiters.wake_all();
                state.is_fed = false;
                return;
            }
            let query = ChangesQuery { after: Some(seen), most: MAX_PAGE_CHANGES, ..ChangesQuery::default() };
            match self.0.reads.changes(query, false).await {
                Ok(Ok((page, _))) => {
                    let changes = page.changes.iter().map(|(change, _)| (change.revision, &change.key[..]));
                    self.state().waiters.see(changes, page.next);
                }
                Err(EngineError::Overloaded) => sleep(PAUSE).await,
                // They find out why by themselves.
                _ => self.state().waiters.wake_all(),
            }
        }
    }
}

/// One who waits, until this is dropped.
struct Waiting {
    watchers: Watchers,
    ticket: Ticket,
}

impl Waiting {
    /// The last revision of which it is known that there is nothing for it up to there.
    fn leave(self) -> u64 {
        self.watchers.state().waiters.leave(&self.ticket)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.watchers.state().waiters.leave(&self.ticket);
    }
}

/// An answer that comes later, unless nobody waits for it any more.
///
/// Not a future that actix makes of it: that one would wait on for a peer that has gone.
pub struct Later(Pin<Box<dyn Future<Output = Answer>>>);

impl MessageResponse<KvStore, Watch> for Later {
    fn handle(self, _: &mut Context<KvStore>, asker: Option<OneshotSender<Answer>>) {
        let Some(mut asker) = asker else { return };
        actix::spawn(async move {
            tokio::select! {
                answer = self.0 => {
                    if asker.send(answer).is_err() {
                        tracing::trace!("a watcher has gone");
                    }
                }
                () = asker.closed() => {}
            }
        });
    }
}

impl Handler<Watch> for KvStore {
    type Result = Later;

    fn handle(&mut self, mut watch: Watch, _: &mut Context<Self>) -> Self::Result {
        let peer = watch.caller.take().map(|caller| caller.incarnation());
        Later(Box::pin(self.watchers().clone().answer(watch, peer)))
    }
}

fn on_the_wire(page: ChangesPage) -> Changes {
    let ChangesPage { history, changes, next, last, first } = page;
    let changes = changes.into_iter().map(|(store::Change { revision, key, kind }, attached)| {
        let kind = match kind {
            store::ChangeKind::Put { value_bytes } => ChangeKind::Put { value_bytes },
            store::ChangeKind::Removed => ChangeKind::Removed,
            store::ChangeKind::Expired => ChangeKind::Expired,
        };
        let value = match attached {
            store::Attached::Nothing => Attached::Nothing,
            store::Attached::Value(value) => Attached::Value(value),
            store::Attached::Replaced => Attached::Replaced,
            store::Attached::NotRead => Attached::ToBeRead,
        };
        Change { revision, key, kind, value }
    });
    Changes::new(history, next, last, first, changes.collect())
}

fn refused(query: &ChangesQuery, why: ChangesError) -> WatchRefused {
    match why {
        ChangesError::Compacted { after, first } => WatchRefused::Compacted { after, first },
        ChangesError::Ahead { after, last } => WatchRefused::Ahead { after, last },
        ChangesError::HistoryChanged { history } => WatchRefused::HistoryChanged { history },
        ChangesError::Damaged { revision } => {
            tracing::error!(revision, "the change of a revision is damaged");
            WatchRefused::Damaged { revision }
        }
        ChangesError::Read(cause) => answer("watch", &query.prefix, &cause.into()).into(),
    }
}

#[cfg(test)]
mod tests {
    use ensemble_tests::Random;
    use tokio::task::yield_now;

    use super::*;
    use crate::{
        engine::{Engine, EngineOptions},
        store::{Durability, Store, StoreOptions, Write},
    };

    const ROUNDS: u64 = 400;

    fn question(prefix: &'static str, after: u64, wait_ms: u32) -> Watch {
        Watch { after: Some(after), wait_ms, ..Watch::from_now(prefix) }
    }

    /// Who is not woken is answered only when its time is over, and without the change.
    #[actix::test]
    async fn nobody_sleeps_through_a_change_while_others_come_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { durability: Durability::None, ..StoreOptions::default() };
        let store = Store::open(directory.path(), options).unwrap();
        let committed = store.committed();
        let engine = Engine::start(store, &EngineOptions::default()).unwrap();
        let watchers = Watchers::new(Reads::new(engine.clone(), 1 << 20), committed.clone());
        let mut random = Random::new(1);
        for round in 0..ROUNDS {
            let after = *committed.borrow();
            let ask = |watch| actix::spawn(watchers.clone().answer(watch, Some(Incarnation::fresh())));
            let mut others = Vec::new();
            let mut waiting = Vec::new();
            let puts = [["other", "key"], ["key", "other"]][random.below(2) as usize];
            for key in puts {
                for _ in 0..random.below(4) {
                    others.push(ask(question(
                        ["quiet", "other"][random.below(2) as usize],
                        after,
                        MAX_WAIT_MS,
                    )));
                }
                if waiting.is_empty() || random.below(2) == 0 {
                    waiting.push(ask(question("key", after, MAX_WAIT_MS)));
                }
                for _ in 0..random.below(8) {
                    yield_now().await;
                }
                let put = engine.try_write(Write::put(key, "")).unwrap();
                if random.below(2) == 0 {
                    put.await.unwrap();
                }
                others
                    .drain(..random.below(others.len() as u64 + 1) as usize)
                    .for_each(|other| other.abort());
            }
            for answer in waiting {
                let page = answer.await.unwrap().unwrap();
                let revisions: Vec<u64> = page.into_changes().iter().map(|change| change.revision).collect();
                let expected = after + 1 + puts.iter().position(|key| *key == "key").unwrap() as u64;
                assert_eq!(revisions, [expected], "round {round}");
            }
            others.iter().for_each(|other| other.abort());
            let mut all = committed.clone();
            all.wait_for(|last| *last == after + 2).await.unwrap();
        }
        engine.close().await;
    }
}
