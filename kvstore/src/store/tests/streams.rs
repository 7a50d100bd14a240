//! Values that are written and read part by part, with a clock that the tests set.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tempfile::TempDir;

use super::noise;
use crate::store::checked::Checked;
use crate::store::clock::Clock;
use crate::store::handle::Revisions;
use crate::store::record::Codec;
use crate::store::{
    Applied, Condition, Full, InParts, Layout, MAX_UPLOADS, ReadError, Store, StoreOptions, Stored,
    UPLOAD_IDLE_MS, UPLOAD_NEEDED_AFTER_MS, UploadDone, UploadError, UploadStep, Write, WriteError, restore,
};

/// Small, so that values of many parts cost little.
pub(super) const PART: usize = 1024;

pub(super) struct Timed {
    pub(super) store: Store,
    options: StoreOptions,
    now_ms: Arc<AtomicU64>,
    directory: TempDir,
}

fn options() -> StoreOptions {
    StoreOptions { part_bytes: PART, max_whole_bytes: 4 * PART, ..StoreOptions::default() }
}

fn open_at(directory: &TempDir, options: &StoreOptions, now_ms: &Arc<AtomicU64>) -> Store {
    let now_ms = Arc::clone(now_ms);
    let clock = Clock::of(move || now_ms.load(Ordering::Relaxed));
    Store::open_as(directory.path(), options.clone(), clock, Revisions::GoOn).unwrap()
}

impl Timed {
    pub(super) fn new() -> Self {
        Self::with(options())
    }

    fn with(options: StoreOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let now_ms = Arc::new(AtomicU64::new(1_000_000));
        Self { store: open_at(&directory, &options, &now_ms), options, now_ms, directory }
    }

