//! Reads, and the memory that their answers take. A peer can ask for a thousand large values in a few kilobytes, and
//! then take its time to receive them: what is read meanwhile is bounded here.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answers::answer;
use crate::{
    engine::{Engine, EngineError, Pending},
    messages::{Part, Value, Values},
    store::{
        Attached, Change, ChangeKind, ChangesError, ChangesPage, ChangesQuery, Entry, Layout, MAX_PART_BYTES,
        ReadError, Store,
    },
};

/// What the values of all answers may take until they are written to their connections; one of the longest is always
/// let through.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// What a read takes of that before it knows the length of its value. A longer value is read a second time.
const EXPECTED_BYTES: usize = 1 << 20;

/// A value up to this length takes nothing of it: the number of calls is bounded too.
const FREE_BYTES: usize = 16 << 10;

/// How many looks at changes the engine has at once: there may be thousands who watch, and other reads come in between.
const MAX_LOOKS_AT_ONCE: usize = 32;

/// How long a read waits for its part.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The engine's reads, within bounds.
#[derive(Debug, Clone)]
pub(super) struct Reads {
    engine: Engine,
    max_value_bytes: usize,
    room: Arc<Semaphore>,
    looks: Arc<Semaphore>,
    max_wait: Duration,
}

impl Reads {
    pub(super) fn new(engine: Engine, max_value_bytes: usize) -> Self {
        Self::within(MAX_ANSWER_BYTES, MAX_WAIT, engine, max_value_bytes)
    }

    fn within(bytes: usize, max_wait: Duration, engine: Engine, max_value_bytes: usize) -> Self {
        let room = Arc::new(Semaphore::new(bytes.max(max_value_bytes)));
        let looks = Arc::new(Semaphore::new(MAX_LOOKS_AT_ONCE));
        Self { engine, max_value_bytes, room, looks, max_wait }
    }

    /// Has a read accepted at once or not at all.
    pub(super) fn accept(&self, key: Bytes) -> Result<Reading, EngineError> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(permits(EXPECTED_BYTES)).ok();
        let limit_bytes = if room.is_some() { EXPECTED_BYTES } else { FREE_BYTES };
        let pending = self.engine.try_get_within(key.clone(), limit_bytes)?;
        Ok(Reading { reads: self.clone(), key, pending, room })
    }

    /// Has a read of many keys accepted at once or not at all; the answer comes with the room that it takes.
    pub(super) fn accept_many(
        &self,
        keys: Vec<Bytes>,
    ) -> Result<impl Future<Output = Result<Values, EngineError>> + use<>, EngineError> {
        let mut room = Arc::clone(&self.room).try_acquire_many_owned(permits(EXPECTED_BYTES)).ok();
        let limit_bytes = if room.is_some() { EXPECTED_BYTES } else { FREE_BYTES };
        let reads = self.clone();
        let keys: Arc<[Bytes]> = keys.into();
        let first = reads.query_many(&keys, limit_bytes)?;
        Ok(async move {
            let mut answer = first.await;
            loop {
                match answer {
                    Ok(values) => {
                        let bytes = values.value_bytes();
                        let part =
                            room.as_mut().filter(|_| bytes > FREE_BYTES).and_then(|room| room.split(bytes));
                        return Ok(match part {
                            Some(part) => values.holding(part),
                            None => values,
                        });
                    }
                    Err(EngineError::Read(ReadError::ValueTooLarge { bytes, .. }))
                        if bytes <= reads.max_value_bytes =>
                    {
                        drop(room.take());
                        room = Some(reads.room_for(bytes).await?);
                        answer = reads.query_many(&keys, bytes)?.await;
                    }
                    Err(EngineError::Read(ReadError::ValueTooLarge { bytes, .. })) => {
                        return Err(ReadError::ValueTooLarge { bytes, limit: reads.max_value_bytes }.into());
                    }
                    Err(other) => return Err(other),
                }
            }
        })
    }

    /// Has changes read, with values as far as they are short; what they take comes with them.
    pub(super) async fn changes(
        &self,
        mut query: ChangesQuery,
        values: bool,
    ) -> Result<Result<(ChangesPage, Option<OwnedSemaphorePermit>), ChangesError>, EngineError> {
        query.values_bytes = None;
        let found = self.query_changes(query.clone()).await?;
        let is_put = |(change, _): &(Change, Attached)| matches!(change.kind, ChangeKind::Put { .. });
        let has_values = found.as_ref().is_ok_and(|page| page.changes.iter().any(is_put));
        if !values || !has_values {
            return Ok(found.map(|page| (page, None)));
        }
        // Nearly all looks of those who wait find nothing, and take no room from others.
        let mut room = Some(self.room_for(EXPECTED_BYTES).await?);
        query.values_bytes = Some(EXPECTED_BYTES);
        let found = self.query_changes(query).await?;
        Ok(found.map(|page| {
            let values = page.changes.iter().map(|(_, attached)| match attached {
                Attached::Value(value) => value.len(),
                _ => 0,
            });
            let bytes = values.sum();
            (page, room.as_mut().filter(|_| bytes > FREE_BYTES).and_then(|room| room.split(bytes)))
        }))
    }

    async fn query_changes(
        &self,
        query: ChangesQuery,
    ) -> Result<Result<ChangesPage, ChangesError>, EngineError> {
        let _look = self.looks.acquire().await.expect("it is never closed");
        self.engine.try_query(move |store| Ok::<_, EngineError>(store.changes(&query)))?.await
    }

    fn query_many(&self, keys: &Arc<[Bytes]>, limit_bytes: usize) -> Result<Pending<Values>, EngineError> {
        let keys = Arc::clone(keys);
        self.engine.try_query(move |store| -> Result<Values, EngineError> {
            let entries = store.get_many(&keys, limit_bytes)?;
            let values = keys.iter().zip(entries).map(|(key, entry)| match entry {
                Ok(entry) => Ok(entry.map(|entry| (entry.value, entry.revision))),
                Err(why) => Err(answer("get", key, &why.into())),
            });
            Ok(Values::new(values.collect()))
        })
    }

    /// Has it asked how a value is stored.
    pub(super) fn layout(&self, key: Bytes) -> Result<Pending<Option<Layout>>, EngineError> {
        self.engine.try_query(move |store: &Store| store.layout(&key))
    }

    /// Reads a part of a value, with the room that it takes.
    pub(super) async fn part(self, key: Bytes, value: u64, number: u32) -> Result<Part, EngineError> {
        let mut room = self.room_for(MAX_PART_BYTES).await?;
        let pending = self.engine.try_query(move |store| store.read_part(&key, value, number))?;
        let part = Part::new(pending.await?);
        Ok(match room.split(part.bytes.len()) {
            Some(room) => part.holding(room),
            None => part,
        })
    }

    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, EngineError> {
        let room = Arc::clone(&self.room).acquire_many_owned(permits(bytes));
        match tokio::time::timeout(self.max_wait, room).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(EngineError::Overloaded),
        }
    }
}

