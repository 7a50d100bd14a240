//! Following what changes in a store: each change once and in order, over lost connections and restarts of the server.

use std::{collections::VecDeque, fmt, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use ensemble::{CallError, Failure, NotSent, Refusal, handshake::RefuseReason};
use thiserror::Error;
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    error::ClientError,
    handle::{Again, Client},
};
use crate::{
    history::History,
    messages::{Attached, Change, Changes, StoreError, Value, Watch, WatchRefused},
    store::MAX_KEY_BYTES,
};

/// Changes that are fetched at once: all that a watcher ever holds.
const BATCH: u32 = 256;
/// How long the store waits for a change before it says that there is none.
const WAIT: Duration = Duration::from_secs(10);
/// Time for the answer beyond that. A server that hangs, or that a network cuts off without a word, is noticed after
/// both.
const GRACE: Duration = Duration::from_secs(5);
/// The first pause before it is tried again is at most this long, the next ones twice as long each.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// From where on to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchFrom {
    /// From now on: what changes after [`Client::watch`] has returned comes, and what was there before does not.
    Now,
    /// Behind a revision, such as that of a put or of [`StoreStat`](crate::messages::StoreStat); 0 is the beginning. It is taken
    /// for one of the history that the store has now, which the revisions of a store that was restored from a backup, or
    /// that has lost writes, may not be: where that matters, a [`Position`] says so.
    Revision(u64),
    /// Where another [`Watching`] was.
    Position(Position),
}

/// Where one is among the changes of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Everything up to this revision has come.
    pub revision: u64,
    /// The history that the revision is of.
    pub history: History,
}

/// Why no more changes come.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The store does not keep the changes any more that come next. There is a gap: who needs to know what there is
    /// now lists it, and watches from the revision of before the listing.
    #[error("the changes behind revision {asked} are no longer kept: the first that is has revision {first}")]
    Compacted {
        /// The revision behind which the changes were asked for.
        asked: u64,
        /// The first revision whose change is kept: the first that can be asked for is the one before it.
        first: u64,
    },
    /// The revision has not been given out.
    #[error("revision {asked} is yet to come: the last one is {last}")]
    Ahead {
        /// The revision behind which the changes were asked for.
        asked: u64,
        /// The last revision that was given out.
        last: u64,
    },
    /// The store was made of a backup, or a crash has taken back writes that were answered: what has come may not have
    /// happened, and its revisions are given out again.
    #[error("the store has begun a new history, {history}: what came last may have been taken back")]
    HistoryChanged {
        /// Where the watcher was.
        asked: Position,
        /// The history that the store has now.
        history: History,
    },
    /// What the store keeps of the next change is not what was written. Behind its revision one can go on.
    #[error("the change of revision {revision} is damaged")]
    Damaged {
        /// The revision.
        revision: u64,
    },
    /// The store cannot be asked, in a way that does not pass by itself.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Client {
    /// Follows what changes about the keys that begin with `prefix` (empty: all keys). Once this has returned it is settled
    /// from where on.
    ///
    /// ```no_run
    /// # use kvstore::{Client, WatchError, WatchFrom, messages::ChangeKind};
    /// # async fn follow(store: Client) -> Result<(), WatchError> {
    /// let mut watching = store.watch("users/", WatchFrom::Now).await?.with_values();
    /// loop {
    ///     let change = watching.next().await?;
    ///     println!("{} {:?} {:?}", change.revision, change.key, change.kind);
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`WatchError`], when there is nothing to follow from there, or the store cannot be asked.
    pub async fn watch(&self, prefix: impl AsRef<[u8]>, from: WatchFrom) -> Result<Watching, WatchError> {
        let prefix = Bytes::copy_from_slice(prefix.as_ref());
        if prefix.len() > MAX_KEY_BYTES {
            let (bytes, limit) = (prefix.len() as u64, MAX_KEY_BYTES as u64);
            return Err(ClientError::from(StoreError::KeyLength { bytes, limit }).into());
        }
        let (after, history) = match from {
            WatchFrom::Now => (None, None),
            WatchFrom::Revision(revision) => (Some(revision), None),
            WatchFrom::Position(Position { revision, history }) => (Some(revision), Some(history)),
        };
        let first = Watch { after, history, limit: 1, ..Watch::from_now(prefix.clone()) };
        let answered = self.call(self.time_for(0), Again::UnlessAnswered, || first.clone()).await;
        let page = match answered.map_err(ClientError::from)? {
            Ok(page) => page,
            Err(why) => return Err(of_refusal(after, history, why)),
        };
        let at = Position { revision: after.unwrap_or(page.next), history: page.history };
        Ok(Watching {
            client: self.clone(),
            prefix,
            values: false,
            at,
            told: at,
            ready: VecDeque::new(),
            step: None,
            pause: None,
        })
    }
}

