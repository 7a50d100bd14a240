//! The last state that is surely on disk, for a store that does not wait for the disk at every commit.
//!
//! LMDB without syncs is damaged by a loss of power: its two meta pages may reach the disk before the pages that they
//! lead to. So a *sync point* has the file synced, copies the two meta pages to a file beside it, and holds a read
//! transaction open, for as long as LMDB then never writes over a page of that state. After a crash the copy is put
//! back, and with it that state. What was written since is lost.
//!
//! The copy fits one database only. So it holds the root page of that state too, which is in the file for as long as the
//! state is: pages are written anew elsewhere, and each commit writes the root with its own revision in it.
//!
//! When a sync point is due is not known here (see [`crate::engine`]).

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::environment::{DATA_FILE, Environment};
use super::error::OpenError;
use super::files;
use crate::failpoint::{self, Moment};

const SYNCED_FILE: &str = "synced";
const NEW_FILE: &str = "synced.new";

const MAGIC: &[u8; 8] = b"KVSYNCED";
/// The version that is written. Version 1, without a root page, is read too.
const VERSION: u32 = 2;

/// Magic, version, length of a page.
const HEADER_BYTES: usize = 8 + 4 + 4;
/// The number of the root page.
const ROOT_BYTES: usize = 8;

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
    let most = (HEADER_BYTES + ROOT_BYTES) as u64 + 3 * u64::from(MAX_PAGE_BYTES) + 4;
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    let reason = "it says nothing of the last sync that can be read";
    let note = decode(&bytes).ok_or_else(|| OpenError::NotAStore { path: path.clone(), reason })?;
    let data = directory.join(DATA_FILE);
    let failed = |source| OpenError::Io { what: "data file", path: data.clone(), source };
    let file = fs::OpenOptions::new().read(true).write(true).open(&data).map_err(failed)?;
    if !note.belongs_to(&file).map_err(failed)? {
        return Err(OpenError::SyncedApart { path });
    }
    file.write_all_at(note.metas, 0).and_then(|()| file.sync_all()).map_err(failed)?;
    failpoint::reach(Moment::PutBack);
    tracing::warn!("the store was not closed: it has its state of the last sync");
    Ok(true)
}

/// Notes that the state that is on disk now is the last one, durably.
pub(super) fn note(environment: &Environment, directory: &Path) -> io::Result<()> {
    let (metas, root) = environment.synced_pages()?;
    let root = root.as_ref().map(|(number, page)| (*number, &page[..]));
    let bytes = Note { metas: &metas, root }.encode();
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

/// What the file holds.
#[derive(Debug, PartialEq, Eq)]
struct Note<'n> {
    /// The two meta pages.
    metas: &'n [u8],
    /// The root page that they lead to, with its number, where it is known.
    root: Option<(u64, &'n [u8])>,
}

impl<'n> Note<'n> {
    fn encode(&self) -> Vec<u8> {
        let page_bytes = u32::try_from(self.metas.len() / 2).expect("a page is short");
        let (number, root) = self.root.unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + ROOT_BYTES + self.metas.len() + root.len() + 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&page_bytes.to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(self.metas);
        bytes.extend_from_slice(root);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Whether `data` is the database that it was written for, as far as it tells.
    fn belongs_to(&self, data: &File) -> io::Result<bool> {
        let Some((number, root)) = self.root else { return Ok(true) };
        let mut found = vec![0; root.len()];
        match number.checked_mul(root.len() as u64).map(|at| data.read_exact_at(&mut found, at)) {
            Some(Ok(())) => Ok(found == root),
            Some(Err(cause)) if cause.kind() != io::ErrorKind::UnexpectedEof => Err(cause),
            _ => Ok(false),
        }
    }
}

fn decode(bytes: &[u8]) -> Option<Note<'_>> {
    let (content, checksum) = bytes.split_last_chunk::<4>()?;
    let (header, rest) = content.split_first_chunk::<HEADER_BYTES>()?;
    let version = u32::from_le_bytes(header[8..12].try_into().ok()?);
    let page_bytes = usize::try_from(u32::from_le_bytes(header[12..].try_into().ok()?)).ok()?;
    if !header.starts_with(MAGIC) || crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (number, pages) = match version {
        1 => (0, rest),
        VERSION => {
            let (number, pages) = rest.split_first_chunk::<ROOT_BYTES>()?;
            (u64::from_le_bytes(*number), pages)
        }
        _ => return None,
    };
    let (metas, root) = pages.split_at_checked(page_bytes.checked_mul(2)?)?;
    // The pages 0 and 1 are the meta pages.
    let expected = if number == 0 { 0 } else { page_bytes };
    let root_page = (number != 0).then_some((number, root));
    (root.len() == expected).then_some(Note { metas, root: root_page })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_read_back_and_every_damage_is_found() {
        let pages: Vec<u8> = (0..200).collect();
        let root = [7; 100];
        for root in [None, Some((0x0102_0304_0506_0708, &root[..]))] {
            let note = Note { metas: &pages, root };
            let bytes = note.encode();
            assert_eq!(bytes[..16], *b"KVSYNCED\x02\0\0\0\x64\0\0\0");
            if root.is_some() {
                assert_eq!(bytes[16..24], [8, 7, 6, 5, 4, 3, 2, 1]);
            }
            assert_eq!(decode(&bytes).as_ref(), Some(&note));
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

    #[test]
    fn the_first_version_is_read_and_a_later_one_is_not() {
        let pages: Vec<u8> = (0..200).collect();
        let version = |version: u8| {
            let mut bytes = [b"KVSYNCED", &[version, 0, 0, 0, 100, 0, 0, 0][..], &pages].concat();
            bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
            bytes
        };
        assert_eq!(decode(&version(1)), Some(Note { metas: &pages, root: None }));
        assert_eq!(decode(&version(3)), None);
    }
}
