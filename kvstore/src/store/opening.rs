//! What comes before a store is open: its directory, and an environment in the version of this code.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::ballast::Ballast;
use super::environment::{self, DATA_FILE, Environment};
use super::error::OpenError;
use super::files;
use super::format;
use super::options::StoreOptions;
use super::pages::{self, PagesError};
use crate::history::History;

/// The database until it is whole.
const NEW_FILE: &str = "data.mdb.new";

/// A file system with fewer free bytes than this counts as full when LMDB's write was cut short.
const FULL_DISK_BYTES: u64 = 1 << 20;

/// Opens the environment, also where there is no room left and tables are missing that an older program did not make: they
/// get what is kept back for removes. Says whether the map reaches into that, and which history the revisions belong to:
/// a new one where `is_another`.
pub(super) fn open_environment(
    directory: &Path,
    options: &StoreOptions,
    ballast: &mut Ballast,
    is_another: bool,
) -> Result<(Environment, bool, History), OpenError> {
    let mut map_bytes = options.initial_map();
    loop {
        let opened = make_database(directory).and_then(|()| look_at_pages(directory)).and_then(|()| {
            Environment::open(directory, map_bytes, |meta, transaction| {
                format::settle(meta, transaction, directory, is_another)
            })
        });
        match opened {
            Ok((environment, history)) => {
                return Ok((environment, map_bytes > options.put_ceiling(), history));
            }
            Err(OpenError::Storage(error)) if error.is_full_map() && map_bytes < options.map_ceiling() => {
                // The file may be longer than the first map, which LMDB then made as long as the file.
                map_bytes = options.map_ceiling();
            }
            Err(OpenError::Io { source, .. }) if is_full_disk(directory, &source) && ballast.release() => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes the database where there is none: beside its place, to be moved there when it is whole and on disk. LMDB would make
/// it in its place, and one of which a loss of power leaves a part never opens.
fn make_database(directory: &Path) -> Result<(), OpenError> {
    let (path, new) = (directory.join(DATA_FILE), directory.join(NEW_FILE));
    if path.metadata().is_ok_and(|metadata| metadata.len() > 0) {
        return Ok(());
    }
    // What is left of another attempt is emptied.
    let made = files::create_file(&new).and_then(|file| {
        environment::create_database(&new).map_err(|error| match error {
            heed::Error::Io(cause) => cause,
            other => io::Error::other(other),
        })?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        files::sync_directory(directory)
    });
    made.map_err(|source| OpenError::Io { what: "data file", path, source })
}

/// Refuses a file that LMDB would not survive, as far as that shows in the time that there is.
fn look_at_pages(directory: &Path) -> Result<(), OpenError> {
    let path = directory.join(DATA_FILE);
    match File::open(&path)
        .map_err(PagesError::Io)
        .and_then(|file| pages::look(&file, pages::LOOKED_AT_BYTES))
    {
        Ok(_) => Ok(()),
        Err(PagesError::Io(source)) => Err(OpenError::Io { what: "data file", path, source }),
        Err(PagesError::Damaged { page, what }) => Err(OpenError::DamagedPages { path, page, what }),
    }
}

pub(super) fn is_full_disk(directory: &Path, error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => true,
        // LMDB answers a write that was cut short, as the last one before a full disk is, with a plain I/O error.
        _ => rustix::fs::statvfs(directory)
            .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < FULL_DISK_BYTES),
    }
}

pub(super) fn create_directory(directory: &Path) -> Result<(), OpenError> {
    let made: Vec<&Path> = directory.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    let failed = |source| OpenError::Io { what: "directory", path: directory.to_owned(), source };
    files::create_directory(directory).map_err(failed)?;
    for path in made {
        // A relative path of one part lies in the directory with the empty name.
        match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new("."))?,
            Some(parent) => sync_directory(parent)?,
            None => {}
        }
    }
    Ok(())
}

pub(super) fn sync_directory(directory: &Path) -> Result<(), OpenError> {
    files::sync_directory(directory).map_err(|source| OpenError::Io {
        what: "directory",
        path: directory.to_owned(),
        source,
    })
}
