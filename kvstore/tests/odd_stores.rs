//! How streams get on with stores that are overloaded for a while, or say what cannot be.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use actix::{Actor, Context, Handler};
use common::{KVSTORE, World, noise, stop};
use ensemble::{Exports, Node};
use kvstore::{
    Client, ClientError, PutOptions,
    messages::{
        InParts, Part, PutDone, ReadBegin, ReadPart, Readable, StoreError, UploadAbort, UploadBegin,
        UploadBegun, UploadFinish, UploadPart, UploadPartDone,
    },
    store::MAX_PART_BYTES,
};

const MIB: usize = 1 << 20;

/// What has happened to a store.
#[derive(Default)]
struct Seen {
    /// How often each message was refused.
    refused: HashMap<String, u32>,
    value: Vec<u8>,
    is_finished: bool,
    aborts: u32,
}

/// A store of one value, which is as its maker says.
struct Odd {
    part_bytes: usize,
    found: InParts,
    /// How often each message is refused before it is taken.
    refusals: u32,
    seen: Arc<Mutex<Seen>>,
}

impl Odd {
    fn take(&self, message: String) -> Result<(), StoreError> {
        let mut seen = self.seen.lock().unwrap();
        let refused = seen.refused.entry(message).or_default();
        if *refused == self.refusals {
            return Ok(());
        }
        *refused += 1;
        Err(StoreError::Overloaded)
    }

    /// The nodes live as long as what this gives first.
    async fn start(self) -> ((World, Node), Node, Client, Arc<Mutex<Seen>>) {
        let seen = Arc::clone(&self.seen);
        let world = World::unix();
        let server = world.node().await;
        let exports = Exports::start(self)
            .message::<UploadBegin>()
            .message::<UploadPart>()
            .message::<UploadFinish>()
            .message::<UploadAbort>()
            .message::<ReadBegin>()
            .message::<ReadPart>();
        server.export(KVSTORE, exports).unwrap();
        let user = world.user("user").await;
        let store = Client::new(&user, KVSTORE);
        ((world, user), server, store, seen)
    }
}

impl Actor for Odd {
    type Context = Context<Self>;
}

impl Handler<UploadBegin> for Odd {
    type Result = Result<UploadBegun, StoreError>;

    fn handle(&mut self, _: UploadBegin, _: &mut Context<Self>) -> Self::Result {
        self.take("begin to put".to_owned())?;
        Ok(UploadBegun { upload: 1, part_bytes: self.part_bytes as u32 })
    }
}

impl Handler<UploadPart> for Odd {
    type Result = Result<UploadPartDone, StoreError>;

    fn handle(&mut self, part: UploadPart, _: &mut Context<Self>) -> Self::Result {
        self.take(format!("put part {}", part.number))?;
        let mut seen = self.seen.lock().unwrap();
        let expected = (seen.value.len() / self.part_bytes) as u64;
        if u64::from(part.number) > expected {
            return Err(StoreError::PartOutOfOrder { expected });
        }
        if u64::from(part.number) == expected {
            seen.value.extend(&part.bytes);
        }
        Ok(UploadPartDone { stored_bytes: part.bytes.len() as u64 })
    }
}

impl Handler<UploadFinish> for Odd {
    type Result = Result<PutDone, StoreError>;

    fn handle(&mut self, _: UploadFinish, _: &mut Context<Self>) -> Self::Result {
        self.take("finish".to_owned())?;
        let mut seen = self.seen.lock().unwrap();
        seen.is_finished = true;
        Ok(PutDone { stored_bytes: seen.value.len() as u64, revision: 1 })
    }
}

impl Handler<UploadAbort> for Odd {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, _: UploadAbort, _: &mut Context<Self>) -> Self::Result {
        self.seen.lock().unwrap().aborts += 1;
        Ok(())
    }
}

impl Handler<ReadBegin> for Odd {
    type Result = Result<Option<Readable>, StoreError>;

    fn handle(&mut self, _: ReadBegin, _: &mut Context<Self>) -> Self::Result {
        self.take("begin to get".to_owned())?;
        Ok(Some(Readable::InParts(self.found)))
    }
}

