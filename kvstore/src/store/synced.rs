//! The last state that is surely on disk, for a store that does not wait for the disk at every commit.
//!
//! LMDB without syncs is damaged by a loss of power: its two meta pages may reach the disk before the pages that they
//! lead to. So a *sync point* has the file synced, copies the two meta pages to a file beside it, and holds a read
//! transaction open, for as long as LMDB then never writes over a page of that state. After a crash the copy is put
//! back, and with it that state. What was written since is lost.
//!
//! When a sync point is due is not known here (see [`crate::engine`]).

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::environment::{DATA_FILE, Environment};
use super::error::OpenError;
use super::files;

const SYNCED_FILE: &str = "synced";
const NEW_FILE: &str = "synced.new";

const MAGIC: &[u8; 8] = b"KVSYNCED";
const VERSION: u32 = 1;

/// Magic, version, length of a page.
const HEADER_BYTES: usize = 8 + 4 + 4;

/// No system that we run on has longer pages.
const MAX_PAGE_BYTES: u32 = 64 << 10;

/// Puts back the last sync point of a store that was not closed, and says whether there was one. Nobody has it open.
pub(super) fn restore(directory: &Path) -> Result<bool, OpenError> {
    let path = directory.join(SYNCED_FILE);
    let failed = |source| OpenError::Io { what: "file of the last sync", path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(cause) => return Err(failed(cause)),
    };
    let mut bytes = Vec::new();
    let most = HEADER_BYTES as u64 + 2 * u64::from(MAX_PAGE_BYTES) + 4;
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    let reason = "it says nothing of the last sync that can be read";
    let pages = decode(&bytes).ok_or_else(|| OpenError::NotAStore { path: path.clone(), reason })?;
    let put_back = || -> io::Result<()> {
        let data = fs::OpenOptions::new().write(true).open(directory.join(DATA_FILE))?;
        data.write_all_at(pages, 0)?;
        data.sync_all()
    };
    put_back().map_err(failed)?;
    tracing::warn!("the store was not closed: it has its state of the last sync");
    Ok(true)
}

/// Notes that the state that is on disk now is the last one, durably.
pub(super) fn note(environment: &Environment, directory: &Path) -> io::Result<()> {
    let bytes = encode(&environment.meta_pages()?);
    let new = directory.join(NEW_FILE);
    let mut file = File::create(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(new, directory.join(SYNCED_FILE))?;
    files::sync_directory(directory)
}

/// Forgets the sync point: every commit is on disk.
pub(super) fn forget(directory: &Path) -> io::Result<()> {
    match fs::remove_file(directory.join(SYNCED_FILE)) {
        Ok(()) => files::sync_directory(directory),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(cause),
    }
}

fn encode(pages: &[u8]) -> Vec<u8> {
    let page_bytes = u32::try_from(pages.len() / 2).expect("a page is short");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + pages.len() + 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&page_bytes.to_le_bytes());
    bytes.extend_from_slice(pages);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// The two pages.
fn decode(bytes: &[u8]) -> Option<&[u8]> {
    let (content, checksum) = bytes.split_last_chunk::<4>()?;
    let (header, pages) = content.split_first_chunk::<HEADER_BYTES>()?;
    let page_bytes = u32::from_le_bytes(header[12..].try_into().ok()?);
    let is_sound = header.starts_with(MAGIC)
        && header[8..12] == VERSION.to_le_bytes()
        && pages.len() as u64 == 2 * u64::from(page_bytes)
        && crc32fast::hash(content) == u32::from_le_bytes(*checksum);
    is_sound.then_some(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_read_back_and_every_damage_is_found() {
        let pages: Vec<u8> = (0..200).collect();
        let bytes = encode(&pages);
        assert_eq!(bytes[..16], *b"KVSYNCED\x01\0\0\0\x64\0\0\0");
        assert_eq!(decode(&bytes), Some(&pages[..]));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged), None, "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None, "{cut}");
        }
    }
}