/// A read that was accepted.
pub(super) struct Reading {
    reads: Reads,
    key: Bytes,
    pending: Pending<Option<Entry>>,
    room: Option<OwnedSemaphorePermit>,
}

impl Reading {
    /// The answer, with the room that it takes.
    pub(super) async fn answer(self) -> Result<Option<Value>, EngineError> {
        let Self { reads, key, pending, mut room } = self;
        let mut answer = pending.await;
        loop {
            match answer {
                Ok(Some(entry)) => return Ok(Some(with_room(entry, room))),
                Ok(None) => return Ok(None),
                Err(EngineError::Read(ReadError::ValueTooLarge { bytes, .. })) => {
                    if bytes > reads.max_value_bytes {
                        return Err(ReadError::ValueTooLarge { bytes, limit: reads.max_value_bytes }.into());
                    }
                    // What it has is given back first, or many could wait for each other.
                    drop(room.take());
                    room = Some(reads.room_for(bytes).await?);
                    answer = reads.engine.try_get_within(key.clone(), bytes)?.await;
                }
                Err(other) => return Err(other),
            }
        }
    }
}

fn with_room(entry: Entry, mut room: Option<OwnedSemaphorePermit>) -> Value {
    let bytes = entry.value.len();
    let value = Value::new(entry.value, entry.revision);
    match room.as_mut().filter(|_| bytes > FREE_BYTES).and_then(|room| room.split(bytes)) {
        Some(part) => value.holding(part),
        None => value,
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::EngineOptions, messages::Get, store::StoreOptions};

    const MIB: usize = 1 << 20;

    struct Fixture {
        reads: Reads,
        _directory: tempfile::TempDir,
    }

    /// A store of values of at most 3 MiB, and room for answers of 5 MiB.
    fn fixture(max_wait: Duration) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { max_value_bytes: 3 * MIB, ..StoreOptions::default() };
        let store = Store::open(directory.path(), options).unwrap();
        for bytes in [0, 1, FREE_BYTES, FREE_BYTES + 1, MIB, MIB + 1, 3 * MIB] {
            store.put(bytes.to_string(), vec![7; bytes]).unwrap();
        }
        let engine = Engine::start(store, &EngineOptions::default()).unwrap();
        Fixture { reads: Reads::within(5 * MIB, max_wait, engine, 3 * MIB), _directory: directory }
    }

    impl Fixture {
        async fn read(&self, bytes: usize) -> Result<Value, EngineError> {
            let reading = self.reads.accept(bytes.to_string().into())?;
            let value = reading.answer().await?.expect("there is one");
            assert!(value.bytes == vec![7; bytes], "another value for {bytes}");
            Ok(value)
        }

        fn free(&self) -> usize {
            self.reads.room.available_permits()
        }
    }

    #[tokio::test]
    async fn an_answer_takes_its_length_until_it_is_dropped() {
        let fixture = fixture(MAX_WAIT);
        for (bytes, taken) in [
            (0, 0),
            (FREE_BYTES, 0),
            (FREE_BYTES + 1, FREE_BYTES + 1),
            (MIB, MIB),
            (MIB + 1, MIB + 1),
            (3 * MIB, 3 * MIB),
        ] {
            let value = fixture.read(bytes).await.unwrap();
            assert_eq!(fixture.free(), 5 * MIB - taken);
            let kept = value.released();
            assert_eq!((kept.bytes.len(), fixture.free()), (bytes, 5 * MIB));
        }
        assert!(fixture.reads.accept("missing".into()).unwrap().answer().await.unwrap().is_none());
        assert_eq!(fixture.free(), 5 * MIB);
    }

    #[tokio::test]
    async fn an_answer_takes_its_length_until_it_is_written() {
        let fixture = fixture(MAX_WAIT);
        let result = Ok(Some(fixture.read(MIB).await.unwrap()));
        let tail = <Get as ensemble::RemoteMessage>::result_tail(&result);
        drop(result);
        assert_eq!((tail.len(), fixture.free()), (MIB, 4 * MIB));
        drop(tail);
        assert_eq!(fixture.free(), 5 * MIB);
    }

    #[tokio::test]
    async fn without_room_a_long_value_waits_and_a_short_one_does_not() {
        let fixture = fixture(MAX_WAIT);
        let (first, second) = (fixture.read(3 * MIB).await.unwrap(), fixture.read(MIB + 1).await.unwrap());
        assert!(fixture.free() < MIB);
        let waiting = fixture.read(3 * MIB);
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("there is no room for it"),
            short = fixture.read(FREE_BYTES) => drop(short.unwrap()),
        }
        drop(first);
        drop(waiting.await.unwrap());
        drop(second);
        assert_eq!(fixture.free(), 5 * MIB);
    }

    #[tokio::test]
    async fn what_waits_too_long_is_refused() {
        let fixture = fixture(Duration::ZERO);
        let held = (fixture.read(3 * MIB).await.unwrap(), fixture.read(MIB + 1).await.unwrap());
        assert!(matches!(fixture.read(MIB).await, Err(EngineError::Overloaded)));
        drop(held);
        assert_eq!(fixture.free(), 5 * MIB);
        drop(fixture.read(MIB).await.unwrap());
    }

    #[tokio::test]
    async fn a_look_at_changes_takes_room_only_where_there_are_values() {
        let fixture = fixture(Duration::ZERO);
        let held = (fixture.read(3 * MIB).await.unwrap(), fixture.read(MIB + 1).await.unwrap());
        let look = async |after| {
            let query = ChangesQuery { after: Some(after), most: 10, ..ChangesQuery::default() };
            fixture.reads.changes(query, true).await
        };
        let (page, room) = look(7).await.unwrap().unwrap();
        assert!(page.changes.is_empty() && page.last == 7 && room.is_none());
        assert!(matches!(look(3).await, Err(EngineError::Overloaded)));
        drop(held);
        let (page, room) = look(3).await.unwrap().unwrap();
        assert_eq!((page.next, fixture.free()), (4, 5 * MIB - FREE_BYTES - 1));
        drop(room);
        assert_eq!(fixture.free(), 5 * MIB);
    }

    #[tokio::test]
    async fn many_at_once_are_all_answered() {
        let fixture = Arc::new(fixture(MAX_WAIT));
        let mut readings = tokio::task::JoinSet::new();
        for index in 0..200 {
            let fixture = Arc::clone(&fixture);
            readings.spawn(async move {
                let bytes = [1, FREE_BYTES, FREE_BYTES + 1, MIB, MIB + 1, 3 * MIB][index % 6];
                drop(fixture.read(bytes).await.unwrap());
            });
        }
        readings.join_all().await;
        assert_eq!(fixture.free(), 5 * MIB);
    }

    #[tokio::test]
    async fn a_value_from_under_a_higher_limit_is_told_with_both_numbers() {
        let fixture = fixture(MAX_WAIT);
        let lower = Reads { max_value_bytes: 2 * MIB, ..fixture.reads.clone() };
        let refused = lower.accept((3 * MIB).to_string().into()).unwrap().answer().await;
        let Err(EngineError::Read(ReadError::ValueTooLarge { bytes, limit })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((bytes, limit), (3 * MIB, 2 * MIB));
    }
}
