//! Following what changes.

use std::sync::Arc;

use actix::Message;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use ensemble::{
    Caller, RemoteMessage,
    codec::{DecodeError, EncodeError, decode_message, encode_message},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    error::StoreError,
    get::Room,
    wire::{MAX_DECODED, malformed},
};
use crate::history::History;

/// Longest wait of a [`Watch`], in milliseconds.
pub const MAX_WAIT_MS: u32 = 30_000;
/// Most [`Watch`]es that a store has at once. Each costs about a kilobyte there.
pub const MAX_WATCHES: usize = 4096;
/// Most [`Watch`]es of one start of a server that a store has at once: nobody can keep all others out.
pub const MAX_WATCHES_OF_ONE: usize = 64;

/// Asks for what has changed behind a revision. Where nothing has, the answer waits for the next change, and is empty
/// when the wait is over or the server shuts down.
///
/// The store keeps nothing for a watcher but this question. One that asks late gets what has changed meanwhile, or is
/// told that it is no longer kept.
///
/// The result begins with a byte: 1, the codec's bytes of an error follow; 0, the history (16 bytes), the revision to go on
/// behind, the last one and the first that is kept (eight bytes each) and the number of changes (four bytes) follow. For
/// each change: its revision (eight bytes); a byte, 1 a put, 2 a remove, 3 an end by itself; the length of the value (eight
/// bytes); the length of the key (two bytes) and the key; and a byte for the value: 0, none; 1, it is attached, and its
/// length (four bytes) follows; 2, the key has changed since; 3, it is to be read by itself. Then come the values, one
/// behind the other. Numbers are little-endian.
#[derive(Debug, Clone, Message, Serialize, Deserialize)]
#[rtype(result = "Result<Changes, WatchRefused>")]
pub struct Watch {
    /// What the keys begin with; empty for all keys.
    pub prefix: Bytes,
    /// The revision that the sender has seen. None for the last that there is: the answer comes at once and says which.
    pub after: Option<u64>,
    /// The history of that revision; none where the sender does not know it.
    pub history: Option<History>,
    /// How many changes at most. The store gives at most 1000 at once, and fewer when they are long.
    pub limit: u32,
    /// Whether values are to be attached to puts, as far as they are still there and there is room.
    pub values: bool,
    /// How long to wait for a change, in milliseconds; at most [`MAX_WAIT_MS`], and less than the call's deadline.
    pub wait_ms: u32,
    #[serde(skip)]
    pub(crate) caller: Option<Caller>,
}

impl Watch {
    /// The message that asks for what changes from now on: the answer says which revision that is.
    pub fn from_now(prefix: impl Into<Bytes>) -> Self {
        Self {
            prefix: prefix.into(),
            after: None,
            history: None,
            limit: u32::MAX,
            values: false,
            wait_ms: 0,
            caller: None,
        }
    }
}

/// Some of the changes, in their order, with none missing in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The history of all the revisions here.
    pub history: History,
    /// The last revision that was looked at, behind which to go on: also where no change of it was asked for.
    pub next: u64,
    /// The last revision that there is.
    pub last: u64,
    /// The first revision whose change is kept.
    pub first: u64,
    changes: Vec<Told>,
    /// The values that are attached, one behind the other.
    bytes: Bytes,
    #[serde(skip)]
    room: Room,
}

/// What was done with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The revision of the change. A change with a higher one came later.
    pub revision: u64,
    /// The key.
    pub key: Bytes,
    /// What was done.
    pub kind: ChangeKind,
    /// The value.
    pub value: Attached,
}

/// What a change has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// A value was stored.
    Put {
        /// The length of the value.
        value_bytes: u64,
    },
    /// The key was removed.
    Removed,
    /// The key's time had ended, and it was collected.
    Expired,
}

/// The value that comes with a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attached {
    /// None: there was no put, or values were not asked for.
    Nothing,
    /// The value that was put: the key had the revision of the change when the answer was made.
    Value(Bytes),
    /// None: the key has changed since. A later change says how.
    Replaced,
    /// None: it is long, or cannot be read. Who gets the key gets it, or is told.
    ToBeRead,
}

/// A change as it is in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    revision: u64,
    key: Bytes,
    kind: ChangeKind,
    value: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum At {
    Nothing,
    Attached { bytes: u32 },
    Replaced,
    ToBeRead,
}

