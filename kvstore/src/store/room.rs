//! What puts may take of the maximum size, and when there is room again. How the map grows up to it is not here: see
//! `commit`.

use heed::{MdbError, RwTxn};

use super::commit::Writer;
use super::environment::{End, Tables};
use super::handle::Inner;

/// What the trees around a value may need, in bytes.
const TREES_BYTES: u64 = 64 << 10;

/// What a transaction may take.
///
/// Where the file ends bounds it only until a remove has made it longer, with pages that were kept back: LMDB never gives
/// those back, and puts would find them free. So from then on what is used is counted. Otherwise every time that the store
/// is filled and something is removed would take some of what is kept back, until there is none, and removes fail too.
pub(super) struct Room {
    limit_pages: Option<u64>,
    /// The last attempt would have taken more.
    pub(super) is_exceeded: bool,
}

impl Room {
    /// Runs the body of a transaction, and fails as at the end of the map where it takes too much. One that makes an overfull
    /// store no fuller does not.
    pub(super) fn hold<R>(
        &mut self,
        transaction: &mut RwTxn<'_>,
        tables: &Tables,
        body: impl FnOnce(&mut RwTxn<'_>) -> Result<End<R>, heed::Error>,
    ) -> Result<End<R>, heed::Error> {
        self.is_exceeded = false;
        let Some(limit) = self.limit_pages else { return body(transaction) };
        let before = tables.used_pages(transaction)?;
        let end = body(transaction)?;
        self.is_exceeded = tables.used_pages(transaction)? > limit.max(before);
        if self.is_exceeded { Err(MdbError::MapFull.into()) } else { Ok(end) }
    }
}

impl Inner {
    /// What the next transaction may take.
    pub(super) fn room(&self, only_removes: bool) -> Room {
        let ceiling = self.options.put_ceiling();
        let is_bounded = only_removes || self.environment.map_bytes() <= ceiling;
        let limit_pages = (!is_bounded).then(|| ceiling as u64 / self.environment.sizes().page_bytes.max(1));
        Room { limit_pages, is_exceeded: false }
    }

    /// Whether there is room now, as far as lengths go, for the put that was last refused at the maximum size.
    pub(super) fn has_room_again(&self, writer: &Writer) -> bool {
        let used = self.environment.read(|transaction, tables| tables.used_pages(transaction));
        let Ok(used_pages) = used.flatten() else { return false };
        let needed_bytes = TREES_BYTES.saturating_add((writer.refused_bytes as u64).saturating_mul(2));
        let used_bytes = used_pages.saturating_mul(self.environment.sizes().page_bytes);
        used_bytes.saturating_add(needed_bytes) <= self.options.put_ceiling() as u64
    }
}
