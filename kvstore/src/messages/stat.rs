//! What is known about a key, and how the store is.

use actix::Message;
use bytes::Bytes;
use ensemble::RemoteMessage;
use serde::{Deserialize, Serialize};

use super::error::StoreError;

/// Asks what is known about a key, whose record is checked. A key that is not there is answered with `None`.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<Option<KeyStat>, StoreError>")]
pub struct StatKey {
    /// 1 to 511 bytes.
    pub key: Bytes,
}

/// What is known about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStat {
    /// Given out by the store for each change: it grows.
    pub revision: u64,
    /// The length of the value.
    pub value_bytes: u64,
    /// The length of the value as it is stored: after compression.
    pub stored_bytes: u64,
    /// How it is stored.
    pub codec: StoredAs,
    /// The time that it has left, in milliseconds; none when it does not end.
    pub expires_in_ms: Option<u64>,
}

/// How a value is stored. On the wire it is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", from = "u8")]
#[non_exhaustive]
pub enum StoredAs {
    /// As it is.
    Raw,
    /// Compressed with zstd.
    Zstd,
    /// In parts, each as it is or compressed.
    Parts,
    /// In a newer server's way.
    Other(u8),
}

/// Asks how the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<StoreStat, StoreError>")]
pub struct Stat;

/// How a store is.
///
/// On the wire it is a list of pairs of numbers, what is told and its value, so that an older program leaves out what it
/// does not know of a newer one's, and reads as 0 what an older one does not tell. The numbers are part of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "Vec<(u16, u64)>", from = "Vec<(u16, u64)>")]
#[non_exhaustive]
pub struct StoreStat {
    /// How many keys there are.
    pub entries: u64,
    /// The last revision that was given to a write; 0 before the first.
    pub revision: u64,
    /// What the data takes of the file, in whole pages.
    pub used_bytes: u64,
    /// The file's length: data, and free pages that will be used again.
    pub file_bytes: u64,
    /// The length of a page.
    pub page_bytes: u64,
    /// Pages of the file without data.
    pub free_pages: u64,
    /// The size of the memory map, which grows by itself.
    pub map_bytes: u64,
    /// How large the file may become.
    pub max_size_bytes: u64,
    /// Reader slots that are taken, or were at some time and are kept.
    pub readers: u64,
    /// Reader slots that there are.
    pub max_readers: u64,
    /// What the last put found to be full, unless there is room for it since something was removed.
    pub full: Fullness,
    /// When a write is answered.
    pub durability: Durability,
    /// How many changes are kept for those who watch.
    pub changes: u64,
    /// The first revision whose change is kept; the next one that will be given out where there is none.
    pub first_change: u64,
}

/// What is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fullness {
    /// Nothing.
    #[default]
    HasRoom,
    /// The store has reached its maximum.
    AtMaxSize,
    /// The disk has no room left.
    DiskFull,
    /// The file system takes no writes.
    ReadOnly,
    /// A newer server's.
    Other(u64),
}

/// When a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// When it is on disk.
    #[default]
    Sync,
    /// When it is committed; it is synced so often, in milliseconds.
    Interval {
        /// How often.
        ms: u64,
    },
    /// When it is committed; it is synced when it suits.
    None,
    /// A newer server's.
    Other(u64),
}

impl RemoteMessage for StatKey {
    const NAME: &'static str = "kvstore.stat-key";
}

impl RemoteMessage for Stat {
    const NAME: &'static str = "kvstore.stat";
}

impl From<StoredAs> for u8 {
    fn from(codec: StoredAs) -> Self {
        match codec {
            StoredAs::Raw => 0,
            StoredAs::Zstd => 1,
            StoredAs::Parts => 2,
            StoredAs::Other(number) => number,
        }
    }
}

impl From<u8> for StoredAs {
    fn from(number: u8) -> Self {
        match number {
            0 => Self::Raw,
            1 => Self::Zstd,
            2 => Self::Parts,
            other => Self::Other(other),
        }
    }
}

impl From<StoreStat> for Vec<(u16, u64)> {
    fn from(stat: StoreStat) -> Self {
        let full = match stat.full {
            Fullness::HasRoom => 0,
            Fullness::AtMaxSize => 1,
            Fullness::DiskFull => 2,
            Fullness::ReadOnly => 3,
            Fullness::Other(number) => number,
        };
        let (durability, interval_ms) = match stat.durability {
            Durability::Sync => (0, 0),
            Durability::Interval { ms } => (1, ms),
            Durability::None => (2, 0),
            Durability::Other(number) => (number, 0),
        };
        vec![
            (1, stat.entries),
            (2, stat.revision),
            (3, stat.used_bytes),
            (4, stat.file_bytes),
            (5, stat.page_bytes),
            (6, stat.free_pages),
            (7, stat.map_bytes),
            (8, stat.max_size_bytes),
            (9, stat.readers),
            (10, stat.max_readers),
            (11, full),
            (12, durability),
            (13, interval_ms),
            (14, stat.changes),
            (15, stat.first_change),
        ]
    }
}