/// Follows what changes in a store. Made by [`Client::watch`].
///
/// - Each change comes once, in the order of the revisions, with no gap.
/// - The store keeps nothing for a watcher. One that takes its time asks later; when it is too late for the next change,
///   it is told so ([`WatchError::Compacted`]).
/// - When the connection is lost or the server is away it asks again, sooner first and then every two seconds, and goes on
///   where it was, also when the server has been restarted. Where what it has seen was taken back by a crash (which the
///   default durability excludes) it is told so ([`WatchError::HistoryChanged`]).
pub struct Watching {
    client: Client,
    prefix: Bytes,
    values: bool,
    /// What the next question goes on from.
    at: Position,
    /// What the caller has been told.
    told: Position,
    ready: VecDeque<Change>,
    /// Kept here, so that a `next` that is dropped loses nothing.
    step: Option<Step>,
    /// The longest pause before the next question; none when the last one was answered.
    pause: Option<Duration>,
}

type Step = Pin<Box<dyn Future<Output = Stepped> + Send>>;

enum Stepped {
    Changes(Result<Result<Changes, WatchRefused>, CallError>),
    Value(Change, Result<Option<Value>, ClientError>),
}

impl Watching {
    /// The same, with the value of each put that is still there when the change is read ([`Change::value`]).
    #[must_use]
    pub fn with_values(self) -> Self {
        Self { values: true, ..self }
    }

    /// Where it is: everything up to there has come. A later watch can go on from it.
    pub fn position(&self) -> Position {
        self.told
    }

    /// The next change; waits for it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When there is no next change to be had, or asking again does not help. Who calls again asks again, after a pause.
    pub async fn next(&mut self) -> Result<Change, WatchError> {
        loop {
            if self.step.is_none() {
                match self.ready.pop_front() {
                    Some(change) if change.value == Attached::ToBeRead => self.step = Some(self.read(change)),
                    Some(change) => return Ok(self.tell(change)),
                    None => self.step = Some(self.ask()),
                }
            }
            let Some(step) = &mut self.step else { continue };
            let stepped = step.await;
            self.step = None;
            if let Some(change) = self.take(stepped)? {
                return Ok(self.tell(change));
            }
        }
    }

    fn tell(&mut self, change: Change) -> Change {
        self.told.revision = change.revision;
        self.catch_up();
        change
    }

    /// Behind the last change that was fetched there are perhaps others, which were not asked for.
    fn catch_up(&mut self) {
        if self.ready.is_empty() {
            self.told = self.at;
        }
    }

    /// What to do next is left to the caller where this gives nothing.
    fn take(&mut self, stepped: Stepped) -> Result<Option<Change>, WatchError> {
        let cause = match stepped {
            Stepped::Changes(Ok(Ok(page))) => {
                self.is_back();
                self.at.revision = page.next;
                self.ready.extend(page.into_changes());
                self.catch_up();
                return Ok(None);
            }
            Stepped::Value(mut change, Ok(value)) => {
                self.is_back();
                change.value = match value {
                    Some(value) if value.revision == change.revision => Attached::Value(value.bytes),
                    _ => Attached::Replaced,
                };
                return Ok(Some(change));
            }
            Stepped::Changes(Ok(Err(why))) => of_refusal(Some(self.at.revision), Some(self.at.history), why),
            Stepped::Changes(Err(cause)) => ClientError::from(cause).into(),
            Stepped::Value(change, Err(cause)) => {
                if let ClientError::Store(why) = &cause
                    && !passes(&cause)
                {
                    tracing::warn!(key = %change.key.escape_ascii(), %why, "a value that was put cannot be read");
                    return Ok(Some(change));
                }
                self.ready.push_front(change);
                cause.into()
            }
        };
        self.is_away(&cause);
        match cause {
            WatchError::Client(cause) if passes(&cause) => Ok(None),
            cause => Err(cause),
        }
    }

    fn ask(&self) -> Step {
        let pause = self.pause.map(with_jitter);
        let Position { revision, history } = self.at;
        let watch = Watch {
            after: Some(revision),
            history: Some(history),
            limit: BATCH,
            values: self.values,
            wait_ms: u32::try_from(WAIT.as_millis()).unwrap_or(u32::MAX),
            ..Watch::from_now(self.prefix.clone())
        };
        let remote = self.client.remote().clone().with_timeout(WAIT + GRACE);
        Box::pin(async move {
            sleep_for(pause).await;
            Stepped::Changes(remote.send(watch).await)
        })
    }

