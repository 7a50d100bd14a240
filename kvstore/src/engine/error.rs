//! What can go wrong with a call of the engine.

use crate::store::{KeyError, ReadError, StorageError, WriteError};

/// Why a call was not answered as asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The store could not read the key.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store did not do the write.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The queue is full: the call was not accepted, and can be tried again later.
    #[error("the store has too much to do")]
    Overloaded,
    /// The engine is closed: the call was not accepted.
    #[error("the store is closed")]
    Closed,
    /// The thread panicked over the call: whether a write was done is unknown.
    #[error("the store failed over this call")]
    Panicked,
}

impl From<StorageError> for EngineError {
    fn from(error: StorageError) -> Self {
        Self::Read(error.into())
    }
}

impl EngineError {
    pub(super) fn of_read_key(error: KeyError) -> Self {
        Self::Read(error.into())
    }
}