impl From<Vec<(u16, u64)>> for StoreStat {
    fn from(told: Vec<(u16, u64)>) -> Self {
        let mut stat = Self::default();
        let (mut durability, mut interval_ms) = (0, 0);
        for (what, value) in told {
            match what {
                1 => stat.entries = value,
                2 => stat.revision = value,
                3 => stat.used_bytes = value,
                4 => stat.file_bytes = value,
                5 => stat.page_bytes = value,
                6 => stat.free_pages = value,
                7 => stat.map_bytes = value,
                8 => stat.max_size_bytes = value,
                9 => stat.readers = value,
                10 => stat.max_readers = value,
                11 => {
                    stat.full = match value {
                        0 => Fullness::HasRoom,
                        1 => Fullness::AtMaxSize,
                        2 => Fullness::DiskFull,
                        3 => Fullness::ReadOnly,
                        other => Fullness::Other(other),
                    }
                }
                12 => durability = value,
                13 => interval_ms = value,
                14 => stat.changes = value,
                15 => stat.first_change = value,
                _ => {}
            }
        }
        stat.durability = match durability {
            0 => Durability::Sync,
            1 => Durability::Interval { ms: interval_ms },
            2 => Durability::None,
            other => Durability::Other(other),
        };
        stat
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_bytes_of_a_key() {
        let mut out = BytesMut::new();
        let stat = StatKey { key: "key".into() };
        stat.encode(&mut out).unwrap();
        assert_eq!(out[..], *b"\x03key");
        assert_eq!(StatKey::decode(&out.freeze()).unwrap(), stat);
        let stat = |codec, expires_in_ms| {
            Ok(Some(KeyStat { revision: 7, value_bytes: 300, stored_bytes: 20, codec, expires_in_ms }))
        };
        let golden: [(_, &[u8]); 5] = [
            (Ok(None), &[0, 0]),
            (stat(StoredAs::Raw, None), &[0, 1, 7, 251, 44, 1, 20, 0, 0]),
            (stat(StoredAs::Zstd, Some(9)), &[0, 1, 7, 251, 44, 1, 20, 1, 1, 9]),
            (stat(StoredAs::Parts, None), &[0, 1, 7, 251, 44, 1, 20, 2, 0]),
            (stat(StoredAs::Other(9), None), &[0, 1, 7, 251, 44, 1, 20, 9, 0]),
        ];
        for (result, bytes) in golden {
            let mut out = BytesMut::new();
            StatKey::encode_result(&result, &mut out).unwrap();
            assert_eq!(out[..], *bytes);
            assert_eq!(StatKey::decode_result(&out.freeze()).unwrap(), result);
        }
    }

    #[test]
    fn golden_bytes_of_a_store() {
        let mut out = BytesMut::new();
        Stat.encode(&mut out).unwrap();
        assert!(out.is_empty());
        let stat = StoreStat {
            entries: 101,
            revision: 102,
            used_bytes: 103,
            file_bytes: 104,
            page_bytes: 105,
            free_pages: 106,
            map_bytes: 107,
            max_size_bytes: 108,
            readers: 109,
            max_readers: 110,
            full: Fullness::DiskFull,
            durability: Durability::Interval { ms: 113 },
            changes: 114,
            first_change: 115,
        };
        Stat::encode_result(&Ok(stat.clone()), &mut out).unwrap();
        let mut expected = vec![0, 15];
        expected.extend((1..=10).flat_map(|number| [number, 100 + number]));
        expected.extend([11, 2, 12, 1, 13, 113, 14, 114, 15, 115]);
        assert_eq!(out[..], expected);
        assert_eq!(Stat::decode_result(&out.freeze()).unwrap(), Ok(stat));
    }

    #[test]
    fn what_a_newer_store_tells_is_left_out_and_what_an_older_one_does_not_tell_is_0() {
        let stat = Stat::decode_result(&Bytes::from_static(&[0, 3, 1, 5, 250, 77, 11, 9])).unwrap().unwrap();
        assert_eq!((stat.entries, stat.revision, stat.full), (5, 0, Fullness::Other(9)));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let bytes = Bytes::from(bytes);
            if let Ok(Ok(stat)) = Stat::decode_result(&bytes) {
                prop_assert_eq!(StoreStat::from(Vec::from(stat.clone())), stat);
            }
            if let Ok(Ok(Some(stat))) = StatKey::decode_result(&bytes) {
                prop_assert_eq!(StoredAs::from(u8::from(stat.codec)), stat.codec);
            }
        }
    }
}