    fn read(&self, change: Change) -> Step {
        let pause = self.pause.map(with_jitter);
        let client = self.client.clone();
        Box::pin(async move {
            sleep_for(pause).await;
            let value = client.get(&change.key).await;
            Stepped::Value(change, value)
        })
    }

    fn is_back(&mut self) {
        if self.pause.take().is_some() {
            tracing::info!("the store is followed again");
        }
    }

    fn is_away(&mut self, cause: &(dyn std::error::Error + 'static)) {
        if self.pause.is_none() {
            let why = cause.source().map(ToString::to_string);
            tracing::warn!(%cause, why, "the store cannot be followed");
        }
        self.pause = Some(self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE)));
    }
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watching")
            .field("prefix", &self.prefix)
            .field("at", &self.told)
            .finish_non_exhaustive()
    }
}

async fn sleep_for(pause: Option<Duration>) {
    if let Some(pause) = pause {
        sleep(pause).await;
    }
}

/// Between half of it and all, so that not all watchers come back to a restarted server in the same moment.
fn with_jitter(pause: Duration) -> Duration {
    let random = f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
    pause / 2 + (pause / 2).mul_f64(random)
}

fn of_refusal(after: Option<u64>, history: Option<History>, why: WatchRefused) -> WatchError {
    match why {
        WatchRefused::Compacted { after: asked, first } => WatchError::Compacted { asked, first },
        WatchRefused::Ahead { after: asked, last } => WatchError::Ahead { asked, last },
        WatchRefused::HistoryChanged { history: now } => {
            let asked = Position { revision: after.unwrap_or(0), history: history.unwrap_or(now) };
            WatchError::HistoryChanged { asked, history: now }
        }
        WatchRefused::Damaged { revision } => WatchError::Damaged { revision },
        WatchRefused::TooManyWatches => ClientError::from(StoreError::Overloaded).into(),
        WatchRefused::Store(cause) => ClientError::from(cause).into(),
    }
}

/// Whether it is worth asking again.
fn passes(cause: &ClientError) -> bool {
    match cause {
        ClientError::Call(CallError::NotSent(why)) => match why {
            NotSent::Rejected(why) => matches!(
                why,
                RefuseReason::Draining
                    | RefuseReason::Overloaded
                    | RefuseReason::TimedOut
                    | RefuseReason::WrongServer { .. }
            ),
            NotSent::BadName(_)
            | NotSent::NotAuthenticated
            | NotSent::TooLarge { .. }
            | NotSent::NotEncodable
            | NotSent::ShuttingDown => false,
            _ => true,
        },
        ClientError::Call(CallError::Unknown(_)) => true,
        ClientError::Call(CallError::Refused(why)) => matches!(
            why,
            Refusal::NoSuchActor | Refusal::Overloaded | Refusal::ShuttingDown | Refusal::Restarting
        ),
        ClientError::Call(CallError::Failed(why)) => matches!(why, Failure::Died | Failure::Cancelled),
        ClientError::Store(why) => matches!(why, StoreError::Overloaded | StoreError::Closed),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use ensemble::Unknown;

    use super::*;

    #[test]
    fn what_passes_by_itself_is_waited_for() {
        let call = |cause: CallError| ClientError::Call(cause);
        for passing in [
            call(NotSent::ConnectionLost.into()),
            call(NotSent::UnknownServer.into()),
            call(NotSent::NotResolved.into()),
            call(NotSent::Rejected(RefuseReason::Draining).into()),
            call(Unknown::Deadline.into()),
            call(Refusal::NoSuchActor.into()),
            call(Refusal::ShuttingDown.into()),
            call(Failure::Died.into()),
            StoreError::Closed.into(),
            StoreError::Overloaded.into(),
        ] {
            assert!(passes(&passing), "{passing:?}");
        }
        for lasting in [
            call(NotSent::NotAuthenticated.into()),
            call(NotSent::ShuttingDown.into()),
            call(NotSent::Rejected(RefuseReason::Authentication).into()),
            call(Refusal::UnknownMessage.into()),
            call(Failure::ReplyMalformed.into()),
            StoreError::Damaged.into(),
            StoreError::Storage.into(),
        ] {
            assert!(!passes(&lasting), "{lasting:?}");
        }
    }

    #[test]
    fn pauses_differ_and_have_bounds() {
        let pauses: Vec<Duration> = (0..50).map(|_| with_jitter(LONGEST_PAUSE)).collect();
        assert!(pauses.iter().all(|pause| (LONGEST_PAUSE / 2..=LONGEST_PAUSE).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
