//! Copies of the database that are being written, and how one is given up.
//!
//! A copy is of one moment. Until it is done, LMDB uses no page again that the moment needs, so that the file grows with
//! every write. Writes come first: a copy that lets the file grow too far, or that keeps a write from finding room, is
//! given up. For that it goes through a pipe, which can be closed whatever the one who takes the copy does.
//! (Not through a socket: one that is shut down fails a write without the signal that LMDB then waits for.)

use std::fs::File;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::environment::Environment;
use super::error::StorageError;

/// How far the file of a small store may grow while a copy is written. That of a larger one may grow by its length.
const MIN_GROWTH_BYTES: u64 = 256 << 20;

/// How much is taken of a copy at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Why there is no copy.
#[derive(Debug)]
pub(super) enum CopyError {
    /// LMDB failed.
    Storage(StorageError),
    /// The copy could not be passed on.
    Io(io::Error),
    /// It kept the store from using its free pages for too long.
    GivenUp,
}

/// The copies of a database that are being written.
#[derive(Default)]
pub(super) struct Copies {
    running: Mutex<Vec<Arc<Running>>>,
    ended: Condvar,
}

/// The state of the database when a copy began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Began {
    pub(super) file_bytes: u64,
    pub(super) transaction: u64,
}

impl Began {
    /// Whether a file that is so long now has grown further than a copy is worth.
    pub(super) fn is_outgrown(&self, file_bytes: u64) -> bool {
        file_bytes.saturating_sub(self.file_bytes) > self.file_bytes.max(MIN_GROWTH_BYTES)
    }
}

struct Running {
    began: Began,
    /// Where the copy is read; none where it cannot be given up.
    source: Option<Arc<Source>>,
    is_given_up: AtomicBool,
}

/// The end of a pipe that can be closed while the one who reads it is busy with what was read.
pub(super) struct Source(Mutex<Option<PipeReader>>);

impl Source {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // LMDB writes without a pause: who closes the pipe does not wait for long.
        self.lock().as_mut().map_or(Ok(0), |pipe| pipe.read(buffer))
    }

    fn close(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<PipeReader>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Copies {
    /// A copy is being written until the result is dropped.
    pub(super) fn begin(&self, began: Began, source: Option<Arc<Source>>) -> Copying<'_> {
        let running = Arc::new(Running { began, source, is_given_up: AtomicBool::new(false) });
        self.running().push(Arc::clone(&running));
        Copying { copies: self, running }
    }

    pub(super) fn is_any(&self) -> bool {
        !self.running().is_empty()
    }

    /// Waits until there are none. There will be none until the result is dropped.
    pub(super) fn wait_for_none(&self) -> impl Drop + use<'_> {
        let none = self.ended.wait_while(self.running(), |running| !running.is_empty());
        none.unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up those copies that began so, and waits until they have let go of the database. Says whether there were some.
    pub(super) fn give_up(&self, which: impl Fn(&Began) -> bool) -> bool {
        let running = self.running();
        let mut is_any = false;
        for copy in running.iter().filter(|copy| which(&copy.began)) {
            let Some(source) = &copy.source else { continue };
            copy.is_given_up.store(true, Ordering::Relaxed);
            source.close();
            is_any = true;
        }
        if !is_any {
            return false;
        }
        let is_leaving = |copy: &Arc<Running>| copy.is_given_up.load(Ordering::Relaxed);
        let left = self.ended.wait_while(running, |running| running.iter().any(is_leaving));
        drop(left);
        true
    }

    fn running(&self) -> MutexGuard<'_, Vec<Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A copy is being written until this is dropped.
pub(super) struct Copying<'c> {
    copies: &'c Copies,
    running: Arc<Running>,
}

impl Drop for Copying<'_> {
    fn drop(&mut self) {
        self.copies.running().retain(|copy| !Arc::ptr_eq(copy, &self.running));
        self.copies.ended.notify_all();
    }
}

/// Writes what is committed, at one moment, without free pages; `write` gets it piece by piece. The store may give it up.
pub(super) fn copy_through(
    environment: &Environment,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), CopyError> {
    let (taken, given) = io::pipe().map_err(CopyError::Io)?;
    let source = Arc::new(Source(Mutex::new(Some(taken))));
    let mut given = File::from(OwnedFd::from(given));
    let copying = environment.begin_copy(Some(Arc::clone(&source)));
    let running = Arc::clone(&copying.running);
    let (copied, written) = thread::scope(|scope| {
        let copier = thread::Builder::new().name("store-copy".to_owned()).spawn_scoped(scope, move || {
            let copied = environment.copy_to(&mut given);
            // Who gives the copy up waits for the one who reads, and that one for the end of the pipe: which must not wait.
            drop(given);
            // The transaction has ended, whatever becomes of the last of the copy.
            drop(copying);
            copied
        });
        let copier = copier?;
        let mut pass_on = || {
            let mut buffer = vec![0; BUFFER_BYTES];
            loop {
                match source.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(count) => write(&buffer[..count])?,
                    Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                    Err(cause) => return Err(cause),
                }
            }
        };
        let written = pass_on();
        // LMDB ends at its next write, where there is one.
        source.close();
        let copied = copier.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((copied, written))
    })
    .map_err(CopyError::Io)?;
    if running.is_given_up.load(Ordering::Relaxed) {
        return Err(CopyError::GivenUp);
    }
    written.map_err(CopyError::Io)?;
    copied.map_err(|error| CopyError::Storage(StorageError::of_heed("be copied", error)))
}