impl Changes {
    /// An answer; the values are copied together.
    pub(crate) fn new(history: History, next: u64, last: u64, first: u64, changes: Vec<Change>) -> Self {
        let mut together = BytesMut::new();
        let told = changes.into_iter().map(|Change { revision, key, kind, value }| {
            let value = match value {
                Attached::Nothing => At::Nothing,
                Attached::Value(value) => {
                    together.extend_from_slice(&value);
                    At::Attached { bytes: u32::try_from(value.len()).expect("what is attached is short") }
                }
                Attached::Replaced => At::Replaced,
                Attached::ToBeRead => At::ToBeRead,
            };
            Told { revision, key, kind, value }
        });
        let changes = told.collect();
        Self { history, next, last, first, changes, bytes: together.freeze(), room: Room::default() }
    }

    /// The same, with a part of the server's memory that it holds until it is dropped.
    pub(crate) fn holding(self, room: OwnedSemaphorePermit) -> Self {
        Self { room: Room(Some(Arc::new(room))), ..self }
    }

    /// The same, when nothing was found up to a later revision.
    pub(crate) fn moved_to(&mut self, next: u64) {
        self.next = self.next.max(next);
        self.last = self.last.max(next);
    }

    /// Whether it has no changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes.
    pub fn into_changes(self) -> Vec<Change> {
        let mut rest = self.bytes;
        let changes = self.changes.into_iter().map(|Told { revision, key, kind, value }| {
            let value = match value {
                At::Nothing => Attached::Nothing,
                At::Attached { bytes } => Attached::Value(rest.split_to(bytes as usize)),
                At::Replaced => Attached::Replaced,
                At::ToBeRead => Attached::ToBeRead,
            };
            Change { revision, key, kind, value }
        });
        changes.collect()
    }
}

/// Why there are no changes. On the wire these are told apart by their order: new ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum WatchRefused {
    /// Changes behind the revision that was asked for are no longer kept.
    #[error("the changes behind revision {after} are not kept; the first that is has revision {first}")]
    Compacted {
        /// The revision that was asked for.
        after: u64,
        /// The first revision whose change is kept.
        first: u64,
    },
    /// The revision that was asked for has not been given out.
    #[error("revision {after} is yet to come: the last one is {last}")]
    Ahead {
        /// The revision that was asked for.
        after: u64,
        /// The last revision that was given out.
        last: u64,
    },
    /// The revision is of another history: what followed on it there is not what follows here.
    #[error("the store has begun a new history, {history}")]
    HistoryChanged {
        /// The history of the store.
        history: History,
    },
    /// What is kept of a revision is not what was written. The others are not affected.
    #[error("the change of revision {revision} is damaged")]
    Damaged {
        /// The revision.
        revision: u64,
    },
    /// There are too many watches already, of all or of the sender. Ask again later.
    #[error("too many watch already")]
    TooManyWatches,
    /// The store did not do as asked.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for WatchRefused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

const DONE: u8 = 0;
const REFUSED: u8 = 1;

const PUT: u8 = 1;
const REMOVED: u8 = 2;
const EXPIRED: u8 = 3;

const NOTHING: u8 = 0;
const ATTACHED: u8 = 1;
const REPLACED: u8 = 2;
const TO_BE_READ: u8 = 3;

impl RemoteMessage for Watch {
    const NAME: &'static str = "kvstore.changes";

    fn received_from(&mut self, caller: &Caller) {
        self.caller = Some(caller.clone());
    }

    fn encode_result(result: &Self::Result, out: &mut BytesMut) -> Result<(), EncodeError> {
        let page = match result {
            Ok(page) => page,
            Err(error) => {
                out.put_u8(REFUSED);
                return encode_message(error, out);
            }
        };
        out.put_u8(DONE);
        out.put_slice(page.history.as_bytes());
        for revision in [page.next, page.last, page.first] {
            out.put_u64_le(revision);
        }
        out.put_u32_le(u32::try_from(page.changes.len()).unwrap_or(u32::MAX));
        for change in &page.changes {
            change.put(out);
        }
        Ok(())
    }

    fn result_tail(result: &Self::Result) -> Bytes {
        match result {
            Ok(page) => page.room.hold(&page.bytes),
            Err(_) => Bytes::new(),
        }
    }

    fn decode_result(bytes: &Bytes) -> Result<Self::Result, DecodeError> {
        match bytes.split_first() {
            Some((&DONE, _)) => decode_page(bytes.slice(1..)).map(Ok),
            Some((&REFUSED, error)) => decode_message(error).map(Err),
            _ => Err(malformed()),
        }
    }
}

