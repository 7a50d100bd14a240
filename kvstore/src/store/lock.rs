//! The lock on a store's directory: one store has it open.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::error::OpenError;

const LOCK_FILE: &str = "store.lock";

/// The lock of a process that was killed may be held for a moment more, by a child that it had just forked and that has not
/// yet become another program. A store that is closed leaves none.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// The directory is locked until this is dropped.
#[derive(Debug)]
pub(super) struct DirectoryLock(File);

impl DirectoryLock {
    /// Locks a directory; it waits 0.2 s at most.
    pub(super) fn take(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(LOCK_FILE);
        let failed = |source| OpenError::Io { what: "lock file", path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let mut attempts = 1;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) if attempts < ATTEMPTS => {
                    attempts += 1;
                    thread::sleep(PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(OpenError::InUse { path: directory.to_owned() });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a child that was just forked and has inherited the file.
        if let Err(cause) = self.0.unlock() {
            tracing::warn!(%cause, "the store's lock was not given back");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd as _, OwnedFd};

    use super::*;

    /// What a forked child has of the lock.
    fn inherited(lock: &DirectoryLock) -> OwnedFd {
        lock.0.as_fd().try_clone_to_owned().unwrap()
    }

    #[test]
    fn a_child_that_was_forked_does_not_keep_the_lock_of_a_closed_store() {
        let directory = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::take(directory.path()).unwrap();
        let child = inherited(&lock);
        assert!(matches!(DirectoryLock::take(directory.path()), Err(OpenError::InUse { .. })));
        drop(lock);
        let again = DirectoryLock::take(directory.path()).unwrap();
        drop(child);
        assert!(matches!(DirectoryLock::take(directory.path()), Err(OpenError::InUse { .. })));
        drop(again);
    }

    #[test]
    fn the_child_of_a_killed_process_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        // Locked and never unlocked, as by a process that was killed.
        let file = File::create(directory.path().join(LOCK_FILE)).unwrap();
        file.lock().unwrap();
        let child = file.try_clone().unwrap();
        drop(file);
        assert!(matches!(DirectoryLock::take(directory.path()), Err(OpenError::InUse { .. })));
        drop(child);
        DirectoryLock::take(directory.path()).unwrap();
    }
}