    pub(super) fn pass(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(super) fn reopen(self) -> Self {
        drop(self.store);
        Self { store: open_at(&self.directory, &self.options, &self.now_ms), ..self }
    }

    fn step(&self, step: UploadStep) -> Result<Applied, WriteError> {
        self.store.apply(vec![Write::Upload(step)]).pop().unwrap()
    }

    fn begin(&self, key: &'static str) -> Result<u64, WriteError> {
        let step = UploadStep::Begin { key: key.into(), condition: Condition::Always, value_bytes: None };
        match self.step(step)? {
            Applied::Upload(UploadDone::Begun { upload, part_bytes }) => {
                assert_eq!(part_bytes as usize, PART);
                Ok(upload)
            }
            other => panic!("{other:?}"),
        }
    }

    fn part(&self, upload: u64, number: u32, bytes: &[u8]) -> Result<Applied, WriteError> {
        self.step(UploadStep::Part { upload, number, bytes: Bytes::copy_from_slice(bytes) })
    }

    fn finish(&self, upload: u64, key: &'static str, value: &[u8]) -> Result<Applied, WriteError> {
        self.step(UploadStep::Finish {
            upload,
            key: key.into(),
            condition: Condition::Always,
            ttl_ms: None,
            value_bytes: value.len() as u64,
            checksum: crc32fast::hash(value),
        })
    }

    fn stream(&self, key: &'static str, value: &[u8]) -> Stored {
        self.stream_for(key, value, None)
    }

    fn stream_for(&self, key: &'static str, value: &[u8], ttl_ms: Option<u64>) -> Stored {
        stream(&self.store, key, value, ttl_ms).unwrap()
    }

    fn in_parts(&self, key: &str) -> InParts {
        match self.store.layout(key.as_bytes()).unwrap() {
            Some(Layout::InParts(parts)) => parts,
            other => panic!("{other:?}"),
        }
    }

    /// Frees what may be freed now.
    pub(super) fn free(&self) {
        while self.store.free_dropped().unwrap() {}
    }

    /// How many parts the table has, whoever needs them, and how many entries there are about values.
    pub(super) fn in_tables(&self) -> (u64, u64) {
        let environment = self.store.environment();
        environment
            .read(|transaction, tables| {
                (tables.parts.len(transaction).unwrap(), tables.values.len(transaction).unwrap())
            })
            .unwrap()
    }

    /// Everything is as it should be; says how many records there are.
    pub(super) fn verify(&self) -> u64 {
        let (mut records, mut after) = (0, None);
        loop {
            let part = self.store.verify(after.as_deref()).unwrap();
            assert_eq!(part.damaged, []);
            records += part.records;
            after = part.next;
            if after.is_none() {
                return records;
            }
        }
    }
}

fn stream(store: &Store, key: &'static str, value: &[u8], ttl_ms: Option<u64>) -> Result<Stored, WriteError> {
    let mut writer = store.writer(key, Condition::Always)?;
    writer.write_all(value).map_err(|error| match error.downcast::<WriteError>() {
        Ok(error) => error,
        Err(other) => panic!("{other}"),
    })?;
    writer.finish(ttl_ms)
}

pub(super) fn read(store: &Store, key: &str) -> Option<Vec<u8>> {
    let mut reader = store.reader(key.as_bytes()).unwrap()?;
    let mut value = Vec::new();
    reader.read_to_end(&mut value).unwrap();
    assert_eq!(value.len() as u64, reader.value_bytes());
    Some(value)
}

#[test]
fn a_value_is_read_as_it_was_written_whatever_its_length() {
    let timed = Timed::new();
    for length in [0, 1, PART - 1, PART, PART + 1, 4 * PART, 4 * PART + 1, 300 * PART + 7] {
        // Half of it can be compressed, so that there are parts of both kinds.
        let value = [noise(7, length / 2), vec![7; length - length / 2]].concat();
        let stored = timed.stream("key", &value);
        assert!(read(&timed.store, "key").unwrap() == value, "{length}");
        let parts = timed.in_parts("key");
        assert_eq!((parts.value_bytes, parts.parts), (length as u64, length.div_ceil(PART) as u32));
        assert_eq!((parts.revision, parts.checksum), (stored.revision, crc32fast::hash(&value)));
        let meta = timed.store.meta(b"key").unwrap().unwrap();
        assert_eq!((meta.value_bytes, meta.codec), (length as u64, Codec::Parts));
        assert_eq!((meta.stored_bytes, meta.revision), (stored.stored_bytes, stored.revision));
        assert!(length < 2 * PART || stored.stored_bytes < length as u64 * 3 / 4, "{length}");
        let listed = timed.store.list(b"", None, 10).unwrap().keys.remove(0).meta.unwrap();
        assert_eq!(listed, meta);
        // As a whole it is read only up to the limit.
        match timed.store.get(b"key") {
            Ok(Some(entry)) => {
                assert!(length <= 4 * PART && entry.value == value);
                assert_eq!((entry.revision, entry.stored_bytes), (stored.revision, stored.stored_bytes));
                let many = timed.store.get_many(&["key".into()], 4 * PART).unwrap();
                assert_eq!(many[0].as_ref().unwrap().as_ref(), Some(&entry));
            }
            Err(ReadError::ValueTooLarge { bytes, limit }) => {
                assert_eq!((bytes, limit), (length, 4 * PART));
                assert!(length > limit);
            }
            other => panic!("{length}: {other:?}"),
        }
        assert_eq!(timed.verify(), 1);
    }
    assert_eq!(timed.store.revision().unwrap(), 8);
    timed.pass(60_000);
    timed.free();
    assert_eq!(timed.in_tables(), (301, 1));
}

#[test]
fn a_reader_of_a_whole_value_reads_it_as_well() {
    let timed = Timed::new();
    assert!(timed.store.reader(b"key").unwrap().is_none());
    let revision = timed.store.put("key", "value").unwrap().revision;
    let reader = timed.store.reader(b"key").unwrap().unwrap();
    assert_eq!((reader.revision(), reader.value_bytes()), (revision, 5));
    assert_eq!(timed.store.layout(b"key").unwrap(), Some(Layout::Whole));
    assert_eq!(read(&timed.store, "key").unwrap(), b"value");
    assert!(matches!(timed.store.reader(b""), Err(ReadError::Key(_))));
}

#[test]
fn a_value_over_the_limit_is_refused_as_soon_as_it_is_known() {
    let timed = Timed::with(StoreOptions { max_value_bytes: 3 * PART, ..options() });
    assert!(matches!(
        timed.store.put("key", vec![0; 3 * PART + 1]),
        Err(WriteError::ValueTooLarge { limit: 3072, .. })
    ));
    let step = UploadStep::Begin { key: "key".into(), condition: Condition::Always, value_bytes: Some(3073) };
    let refused = timed.step(step);
    assert!(matches!(refused, Err(WriteError::ValueTooLarge { bytes: 3073, limit: 3072 })), "{refused:?}");
    let refused = stream(&timed.store, "key", &[0; 4 * PART], None);
    assert!(matches!(refused, Err(WriteError::ValueTooLarge { bytes: 4096, limit: 3072 })), "{refused:?}");
    timed.pass(2000);
    timed.free();
    assert_eq!(timed.in_tables(), (0, 0));
    timed.stream("key", &[0; 3 * PART]);
}

#[test]
fn parts_come_one_after_the_other_and_may_come_twice() {
    let timed = Timed::new();
    let value = noise(1, 2 * PART + 10);
    let upload = timed.begin("key").unwrap();
    let refused = |result: Result<Applied, WriteError>| match result {
        Err(WriteError::Upload(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(timed.part(upload, 1, &value[..PART])), UploadError::OutOfOrder { expected: 0 });
    let limit = |bytes, limit| UploadError::PartLength { bytes, limit };
    assert_eq!(refused(timed.part(upload, 0, &[])), limit(0, 1 << 20));
    assert_eq!(refused(timed.part(upload, 0, &value[..PART + 1])), limit(PART + 1, PART));
    assert_eq!(refused(timed.part(upload + 1, 0, &value[..PART])), UploadError::NoSuchUpload);
    for number in [0, 0, 1, 0, 1] {
        let at = number as usize * PART;
        timed.part(upload, number, &value[at..at + PART]).unwrap();
    }
    assert_eq!(refused(timed.part(upload, 0, &value[1..=PART])), UploadError::Differs);
    assert_eq!(refused(timed.finish(upload, "key", &value)), UploadError::Differs);
    timed.part(upload, 2, &value[2 * PART..]).unwrap();
    timed.part(upload, 2, &value[2 * PART..]).unwrap();
    // The last one was short: nothing comes behind it.
    assert_eq!(refused(timed.part(upload, 3, b"more")), UploadError::OutOfOrder { expected: 3 });
    let mut other = value.clone();
    other[0] ^= 1;
    assert_eq!(refused(timed.finish(upload, "key", &other)), UploadError::Differs);
    assert!(timed.store.get(b"key").unwrap().is_none());
    let reading = timed.store.read_part(b"key", upload, 0);
    assert!(matches!(reading, Err(ReadError::Gone)), "it is not there before its end");
    assert!(matches!(timed.finish(upload, "key", &value), Ok(Applied::Stored(Stored { revision: 1, .. }))));
    assert_eq!(refused(timed.finish(upload, "key", &value)), UploadError::NoSuchUpload);
    assert_eq!(timed.step(UploadStep::Abort { upload }).unwrap(), UploadDone::Aborted.into());
    assert_eq!(read(&timed.store, "key").unwrap(), value);
    let missing = timed.store.read_part(b"key", upload, 3);
    assert!(matches!(missing, Err(ReadError::NoSuchPart { number: 3, parts: 3 })), "{missing:?}");
}

#[test]
fn conditions_are_judged_at_the_beginning_and_again_at_the_end() {
    let timed = Timed::new();
    let absent = |value: &[u8]| -> Result<Stored, WriteError> {
        let mut writer = timed.store.writer("key", Condition::Absent)?;
        writer.write_all(value).unwrap();
        writer.finish(None)
    };
    let first = absent(&noise(1, 3 * PART)).unwrap();
    let conflict = absent(b"v").unwrap_err();
    assert!(
        matches!(conflict, WriteError::Conflict { current: Some(revision) } if revision == first.revision)
    );
    let mut writer = timed.store.writer("key", Condition::Revision(first.revision)).unwrap();
    writer.write_all(&noise(2, 5 * PART)).unwrap();
    let second = timed.store.put("key", "in between").unwrap();
    let conflict = writer.finish(None).unwrap_err();
    assert!(
        matches!(conflict, WriteError::Conflict { current: Some(revision) } if revision == second.revision)
    );
    assert_eq!(timed.store.get(b"key").unwrap().unwrap().value, "in between");
    timed.pass(60_000);
    timed.free();
    assert_eq!(timed.in_tables(), (0, 0));
    // And the other way round: a condition on a value in parts.
    let third = timed.stream("key", &noise(3, 5 * PART));
    let if_revision =
        |revision| Write::Remove { key: "key".into(), condition: Condition::Revision(revision) };
    let results = timed.store.apply(vec![if_revision(second.revision), if_revision(third.revision)]);
    assert!(matches!(results[0], Err(WriteError::Conflict { current: Some(3) })), "{results:?}");
    assert!(matches!(results[1], Ok(Applied::Removed { revision: Some(4) })), "{results:?}");
}

#[test]
fn a_value_that_is_replaced_or_removed_is_read_to_its_end() {
    type Change = fn(&Timed);
    let changes: [Change; 5] = [
        |timed| assert_eq!(timed.store.put("key", "short").unwrap().revision, 2),
        |timed| assert!(timed.store.remove("key").unwrap()),
        |timed| assert_eq!(timed.stream("key", &noise(9, 20 * PART)).revision, 2),
        |timed| {
            timed.pass(20_000);
            assert_eq!(timed.store.collect_expired().unwrap(), 1);
        },
        |timed| {
            let writes = vec![Write::put("key", "a"), Write::put("other", "b")];
            let together = crate::store::Together::new(writes).unwrap();
            timed.store.apply(vec![Write::Together(together)]).pop().unwrap().unwrap();
        },
    ];
    for change in changes {
        let timed = Timed::new();
        let value = noise(1, 10 * PART);
        timed.stream_for("key", &value, Some(20_000));
        let mut reader = timed.store.reader(b"key").unwrap().unwrap();
        let mut begin = vec![0; 3 * PART];
        reader.read_exact(&mut begin).unwrap();
        let parts = timed.in_parts("key");
        change(&timed);
        // It pauses for long, twice.
        for at in [3, 4] {
            timed.pass(39_999);
            timed.free();
            let mut part = vec![0; PART];
            reader.read_exact(&mut part).unwrap();
            assert_eq!(part, value[at * PART..(at + 1) * PART]);
        }
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert!(rest == value[5 * PART..]);
        // Who pauses for longer is told.
        timed.pass(60_000);
        timed.free();
        let gone = timed.store.read_part(b"key", parts.value, 0);
        assert!(matches!(gone, Err(ReadError::Gone)), "{gone:?}");
        timed.verify();
        let (parts, values) = timed.in_tables();
        assert!((parts, values) == (0, 0) || (parts, values) == (20, 1), "{parts} {values}");
    }
}

#[test]
fn what_nobody_reads_is_freed_soon() {
    let timed = Timed::new();
    timed.stream("key", &noise(1, 600 * PART));
    timed.store.put("key", "short").unwrap();
    timed.free();
    assert_eq!(timed.in_tables(), (600, 1), "a reader may just have begun with it");
    timed.pass(2000);
    assert!(timed.store.free_dropped().unwrap());
    assert_eq!(timed.in_tables(), (568, 1), "in transactions of bounded size");
    let timed = timed.reopen();
    timed.free();
    assert_eq!(timed.in_tables(), (0, 0));
}

#[test]
fn values_of_few_parts_are_freed_together() {
    const KEYS: [&str; 20] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17",
        "18", "19",
    ];
    let timed = Timed::new();
    for key in KEYS {
        timed.stream(key, &noise(1, 2 * PART));
        timed.store.remove(key).unwrap();
    }
    assert_eq!(timed.in_tables(), (40, 20));
    timed.pass(2000);
    assert!(timed.store.free_dropped().unwrap());
    assert_eq!(
        timed.in_tables(),
        (8, 4),
        "as many as one transaction frees, and no entry is left for another"
    );
    assert!(timed.store.free_dropped().unwrap());
    assert_eq!(timed.in_tables(), (0, 0));
    assert!(!timed.store.free_dropped().unwrap());
}

#[test]
fn a_value_with_a_time_to_live_ends_as_others_do() {
    let timed = Timed::new();
    timed.stream_for("key", &noise(1, 5 * PART), Some(100));
    assert_eq!(timed.store.meta(b"key").unwrap().unwrap().expires_in_ms, Some(100));
    timed.pass(99);
    assert!(timed.store.reader(b"key").unwrap().is_some());
    timed.pass(1);
    assert!(timed.store.reader(b"key").unwrap().is_none());
    assert!(timed.store.get(b"key").unwrap().is_none());
    let mut writer = timed.store.writer("key", Condition::Absent).unwrap();
    writer.write_all(b"next").unwrap();
    assert_eq!(timed.store.collect_expired().unwrap(), 1);
    writer.finish(None).unwrap();
    timed.pass(60_000);
    timed.free();
    assert_eq!(timed.in_tables(), (1, 1));
    assert_eq!(timed.verify(), 1);
}

#[test]
fn an_upload_ends_with_its_writer_with_the_store_or_after_five_minutes() {
    let mut timed = Timed::new();
    let writer = |timed: &Timed| {
        let mut writer = timed.store.writer("key", Condition::Always).unwrap();
        writer.write_all(&noise(1, 3 * PART)).unwrap();
        writer
    };
    drop(writer(&timed));
    timed.pass(2000);
    timed.free();
    assert_eq!(timed.in_tables(), (0, 0));
    // As after a crash: nobody gives it up.
    let upload = timed.begin("key").unwrap();
    for number in 0..3 {
        timed.part(upload, number, &noise(1, PART)).unwrap();
    }
    assert_eq!(timed.in_tables(), (3, 1));
    timed = timed.reopen();
    let late = timed.part(upload, 3, b"more");
    assert!(matches!(late, Err(WriteError::Upload(UploadError::NoSuchUpload))), "{late:?}");
    timed.verify();
    timed.pass(2000);
    timed.free();
    assert_eq!(timed.in_tables(), (0, 0));
    assert_ne!(timed.begin("key").unwrap(), upload, "no number is given twice");

    let mut slow = writer(&timed);
    let left = timed.begin("left").unwrap();
    timed.part(left, 0, b"v").unwrap();
    timed.pass(UPLOAD_IDLE_MS - 1);
    assert_eq!(timed.store.drop_idle_uploads().unwrap(), 0);
    slow.write_all(&noise(1, PART)).unwrap();
    timed.pass(1);
    assert_eq!(timed.store.drop_idle_uploads().unwrap(), 2, "this one, and the one of before");
    let late = timed.finish(left, "left", b"v");
    assert!(matches!(late, Err(WriteError::Upload(UploadError::NoSuchUpload))), "{late:?}");
    slow.finish(None).unwrap();
    assert_eq!(timed.verify(), 1);
}

#[test]
fn there_are_only_so_many_uploads_at_once() {
    let timed = Timed::new();
    let uploads: Vec<_> = (0..MAX_UPLOADS).map(|_| timed.begin("key").unwrap()).collect();
    let refused = timed.begin("key");
    assert!(matches!(refused, Err(WriteError::Upload(UploadError::TooMany { limit: MAX_UPLOADS }))));
    timed.step(UploadStep::Abort { upload: uploads[7] }).unwrap();
    timed.begin("key").unwrap();
    // The places of clients that were killed are needed sooner than after five minutes.
    timed.pass(UPLOAD_NEEDED_AFTER_MS - 1);
    timed.part(uploads[0], 0, b"slow").unwrap();
    assert!(timed.begin("key").is_err());
    timed.pass(1);
    timed.begin("key").unwrap();
    timed.part(uploads[2], 0, b"v").unwrap();
    let late = timed.part(uploads[1], 0, b"v");
    assert!(matches!(late, Err(WriteError::Upload(UploadError::NoSuchUpload))), "{late:?}");
    assert!(matches!(timed.finish(uploads[0], "key", b"slow"), Ok(Applied::Stored(_))));
}

#[test]
fn an_end_that_cannot_be_judged_for_now_can_be_tried_again() {
    let timed = Timed::new();
    let other = timed.store.put("other", noise(1, 3000)).unwrap();
    let before = timed.store.put("key", noise(2, 3000)).unwrap();
    let upload = timed.begin("key").unwrap();
    timed.part(upload, 0, b"value").unwrap();
    timed.store.inner().writer.lock().unwrap().checked = Checked::within(4000);
    let check = Write::Check { key: "other".into(), condition: Condition::Revision(other.revision) };
    let finish = Write::Upload(UploadStep::Finish {
        upload,
        key: "key".into(),
        condition: Condition::Revision(before.revision),
        ttl_ms: None,
        value_bytes: 5,
        checksum: crc32fast::hash(b"value"),
    });
    let results = timed.store.apply(vec![check, finish.clone()]);
    assert!(matches!(results[..], [Ok(_), Err(WriteError::TooMuchToCheck)]), "{results:?}");
    let results = timed.store.apply(vec![finish]);
    assert!(matches!(results[..], [Ok(Applied::Stored(_))]), "{results:?}");
    assert_eq!(timed.store.get(b"key").unwrap().unwrap().value, "value");
}

#[test]
fn a_full_store_takes_first_what_nobody_reads_and_what_is_left_at_last() {
    let timed = Timed::new();
    for (seed, key) in [(1, "read"), (2, "unread")] {
        timed.stream(key, &noise(seed, 3 * PART));
    }
    let parts = timed.in_parts("read");
    assert!(timed.store.remove("read").unwrap() && timed.store.remove("unread").unwrap());
    let left = timed.begin("left").unwrap();
    timed.part(left, 0, b"v").unwrap();
    let reclaim = || timed.store.inner().reclaim(&mut timed.store.inner().writer.lock().unwrap());
    let reclaim = || reclaim().is_ok_and(|some| some);
    assert!(reclaim());
    assert_eq!(timed.in_tables(), (4, 2));
    assert!(timed.store.read_part(b"read", parts.value, 0).is_ok());
    assert!(reclaim());
    assert_eq!(timed.in_tables(), (1, 1));
    timed.pass(UPLOAD_NEEDED_AFTER_MS - 1);
    assert!(!reclaim(), "its client may just be slow");
    timed.pass(1);
    assert!(reclaim());
    assert_eq!(timed.in_tables(), (0, 0));
    let late = timed.part(left, 1, b"v");
    assert!(matches!(late, Err(WriteError::Upload(UploadError::NoSuchUpload))), "{late:?}");
}

#[test]
fn a_full_store_refuses_a_part_and_has_the_room_again() {
    let timed = Timed::with(StoreOptions { max_size_bytes: 4 << 20, initial_map_bytes: 1, ..options() });
    let value = noise(1, 512 << 10);
    timed.stream("first", &value);
    timed.store.put("small", "v").unwrap();
    let refused = stream(&timed.store, "second", &noise(2, 4 << 20), None);
    assert!(matches!(refused, Err(WriteError::StoreFull(Full::MaxSize { .. }))), "{refused:?}");
    assert_eq!(timed.store.status().unwrap().full, Some(Full::MaxSize { max_size_bytes: 4 << 20 }));
    assert!(read(&timed.store, "first").unwrap() == value);
    // What it took is there again at once, although the time to free it has not come, and time and again.
    for round in 0..4 {
        let next = noise(10 + round, 384 << 10);
        timed.stream("second", &next);
        assert!(read(&timed.store, "second").unwrap() == next);
        assert_eq!(timed.store.status().unwrap().full, None);
    }
    // Those who read what is gone must do without it now, and are told.
    let parts = timed.in_parts("second");
    timed.store.remove("second").unwrap();
    timed.stream("third", &noise(3, 704 << 10));
    let gone = timed.store.read_part(b"second", parts.value, 0);
    assert!(matches!(gone, Err(ReadError::Gone)), "{gone:?}");
    assert!(read(&timed.store, "first").unwrap() == value);
    assert_eq!(timed.verify(), 3);
}

#[test]
fn a_backup_and_a_compaction_take_values_in_parts_along() {
    let timed = Timed::new();
    let value = noise(1, 50 * PART);
    timed.stream("key", &value);
    timed.stream("gone", &noise(2, 500 * PART));
    timed.store.remove("gone").unwrap();
    let upload = timed.begin("unfinished").unwrap();
    timed.part(upload, 0, &value[..PART]).unwrap();
    let at = |name: &str| timed.directory.path().join(name);
    timed.store.backup(&at("backup")).unwrap();
    let restored = restore(&at("backup"), &at("restored")).unwrap();
    assert_eq!(restored.entries, 1);
    let copy = Store::open(&at("restored"), options()).unwrap();
    assert!(read(&copy, "key").unwrap() == value);
    timed.pass(2000);
    timed.free();
    let done = timed.store.compact().unwrap();
    assert!(done.after_bytes + 400_000 < done.before_bytes, "{done:?}");
    assert!(read(&timed.store, "key").unwrap() == value);
    // The upload goes on over the compaction.
    timed.finish(upload, "unfinished", &value[..PART]).unwrap();
    assert_eq!(timed.verify(), 2);
}
