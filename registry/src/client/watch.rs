//! Following what changes at a registry: a snapshot, then each change once and in order, over lost connections and
//! restarts of the registry. What the changes mean is in [`View`].

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    pin::Pin,
    time::Duration,
};

use ensemble::{Incarnation, RemoteAddr, ServerId};
use tokio::time::sleep;

use super::error::ClientError;
use crate::{
    Announcement, Change, Changes, Revision, ServerInfo, View,
    backoff::Backoff,
    messages::{All, Follow, MAX_PAGE, NotFollowed, Page},
};

/// Changes that are fetched at once: all that a watcher ever holds besides a snapshot.
const BATCH: u32 = 256;
/// How long the registry waits for a change before it says that there is none.
const WAIT: Duration = Duration::from_secs(10);
/// Time for the answer beyond that. A registry that hangs, or that a network cuts off without a word, is noticed
/// after both.
const GRACE: Duration = Duration::from_secs(5);

/// What a [`Watcher`] sees.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchEvent {
    /// All servers, in the order of their ids, as of a revision. What was seen before is to be forgotten.
    Snapshot(Vec<ServerInfo>, Revision),
    /// The next change.
    Change(Change),
    /// The watcher was so slow that the changes that come next are no longer kept. A snapshot follows.
    FellBehind,
    /// The registry cannot be reached. What was seen last may not be true any more.
    Away,
    /// The registry is reached again. What was missed follows.
    Back,
}

/// Follows what changes at a registry. Made by [`Client::watch`](super::Client::watch).
///
/// - The first event is a snapshot, and then each change comes once, in its order, with no gap.
/// - The registry keeps nothing for a watcher. One that takes its time asks later; when it is too late for the next
///   change, it is told that it fell behind, and goes on with a new snapshot.
/// - When the connection is lost it asks again, sooner first and then every two seconds, and goes on where it was. A
///   registry that has been restarted counts anew: then a snapshot follows. [`WatchEvent::Away`] and
///   [`WatchEvent::Back`] say when that begins and ends.
///
/// ```
/// # use std::sync::Arc;
/// # use ensemble::{Cookie, MemoryNetwork, Node};
/// # use registry::{Client, Join, SERVER, WatchEvent, serve};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # actix::System::new().block_on(async {
/// # let (network, cookie) = (MemoryNetwork::new(), Cookie::generate()?);
/// # let builder = |id: &str| Node::builder(id).cookie(cookie.clone()).memory(Arc::clone(&network));
/// # let registry = builder(SERVER).listen("mem:registry".parse()?).start().await?;
/// # serve(&registry, dir.path()).await?;
/// # let node = builder("console").start().await?;
/// let client = Client::new(&node, "mem:registry".parse()?);
/// let mut watcher = client.watch();
/// let WatchEvent::Snapshot(servers, revision) = watcher.next().await? else { panic!("it comes first") };
/// assert!(servers.is_empty());
///
/// let _server = builder("a").listen("mem:a".parse()?).join_at("mem:registry".parse()?).await?;
/// let WatchEvent::Change(change) = watcher.next().await? else { panic!("it is not that slow") };
/// assert_eq!((change.id.as_str(), change.revision.number), ("a", revision.number + 1));
/// # Ok(())
/// # })
/// # }
/// ```
pub struct Watcher {
    registry: RemoteAddr,
    /// What the next question goes on from; `None` before a snapshot.
    at: Option<Revision>,
    ready: VecDeque<WatchEvent>,
    /// Kept here, so that a `next` that is dropped loses nothing.
    step: Option<Step>,
    backoff: Backoff,
    is_away: bool,
}

type Step = Pin<Box<dyn Future<Output = Stepped> + Send>>;

enum Stepped {
    Snapshot(Result<(Vec<ServerInfo>, Revision), ClientError>),
    Changes(Revision, Result<Result<Changes, NotFollowed>, ClientError>),
}

impl Watcher {
    pub(super) fn new(registry: RemoteAddr, at: Option<Revision>) -> Self {
        let backoff = Backoff::new();
        Self { registry, at, ready: VecDeque::new(), step: None, backoff, is_away: false }
    }

