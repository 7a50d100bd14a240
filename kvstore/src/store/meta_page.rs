//! What is read of LMDB's meta pages past LMDB: where the root of the unnamed database is.
//!
//! The layout is that of data version 1 of LMDB on 64-bit machines: a page begins with its number (8 bytes) and 8 bytes
//! more; a meta page goes on with a magic number and the version (4 bytes each), and has the root at byte 128 and the
//! number of its transaction at byte 144. Where something else is found, nothing is said.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

pub(super) const MAGIC_AT: usize = 16;
pub(super) const MAGIC: u32 = 0xbeef_c0de;
pub(super) const VERSION_AT: usize = 20;
pub(super) const VERSION: u32 = 1;
const ROOT_AT: usize = 128;
const TRANSACTION_AT: usize = 144;

/// A page with its number.
pub(super) type Page = (u64, Vec<u8>);

/// The root page that the newer one of two meta pages leads to; none where the layout is another.
pub(super) fn root_page(metas: &[u8], file: &File) -> io::Result<Option<Page>> {
    let page_bytes = metas.len() / 2;
    let newest = metas.chunks_exact(page_bytes).filter_map(read_meta).max();
    let Some((_, number)) = newest else { return Ok(None) };
    let mut page = vec![0; page_bytes];
    let Some(at) = number.checked_mul(page_bytes as u64) else { return Ok(None) };
    file.read_exact_at(&mut page, at)?;
    Ok((number64(&page, 0) == Some(number)).then_some((number, page)))
}

/// The number of the transaction, and that of the root page.
fn read_meta(page: &[u8]) -> Option<(u64, u64)> {
    let is_known = cfg!(all(target_endian = "little", target_pointer_width = "64"))
        && number32(page, MAGIC_AT)? == MAGIC
        && number32(page, VERSION_AT)? == VERSION;
    let root = number64(page, ROOT_AT)?;
    // The pages 0 and 1 are the meta pages, and an empty database has no root.
    (is_known && (2..u64::MAX).contains(&root)).then_some((number64(page, TRANSACTION_AT)?, root))
}

pub(super) fn number32(page: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(page.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn number64(page: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(page.get(at..at + 8)?.try_into().ok()?))
}
