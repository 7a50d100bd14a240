//! Making the file as small as its data.

use std::fs;
use std::io;
use std::sync::PoisonError;

use super::commit::Failure;
use super::environment::DATA_FILE;
use super::error::{Full, StorageError, WriteError};
use super::files;
use super::handle::{Inner, Store};
use super::synced;
use crate::failpoint::{self, Moment};

const NEW_FILE: &str = "data.mdb.compact";

/// What a compaction has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// The length of the file before.
    pub before_bytes: u64,
    /// The length of the file now.
    pub after_bytes: u64,
}

impl Store {
    /// Gives the free room in the file back to the file system: writes the data to a new file, which takes the place of the
    /// old one. Writes wait for it; reads go on, save for a moment at its end. There must be room for the new file.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; the store goes on with its old file.
    pub fn compact(&self) -> Result<Compacted, WriteError> {
        let done = self.inner().compact();
        done.map_err(|failure| match failure {
            Failure::Storage(error) => WriteError::Storage(error),
            Failure::DiskFull | Failure::MapFull => WriteError::StoreFull(Full::Disk),
            Failure::ReadOnly => WriteError::StoreFull(Full::ReadOnly),
        })
    }
}

impl Inner {
    /// Removes what a compaction has left behind that was not finished.
    pub(super) fn remove_unfinished(&self) {
        match fs::remove_file(self.directory.join(NEW_FILE)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%cause, "a file of a compaction could not be removed");
            }
            _ => {}
        }
    }

    fn compact(&self) -> Result<Compacted, Failure> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.sync_point(&mut writer).map_err(Failure::Storage)?;
        let before_bytes = self.data_bytes()?;
        let (new, data) = (self.directory.join(NEW_FILE), self.directory.join(DATA_FILE));
        if let Err(failure) = self.copy_to_new() {
            self.remove_unfinished();
            return Err(failure);
        }
        // The old file has everything: from here on no note is needed to open it, and one would not fit the new file.
        if let Err(cause) = synced::forget(&self.directory) {
            self.remove_unfinished();
            // The note may be gone: there must be one while commits are not synced.
            writer.has_unsynced = true;
            self.sync_point(&mut writer).map_err(Failure::Storage)?;
            return Err(io_failure(cause));
        }
        let swap = || {
            failpoint::reach(Moment::BeforeSwap);
            fs::rename(&new, &data)?;
            files::sync_directory(&self.directory)?;
            failpoint::reach(Moment::AfterSwap);
            Ok(())
        };
        let replaced = self.environment.replace(&self.directory, self.options.initial_map(), swap);
        writer.has_fresh_free_pages = true;
        writer.reserve_is_open = false;
        drop(writer);
        self.remove_unfinished();
        let restarted = self.start_durability();
        replaced.and(restarted).map_err(Failure::Storage)?;
        Ok(Compacted { before_bytes, after_bytes: self.data_bytes()? })
    }

    fn copy_to_new(&self) -> Result<(), Failure> {
        let mut file = files::create_file(&self.directory.join(NEW_FILE)).map_err(io_failure)?;
        // Nothing is written meanwhile, so that nothing needs it to be given up.
        let copying = self.environment.begin_copy(None);
        self.environment.copy_to(&mut file).map_err(|error| self.failure(error))?;
        drop(copying);
        file.sync_all().map_err(|cause| self.failure(heed::Error::Io(cause)))
    }

    fn data_bytes(&self) -> Result<u64, Failure> {
        let metadata = fs::metadata(self.directory.join(DATA_FILE)).map_err(io_failure)?;
        Ok(metadata.len())
    }
}

fn io_failure(cause: io::Error) -> Failure {
    Failure::Storage(StorageError::new("be compacted", cause))
}
