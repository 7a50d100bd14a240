//! The actor: it takes messages, has the directory decide, and does what follows from the decision.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture, WeakAddr};
use ensemble::{Caller, Incarnation, Node, ServerId, WeakNode};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    followers::{Followed, Followers, Reply, Wait},
    probe,
    writer::{Stored, Writer},
};
use crate::{
    Announced, Contest, Directory, Event, Heartbeat as Beat, Refusal, Revision, ServerInfo, Write,
    messages::{
        All, Announce, ByRole, Denied, Follow, Heartbeat, Lease, Lookup, MAX_CHANGES_PER_POLL, MAX_PAGE,
        MAX_WAIT_MS, NotFollowed, Page, Withdraw,
    },
};

/// Questions to servers at once. Each lasts a second at most, and opens a connection to each address.
const MAX_PROBES: usize = 64;

/// The directory's clock: the wall clock once, and from there on one that never jumps.
pub(super) struct Clock {
    origin: Duration,
    started: Instant,
}

impl Clock {
    pub(super) fn starting_at(origin: Duration) -> Self {
        Self { origin, started: Instant::now() }
    }

    pub(super) fn now(&self) -> Duration {
        self.origin + self.started.elapsed()
    }
}

/// Not in the actor's context, which would live on for it when the node has gone.
struct Timer {
    due: Duration,
    task: JoinHandle<()>,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// See the module.
pub(super) struct Registry {
    node: WeakNode,
    own_id: ServerId,
    directory: Directory,
    clock: Clock,
    writer: Writer,
    /// Up to where the writer has the changes.
    written: Revision,
    timer: Option<Timer>,
    /// Whose connections are watched.
    watched: HashMap<ServerId, Incarnation>,
    probes: Arc<Semaphore>,
    followers: Followers,
    /// Closed when the node begins to shut down.
    closing: watch::Receiver<()>,
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.arm(ctx);
    }
}

fn changes(directory: &Directory, since: Revision, limit: usize) -> Followed {
    directory.changes_since(since, limit).map_err(NotFollowed::Compacted)
}

type Deciding<T> = ResponseFuture<Result<T, Denied>>;

fn denied<T: 'static>(why: Denied) -> Deciding<T> {
    Box::pin(std::future::ready(Err(why)))
}

impl Registry {
    pub(super) fn new(
        node: &Node,
        directory: Directory,
        clock: Clock,
        writer: Writer,
        closing: watch::Receiver<()>,
    ) -> Self {
        Self {
            node: node.downgrade(),
            own_id: node.server().clone(),
            written: directory.revision(),
            directory,
            clock,
            writer,
            timer: None,
            watched: HashMap::new(),
            probes: Arc::new(Semaphore::new(MAX_PROBES)),
            followers: Followers::default(),
            closing,
        }
    }

    fn check_own(caller: Option<&Caller>, id: &ServerId, incarnation: Incarnation) -> Result<(), Denied> {
        match caller {
            Some(caller) if caller.server() == id && caller.incarnation() == incarnation => Ok(()),
            _ => {
                let by = caller.map_or("unknown", |caller| caller.server().as_str());
                tracing::warn!(by, server = %id, %incarnation, "refused to speak for another server");
                Err(Denied::NotAuthorized { id: id.clone() })
            }
        }
    }

    /// Has the changes since the last time written, and waits for the disk in the future that it returns.
    fn store(&mut self) -> impl Future<Output = Result<(), Denied>> + use<> {
        let writes = self.follow_up();
        let stored = self.submit(writes);
        async move {
            match stored {
                Some(stored) => match stored.await {
                    Ok(true) => Ok(()),
                    Ok(false) | Err(_) => Err(Denied::NotStored),
                },
                None => Err(Denied::Busy),
            }
        }
    }

    /// As [`store`](Self::store), but does nothing when nothing has changed, and waits for nothing.
    fn store_later(&mut self) {
        self.store_changes_or(false);
    }

    /// As [`store_later`](Self::store_later), but `anyway` also when nothing has changed.
    fn store_changes_or(&mut self, anyway: bool) {
        let writes = self.follow_up();
        if anyway || writes.as_ref().is_none_or(|writes| !writes.is_empty()) {
            drop(self.submit(writes));
        }
    }

