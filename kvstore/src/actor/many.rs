//! Handlers of calls with many keys.

use std::future::ready;

use actix::{Context, Handler, ResponseFuture};
use bytes::Bytes;

use super::{
    answers::answer,
    handlers::{KvStore, in_store},
};
use crate::{
    engine::EngineError,
    messages::{Apply, ApplyRefused, Done, GetMany, Op, StoreError, Values},
    store::{Applied, MAX_TOGETHER, ReadError, Stored, Together, TogetherError, Write, WriteError},
};

impl Handler<GetMany> for KvStore {
    type Result = ResponseFuture<Result<Values, StoreError>>;

    fn handle(&mut self, GetMany { keys }: GetMany, _: &mut Context<Self>) -> Self::Result {
        if keys.len() > MAX_TOGETHER {
            return Box::pin(ready(Err(too_many(keys.len()))));
        }
        let values = match self.reads.accept_many(keys) {
            Ok(values) => values,
            Err(cause) => return Box::pin(ready(Err(answer("get", b"", &cause)))),
        };
        Box::pin(async move {
            values.await.map_err(|cause| match cause {
                EngineError::Read(ReadError::ValueTooLarge { bytes, limit }) => {
                    StoreError::AnswerTooLarge { bytes: bytes as u64, limit: limit as u64 }
                }
                other => answer("get", b"", &other),
            })
        })
    }
}

impl Handler<Apply> for KvStore {
    type Result = ResponseFuture<Result<Vec<Done>, ApplyRefused>>;

    fn handle(&mut self, Apply { writes }: Apply, _: &mut Context<Self>) -> Self::Result {
        let keys: Vec<Bytes> = writes.iter().map(|write| write.key().clone()).collect();
        let together = match Together::new(writes.into_iter().map(write).collect()) {
            Ok(together) => together,
            Err(TogetherError::TooMany { count, .. }) => return refuse(None, too_many(count)),
            Err(TogetherError::Repeated { index }) => {
                return refuse(u32::try_from(index).ok(), StoreError::KeyRepeated);
            }
        };
        let pending = match self.engine().try_write(Write::Together(together)) {
            Ok(pending) => pending,
            Err(cause) => return Box::pin(ready(Err(refused(&keys, &cause)))),
        };
        Box::pin(async move {
            match pending.await {
                Ok(Applied::Together(all)) => all
                    .into_iter()
                    .map(done)
                    .collect::<Option<_>>()
                    .ok_or(ApplyRefused { index: None, why: StoreError::Internal }),
                Ok(_) => Err(ApplyRefused { index: None, why: StoreError::Internal }),
                Err(cause) => Err(refused(&keys, &cause)),
            }
        })
    }
}

fn write(op: Op) -> Write {
    match op {
        Op::Put { key, value, condition, ttl_ms } => {
            Write::Put { key, value, condition: in_store(condition), ttl_ms }
        }
        Op::Remove { key, condition } => Write::Remove { key, condition: in_store(condition) },
        Op::Check { key, condition } => Write::Check { key, condition: in_store(condition) },
    }
}

fn done(applied: Applied) -> Option<Done> {
    match applied {
        Applied::Stored(Stored { stored_bytes, revision }) => Some(Done::Stored { stored_bytes, revision }),
        Applied::Removed { revision } => Some(Done::Removed { revision }),
        Applied::Checked { current } => Some(Done::Checked { current }),
        Applied::Together(_) | Applied::Collected { .. } | Applied::Upload(_) | Applied::Freed { .. } => None,
    }
}

fn too_many(count: usize) -> StoreError {
    StoreError::TooMany { count: count as u64, limit: MAX_TOGETHER as u64 }
}

fn refuse(index: Option<u32>, why: StoreError) -> ResponseFuture<Result<Vec<Done>, ApplyRefused>> {
    Box::pin(ready(Err(ApplyRefused { index, why })))
}

fn refused(keys: &[Bytes], cause: &EngineError) -> ApplyRefused {
    let at = match cause {
        EngineError::Write(WriteError::Together { index, .. }) => Some(*index),
        _ => None,
    };
    let key = at.and_then(|at| keys.get(at)).cloned().unwrap_or_default();
    ApplyRefused { index: at.and_then(|at| u32::try_from(at).ok()), why: answer("apply", &key, cause) }
}
