//! Handlers of values that are written and read part by part.

use std::future::ready;

use actix::{Context, Handler, ResponseFuture};
use bytes::Bytes;

use super::{
    answers::answer,
    handlers::{KvStore, in_store, put_done, respond},
    reads::Reads,
};
use crate::{
    engine::EngineError,
    messages::{
        InParts, Part, PutDone, ReadBegin, ReadPart, Readable, StoreError, UploadAbort, UploadBegin,
        UploadBegun, UploadFinish, UploadPart, UploadPartDone,
    },
    store::{self, Applied, Layout, ReadError, UploadDone, UploadStep, Write},
};

impl Handler<UploadBegin> for KvStore {
    type Result = ResponseFuture<Result<UploadBegun, StoreError>>;

    fn handle(
        &mut self,
        UploadBegin { key, condition, value_bytes }: UploadBegin,
        _: &mut Context<Self>,
    ) -> Self::Result {
        let step = UploadStep::Begin { key: key.clone(), condition: in_store(condition), value_bytes };
        let accepted = self.engine().try_write(Write::Upload(step));
        respond("begin to put", key, accepted, |applied| match applied {
            Applied::Upload(UploadDone::Begun { upload, part_bytes }) => {
                Ok(UploadBegun { upload, part_bytes })
            }
            _ => Err(StoreError::Internal),
        })
    }
}

impl Handler<UploadPart> for KvStore {
    type Result = ResponseFuture<Result<UploadPartDone, StoreError>>;

    fn handle(
        &mut self,
        UploadPart { upload, number, bytes }: UploadPart,
        _: &mut Context<Self>,
    ) -> Self::Result {
        let step = UploadStep::Part { upload, number, bytes };
        let accepted = self.engine().try_write(Write::Upload(step));
        respond("put a part", Bytes::new(), accepted, |applied| match applied {
            Applied::Upload(UploadDone::Part { stored_bytes }) => Ok(UploadPartDone { stored_bytes }),
            _ => Err(StoreError::Internal),
        })
    }
}

impl Handler<UploadFinish> for KvStore {
    type Result = ResponseFuture<Result<PutDone, StoreError>>;

    fn handle(&mut self, finish: UploadFinish, _: &mut Context<Self>) -> Self::Result {
        let UploadFinish { upload, key, condition, ttl_ms, value_bytes, checksum } = finish;
        let condition = in_store(condition);
        let step = UploadStep::Finish { upload, key: key.clone(), condition, ttl_ms, value_bytes, checksum };
        respond("put", key, self.engine().try_write(Write::Upload(step)), put_done)
    }
}

impl Handler<UploadAbort> for KvStore {
    type Result = ResponseFuture<Result<(), StoreError>>;

    fn handle(&mut self, UploadAbort { upload }: UploadAbort, _: &mut Context<Self>) -> Self::Result {
        let accepted = self.engine().try_write(Write::Upload(UploadStep::Abort { upload }));
        respond("give up a put", Bytes::new(), accepted, |_| Ok(()))
    }
}

impl Handler<ReadBegin> for KvStore {
    type Result = ResponseFuture<Result<Option<Readable>, StoreError>>;

    fn handle(&mut self, ReadBegin { key }: ReadBegin, _: &mut Context<Self>) -> Self::Result {
        let layout = match self.reads.layout(key.clone()) {
            Ok(layout) => layout,
            Err(cause) => return Box::pin(ready(Err(answer("get", &key, &cause)))),
        };
        let reads = self.reads.clone();
        let begin = async move { begun(&reads, key, layout.await?).await };
        respond("get", Bytes::new(), Ok(begin), Ok)
    }
}

/// What the reading of a key begins with that had this layout a moment ago.
async fn begun(reads: &Reads, key: Bytes, layout: Option<Layout>) -> Result<Option<Readable>, EngineError> {
    let of_parts = |parts| Ok(Some(Readable::InParts(in_parts(parts))));
    match layout {
        None => return Ok(None),
        Some(Layout::InParts(parts)) => return of_parts(parts),
        Some(Layout::Whole) => {}
    }
    match reads.accept(key.clone())?.answer().await {
        // A longer value, in parts, may have taken its place meanwhile.
        Err(too_large @ EngineError::Read(ReadError::ValueTooLarge { .. })) => {
            match reads.layout(key)?.await? {
                None => Ok(None),
                Some(Layout::InParts(parts)) => of_parts(parts),
                Some(Layout::Whole) => Err(too_large),
            }
        }
        answer => Ok(answer?.map(Readable::Whole)),
    }
}

impl Handler<ReadPart> for KvStore {
    type Result = ResponseFuture<Result<Part, StoreError>>;

    fn handle(&mut self, ReadPart { key, value, number }: ReadPart, _: &mut Context<Self>) -> Self::Result {
        respond("get a part", key.clone(), Ok(self.reads.clone().part(key, value, number)), Ok)
    }
}

fn in_parts(parts: store::InParts) -> InParts {
    let store::InParts { value, revision, value_bytes, part_bytes, parts, checksum } = parts;
    InParts { value, revision, value_bytes, part_bytes, parts, checksum }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::{
        engine::{Engine, EngineOptions},
        store::{Store, StoreOptions},
    };

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn a_longer_value_that_comes_between_two_looks_is_read_in_parts() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        store.put("whole", vec![7; 3 * MIB]).unwrap();
        let reads = Reads::new(Engine::start(store.clone(), &EngineOptions::default()).unwrap(), 2 * MIB);
        let looked = reads.layout("key".into()).unwrap().await.unwrap();
        assert!(looked.is_none() && begun(&reads, "key".into(), looked).await.unwrap().is_none());
        store.put("key", "short").unwrap();
        let looked = reads.layout("key".into()).unwrap().await.unwrap();
        let mut writer = store.writer("key", store::Condition::Always).unwrap();
        writer.write_all(&vec![7; 3 * MIB]).unwrap();
        writer.finish(None).unwrap();
        let Some(Readable::InParts(parts)) = begun(&reads, "key".into(), looked).await.unwrap() else {
            panic!("it is in parts");
        };
        assert_eq!((parts.value_bytes, parts.parts), (3 * MIB as u64, 3));
        store.remove("key").unwrap();
        assert!(begun(&reads, "key".into(), Some(Layout::Whole)).await.unwrap().is_none());
        // One that is as it was found is still refused.
        let refused = begun(&reads, "whole".into(), Some(Layout::Whole)).await;
        assert!(matches!(refused, Err(EngineError::Read(ReadError::ValueTooLarge { .. }))), "{refused:?}");
    }
}