    /// Tells those who wait of the changes since the last time, and says what these come to on disk; `None` stands
    /// for the whole directory.
    fn follow_up(&mut self) -> Option<Vec<Write>> {
        let since = std::mem::replace(&mut self.written, self.directory.revision());
        if since != self.written && !self.followers.is_empty() {
            self.followers.tell(|since, limit| changes(&self.directory, since, limit));
        }
        self.directory.writes_since(since).ok()
    }

    fn submit(&mut self, writes: Option<Vec<Write>>) -> Option<Stored> {
        match writes {
            Some(writes) if !self.writer.needs_all() => self.writer.apply(writes),
            _ => self.writer.replace(self.directory.stored_all()),
        }
    }

    /// Sees to it that what is due next gets done.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let Some(due) = self.directory.next_deadline() else { return };
        // One that is too early does no harm, and heartbeats only put deadlines off.
        if self.timer.as_ref().is_some_and(|timer| timer.due <= due) {
            return;
        }
        let wait = sleep(due.saturating_sub(self.clock.now()));
        let actor = ctx.address().downgrade();
        let task = actix::spawn(async move {
            wait.await;
            tell(&actor, Due).await;
        });
        self.timer = Some(Timer { due, task });
    }

    fn expire(&mut self) {
        self.settle();
        // A disk that had no room may have it by now.
        self.store_changes_or(self.writer.needs_all());
    }

    /// Has the directory do what is due by now.
    fn settle(&mut self) {
        for change in self.directory.expire(self.clock.now()) {
            let (server, incarnation) = (&change.id, change.incarnation);
            match change.event {
                Event::Gone { .. } => tracing::warn!(%server, %incarnation, "gone: its lease has ended"),
                Event::Suspected { .. } => tracing::info!(%server, %incarnation, "suspect: not heard from"),
                _ => {}
            }
        }
    }

    /// Has the actor told when the server has no connection any more.
    fn watch(&mut self, id: &ServerId, incarnation: Incarnation, ctx: &mut Context<Self>) {
        if *id == self.own_id || self.watched.get(id) == Some(&incarnation) {
            return;
        }
        let Some(node) = self.node.upgrade() else { return };
        self.watched.insert(id.clone(), incarnation);
        let lost = node.lost(id, incarnation);
        let (actor, id) = (ctx.address().downgrade(), id.clone());
        // Not in the actor's context, which polls all that it has at every message.
        actix::spawn(async move {
            lost.await;
            tell(&actor, Lost { id, incarnation }).await;
        });
    }

    /// What follows from the directory's decision about an announcement.
    fn conclude(
        &mut self,
        by: (ServerId, Incarnation),
        decision: Result<Announced, Refusal>,
        ctx: &mut Context<Self>,
    ) -> Deciding<Lease> {
        let (id, incarnation) = by;
        let (lease_ms, revision) = match decision {
            Ok(Announced::Contested(contest)) => return self.ask_holder(contest, ctx),
            Ok(Announced::Accepted { lease_ms, revision }) => {
                tracing::info!(server = %id, %incarnation, "announced");
                (lease_ms, revision)
            }
            Ok(Announced::Renewed { lease_ms, revision }) => (lease_ms, revision),
            Err(refusal) => {
                tracing::warn!(server = %id, %incarnation, %refusal, "refused an announcement");
                self.store_later();
                return denied(Denied::Refused(refusal));
            }
        };
        self.watch(&id, incarnation, ctx);
        self.arm(ctx);
        let stored = self.store();
        Box::pin(async move {
            stored.await?;
            Ok(Lease { lease_ms, revision })
        })
    }

    fn ask_holder(&mut self, contest: Box<Contest>, ctx: &mut Context<Self>) -> Deciding<Lease> {
        self.store_later();
        let Some(is_alive) = self.probe(contest.holder()) else { return denied(Denied::Busy) };
        let actor = ctx.address();
        Box::pin(async move {
            let holder_alive = is_alive.await;
            let holder = contest.holder();
            tracing::info!(server = %holder.id, holder = %holder.incarnation, holder_alive, "the id is contested");
            // The mailbox is closed when the node shuts down.
            actor.send(Verdict { contest, holder_alive }).await.unwrap_or(Err(Denied::Busy))
        })
    }

    fn probe(&self, server: &ServerInfo) -> Option<impl Future<Output = bool> + use<>> {
        let node = self.node.upgrade()?;
        let permit = Arc::clone(&self.probes).try_acquire_owned().ok()?;
        let (id, incarnation, addresses) = (server.id.clone(), server.incarnation, server.addresses.clone());
        Some(async move {
            let is_alive = probe::is_alive(node, &id, incarnation, &addresses).await;
            drop(permit);
            is_alive
        })
    }

    fn take_out(&mut self, id: &ServerId, incarnation: Incarnation) -> Deciding<bool> {
        let found = self.directory.withdraw(self.clock.now(), id, Some(incarnation));
        if found {
            tracing::info!(server = %id, %incarnation, "withdrawn");
        }
        let stored = self.store();
        Box::pin(async move {
            stored.await?;
            Ok(found)
        })
    }

    fn page(&self, limit: u32, list: impl FnOnce(usize) -> Vec<ServerInfo>) -> Page {
        let limit = limit.clamp(1, MAX_PAGE) as usize;
        let mut servers = list(limit + 1);
        let more = servers.len() > limit;
        servers.truncate(limit);
        Page { servers, more, revision: self.directory.revision() }
    }
}

