//! Room for removes from the log: in a full store the oldest changes that are kept are given up for them.

use super::changes::drop_oldest;
use super::commit::{Failure, Writer};
use super::handle::Inner;

impl Inner {
    /// Gives up the oldest of the changes that are kept. Says whether there were some and their room can be used.
    ///
    /// It takes a transaction of their own, and only a few of them at once: those pages that one transaction frees are noted
    /// in one piece, and for that of a whole log there is no room when not a page is left.
    pub(super) fn shorten_log(&self, writer: &mut Writer) -> Result<bool, Failure> {
        while self.grow(writer, 0, self.options.map_ceiling())? {}
        match self.environment.write(drop_oldest).map_err(|error| self.failure(error)) {
            Ok(true) => {}
            Ok(false) | Err(Failure::MapFull | Failure::DiskFull) => return Ok(false),
            Err(other) => return Err(other),
        }
        tracing::warn!(
            "there is no room left for a remove: the oldest of the changes that were kept are given up"
        );
        writer.has_fresh_free_pages = true;
        self.note_commit(writer);
        self.settle_free_pages(writer)
    }
}
