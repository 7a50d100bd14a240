//! Backups: a consistent copy of a store in use, in one file, and a store made of such a file.
//!
//! The file is the database as LMDB copies it, without free pages, and a trailer: `KVBACKUP`; a version, now 1, and the
//! CRC-32 of the database (four bytes each); its length (eight bytes). Numbers are little-endian.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::clock::Clock;
use super::copies::{CopyError, copy_through};
use super::environment::{self, DATA_FILE};
use super::error::{OpenError, ReadError, StorageError};
use super::files;
use super::handle::{Revisions, Store};
use super::look;
use super::options::StoreOptions;

const MAGIC: &[u8; 8] = b"KVBACKUP";
const VERSION: u32 = 1;
const TRAILER_BYTES: usize = 8 + 4 + 4 + 8;

/// How much is read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// What a backup has, or what was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackedUp {
    /// How many keys.
    pub entries: u64,
    /// The last revision that was given to a write.
    pub revision: u64,
    /// The length of the file.
    pub bytes: u64,
}

/// Why there is no backup, or no store made of one.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is something at that place already. It is left as it is.
    #[error("{} is there already", path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{} could not be {done}", path.display())]
    Io {
        /// What was not done with it.
        done: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file is no backup, or not a whole one.
    #[error("{} is no backup: {reason}", path.display())]
    NotABackup {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        reason: &'static str,
    },
    /// Records in the backup are damaged.
    #[error("damaged records in the backup: {count}, the first of the key {key}")]
    Damaged {
        /// How many.
        count: u64,
        /// The first, in printable form.
        key: String,
    },
    /// The database in the backup could not be opened.
    #[error("the database in the backup could not be opened")]
    Open(#[from] OpenError),
    /// The database in the backup could not be read.
    #[error("the database in the backup could not be read")]
    Read(#[from] ReadError),
    /// The file was not written fast enough: the store kept all pages of its moment until it had no room for writes any
    /// more, or had grown by its own length, or by 256 MiB where that is more.
    #[error("the backup was given up, since the store outgrew its room while it was copied")]
    GivenUp,
    /// The store could not be copied.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Store {
    /// Writes a backup to a new file: the store as it is at one moment, while reads and writes go on. The file appears
    /// whole or not at all.
    ///
    /// Meanwhile the store uses no page again that this moment needs, so that its file grows with every write. Writes come
    /// first: a backup that would have them fail, or has the file grow too far, is given up.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; what is at `path` already is never written over.
    pub fn backup(&self, path: &Path) -> Result<BackedUp, BackupError> {
        if path.symlink_metadata().is_ok() {
            return Err(BackupError::Exists { path: path.to_owned() });
        }
        let part = Removed(beside(path, "part"));
        let failed = |source| BackupError::Io { done: "written", path: part.0.clone(), source };
        let mut file = files::create_file(&part.0).map_err(failed)?;
        self.make_room_to_grow()?;
        let (length, checksum) = self.copy_out(&mut file).map_err(|error| match error {
            CopyError::Storage(error) => BackupError::Storage(error),
            CopyError::Io(source) => failed(source),
            CopyError::GivenUp => BackupError::GivenUp,
        })?;
        // The store itself has gone on meanwhile.
        let (entries, revision) = environment::read_copy(&part.0, |transaction, tables| {
            look::count(transaction, tables, self.now_ms())
        })
        .map_err(|error| StorageError::of_heed("be read from its copy", error))?;
        file.write_all(&trailer(length, checksum)).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        // A link, unlike a renaming, never takes the place of another file.
        fs::hard_link(&part.0, path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists { path: path.to_owned() },
            _ => BackupError::Io { done: "written", path: path.to_owned(), source },
        })?;
        sync_parent(path).map_err(failed)?;
        Ok(BackedUp { entries, revision, bytes: length + TRAILER_BYTES as u64 })
    }

    /// Writes the database; says how long it is, and its checksum.
    pub(super) fn copy_out(&self, to: &mut impl io::Write) -> Result<(u64, u32), CopyError> {
        let (mut length, mut hasher) = (0, crc32fast::Hasher::new());
        copy_through(self.environment(), |piece| {
            hasher.update(piece);
            length += piece.len() as u64;
            to.write_all(piece)
        })?;
        Ok((length, hasher.finalize()))
    }
}

/// Makes a store in `directory`, where there is nothing yet, of a backup, all of which is checked before.
///
/// # Errors
///
/// [`BackupError`]; `directory` is as it was then.
pub fn restore(backup: &Path, directory: &Path) -> Result<BackedUp, BackupError> {
    let unreadable = |source| BackupError::Io { done: "read", path: backup.to_owned(), source };
    let is_there = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => directory.symlink_metadata().is_ok(),
    };
    if is_there {
        return Err(BackupError::Exists { path: directory.to_owned() });
    }
    let not = |reason| BackupError::NotABackup { path: backup.to_owned(), reason };
    let mut file = File::open(backup).map_err(unreadable)?;
    let file_bytes = file.metadata().map_err(unreadable)?.len();
    let database_bytes =
        file_bytes.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| not("it is too short"))?;

    let staging = Removed(beside(directory, "restoring"));
    let unwritable = |source| BackupError::Io { done: "written", path: staging.0.clone(), source };
    staging.remove();
    // As closed to others as the directory that a store makes for itself.
    files::create_directory(&staging.0).map_err(unwritable)?;
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut data = options.open(staging.0.join(DATA_FILE)).map_err(unwritable)?;
    let (length, checksum) = copy(&mut file, &mut data, database_bytes).map_err(unwritable)?;
    let mut found = [0; TRAILER_BYTES];
    file.read_exact(&mut found).map_err(unreadable)?;
    if !found.starts_with(MAGIC) {
        return Err(not("it does not end as one; it may have been cut off"));
    }
    if found[8..12] != VERSION.to_le_bytes() {
        return Err(not("it is of another version of this program"));
    }
    if found != trailer(length, checksum) {
        return Err(not("its checksum is another: it is damaged"));
    }
    data.sync_all().map_err(unwritable)?;
    let (entries, revision) = check(&staging.0)?;
    fs::rename(&staging.0, directory).map_err(|source| BackupError::Io {
        done: "written",
        path: directory.to_owned(),
        source,
    })?;
    sync_parent(directory).map_err(unwritable)?;
    Ok(BackedUp { entries, revision, bytes: file_bytes })
}

