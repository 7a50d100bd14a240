//! The disk with a place in the file system, which programs use.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use fuser::{BackgroundSession, Config, MountOption, Session};
use rustix::{
    mount::{UnmountFlags, unmount},
    process::{Pid, geteuid, test_kill_process},
};
use tempfile::TempDir;

use super::{
    disk::{CONSOLE_NAME, Cut, Disk, Event},
    shell::Shell,
};
use crate::skip::skip;

/// What the names of all places begin with; the process and a number follow.
const PREFIX: &str = "ensemble-power-";

/// A disk whose power a test cuts, mounted for other processes to use: not for the own, which serves it.
///
/// What is written is kept apart until it is synced, and lost, torn or reordered when the power goes. A file system that
/// is dropped is unmounted; what a killed test has left behind is unmounted by the next one.
pub struct PowerLoss {
    disk: Arc<Mutex<Disk>>,
    session: Option<BackgroundSession>,
    place: TempDir,
}

impl PowerLoss {
    /// An empty disk. What its cuts leave follows from the seed and from what was done. `None` where it cannot be mounted,
    /// which needs root and FUSE; then [`skip`] has said why.
    ///
    /// # Panics
    /// Instead of skipping, where everything is to be possible.
    #[track_caller]
    pub fn new(seed: u64) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !geteuid().is_root() {
            skip("a file system of the test's own needs root");
            return None;
        }
        if let Err(cause) = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse") {
            skip(&format!("there is no FUSE: {cause}"));
            return None;
        }
        sweep();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}-", process::id());
        let place = tempfile::Builder::new().prefix(&name).tempdir_in("/tmp").expect("/tmp can be written");
        let disk = Arc::new(Mutex::new(Disk::new(seed)));
        let mut made = Self { disk, session: None, place };
        match made.mount() {
            Ok(()) => Some(made),
            Err(cause) => {
                skip(&format!("no file system can be mounted: {cause}"));
                None
            }
        }
    }

    /// Makes it a disk that says that it has synced, and has not: to see whether a test would notice.
    #[must_use]
    pub fn ignoring_syncs(self) -> Self {
        self.disk().ignore_syncs();
        self
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mount(&mut self) -> io::Result<()> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("ensemble-power".to_owned())];
        let session = Session::new(Shell { disk: Arc::clone(&self.disk) }, self.place.path(), &config)?;
        self.session = Some(session.spawn()?);
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// A file of which every written line is an [`Event::Said`], in its place among the others.
    pub fn console(&self) -> PathBuf {
        self.place.path().join(CONSOLE_NAME)
    }

    /// Has the power go at that moment, counted from now on.
    pub fn cut_at(&self, cut: Cut) {
        self.disk().cut_at(cut);
    }

    /// Has the power go, if it has not gone yet.
    pub fn cut(&self) {
        self.disk().cut_now();
    }

    /// Whether the power has not gone.
    pub fn is_on(&self) -> bool {
        self.disk().is_on()
    }

    /// What happened since the last time that this was asked, or the beginning.
    pub fn take_events(&self) -> Vec<Event> {
        self.disk().take_events()
    }

    /// Has the power back, and a kernel that remembers nothing. No process uses the disk any more.
    ///
    /// # Panics
    /// When it cannot be unmounted, as when a process uses it, or not mounted again.
    pub fn power_on(&mut self) {
        if let Some(session) = self.session.take() {
            session.umount_and_join().expect("nobody uses the disk");
        }
        self.disk().power_on();
        self.mount().expect("what was mounted can be mounted again");
    }

    /// Copies all that is on the disk, after a cut what that has left, to a directory elsewhere.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn copy_to(&self, directory: &Path) {
        self.disk().copy_to(directory).expect("the copy can be written");
    }
}

impl fmt::Debug for PowerLoss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PowerLoss").field("path", &self.place.path()).finish_non_exhaustive()
    }
}

impl Drop for PowerLoss {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        // Also while a process still has a file open: the test may have failed, and the process is killed soon.
        if let Err(cause) = unmount(self.place.path(), UnmountFlags::DETACH) {
            eprintln!("a file system is left behind: {cause}");
        }
        drop(session);
    }
}

/// Unmounts what tests that were killed have left behind.
fn sweep() {
    let Ok(entries) = fs::read_dir("/tmp") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        let maker = maker.and_then(|maker| Pid::from_raw(maker.parse().ok()?));
        let Some(maker) = maker else { continue };
        if test_kill_process(maker).is_ok() {
            continue;
        }
        let place = entry.path();
        // It may not be mounted any more, and others may sweep too.
        let unmounted = unmount(&place, UnmountFlags::DETACH);
        if let Err(cause) = fs::remove_dir(&place)
            && cause.kind() != io::ErrorKind::NotFound
        {
            let cause = unmounted.map_or_else(io::Error::from, |()| cause);
            eprintln!("{} is left behind: {cause}", place.display());
        }
    }
}