    /// The next event; waits for it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When asking again does not help: the registry and this node do not authenticate each other, or the registry does
    /// not know the question. Who calls again asks again, after a pause.
    pub async fn next(&mut self) -> Result<WatchEvent, ClientError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if self.step.is_none() {
                let pause = self.is_away.then(|| self.backoff.next());
                self.step = Some(step(self.registry.clone(), self.at, pause));
            }
            if let Some(step) = &mut self.step {
                let stepped = step.await;
                self.step = None;
                self.take(stepped)?;
            }
        }
    }

    fn take(&mut self, stepped: Stepped) -> Result<(), ClientError> {
        match stepped {
            Stepped::Snapshot(Ok((servers, revision))) => {
                self.is_back();
                self.at = Some(revision);
                self.ready.push_back(WatchEvent::Snapshot(servers, revision));
            }
            Stepped::Changes(_, Ok(Ok(changes))) => {
                self.is_back();
                self.at = Some(changes.revision);
                self.ready.extend(changes.changes.into_iter().map(WatchEvent::Change));
            }
            Stepped::Changes(since, Ok(Err(NotFollowed::Compacted(compacted)))) => {
                self.is_back();
                self.at = None;
                if compacted.current.history == since.history {
                    self.ready.push_back(WatchEvent::FellBehind);
                }
            }
            Stepped::Changes(_, Ok(Err(why @ NotFollowed::TooManyWaiting))) => self.is_gone(&why),
            Stepped::Snapshot(Err(cause)) | Stepped::Changes(_, Err(cause)) => {
                self.is_gone(&cause);
                if !matches!(cause, ClientError::Unreachable(_)) {
                    return Err(cause);
                }
            }
        }
        Ok(())
    }

    fn is_back(&mut self) {
        self.backoff.reset();
        if std::mem::replace(&mut self.is_away, false) {
            tracing::info!("the registry is followed again");
            self.ready.push_back(WatchEvent::Back);
        }
    }

    fn is_gone(&mut self, cause: &(dyn std::error::Error + 'static)) {
        if !std::mem::replace(&mut self.is_away, true) {
            let why = cause.source().map(ToString::to_string);
            tracing::warn!(%cause, why, "the registry cannot be followed; trying again until it can");
            self.ready.push_back(WatchEvent::Away);
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("registry", &self.registry)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

fn step(registry: RemoteAddr, at: Option<Revision>, pause: Option<Duration>) -> Step {
    Box::pin(async move {
        if let Some(pause) = pause {
            sleep(pause).await;
        }
        match at {
            None => Stepped::Snapshot(snapshot(&registry).await),
            Some(since) => Stepped::Changes(since, changes(&registry, since, WAIT).await),
        }
    })
}

async fn changes(
    registry: &RemoteAddr,
    since: Revision,
    wait: Duration,
) -> Result<Result<Changes, NotFollowed>, ClientError> {
    let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    let asked = registry.clone().with_timeout(wait + GRACE).send(Follow::new(since, BATCH, wait_ms));
    Ok(asked.await?)
}

/// All servers as of one revision.
pub(super) async fn snapshot(registry: &RemoteAddr) -> Result<(Vec<ServerInfo>, Revision), ClientError> {
    loop {
        if let Some(found) = try_snapshot(registry).await? {
            return Ok(found);
        }
    }
}

/// `None` when the registry was restarted, or a great many changes came, between two pages.
async fn try_snapshot(registry: &RemoteAddr) -> Result<Option<(Vec<ServerInfo>, Revision)>, ClientError> {
    let mut servers: Vec<ServerInfo> = Vec::new();
    let mut first = None;
    let last = loop {
        let after = servers.last().map(|info| info.id.clone());
        let page: Page = registry.send(All { after, limit: MAX_PAGE }).await?;
        let first = *first.get_or_insert(page.revision);
        if first.history != page.revision.history {
            return Ok(None);
        }
        let is_last = !page.more || page.servers.is_empty();
        servers.extend(page.servers);
        if is_last {
            break page.revision;
        }
    };
    match first {
        // Later pages may show what earlier ones do not: the changes in between bring all of them to one revision.
        Some(first) if first != last => mend(registry, servers, first).await,
        _ => Ok(Some((servers, last))),
    }
}

async fn mend(
    registry: &RemoteAddr,
    servers: Vec<ServerInfo>,
    first: Revision,
) -> Result<Option<(Vec<ServerInfo>, Revision)>, ClientError> {
    let mut view = View::new(&servers, first);
    loop {
        let Ok(found) = changes(registry, view.revision(), Duration::ZERO).await? else { return Ok(None) };
        for change in &found.changes {
            if view.apply(change).is_err() {
                return Ok(None);
            }
        }
        if !found.more {
            return Ok(Some((infos(servers, &view), view.revision())));
        }
    }
}

/// The servers of a view, with what the pages said of their times.
fn infos(servers: Vec<ServerInfo>, view: &View) -> Vec<ServerInfo> {
    let lease_ms = servers.first().map_or(0, |info| info.lease_ms);
    let mut known: HashMap<(ServerId, Incarnation), ServerInfo> =
        servers.into_iter().map(|info| ((info.id.clone(), info.incarnation), info)).collect();
    view.servers()
        .map(|seen| {
            let Announcement { id, incarnation, addresses, roles, agent, pid } = (*seen.server).clone();
            let known = known.remove(&(id.clone(), incarnation));
            let times = known.map_or((0, 0, lease_ms, lease_ms), |info| {
                (info.age_ms, info.unheard_ms, info.lease_ms, info.lease_left_ms)
            });
            let (age_ms, unheard_ms, lease_ms, lease_left_ms) = times;
            ServerInfo {
                id,
                incarnation,
                addresses,
                roles,
                agent,
                pid,
                liveness: seen.liveness,
                age_ms,
                unheard_ms,
                lease_ms,
                lease_left_ms,
            }
        })
        .collect()
}