fn decode_page(mut rest: Bytes) -> Result<Changes, DecodeError> {
    let mut history = [0; 16];
    rest.try_copy_to_slice(&mut history).map_err(short)?;
    let mut revision = || rest.try_get_u64_le().map_err(short);
    let (next, last, first) = (revision()?, revision()?, revision()?);
    let count = rest.try_get_u32_le().map_err(short)?;
    if count > MAX_DECODED {
        return Err(malformed());
    }
    let mut changes = Vec::new();
    let mut value_bytes = 0_usize;
    for _ in 0..count {
        let change = Told::get(&mut rest)?;
        if let At::Attached { bytes } = change.value {
            value_bytes = value_bytes.saturating_add(bytes as usize);
        }
        changes.push(change);
    }
    if rest.len() != value_bytes {
        return Err(malformed());
    }
    let history = History::from_bytes(history);
    Ok(Changes { history, next, last, first, changes, bytes: rest, room: Room::default() })
}

impl Told {
    fn put(&self, out: &mut BytesMut) {
        out.put_u64_le(self.revision);
        let (kind, value_bytes) = match self.kind {
            ChangeKind::Put { value_bytes } => (PUT, value_bytes),
            ChangeKind::Removed => (REMOVED, 0),
            ChangeKind::Expired => (EXPIRED, 0),
        };
        out.put_u8(kind);
        out.put_u64_le(value_bytes);
        out.put_u16_le(u16::try_from(self.key.len()).expect("a key is short"));
        out.put_slice(&self.key);
        match self.value {
            At::Nothing => out.put_u8(NOTHING),
            At::Attached { bytes } => {
                out.put_u8(ATTACHED);
                out.put_u32_le(bytes);
            }
            At::Replaced => out.put_u8(REPLACED),
            At::ToBeRead => out.put_u8(TO_BE_READ),
        }
    }

    fn get(from: &mut Bytes) -> Result<Self, DecodeError> {
        let revision = from.try_get_u64_le().map_err(short)?;
        let kind = from.try_get_u8().map_err(short)?;
        let kind = match (kind, from.try_get_u64_le().map_err(short)?) {
            (PUT, value_bytes) => ChangeKind::Put { value_bytes },
            (REMOVED, 0) => ChangeKind::Removed,
            (EXPIRED, 0) => ChangeKind::Expired,
            _ => return Err(malformed()),
        };
        let length = usize::from(from.try_get_u16_le().map_err(short)?);
        // A slice would keep the whole answer, values and all, for as long as somebody has the key.
        let key = Bytes::copy_from_slice(from.get(..length).ok_or_else(malformed)?);
        from.advance(length);
        let value = match from.try_get_u8().map_err(short)? {
            NOTHING => At::Nothing,
            ATTACHED => At::Attached { bytes: from.try_get_u32_le().map_err(short)? },
            REPLACED => At::Replaced,
            TO_BE_READ => At::ToBeRead,
            _ => return Err(malformed()),
        };
        Ok(Self { revision, key, kind, value })
    }
}

