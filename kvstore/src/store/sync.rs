//! When the file is synced apart from commits: the sync points of a store that does not wait for the disk. What a sync
//! point is, is in `synced`.

use std::io;
use std::sync::PoisonError;

use super::commit::Writer;
use super::error::StorageError;
use super::handle::Inner;
use super::options::StoreOptions;
use super::synced;
use crate::failpoint::{self, Moment};

/// The room that a map has at least when a copy begins: twice as much, for as long as the maximum allows it.
const ROOM_TO_GROW_BYTES: usize = 128 << 20;

/// How much the file may grow between two sync points: room that is freed meanwhile is not used again.
const MAX_GROWTH_BYTES: u64 = 64 << 20;

impl Inner {
    /// Begins not to wait for the disk, where that is asked for. Everything is synced now.
    pub(super) fn start_durability(&self) -> Result<(), StorageError> {
        if self.options.durability.sync_every().is_none() {
            return Ok(());
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // The note is a file: on a full disk it gets what is kept back.
        self.mark(&mut writer).or_else(|error| match writer.ballast.release() {
            true => self.mark(&mut writer),
            false => Err(error),
        })?;
        self.environment.stop_syncing().map_err(failed)
    }

    /// Has everything on disk.
    pub(super) fn sync_now(&self) -> Result<(), StorageError> {
        // Most of it while writes go on; the writer waits only for the rest.
        if self.options.durability.sync_every().is_some() {
            self.environment.sync().map_err(failed)?;
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.sync_point(&mut writer)
    }

    /// A sync point, where anything was committed since the last one.
    pub(super) fn sync_point(&self, writer: &mut Writer) -> Result<(), StorageError> {
        if writer.synced_file_bytes.is_none() || !writer.has_unsynced {
            return Ok(());
        }
        self.environment.sync().map_err(failed)?;
        self.mark(writer)
    }

    /// Takes note of a commit. A file that has grown much is synced, which makes room usable again, and a copy for which it
    /// has grown too far is given up.
    pub(super) fn note_commit(&self, writer: &mut Writer) {
        writer.has_unsynced = true;
        self.environment.give_up_outgrown_copies();
        let Some(before) = writer.synced_file_bytes else { return };
        if self.file_bytes().saturating_sub(before) >= MAX_GROWTH_BYTES
            && let Err(error) = self.sync_point(writer)
        {
            tracing::error!(%error, "the store could not be synced");
        }
    }

    /// Maps the file anew. The pin has to go for that, so that its state must not be needed any more.
    pub(super) fn resize(&self, writer: &mut Writer, map_bytes: usize) -> Result<(), StorageError> {
        self.sync_point(writer)?;
        self.environment.unpin();
        let resized = self.environment.resize(map_bytes);
        if writer.synced_file_bytes.is_some() {
            self.environment.pin_state().map_err(failed)?;
        }
        resized
    }

    /// Has the map so large that it need not grow soon, for which writes would wait until a copy is done.
    pub(super) fn make_room_to_grow(&self) -> Result<(), StorageError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let file_bytes = usize::try_from(self.file_bytes()).unwrap_or(usize::MAX);
        let wanted = StoreOptions::grown_map(file_bytes, ROOM_TO_GROW_BYTES, self.options.put_ceiling());
        if wanted <= self.environment.map_bytes() {
            return Ok(());
        }
        self.resize(&mut writer, wanted)
    }

    /// Marks the present state, which is synced, as the one that a crash leaves.
    fn mark(&self, writer: &mut Writer) -> Result<(), StorageError> {
        failpoint::reach(Moment::BeforeNote);
        let noted = synced::note(&self.environment, &self.directory);
        noted.map_err(|error: io::Error| StorageError::new("note what is synced", error))?;
        failpoint::reach(Moment::AfterNote);
        self.environment.pin_state().map_err(failed)?;
        writer.synced_file_bytes = Some(self.file_bytes());
        writer.has_unsynced = false;
        Ok(())
    }

    fn file_bytes(&self) -> u64 {
        self.environment.sizes().file_bytes()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.options.durability.sync_every().is_none() {
            return;
        }
        self.environment.unpin();
        let synced = self.environment.sync().map_err(failed);
        let forgotten = synced.and_then(|()| {
            let forgotten = synced::forget(&self.directory);
            forgotten.map_err(|error| StorageError::new("forget the last sync", error))
        });
        if let Err(error) = forgotten {
            tracing::error!(%error, "the store is closed as after a crash");
        }
    }
}

fn failed(error: heed::Error) -> StorageError {
    StorageError::of_heed("sync", error)
}
