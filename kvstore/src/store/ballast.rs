//! A file of zeros beside the database, given up on a full disk so that removes find room.
//!
//! LMDB writes pages anew before it frees the old ones, so a remove can need room on the disk too. It is needed
//! for a short time: what the remove freed serves the next one.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// Enough for the pages that a few removes touch, and for the list of the pages of the largest value.
const BALLAST_BYTES: usize = 1 << 20;

pub(super) struct Ballast {
    path: PathBuf,
    filled: bool,
}

impl Ballast {
    /// Takes over the file at `path`, and fills it unless it is full.
    pub(super) fn new(path: PathBuf) -> Self {
        let filled = path.metadata().is_ok_and(|metadata| metadata.len() >= BALLAST_BYTES as u64);
        let mut ballast = Self { path, filled };
        ballast.refill();
        ballast
    }

    /// Fills the file again where there is room. That there is none is no error: it is tried again.
    pub(super) fn refill(&mut self) {
        if self.filled {
            return;
        }
        match self.fill() {
            Ok(()) => self.filled = true,
            Err(error) => {
                tracing::debug!(%error, "no room to keep back for removes");
                self.empty();
            }
        }
    }

    /// Gives the room to the database. Says whether there was any.
    pub(super) fn release(&mut self) -> bool {
        let had_room = self.filled;
        self.filled = false;
        had_room && self.empty()
    }

    fn fill(&self) -> io::Result<()> {
        // Written, not only sized: a hole would hold no room.
        File::create(&self.path)?.write_all(&vec![0; BALLAST_BYTES])
    }

    fn empty(&self) -> bool {
        match File::create(&self.path) {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "room kept back for removes stays taken");
                false
            }
        }
    }
}