fn short(_: bytes::TryGetError) -> DecodeError {
    malformed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HISTORY: History = History::from_bytes([7; 16]);

    fn result_bytes(result: &Result<Changes, WatchRefused>) -> Bytes {
        let mut out = BytesMut::new();
        Watch::encode_result(result, &mut out).unwrap();
        out.extend_from_slice(&Watch::result_tail(result));
        out.freeze()
    }

    fn change(revision: u64, kind: ChangeKind, value: Attached) -> Change {
        Change { revision, key: "key".into(), kind, value }
    }

    #[test]
    fn golden_bytes_of_the_question() {
        let mut out = BytesMut::new();
        Watch::from_now("a/").encode(&mut out).unwrap();
        assert_eq!(out[..], *b"\x02a/\0\0\xfc\xff\xff\xff\xff\0\0");
        let watch = Watch {
            after: Some(300),
            history: Some(HISTORY),
            limit: 9,
            values: true,
            wait_ms: 8,
            ..Watch::from_now("")
        };
        let mut out = BytesMut::new();
        watch.encode(&mut out).unwrap();
        let mut expected = b"\0\x01\xfb\x2c\x01\x01\x10".to_vec();
        expected.extend_from_slice(&[7; 16]);
        expected.extend_from_slice(&[9, 1, 8]);
        assert_eq!(out[..], expected);
        let decoded = Watch::decode(&out.freeze()).unwrap();
        assert_eq!((decoded.after, decoded.history, decoded.values), (Some(300), Some(HISTORY), true));
        assert_eq!((decoded.limit, decoded.wait_ms), (9, 8));
    }

    #[test]
    fn golden_bytes_of_the_answer() {
        let changes = vec![
            change(1, ChangeKind::Put { value_bytes: 2 }, Attached::Value("hi".into())),
            change(2, ChangeKind::Put { value_bytes: 9 }, Attached::Replaced),
            change(3, ChangeKind::Put { value_bytes: 9 }, Attached::ToBeRead),
            change(4, ChangeKind::Removed, Attached::Nothing),
            change(5, ChangeKind::Expired, Attached::Nothing),
            change(6, ChangeKind::Put { value_bytes: 1 }, Attached::Value("!".into())),
        ];
        let result = Ok(Changes::new(HISTORY, 6, 8, 1, changes.clone()));
        let bytes = result_bytes(&result);
        let number = |number: u8| [number, 0, 0, 0, 0, 0, 0, 0];
        let mut expected = vec![0];
        expected.extend_from_slice(&[7; 16]);
        expected.extend([6, 8, 1].map(number).concat());
        expected.extend_from_slice(&[6, 0, 0, 0]);
        for (revision, kind, length, value) in [
            (1, 1, 2, &[1, 2, 0, 0, 0][..]),
            (2, 1, 9, &[2]),
            (3, 1, 9, &[3]),
            (4, 2, 0, &[0]),
            (5, 3, 0, &[0]),
            (6, 1, 1, &[1, 1, 0, 0, 0]),
        ] {
            expected.extend_from_slice(&number(revision));
            expected.push(kind);
            expected.extend_from_slice(&number(length));
            expected.extend_from_slice(b"\x03\0key");
            expected.extend_from_slice(value);
        }
        expected.extend_from_slice(b"hi!");
        assert_eq!(bytes[..], expected);
        let decoded = Watch::decode_result(&bytes).unwrap();
        assert_eq!(decoded, result);
        assert_eq!(decoded.unwrap().into_changes(), changes);
    }

    #[test]
    fn golden_bytes_of_what_is_refused() {
        let history = [&[1, 2, 16][..], &[7; 16]].concat();
        let golden: [(_, &[u8]); 6] = [
            (WatchRefused::Compacted { after: 3, first: 9 }, &[1, 0, 3, 9]),
            (WatchRefused::Ahead { after: 9, last: 3 }, &[1, 1, 9, 3]),
            (WatchRefused::HistoryChanged { history: HISTORY }, &history),
            (WatchRefused::Damaged { revision: 5 }, &[1, 3, 5]),
            (WatchRefused::TooManyWatches, &[1, 4]),
            (WatchRefused::Store(StoreError::Closed), &[1, 5, 10, 0, 0]),
        ];
        for (refused, bytes) in golden {
            assert_eq!(result_bytes(&Err(refused))[..], *bytes);
            assert_eq!(Watch::decode_result(&Bytes::copy_from_slice(bytes)).unwrap(), Err(refused));
        }
    }

    #[test]
    fn an_answer_that_claims_more_than_there_is_is_an_error() {
        let value = Attached::Value("hi".into());
        let changes = vec![change(1, ChangeKind::Put { value_bytes: 2 }, value)];
        let bytes = result_bytes(&Ok(Changes::new(HISTORY, 1, 1, 1, changes)));
        for cut in 0..bytes.len() {
            assert!(Watch::decode_result(&bytes.slice(..cut)).is_err(), "{cut}");
        }
        let mut many = bytes.to_vec();
        many[41..45].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Watch::decode_result(&many.into()).is_err());
        let more = [&bytes[..], b"!"].concat();
        assert!(Watch::decode_result(&more.into()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let bytes = Bytes::from(bytes);
            if let Ok(result) = Watch::decode_result(&bytes) {
                prop_assert_eq!(Watch::decode_result(&result_bytes(&result)).unwrap(), result.clone());
                if let Ok(page) = result {
                    prop_assert!(page.into_changes().len() <= bytes.len());
                }
            }
            if let Ok(watch) = Watch::decode(&bytes) {
                prop_assert!(watch.prefix.len() < bytes.len());
            }
        }
    }
}
