//! Why the store did not do as asked, in a form that travels.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why the store did not do as asked.
///
/// After [`Storage`](Self::Storage) and [`Internal`](Self::Internal) it is unknown whether a write was done; after all
/// others it was not.
///
/// On the wire it is a number and two more that go with it, so that an older program reads a newer one's as
/// [`Other`](Self::Other). The numbers are part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(into = "Coded", from = "Coded")]
#[non_exhaustive]
pub enum StoreError {
    /// The key is empty or too long.
    #[error("the key has {bytes} bytes; a key has 1 to {limit}")]
    KeyLength {
        /// Its length in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The value is longer than the store takes.
    #[error("the value has {bytes} bytes; the limit is {limit}")]
    ValueTooLarge {
        /// Its length in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The value is longer than what is read as a whole: [`ReadBegin`](super::ReadBegin) is how to read it.
    #[error(
        "the stored value has {bytes} bytes; the limit of one answer is {limit}, a longer one is read as a stream"
    )]
    StoredValueTooLarge {
        /// Its length in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The condition of the write does not hold.
    #[error("{}", conflict_text(*current))]
    Conflict {
        /// The revision that the key has now; none where there is no such key.
        current: Option<u64>,
    },
    /// The store has reached its maximum. Reads and removes go on.
    #[error("the store is full: it has reached its maximum of {limit} bytes")]
    StoreFull {
        /// The maximum in bytes.
        limit: u64,
    },
    /// The disk has no room left. Reads and removes go on.
    #[error("the store is full: there is no room left on its disk")]
    DiskFull,
    /// The store's file system takes no writes, as it does after an error of its disk. Reads go on.
    #[error("the store takes no writes: its file system is read-only")]
    ReadOnly,
    /// What is stored under the key is not what was written. Other keys are not affected.
    #[error("the stored record is damaged")]
    Damaged,
    /// A later version of the program wrote the record.
    #[error("the stored record has format version {found}; the server reads up to {supported}")]
    NewerFormat {
        /// The version of the record.
        found: u64,
        /// The newest version that the server understands.
        supported: u64,
    },
    /// The store has too much to do: try again later.
    #[error("the store is overloaded")]
    Overloaded,
    /// The store is closed, or just being closed.
    #[error("the store is closed")]
    Closed,
    /// The copy was given up: it kept room from writes for longer than the store has.
    #[error(
        "the store outgrew its room while it was copied: try again when less is written, or to a faster disk"
    )]
    Outgrown,
    /// The database failed; the server's log says how.
    #[error("the store's database failed; the server's log says how")]
    Storage,
    /// A mistake in the server; its log says more.
    #[error("the store failed over this call; the server's log says how")]
    Internal,
    /// There are more keys in one call than the store takes.
    #[error("the call is of {count} keys; the limit is {limit}")]
    TooMany {
        /// How many there are.
        count: u64,
        /// The limit.
        limit: u64,
    },
    /// Of writes that are done together, two are of the same key.
    #[error("two writes of one call are of the same key")]
    KeyRepeated,
    /// The values of many keys are longer than one answer may be.
    #[error("the values have {bytes} bytes together; the limit of one answer is {limit}")]
    AnswerTooLarge {
        /// Their length in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The value that was read part by part was replaced or removed, and the rest of it is not kept any more.
    #[error("the value was replaced or removed while it was read")]
    ValueGone,
    /// The upload was finished, given up or swept, or never begun.
    #[error("the store has no such upload, or none any more")]
    NoSuchUpload,
    /// Another part is to come first; or none, because the last one was shorter than the others.
    #[error("the part does not fit: the next one is {expected}, unless the last was short")]
    PartOutOfOrder {
        /// The number of the part.
        expected: u64,
    },
    /// The part is empty or too long.
    #[error("the part has {bytes} bytes; a part has 1 to {limit}")]
    PartLength {
        /// Its length in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// What has come is not the value that was to be stored.
    #[error("what has come is not the value: its length or its checksum is another")]
    UploadDiffers,
    /// There are too many uploads at once: try again later.
    #[error("the store takes {limit} uploads at once, and has as many")]
    TooManyUploads {
        /// The limit.
        limit: u64,
    },
    /// The value has fewer parts.
    #[error("the value has {parts} parts, and no part {number}")]
    NoSuchPart {
        /// What was asked for, from 0.
        number: u64,
        /// How many there are.
        parts: u64,
    },
    /// A newer server's.
    #[error("the store answered with error {0}, which is not known here")]
    Other(u16),
}

fn conflict_text(current: Option<u64>) -> String {
    match current {
        Some(revision) => format!("the key has revision {revision}"),
        None => "there is no such key".to_owned(),
    }
}

/// The form on the wire.
#[derive(Serialize, Deserialize)]
struct Coded {
    code: u16,
    first: u64,
    second: u64,
}

impl From<StoreError> for Coded {
    fn from(error: StoreError) -> Self {
        let (code, first, second) = match error {
            StoreError::KeyLength { bytes, limit } => (1, bytes, limit),
            StoreError::ValueTooLarge { bytes, limit } => (2, bytes, limit),
            StoreError::StoredValueTooLarge { bytes, limit } => (3, bytes, limit),
            StoreError::Conflict { current } => (4, u64::from(current.is_some()), current.unwrap_or(0)),
            StoreError::StoreFull { limit } => (5, limit, 0),
            StoreError::DiskFull => (6, 0, 0),
            StoreError::ReadOnly => (40, 0, 0),
            StoreError::Damaged => (7, 0, 0),
            StoreError::NewerFormat { found, supported } => (8, found, supported),
            StoreError::Overloaded => (9, 0, 0),
            StoreError::Closed => (10, 0, 0),
            StoreError::Outgrown => (32, 0, 0),
            StoreError::Storage => (11, 0, 0),
            StoreError::Internal => (12, 0, 0),
            StoreError::TooMany { count, limit } => (13, count, limit),
            StoreError::KeyRepeated => (14, 0, 0),
            StoreError::AnswerTooLarge { bytes, limit } => (15, bytes, limit),
            StoreError::ValueGone => (20, 0, 0),
            StoreError::NoSuchUpload => (21, 0, 0),
            StoreError::PartOutOfOrder { expected } => (22, expected, 0),
            StoreError::PartLength { bytes, limit } => (23, bytes, limit),
            StoreError::UploadDiffers => (24, 0, 0),
            StoreError::TooManyUploads { limit } => (25, limit, 0),
            StoreError::NoSuchPart { number, parts } => (26, number, parts),
            StoreError::Other(code) => (code, 0, 0),
        };
        Self { code, first, second }
    }
}

impl From<Coded> for StoreError {
    fn from(Coded { code, first, second }: Coded) -> Self {
        match code {
            1 => Self::KeyLength { bytes: first, limit: second },
            2 => Self::ValueTooLarge { bytes: first, limit: second },
            3 => Self::StoredValueTooLarge { bytes: first, limit: second },
            4 => Self::Conflict { current: (first != 0).then_some(second) },
            5 => Self::StoreFull { limit: first },
            6 => Self::DiskFull,
            40 => Self::ReadOnly,
            7 => Self::Damaged,
            8 => Self::NewerFormat { found: first, supported: second },
            9 => Self::Overloaded,
            10 => Self::Closed,
            32 => Self::Outgrown,
            11 => Self::Storage,
            12 => Self::Internal,
            13 => Self::TooMany { count: first, limit: second },
            14 => Self::KeyRepeated,
            15 => Self::AnswerTooLarge { bytes: first, limit: second },
            20 => Self::ValueGone,
            21 => Self::NoSuchUpload,
            22 => Self::PartOutOfOrder { expected: first },
            23 => Self::PartLength { bytes: first, limit: second },
            24 => Self::UploadDiffers,
            25 => Self::TooManyUploads { limit: first },
            26 => Self::NoSuchPart { number: first, parts: second },
            other => Self::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use ensemble::codec::{decode_message, encode_message};

    use super::*;

    fn bytes_of(error: StoreError) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode_message(&error, &mut out).unwrap();
        out.to_vec()
    }

    #[test]
    fn golden_bytes() {
        let golden = [
            (StoreError::KeyLength { bytes: 512, limit: 511 }, vec![1, 251, 0, 2, 251, 255, 1]),
            (
                StoreError::ValueTooLarge { bytes: (64 << 20) + 1, limit: 64 << 20 },
                vec![2, 252, 1, 0, 0, 4, 252, 0, 0, 0, 4],
            ),
            (StoreError::StoredValueTooLarge { bytes: 2, limit: 1 }, vec![3, 2, 1]),
            (StoreError::Conflict { current: None }, vec![4, 0, 0]),
            (StoreError::Conflict { current: Some(0) }, vec![4, 1, 0]),
            (StoreError::Conflict { current: Some(9) }, vec![4, 1, 9]),
            (StoreError::StoreFull { limit: 7 }, vec![5, 7, 0]),
            (StoreError::DiskFull, vec![6, 0, 0]),
            (StoreError::ReadOnly, vec![40, 0, 0]),
            (StoreError::Damaged, vec![7, 0, 0]),
            (StoreError::NewerFormat { found: 2, supported: 1 }, vec![8, 2, 1]),
            (StoreError::Overloaded, vec![9, 0, 0]),
            (StoreError::Closed, vec![10, 0, 0]),
            (StoreError::Outgrown, vec![32, 0, 0]),
            (StoreError::Storage, vec![11, 0, 0]),
            (StoreError::Internal, vec![12, 0, 0]),
            (StoreError::TooMany { count: 2, limit: 1 }, vec![13, 2, 1]),
            (StoreError::KeyRepeated, vec![14, 0, 0]),
            (StoreError::AnswerTooLarge { bytes: 2, limit: 1 }, vec![15, 2, 1]),
            (StoreError::ValueGone, vec![20, 0, 0]),
            (StoreError::NoSuchUpload, vec![21, 0, 0]),
            (StoreError::PartOutOfOrder { expected: 3 }, vec![22, 3, 0]),
            (StoreError::PartLength { bytes: 2, limit: 1 }, vec![23, 2, 1]),
            (StoreError::UploadDiffers, vec![24, 0, 0]),
            (StoreError::TooManyUploads { limit: 64 }, vec![25, 64, 0]),
            (StoreError::NoSuchPart { number: 2, parts: 1 }, vec![26, 2, 1]),
            (StoreError::Other(300), vec![251, 44, 1, 0, 0]),
        ];
        for (error, bytes) in golden {
            assert_eq!(bytes_of(error), bytes, "{error:?}");
            assert_eq!(decode_message::<StoreError>(&bytes).unwrap(), error);
        }
    }

    #[test]
    fn a_newer_error_keeps_its_number() {
        assert_eq!(decode_message::<StoreError>(&[99, 1, 2]).unwrap(), StoreError::Other(99));
    }

    #[test]
    fn the_limits_are_named() {
        let error = StoreError::KeyLength { bytes: 0, limit: 511 };
        assert_eq!(error.to_string(), "the key has 0 bytes; a key has 1 to 511");
        let error = StoreError::ValueTooLarge { bytes: 11, limit: 10 };
        assert_eq!(error.to_string(), "the value has 11 bytes; the limit is 10");
    }
}