impl Handler<Announce> for Registry {
    type Result = Deciding<Lease>;

    fn handle(&mut self, message: Announce, ctx: &mut Context<Self>) -> Self::Result {
        let Announce { server, caller } = message;
        let by = (server.id.clone(), server.incarnation);
        if let Err(why) = Self::check_own(caller.as_ref(), &by.0, by.1) {
            return denied(why);
        }
        let decision = self.directory.announce(self.clock.now(), server);
        self.conclude(by, decision, ctx)
    }
}

/// What was found out about the holder of a contested id.
#[derive(Message)]
#[rtype(result = "Result<Lease, Denied>")]
struct Verdict {
    contest: Box<Contest>,
    holder_alive: bool,
}

impl Handler<Verdict> for Registry {
    type Result = Deciding<Lease>;

    fn handle(&mut self, message: Verdict, ctx: &mut Context<Self>) -> Self::Result {
        let Verdict { contest, holder_alive } = message;
        let by = (contest.announcement().id.clone(), contest.announcement().incarnation);
        let decision = self.directory.resolve_contest(self.clock.now(), *contest, holder_alive);
        self.conclude(by, decision, ctx)
    }
}

/// The deadline for which the timer was armed.
#[derive(Message)]
#[rtype(result = "()")]
struct Due;

impl Handler<Due> for Registry {
    type Result = ();

    fn handle(&mut self, _: Due, ctx: &mut Context<Self>) {
        self.timer = None;
        self.expire();
        self.arm(ctx);
    }
}

/// Sends a message that the actor has for itself, if it is still there.
async fn tell<M>(actor: &WeakAddr<Registry>, message: M)
where
    Registry: Handler<M>,
    M: Message<Result = ()> + Send + 'static,
{
    if let Some(actor) = actor.upgrade()
        && actor.send(message).await.is_err()
    {
        tracing::debug!("the registry has stopped");
    }
}

/// The last connection with that incarnation of a server has ended.
#[derive(Message)]
#[rtype(result = "()")]
struct Lost {
    id: ServerId,
    incarnation: Incarnation,
}

impl Handler<Lost> for Registry {
    type Result = ();

    fn handle(&mut self, Lost { id, incarnation }: Lost, ctx: &mut Context<Self>) {
        if self.watched.get(&id) == Some(&incarnation) {
            self.watched.remove(&id);
        }
        if self.directory.disconnected(self.clock.now(), &id, incarnation) {
            tracing::info!(server = %id, %incarnation, "suspect: its connection has ended");
        }
        self.store_later();
        self.arm(ctx);
    }
}

impl Handler<Heartbeat> for Registry {
    type Result = Result<Beat, Denied>;

    fn handle(&mut self, message: Heartbeat, ctx: &mut Context<Self>) -> Self::Result {
        let Heartbeat { id, incarnation, caller } = message;
        Self::check_own(caller.as_ref(), &id, incarnation)?;
        let beat = self.directory.heartbeat(self.clock.now(), &id, incarnation);
        if let Beat::Renewed { .. } = beat {
            self.watch(&id, incarnation, ctx);
        }
        self.store_later();
        self.arm(ctx);
        Ok(beat)
    }
}

