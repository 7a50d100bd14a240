//! What can go wrong for a client.

use ensemble::CallError;
use thiserror::Error;

use crate::{
    messages::{ApplyRefused, BackupRefused, StoreError},
    object::{DecodeError, FromObjectError, ToObjectError, TooDeep},
};

/// Why the client has no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The store could not be asked, or did not answer. [`CallError`] tells whether it may have done a write.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The store did not do as asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store did none of several writes.
    #[error(transparent)]
    Apply(#[from] ApplyRefused),
    /// The server wrote no backup.
    #[error(transparent)]
    Backup(#[from] BackupRefused),
    /// What was to be stored could not be read. Nothing was stored.
    #[error("what was to be stored could not be read: {why}")]
    Input {
        /// Of which kind the error is.
        kind: std::io::ErrorKind,
        /// The error, for people.
        why: String,
    },
    /// What was read could not be written where it should go.
    #[error("what was read could not be written: {why}")]
    Output {
        /// Of which kind the error is.
        kind: std::io::ErrorKind,
        /// The error, for people.
        why: String,
    },
    /// What has come is not what was stored.
    #[error("what has come is not the value: its length or its checksum is another")]
    Differs,
    /// What is stored are bytes that are no object.
    #[error("the value is no object")]
    NotAnObject(#[source] DecodeError),
    /// What is stored is an object that is not a value of the type that was asked for.
    #[error("the object is not of the type that was asked for")]
    Shape(#[source] FromObjectError),
    /// What was to be stored cannot become an object.
    #[error("the value cannot become an object")]
    NoObject(#[source] ToObjectError),
    /// What was to be stored is an object that is nested too deep to be written.
    #[error("the object cannot be stored")]
    TooDeep(#[source] TooDeep),
}
