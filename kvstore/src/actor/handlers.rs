//! The actor: each handler hands over to the engine at once, and answers when the engine has.

use std::{
    future::{Future, ready},
    io,
    pin::pin,
    task::{Context as TaskContext, Waker},
};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseFuture,
    Running, WrapFuture,
};
use bytes::Bytes;
use ensemble::Exports;

use super::{
    answers::answer,
    reads::{Reading, Reads},
    scans::Scans,
    watching::Watchers,
};
use crate::{
    engine::{Engine, EngineError, EngineOptions},
    messages::{
        Apply, Backup, Compact, Condition, Get, GetLimits, GetMany, List, Put, PutDone, PutWith, ReadBegin,
        ReadPart, Remove, RemoveDone, RemoveIf, Stat, StatKey, StoreError, StoreLimits, UploadAbort,
        UploadBegin, UploadFinish, UploadPart, Value, Verify, Watch,
    },
    store::{self, Applied, MAX_KEY_BYTES, Store, Stored, Write},
};

/// The name under which the actor is exported.
pub const ACTOR: &str = "kvstore";

/// The actor that offers a [`Store`].
///
/// Its handlers never wait: a call is accepted by the engine at once, or refused with
/// [`StoreError::Overloaded`]. A write that was accepted is done, also when the caller goes away. Writes are done in
/// the order in which they came; a read sees every write that was answered before the read came, and perhaps others.
/// What large values take of the memory until they are sent is bounded for all callers together: a read waits a while
/// for its part, and is then refused as overloaded too.
///
/// When the actor stops, it first finishes what it has accepted and closes the store, which can be opened again when
/// the actor is gone. It must be started on a thread with an actix system, as every actor.
#[derive(Debug)]
pub struct KvStore {
    engine: Engine,
    pub(super) reads: Reads,
    pub(super) scans: Scans,
    watchers: Watchers,
    limits: StoreLimits,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Closing,
    Closed,
}

impl KvStore {
    /// Starts the threads that read and write.
    ///
    /// # Errors
    /// The system's error when it gives no thread.
    pub fn new(store: Store, options: &EngineOptions) -> io::Result<Self> {
        let whole_bytes = store.options().value_limits().whole_bytes;
        let limits = StoreLimits { max_key_bytes: MAX_KEY_BYTES as u64, max_value_bytes: whole_bytes as u64 };
        let committed = store.committed();
        let engine = Engine::start(store, options)?;
        let reads = Reads::new(engine.clone(), whole_bytes);
        let scans = Scans::new(engine.clone());
        let watchers = Watchers::new(reads.clone(), committed);
        Ok(Self { engine, reads, scans, watchers, limits, stage: Stage::Open })
    }

    /// The engine, through which the store can be used, and closed, without the actor.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Those who watch.
    pub(super) fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    /// Answers all who wait for changes, and has nobody wait any more. A node that shuts down waits for all answers, for which
    /// these would take up to half a minute: who exports the actor has the node do this
    /// [when it leaves](ensemble::Node::at_leave).
    pub fn release_watchers(&self) -> impl Future<Output = ()> + Send + use<> {
        let watchers = self.watchers.clone();
        async move { watchers.release() }
    }

    /// Starts the actor on this thread, to be exported with all the messages it takes.
    pub fn exports(self) -> Exports<Self> {
        Exports::start(self)
            .message::<Get>()
            .message::<Put>()
            .message::<PutWith>()
            .message::<Remove>()
            .message::<RemoveIf>()
            .message::<GetMany>()
            .message::<Apply>()
            .message::<UploadBegin>()
            .message::<UploadPart>()
            .message::<UploadFinish>()
            .message::<UploadAbort>()
            .message::<ReadBegin>()
            .message::<ReadPart>()
            .message::<List>()
            .message::<StatKey>()
            .message::<Stat>()
            .message::<Watch>()
            .message::<Verify>()
            .message::<Backup>()
            .message::<Compact>()
            .message::<GetLimits>()
    }
}

impl Actor for KvStore {
    type Context = Context<Self>;