impl Handler<Withdraw> for Registry {
    type Result = Deciding<bool>;

    fn handle(&mut self, message: Withdraw, ctx: &mut Context<Self>) -> Self::Result {
        let Withdraw { id, incarnation, caller } = message;
        let Some(caller) = caller else { return denied(Denied::NotAuthorized { id }) };
        if *caller.server() == id && incarnation.is_none_or(|named| named == caller.incarnation()) {
            return self.take_out(&id, caller.incarnation());
        }
        let asked_at = self.clock.now();
        let holder = self.directory.lookup(asked_at, &id);
        let is_named = |info: &ServerInfo| incarnation.is_none_or(|named| named == info.incarnation);
        let Some(holder) = holder.filter(is_named) else { return Box::pin(std::future::ready(Ok(false))) };
        let Some(is_alive) = self.probe(&holder) else { return denied(Denied::Busy) };
        let actor = ctx.address();
        tracing::info!(server = %id, by = %caller.server(), "asked to withdraw another server");
        Box::pin(async move {
            if is_alive.await {
                return Err(Denied::Alive { id, addresses: holder.addresses });
            }
            let evict = Evict { id, incarnation: holder.incarnation, asked_at };
            actor.send(evict).await.unwrap_or(Err(Denied::Busy))
        })
    }
}

/// That incarnation of a server did not answer when it was asked.
#[derive(Message)]
#[rtype(result = "Result<bool, Denied>")]
struct Evict {
    id: ServerId,
    incarnation: Incarnation,
    asked_at: Duration,
}

impl Handler<Evict> for Registry {
    type Result = Deciding<bool>;

    fn handle(&mut self, Evict { id, incarnation, asked_at }: Evict, _: &mut Context<Self>) -> Self::Result {
        let now = self.clock.now();
        let asked_for_ms = now.saturating_sub(asked_at).as_millis();
        let found = self.directory.lookup(now, &id);
        let is_heard =
            |info: &ServerInfo| info.incarnation == incarnation && u128::from(info.unheard_ms) < asked_for_ms;
        match found.filter(is_heard) {
            Some(info) => denied(Denied::Alive { id, addresses: info.addresses }),
            None => self.take_out(&id, incarnation),
        }
    }
}

impl Handler<Lookup> for Registry {
    type Result = Option<ServerInfo>;

    fn handle(&mut self, Lookup { id }: Lookup, _: &mut Context<Self>) -> Self::Result {
        self.directory.lookup(self.clock.now(), &id)
    }
}

impl Handler<ByRole> for Registry {
    type Result = MessageResult<ByRole>;

    fn handle(&mut self, ByRole { role, after, limit }: ByRole, _: &mut Context<Self>) -> Self::Result {
        let now = self.clock.now();
        let list = |limit| self.directory.page_by_role(now, &role, after.as_ref(), limit);
        MessageResult(self.page(limit, list))
    }
}

impl Handler<All> for Registry {
    type Result = MessageResult<All>;

    fn handle(&mut self, All { after, limit }: All, _: &mut Context<Self>) -> Self::Result {
        // What the page shows is what its revision says: nothing that is due is still to come.
        self.settle();
        self.store_later();
        let now = self.clock.now();
        MessageResult(self.page(limit, |limit| self.directory.page(now, after.as_ref(), limit)))
    }
}

impl Handler<Follow> for Registry {
    type Result = Reply;

    fn handle(&mut self, message: Follow, _: &mut Context<Self>) -> Self::Result {
        let Follow { since, limit, wait_ms, caller } = message;
        let limit = limit.clamp(1, MAX_CHANGES_PER_POLL) as usize;
        let found = changes(&self.directory, since, limit);
        let is_empty = found.as_ref().is_ok_and(|found| found.changes.is_empty());
        let Some(caller) = caller.filter(|_| is_empty && wait_ms > 0) else { return Reply::Now(found) };
        let Some(answer) = self.followers.wait(caller.incarnation(), since, limit) else {
            return Reply::Now(Err(NotFollowed::TooManyWaiting));
        };
        let longest = Duration::from_millis(wait_ms.min(MAX_WAIT_MS).into());
        Reply::Later(Wait { answer, since, longest, closing: self.closing.clone() })
    }
}
