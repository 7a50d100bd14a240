//! Handlers of what operators ask for: checking every record, and backups.

use std::{ffi::OsStr, future::ready, os::unix::ffi::OsStrExt, path::PathBuf};

use actix::{Context, Handler, ResponseFuture};
use bytes::Bytes;

use super::{
    answers::answer,
    handlers::{KvStore, respond},
};
use crate::{
    engine::EngineError,
    messages::{
        Backup, BackupDone, BackupRefused, Compact, CompactDone, DamagedKey, StoreError, VerifiedPart, Verify,
    },
    store::{BackedUp, BackupError, Compacted, Store, Verified},
};

impl Handler<Verify> for KvStore {
    type Result = ResponseFuture<Result<VerifiedPart, StoreError>>;

    fn handle(&mut self, Verify { after }: Verify, _: &mut Context<Self>) -> Self::Result {
        let begin = after.clone();
        let part = move |store: &Store| store.verify(Some(&after[..]));
        respond("verify", begin, self.scans.accept(part), |Verified { records, bytes, damaged, next }| {
            let damaged = damaged.into_iter().map(|(key, why)| {
                let why = match std::error::Error::source(&why) {
                    Some(cause) => format!("{why}: {cause}"),
                    None => why.to_string(),
                };
                DamagedKey { key, why }
            });
            Ok(VerifiedPart { records, bytes, damaged: damaged.collect(), next })
        })
    }
}

impl Handler<Compact> for KvStore {
    type Result = ResponseFuture<Result<CompactDone, StoreError>>;

    fn handle(&mut self, _: Compact, _: &mut Context<Self>) -> Self::Result {
        let compacted = self.engine().try_job(Store::compact);
        respond("compact", Bytes::new(), compacted, |Compacted { before_bytes, after_bytes }| {
            tracing::info!(before_bytes, after_bytes, "the store is compacted");
            Ok(CompactDone { before_bytes, after_bytes })
        })
    }
}

impl Handler<Backup> for KvStore {
    type Result = ResponseFuture<Result<BackupDone, BackupRefused>>;

    fn handle(&mut self, Backup { path }: Backup, _: &mut Context<Self>) -> Self::Result {
        let path = PathBuf::from(OsStr::from_bytes(&path));
        if !path.is_absolute() {
            return Box::pin(ready(Err(BackupRefused::NotAbsolute)));
        }
        let pending = self.engine().try_job(move |store| {
            tracing::info!(path = %path.display(), "a backup begins");
            let done = store.backup(&path);
            match &done {
                Ok(done) => tracing::info!(path = %path.display(), bytes = done.bytes, "a backup is done"),
                Err(error) => tracing::error!(path = %path.display(), %error, cause = std::error::Error::source(error), "a backup failed"),
            }
            Ok::<_, EngineError>(done)
        });
        Box::pin(async move {
            let done = match pending {
                Ok(pending) => pending.await,
                Err(EngineError::Overloaded) => return Err(BackupRefused::Busy),
                Err(cause) => Err(cause),
            };
            match done {
                Ok(Ok(BackedUp { entries, revision, bytes })) => Ok(BackupDone { entries, revision, bytes }),
                Ok(Err(BackupError::Exists { .. })) => Err(BackupRefused::Exists),
                Ok(Err(BackupError::GivenUp)) => Err(BackupRefused::Store(StoreError::Outgrown)),
                Ok(Err(BackupError::Io { source, .. })) => Err(BackupRefused::Io(source.to_string())),
                Ok(Err(_)) => Err(BackupRefused::Store(StoreError::Storage)),
                Err(cause) => Err(BackupRefused::Store(answer("backup", b"", &cause))),
            }
        })
    }
}