impl Handler<ReadPart> for Odd {
    type Result = Result<Part, StoreError>;

    fn handle(&mut self, part: ReadPart, _: &mut Context<Self>) -> Self::Result {
        self.take(format!("get part {}", part.number))?;
        let seen = self.seen.lock().unwrap();
        let part = seen.value.chunks(self.found.part_bytes as usize).nth(part.number as usize);
        Ok(Part::new(part.unwrap_or_default().to_vec()))
    }
}

fn store_of(value: &[u8], part_bytes: usize, refusals: u32) -> Odd {
    let found = InParts {
        value: 1,
        revision: 1,
        value_bytes: value.len() as u64,
        part_bytes: part_bytes as u32,
        parts: value.len().div_ceil(part_bytes) as u32,
        checksum: crc32fast::hash(value),
    };
    let seen = Seen { value: value.to_vec(), ..Seen::default() };
    Odd { part_bytes, found, refusals, seen: Arc::new(Mutex::new(seen)) }
}

#[test]
fn a_stream_goes_on_when_the_store_was_overloaded_for_a_while() {
    actix::System::new().block_on(async {
        let value = noise(5 * MIB / 2, 1);
        let mut odd = store_of(&value, MIB / 2, 3);
        odd.seen = Arc::default();
        let (_world, server, store, seen) = odd.start().await;
        store.put_stream("key", &value[..], None, PutOptions::new()).await.unwrap();
        {
            let seen = seen.lock().unwrap();
            assert!(seen.is_finished && seen.value == value);
        }
        let mut got = Vec::new();
        let mut reading = store.get_stream("key").await.unwrap().unwrap();
        reading.copy_to(&mut got).await.unwrap();
        assert!(got == value);
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        // Begin and finish, begin, and the parts in both directions.
        assert_eq!((seen.refused.len(), seen.aborts), (3 + 2 * 5, 0));
        assert!(seen.refused.values().all(|count| *count == 3), "{:?}", seen.refused);
        stop(&server).await;
    });
}

#[test]
fn a_stream_ends_when_the_store_stays_overloaded() {
    actix::System::new().block_on(async {
        let (_world, server, store, _) = store_of(&[7; MIB], MIB, u32::MAX).start().await;
        let refused = store.get_stream("key").await.unwrap_err();
        assert_eq!(refused, ClientError::Store(StoreError::Overloaded));
        stop(&server).await;
    });
}

#[test]
fn numbers_of_parts_that_cannot_be_are_no_value() {
    actix::System::new().block_on(async {
        let value = noise(3 * MIB + 1, 1);
        for change in [
            |found: &mut InParts| (found.parts, found.checksum) = (0, 0),
            |found: &mut InParts| found.parts = 3,
            |found: &mut InParts| found.parts = 5,
            |found: &mut InParts| found.part_bytes = 0,
            |found: &mut InParts| found.value_bytes = u64::MAX,
        ] {
            let mut odd = store_of(&value, MIB, 0);
            change(&mut odd.found);
            let found = odd.found;
            let (_world, server, store, _) = odd.start().await;
            assert_eq!(store.get_stream("key").await.unwrap_err(), ClientError::Differs, "{found:?}");
            stop(&server).await;
        }
    });
}

#[test]
fn parts_of_a_length_that_cannot_be_are_not_sent() {
    actix::System::new().block_on(async {
        for part_bytes in [0, MAX_PART_BYTES + 1, u32::MAX as usize] {
            let mut odd = store_of(&[], MIB, 0);
            odd.part_bytes = part_bytes;
            let (_world, server, store, seen) = odd.start().await;
            let put = store.put_stream("key", &[7; 2 * MIB][..], None, PutOptions::new()).await;
            let (bytes, limit) = (part_bytes as u64, MAX_PART_BYTES as u64);
            assert_eq!(put, Err(StoreError::PartLength { bytes, limit }.into()));
            {
                let seen = seen.lock().unwrap();
                assert_eq!((seen.aborts, seen.value.len()), (1, 0));
            }
            stop(&server).await;
        }
    });
}
