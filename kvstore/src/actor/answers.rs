//! What the engine's answers are on the wire. What does not travel, the details, goes to the log.

use std::{error::Error, fmt};

use crate::{
    engine::EngineError,
    messages::StoreError,
    store::{Full, KeyError, ReadError, StorageError, UploadError, WriteError, record::RecordError},
};

/// The error to answer with, once the log has what the caller is not told. `doing` and `key` are for the log.
pub(super) fn answer(doing: &'static str, key: &[u8], error: &EngineError) -> StoreError {
    let answer = match error {
        EngineError::Read(cause) => of_read(cause),
        EngineError::Write(cause) => of_write(cause),
        EngineError::Overloaded => StoreError::Overloaded,
        EngineError::Closed => StoreError::Closed,
        _ => StoreError::Internal,
    };
    match answer {
        StoreError::Damaged | StoreError::Storage | StoreError::Internal | StoreError::NewerFormat { .. } => {
            tracing::error!(doing, key = %key.escape_ascii(), cause = %Chain(error), "the store failed");
        }
        StoreError::StoreFull { .. }
        | StoreError::DiskFull
        | StoreError::ReadOnly
        | StoreError::StoredValueTooLarge { .. } => {
            tracing::warn!(doing, key = %key.escape_ascii(), cause = %Chain(error), "the store refused");
        }
        _ => {}
    }
    answer
}

fn of_read(error: &ReadError) -> StoreError {
    match error {
        ReadError::Key(cause) => of_key(*cause),
        ReadError::Damaged { .. } => StoreError::Damaged,
        ReadError::NewerFormat { found, supported } => {
            StoreError::NewerFormat { found: (*found).into(), supported: (*supported).into() }
        }
        ReadError::ValueTooLarge { bytes, limit } => {
            StoreError::StoredValueTooLarge { bytes: *bytes as u64, limit: *limit as u64 }
        }
        ReadError::Gone => StoreError::ValueGone,
        ReadError::NoSuchPart { number, parts } => {
            StoreError::NoSuchPart { number: (*number).into(), parts: (*parts).into() }
        }
        ReadError::Storage(cause) => of_storage(cause),
    }
}

fn of_write(error: &WriteError) -> StoreError {
    match error {
        WriteError::Key(cause) => of_key(*cause),
        WriteError::ValueTooLarge { bytes, limit } => {
            StoreError::ValueTooLarge { bytes: *bytes as u64, limit: *limit as u64 }
        }
        WriteError::Conflict { current } => StoreError::Conflict { current: *current },
        WriteError::Unreadable(RecordError::NewerFormat { found, supported }) => {
            StoreError::NewerFormat { found: (*found).into(), supported: (*supported).into() }
        }
        WriteError::Unreadable(_) => StoreError::Damaged,
        WriteError::TooMuchToCheck => StoreError::Overloaded,
        WriteError::Together { cause, .. } => of_write(cause),
        WriteError::StoreFull(Full::MaxSize { max_size_bytes }) => {
            StoreError::StoreFull { limit: *max_size_bytes as u64 }
        }
        WriteError::StoreFull(Full::Disk) => StoreError::DiskFull,
        WriteError::Upload(cause) => of_upload(*cause),
        WriteError::StoreFull(Full::ReadOnly) => StoreError::ReadOnly,
        WriteError::Storage(cause) => of_storage(cause),
    }
}

fn of_upload(error: UploadError) -> StoreError {
    match error {
        UploadError::TooMany { limit } => StoreError::TooManyUploads { limit: limit as u64 },
        UploadError::NoSuchUpload => StoreError::NoSuchUpload,
        UploadError::OutOfOrder { expected } => StoreError::PartOutOfOrder { expected: expected.into() },
        UploadError::PartLength { bytes, limit } => {
            StoreError::PartLength { bytes: bytes as u64, limit: limit as u64 }
        }
        UploadError::Differs => StoreError::UploadDiffers,
    }
}

fn of_storage(_: &StorageError) -> StoreError {
    StoreError::Storage
}

fn of_key(error: KeyError) -> StoreError {
    match error {
        KeyError::Empty => StoreError::KeyLength { bytes: 0, limit: crate::store::MAX_KEY_BYTES as u64 },
        KeyError::TooLong { bytes, limit } => {
            StoreError::KeyLength { bytes: bytes as u64, limit: limit as u64 }
        }
    }
}

/// An error with its sources, in one line.
struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}
