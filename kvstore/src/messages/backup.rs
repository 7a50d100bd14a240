//! Backing a store up while it is in use.

use actix::Message;
use ensemble::RemoteMessage;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::error::StoreError;

/// Asks the store to write a backup of itself to a new file of the server's machine. It is answered when the file is
/// on disk; a caller that goes away does not end it.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<BackupDone, BackupRefused>")]
pub struct Backup {
    /// The file's absolute path, in bytes; nothing must be there.
    pub path: bytes::Bytes,
}

/// What a backup has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupDone {
    /// How many keys, at the end of it.
    pub entries: u64,
    /// The last revision that was given to a write, at the end of it.
    pub revision: u64,
    /// The length of the file.
    pub bytes: u64,
}

/// Why there is no backup.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum BackupRefused {
    /// There is something at that path already.
    #[error("there is something at that path already")]
    Exists,
    /// The path is not absolute.
    #[error("the path is not absolute")]
    NotAbsolute,
    /// Another backup is being written.
    #[error("another backup is being written")]
    Busy,
    /// The file could not be written; for people.
    #[error("the file could not be written: {0}")]
    Io(String),
    /// The store's own reason.
    #[error("the store was not copied")]
    Store(#[source] StoreError),
}

impl RemoteMessage for Backup {
    const NAME: &'static str = "kvstore.backup";
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn golden_bytes() {
        let mut out = BytesMut::new();
        let backup = Backup { path: "/a".into() };
        backup.encode(&mut out).unwrap();
        assert_eq!(out[..], *b"\x02/a");
        assert_eq!(Backup::decode(&out.freeze()).unwrap(), backup);
        let golden: [(_, &[u8]); 6] = [
            (Ok(BackupDone { entries: 1, revision: 2, bytes: 300 }), &[0, 1, 2, 251, 44, 1]),
            (Err(BackupRefused::Exists), &[1, 0]),
            (Err(BackupRefused::NotAbsolute), &[1, 1]),
            (Err(BackupRefused::Busy), &[1, 2]),
            (Err(BackupRefused::Io("no".to_owned())), &[1, 3, 2, b'n', b'o']),
            (Err(BackupRefused::Store(StoreError::Storage)), &[1, 4, 11, 0, 0]),
        ];
        for (result, bytes) in golden {
            let mut out = BytesMut::new();
            Backup::encode_result(&result, &mut out).unwrap();
            assert_eq!(out[..], *bytes);
            assert_eq!(Backup::decode_result(&out.freeze()).unwrap(), result);
        }
    }
}