    fn stopping(&mut self, ctx: &mut Context<Self>) -> Running {
        match self.stage {
            Stage::Closed => return Running::Stop,
            Stage::Closing => {}
            Stage::Open => {
                self.stage = Stage::Closing;
                self.watchers.release();
                let engine = self.engine.clone();
                let close = async move { engine.close().await }.into_actor(self);
                ctx.spawn(close.map(|(), actor, ctx| {
                    actor.stage = Stage::Closed;
                    ctx.stop();
                }));
            }
        }
        Running::Continue
    }
}

impl Drop for KvStore {
    fn drop(&mut self) {
        // After a panic nobody has closed it. Closing begins with the first poll, and goes on without others.
        let mut context = TaskContext::from_waker(Waker::noop());
        if pin!(self.engine.close()).poll(&mut context).is_pending() {
            tracing::debug!("the store is being closed");
        }
    }
}

impl Handler<Get> for KvStore {
    type Result = ResponseFuture<Result<Option<Value>, StoreError>>;

    fn handle(&mut self, Get { key }: Get, _: &mut Context<Self>) -> Self::Result {
        respond("get", key.clone(), self.reads.accept(key).map(Reading::answer), Ok)
    }
}

impl Handler<Put> for KvStore {
    type Result = ResponseFuture<Result<PutDone, StoreError>>;

    fn handle(&mut self, Put { key, value }: Put, _: &mut Context<Self>) -> Self::Result {
        let accepted = self.engine.try_write(Write::put(key.clone(), value));
        respond("put", key, accepted, put_done)
    }
}

impl Handler<PutWith> for KvStore {
    type Result = ResponseFuture<Result<PutDone, StoreError>>;

    fn handle(
        &mut self,
        PutWith { key, value, condition, ttl_ms }: PutWith,
        _: &mut Context<Self>,
    ) -> Self::Result {
        let write = Write::Put { key: key.clone(), value, condition: in_store(condition), ttl_ms };
        respond("put", key, self.engine.try_write(write), put_done)
    }
}

impl Handler<Remove> for KvStore {
    type Result = ResponseFuture<Result<RemoveDone, StoreError>>;

    fn handle(&mut self, Remove { key }: Remove, _: &mut Context<Self>) -> Self::Result {
        let accepted = self.engine.try_write(Write::remove(key.clone()));
        respond("remove", key, accepted, remove_done)
    }
}

impl Handler<RemoveIf> for KvStore {
    type Result = ResponseFuture<Result<RemoveDone, StoreError>>;

    fn handle(&mut self, RemoveIf { key, revision }: RemoveIf, _: &mut Context<Self>) -> Self::Result {
        let condition = store::Condition::Revision(revision);
        let accepted = self.engine.try_write(Write::Remove { key: key.clone(), condition });
        respond("remove", key, accepted, remove_done)
    }
}

impl Handler<GetLimits> for KvStore {
    type Result = MessageResult<GetLimits>;

    fn handle(&mut self, _: GetLimits, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.limits)
    }
}

pub(super) fn put_done(applied: Applied) -> Result<PutDone, StoreError> {
    match applied {
        Applied::Stored(Stored { stored_bytes, revision }) => Ok(PutDone { stored_bytes, revision }),
        _ => Err(StoreError::Internal),
    }
}

fn remove_done(applied: Applied) -> Result<RemoveDone, StoreError> {
    match applied {
        Applied::Removed { revision } => Ok(RemoveDone { revision }),
        _ => Err(StoreError::Internal),
    }
}

pub(super) fn in_store(condition: Condition) -> store::Condition {
    match condition {
        Condition::Always => store::Condition::Always,
        Condition::Absent => store::Condition::Absent,
        Condition::Revision(revision) => store::Condition::Revision(revision),
    }
}

/// Answers when the engine has; at once where it has not accepted the call.
pub(super) fn respond<A, D>(
    doing: &'static str,
    key: Bytes,
    accepted: Result<impl Future<Output = Result<A, EngineError>> + 'static, EngineError>,
    done: impl FnOnce(A) -> Result<D, StoreError> + 'static,
) -> ResponseFuture<Result<D, StoreError>>
where
    D: 'static,
{
    match accepted {
        Ok(pending) => Box::pin(async move {
            match pending.await {
                Ok(answered) => done(answered),
                Err(cause) => Err(answer(doing, &key, &cause)),
            }
        }),
        Err(cause) => Box::pin(ready(Err(answer(doing, &key, &cause)))),
    }
}
