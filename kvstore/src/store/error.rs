//! What can go wrong with a store, an enum for each way of using it.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::options::MAX_KEY_BYTES;
use super::record::{Damage, RecordError};

/// The database under the store failed: an I/O error, or a file that it cannot use.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the database could not {operation}")]
pub struct StorageError {
    operation: &'static str,
    #[source]
    cause: Arc<dyn Error + Send + Sync>,
}

impl StorageError {
    pub(super) fn new(operation: &'static str, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { operation, cause: Arc::new(cause) }
    }

    /// Whether the map had no room.
    pub(super) fn is_full_map(&self) -> bool {
        matches!(self.cause.downcast_ref(), Some(heed::MdbError::MapFull))
    }

    pub(super) fn of_heed(operation: &'static str, error: heed::Error) -> Self {
        // heed's own error has no source and prints that of its cause: keep the cause.
        match error {
            heed::Error::Io(cause) => Self::new(operation, cause),
            heed::Error::Mdb(cause) => Self::new(operation, cause),
            other => Self::new(operation, other),
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or this one, has the store open.
    #[error("the store in {} is in use", path.display())]
    InUse {
        /// The store's directory.
        path: PathBuf,
    },
    /// The directory, or a file in it, could not be made, opened or locked.
    #[error("the store's {what} {} could not be opened", path.display())]
    Io {
        /// Which part of the store.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A later version of this program made the store.
    #[error("the store has format version {found}, and this program reads up to {supported}")]
    NewerFormat {
        /// The version of the store.
        found: u32,
        /// The newest version that is understood here.
        supported: u32,
    },
    /// The database's file is there but is no store, or is damaged.
    #[error("the file {} holds no store: {reason}", path.display())]
    NotAStore {
        /// The database's file.
        path: PathBuf,
        /// What was found instead.
        reason: &'static str,
    },
    /// The database's file is damaged, in what leads to its records: opening it could end the process. A backup is what helps.
    #[error("the file {} is damaged: page {page}: {what}", path.display())]
    DamagedPages {
        /// The database's file.
        path: PathBuf,
        /// The number of a page in it.
        page: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file of the last sync belongs to another database than the one beside it: one of them was put there by hand, or the
    /// database was changed by another program, or is damaged. All is left as it is.
    #[error("{} belongs to another data.mdb than the one beside it: remove the one that is not to be used", path.display())]
    SyncedApart {
        /// The file of the last sync.
        path: PathBuf,
    },
    /// An option is out of its bounds.
    #[error("the option {option} must be {bound}")]
    InvalidOption {
        /// The name of the field.
        option: &'static str,
        /// What it may be.
        bound: &'static str,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a key is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key has at least one byte.
    #[error("the key is empty")]
    Empty,
    /// A key has at most [`MAX_KEY_BYTES`] bytes.
    #[error("the key has {bytes} bytes, and the limit is {limit}")]
    TooLong {
        /// The length of the key.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// Holds a key against the limits.
pub(crate) fn check_key(key: &[u8]) -> Result<(), KeyError> {
    match key.len() {
        0 => Err(KeyError::Empty),
        bytes if bytes > MAX_KEY_BYTES => Err(KeyError::TooLong { bytes, limit: MAX_KEY_BYTES }),
        _ => Ok(()),
    }
}

/// Why a value was not read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// There can be no such key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What is stored is not what was written. The other keys are not affected.
    #[error("the stored record is damaged")]
    Damaged {
        /// What is wrong with it.
        #[source]
        damage: Damage,
    },
    /// A later version of this program wrote the record.
    #[error("the record has format version {found}, and this program reads up to {supported}")]
    NewerFormat {
        /// The version of the record.
        found: u8,
        /// The newest version that is understood here.
        supported: u8,
    },
    /// The value is longer than what is read as a whole: it may be read part by part.
    #[error("the stored value has {bytes} bytes, and the limit of one read is {limit}")]
    ValueTooLarge {
        /// The length of the value.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The value that was read part by part has been replaced or removed, and the rest of it is not kept any more.
    #[error("the value was replaced or removed while it was read")]
    Gone,
    /// The value has fewer parts.
    #[error("the value has {parts} parts, and no part {number}")]
    NoSuchPart {
        /// What was asked for, from 0.
        number: u32,
        /// How many parts there are.
        parts: u32,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<RecordError> for ReadError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::NewerFormat { found, supported } => Self::NewerFormat { found, supported },
            RecordError::Damaged(damage) => Self::Damaged { damage },
        }
    }
}

impl From<Damage> for ReadError {
    fn from(damage: Damage) -> Self {
        Self::Damaged { damage }
    }
}

/// What is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The store has reached its configured maximum.
    MaxSize {
        /// [`StoreOptions::max_size_bytes`](super::StoreOptions::max_size_bytes).
        max_size_bytes: usize,
    },
    /// The file system has no room left, or the quota is used up.
    Disk,
    /// The file system takes no writes at all, as it does after an error of its disk.
    ReadOnly,
}

impl Full {
    fn effect(self) -> &'static str {
        match self {
            Self::MaxSize { .. } | Self::Disk => "the store is full",
            Self::ReadOnly => "the store takes no writes",
        }
    }
}

impl std::fmt::Display for Full {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MaxSize { max_size_bytes } => {
                write!(formatter, "it has reached its maximum of {max_size_bytes} bytes")
            }
            Self::Disk => formatter.write_str("there is no room left on its disk"),
            Self::ReadOnly => formatter.write_str("its file system is read-only"),
        }
    }
}

/// Why a write was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// There can be no such key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The value is longer than the store takes.
    #[error("the value has {bytes} bytes, and the limit is {limit}")]
    ValueTooLarge {
        /// The length of the value.
        bytes: usize,
        /// [`StoreOptions::max_value_bytes`](super::StoreOptions::max_value_bytes).
        limit: usize,
    },
    /// The condition of the write does not hold.
    #[error("{}", conflict_text(*current))]
    Conflict {
        /// The revision that the key has now; none where there is no such key.
        current: Option<u64>,
    },
    /// One of the writes that were to be done together cannot be done; none was.
    #[error("write {index} of those together")]
    Together {
        /// Which of them, from 0.
        index: usize,
        /// Why it cannot.
        #[source]
        cause: Box<WriteError>,
    },
    /// The write has a condition on a record that cannot be read.
    #[error("the record that the condition is about cannot be read")]
    Unreadable(#[source] RecordError),
    /// The conditions of the writes that share the commit are on too much data, all of which would be read first. What was
    /// read is remembered: tried again, it gets further.
    #[error("the records that the conditions are about are too much to read at once")]
    TooMuchToCheck,
    /// There is no room. Reads and removes go on; only reads on a file system that is read-only.
    #[error("{}: {}", .0.effect(), .0)]
    StoreFull(Full),
    /// The step of writing a value part by part does not fit.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The database failed. Whether the write was done shows when the store is opened again.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a step of writing a value part by part was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// There are too many at once.
    #[error("{limit} values are being written part by part, which is the limit")]
    TooMany {
        /// [`MAX_UPLOADS`](super::MAX_UPLOADS).
        limit: usize,
    },
    /// It was finished, given up or swept, or never begun.
    #[error("there is no such upload, or none any more")]
    NoSuchUpload,
    /// Another part is to come first; or none, because the last one was shorter than the others.
    #[error("the next part is {expected}, unless the last was short")]
    OutOfOrder {
        /// The number of the part.
        expected: u32,
    },
    /// The part is empty or too long.
    #[error("the part has {bytes} bytes; a part has 1 to {limit}")]
    PartLength {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// What was written is not what was to be written.
    #[error("what has come is not the value: its length or its checksum is another")]
    Differs,
}

impl WriteError {
    /// The error of writes together of which this one refuses.
    pub(super) fn at(self, index: usize) -> Self {
        Self::Together { index, cause: Box::new(self) }
    }
}

fn conflict_text(current: Option<u64>) -> String {
    match current {
        Some(revision) => format!("the key has revision {revision}"),
        None => "there is no such key".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_to_511_bytes() {
        assert_eq!(check_key(b""), Err(KeyError::Empty));
        assert_eq!(check_key(&[0]), Ok(()));
        assert_eq!(check_key(&[0; 511]), Ok(()));
        assert_eq!(check_key(&[0; 512]), Err(KeyError::TooLong { bytes: 512, limit: 511 }));
    }

    #[test]
    fn a_display_does_not_repeat_its_source() {
        let error = StorageError::of_heed("commit", heed::Error::Io(io::Error::other("a broken disk")));
        assert_eq!(error.to_string(), "the database could not commit");
        assert_eq!(error.source().expect("has a cause").to_string(), "a broken disk");
        let error = WriteError::from(error);
        assert_eq!(error.to_string(), "the database could not commit");
        assert_eq!(error.source().expect("has a cause").to_string(), "a broken disk");
    }
}