/// Opens the database, checks every record, and closes it. Says how many keys there are, and the last revision.
fn check(directory: &Path) -> Result<(u64, u64), BackupError> {
    let options = StoreOptions { max_size_bytes: usize::MAX, ..StoreOptions::default() };
    let store = Store::open_as(directory, options, Clock::system(), Revisions::Fork)?;
    let (mut count, mut first) = (0, None);
    let mut after = None;
    loop {
        let part = store.verify(after.as_deref())?;
        // Parts that no record has take room, and nothing is missing without them.
        let damaged = part.damaged.into_iter().filter(|(key, _)| !key.is_empty());
        for (key, _) in damaged {
            count += 1;
            first.get_or_insert(key);
        }
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    if let Some(key) = first {
        return Err(BackupError::Damaged { count, key: key.escape_ascii().to_string() });
    }
    let status = store.status()?;
    Ok((status.entries, status.revision))
}

/// Copies at most so many bytes; says how many there were, and their checksum.
fn copy(from: &mut impl Read, to: &mut impl io::Write, most: u64) -> io::Result<(u64, u32)> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut length, mut hasher) = (0, crc32fast::Hasher::new());
    let mut from = from.take(most);
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok((length, hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
        length += count as u64;
    }
}

fn trailer(length: u64, checksum: u32) -> [u8; TRAILER_BYTES] {
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..8].copy_from_slice(MAGIC);
    trailer[8..12].copy_from_slice(&VERSION.to_le_bytes());
    trailer[12..16].copy_from_slice(&checksum.to_le_bytes());
    trailer[16..].copy_from_slice(&length.to_le_bytes());
    trailer
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.{what}", std::process::id()));
    path.with_file_name(name)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    files::sync_directory(parent.unwrap_or(Path::new(".")))
}

/// A file or directory that goes when this does.
struct Removed(PathBuf);

impl Removed {
    fn remove(&self) {
        let removed = if self.0.is_dir() { fs::remove_dir_all(&self.0) } else { fs::remove_file(&self.0) };
        match removed {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.0.display(), %cause, "what is not needed any more could not be removed");
            }
            _ => {}
        }
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        self.remove();
    }
}
