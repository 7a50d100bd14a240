//! Handlers of values that are written and read part by part.

use std::future::ready;

use actix::{Context, Handler, ResponseFuture};
use bytes::Bytes;

use super::{
    answers::answer,
    handlers::{KvStore, in_store, put_done, respond},
};
use crate::{
    messages::{
        InParts, Part, PutDone, ReadBegin, ReadPart, Readable, StoreError, UploadAbort, UploadBegin,
        UploadBegun, UploadFinish, UploadPart, UploadPartDone,
    },
    store::{self, Applied, Layout, Store, UploadDone, UploadStep, Write},
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
        let asked = key.clone();
        let layout = match self.engine().try_query(move |store: &Store| store.layout(&asked)) {
            Ok(layout) => layout,
            Err(cause) => return Box::pin(ready(Err(answer("get", &key, &cause)))),
        };
        let reads = self.reads.clone();
        let begin = async move {
            let begun = match layout.await? {
                None => return Ok(None),
                Some(Layout::InParts(parts)) => Readable::InParts(in_parts(parts)),
                Some(Layout::Whole) => match reads.accept(key)?.answer().await? {
                    None => return Ok(None),
                    Some(value) => Readable::Whole(value),
                },
            };
            Ok(Some(begun))
        };
        respond("get", Bytes::new(), Ok(begin), Ok)
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
