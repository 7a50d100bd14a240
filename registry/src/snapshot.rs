//! What the registry had, on disk: it survives a restart. One entry for each server that holds a lease, and one for each
//! id that is gone and still known; nothing is written for a heartbeat. What to write when is decided by [`Directory::writes_since`](crate::Directory::writes_since).
//!
//! The calls block, those that write until the data is on disk: they belong off an event loop.
//!
//! # Form on disk
//! An LMDB environment with two databases, beside a lock file that keeps a second registry out.
//! - `meta`: the key `format` has [`FORMAT_VERSION`] as four bytes, little-endian.
//! - `servers`: the key is the server id as text. The value is
//!   - one byte: its form, 1 for a server and 2 for an id that is gone;
//!   - four bytes, little-endian: the CRC-32 of the key and the rest;
//!   - the rest, by [`ensemble::codec`]. Of a server: the incarnation (16 bytes), when it announced (milliseconds, a
//!     number), the addresses and the roles (a list of texts each), the agent (a text or none), the process id (a number
//!     or none), and the incarnations that were replaced (a list of 16 bytes each). Of an id that is gone: the
//!     incarnations that have had it (the same).

use std::{
    convert::Infallible,
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use bytes::BytesMut;
use ensemble::{
    Address, Incarnation, RoleName, ServerId,
    codec::{self, DecodeError, EncodeError},
};
use heed::{
    CommitOrAbort, Database, Env, EnvOpenOptions, MdbError, RwTxn, WithoutTls,
    types::{Bytes, Str},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::warn;

use crate::{Announcement, StoredEntry, Write};

/// The version of the databases as a whole.
pub const FORMAT_VERSION: u32 = 1;
/// The most that the snapshot can hold, in bytes: several times what the default bounds of a directory allow.
/// It is address space; the file is as large as its content.
pub const MAP_BYTES: usize = 512 << 20;

const LOCK_FILE: &str = "registry.lock";
const META: &str = "meta";
const FORMAT_KEY: &str = "format";
const SERVERS: &str = "servers";
const SERVER_FORM: u8 = 1;
const GONE_FORM: u8 = 2;
const ENTRY_HEADER_BYTES: usize = 5;

/// Why the snapshot cannot be opened, read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The directory cannot be made.
    #[error("the directory {} cannot be made", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// That a directory has new entries cannot be brought to the disk.
    #[error("the directory {} cannot be synced", path.display())]
    SyncDirectory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The lock file cannot be made or locked.
    #[error("the file {} cannot be locked", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another registry has it open, in this process or another.
    #[error("another registry is running on {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The database cannot be opened.
    #[error("the database in {} cannot be opened", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the database says.
        source: DatabaseError,
    },
    /// It was written by another version of this program.
    #[error("the database in {} has format {found:?}; this program knows {FORMAT_VERSION}", path.display())]
    UnknownFormat {
        /// The directory.
        path: PathBuf,
        /// Its format, unless that is not even a number.
        found: Option<u32>,
    },
    /// It cannot be read.
    #[error("the registry's database cannot be read")]
    Read(#[source] DatabaseError),
    /// It cannot be written.
    #[error("the registry's database cannot be written")]
    Write(#[source] DatabaseError),
    /// It has no room for more than [`MAP_BYTES`].
    #[error("the registry's database is full")]
    Full,
    /// An entry cannot be encoded.
    #[error("the entry of {id} cannot be encoded")]
    Encode {
        /// The server.
        id: ServerId,
        /// Why not.
        source: EncodeError,
    },
}

/// What the database says when it fails.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct DatabaseError(heed::Error);

/// Why an entry is skipped.
#[derive(Debug, Error)]
enum Damage {
    #[error("the key is no server id")]
    Key,
    #[error("the entry has {bytes} bytes, fewer than its header")]
    Short { bytes: usize },
    #[error("the entry has form {found}; this program knows {SERVER_FORM} and {GONE_FORM}")]
    Form { found: u8 },
    #[error("the checksum does not match")]
    Checksum,
    #[error("the content is malformed")]
    Content(#[source] DecodeError),
}

/// What the registry had, on disk.
#[derive(Debug)]
pub struct Snapshot {
    // Fields are dropped in this order: the lock is held until the database is closed.
    env: Env<WithoutTls>,
    servers: Database<'static, Bytes, Bytes>,
    _lock: File,
}

impl Snapshot {
    /// Opens the snapshot in a directory of its own, which is made if it is not there.
    ///
    /// # Errors
    /// When another registry has it open, when it is of an unknown format or no database at all, and when the
    /// system refuses.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, SnapshotError> {
        Self::open_sized(dir.as_ref(), MAP_BYTES)
    }

    pub(crate) fn open_sized(dir: &Path, map_bytes: usize) -> Result<Self, SnapshotError> {
        create_dir(dir)?;
        let lock = lock(dir)?;
        let failed = |source| SnapshotError::Open { path: dir.into(), source: DatabaseError(source) };
        let env = open_env(dir, map_bytes).map_err(failed)?;
        let (servers, found) = open_databases(&env).map_err(failed)?;
        // The names of the files made above are as durable as their contents only after this.
        sync_dir(dir)?;
        match found {
            Ok(FORMAT_VERSION) => Ok(Self { env, servers, _lock: lock }),
            Ok(found) => Err(SnapshotError::UnknownFormat { path: dir.into(), found: Some(found) }),
            Err(_) => Err(SnapshotError::UnknownFormat { path: dir.into(), found: None }),
        }
    }

    /// All entries, in the order of their ids. One that is damaged is left out, with a warning that names it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn load(&self) -> Result<Vec<StoredEntry>, SnapshotError> {
        let failed = |source| SnapshotError::Read(DatabaseError(source));
        let transaction = self.env.read_txn().map_err(failed)?;
        let mut entries = Vec::new();
        for item in self.servers.iter(&transaction).map_err(failed)? {
            let (key, value) = item.map_err(failed)?;
            match decode(key, value) {
                Ok(entry) => entries.push(entry),
                Err(damage) => {
                    warn!(server = %key.escape_ascii(), %damage, "skipping a damaged entry of the registry");
                }
            }
        }
        Ok(entries)
    }

    /// Writes one entry, in the place of any other of its id.
    ///
    /// # Errors
    /// When it cannot be written; then nothing has changed.
    pub fn put(&self, entry: &StoredEntry) -> Result<(), SnapshotError> {
        self.transact(|transaction| self.put_in(transaction, entry))
    }

    /// Removes the entry of an id, if there is one.
    ///
    /// # Errors
    /// When it cannot be written; then nothing has changed.
    pub fn remove(&self, id: &ServerId) -> Result<(), SnapshotError> {
        self.transact(|transaction| self.remove_in(transaction, id))
    }

    /// Does all of these in one go: they share the wait for the disk.
    ///
    /// # Errors
    /// When they cannot be written; then none of them is.
    pub fn apply(&self, writes: &[Write]) -> Result<(), SnapshotError> {
        if writes.is_empty() {
            return Ok(());
        }
        self.transact(|transaction| {
            writes.iter().try_for_each(|write| match write {
                Write::Put(entry) => self.put_in(transaction, entry),
                Write::Remove(id) => self.remove_in(transaction, id),
            })
        })
    }

    /// These entries in the place of all there are.
    ///
    /// # Errors
    /// When they cannot be written; then nothing has changed.
    pub fn replace_all(&self, entries: &[StoredEntry]) -> Result<(), SnapshotError> {
        self.transact(|transaction| {
            self.servers.clear(transaction).map_err(write_failed)?;
            entries.iter().try_for_each(|entry| self.put_in(transaction, entry))
        })
    }

    fn transact(
        &self,
        change: impl FnOnce(&mut RwTxn<'_>) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        let mut transaction = self.env.write_txn().map_err(write_failed)?;
        change(&mut transaction)?;
        transaction.commit().map_err(write_failed)
    }

    fn put_in(&self, transaction: &mut RwTxn<'_>, entry: &StoredEntry) -> Result<(), SnapshotError> {
        let id = entry.id();
        let value = encode(entry).map_err(|source| SnapshotError::Encode { id: id.clone(), source })?;
        self.servers.put(transaction, id.as_str().as_bytes(), &value).map_err(write_failed)
    }

    fn remove_in(&self, transaction: &mut RwTxn<'_>, id: &ServerId) -> Result<(), SnapshotError> {
        self.servers.delete(transaction, id.as_str().as_bytes()).map(drop).map_err(write_failed)
    }
}

fn write_failed(source: heed::Error) -> SnapshotError {
    match source {
        heed::Error::Mdb(MdbError::MapFull) => SnapshotError::Full,
        other => SnapshotError::Write(DatabaseError(other)),
    }
}

/// Makes the directory, and those above it that are missing, so that they are there after a power loss too.
fn create_dir(dir: &Path) -> Result<(), SnapshotError> {
    let made: Vec<&Path> = dir.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    let failed = |source| SnapshotError::Directory { path: dir.into(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    for path in made {
        match path.parent() {
            // A relative path of one part lies in the directory with the empty name.
            Some(parent) if parent.as_os_str().is_empty() => sync_dir(Path::new("."))?,
            Some(parent) => sync_dir(parent)?,
            None => {}
        }
    }
    Ok(())
}

fn sync_dir(dir: &Path) -> Result<(), SnapshotError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| SnapshotError::SyncDirectory { path: dir.into(), source })
}

fn lock(dir: &Path) -> Result<File, SnapshotError> {
    let path = dir.join(LOCK_FILE);
    let failed = |source| SnapshotError::Lock { path: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SnapshotError::InUse { path: dir.into() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[expect(unsafe_code, reason = "a memory-mapped file must not be changed by others")]
fn open_env(dir: &Path, map_bytes: usize) -> heed::Result<Env<WithoutTls>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(map_bytes).max_dbs(2);
    // SAFETY: the directory is the registry's own, and the lock file keeps other registries out of it.
    let env = unsafe { options.open(dir)? };
    // Reading the map past the end of the file would kill the process. Zeros there are found to be damage, and
    // a sound file does not use them.
    let info = env.info();
    let pages = info.last_page_number as u64 + 1;
    let used_bytes = pages.saturating_mul(u64::from(env.unnamed_database_stat().page_size));
    let needed_bytes = used_bytes.min(info.map_size as u64);
    let file = env.try_clone_inner_file()?;
    if file.metadata()?.len() < needed_bytes {
        file.set_len(needed_bytes)?;
    }
    Ok(env)
}

type Opened = (Database<'static, Bytes, Bytes>, Result<u32, std::array::TryFromSliceError>);

/// The servers' database and the format that the whole has; a new one gets the format of now.
fn open_databases(env: &Env<WithoutTls>) -> heed::Result<Opened> {
    let opened = env.create_databases_and_commit(env.write_txn()?, |opener, transaction| {
        let meta = opener.create_database::<Str, Bytes>(transaction, Some(META))?;
        let servers = opener.create_database::<Bytes, Bytes>(transaction, Some(SERVERS))?;
        if meta.get(transaction, FORMAT_KEY)?.is_none() {
            meta.put(transaction, FORMAT_KEY, &FORMAT_VERSION.to_le_bytes())?;
        }
        Ok::<_, heed::Error>(CommitOrAbort::<_, Infallible>::Commit((meta, servers)))
    })?;
    let (meta, servers) = match opened {
        CommitOrAbort::Commit(databases) => databases,
        CommitOrAbort::Abort(never) => match never {},
    };
    let transaction = env.read_txn()?;
    let format = meta.get(&transaction, FORMAT_KEY)?.unwrap_or_default();
    Ok((servers, format.try_into().map(u32::from_le_bytes)))
}

#[derive(Serialize, Deserialize)]
struct Content {
    incarnation: [u8; 16],
    announced_at_ms: u64,
    addresses: Vec<Address>,
    roles: Vec<RoleName>,
    agent: Option<String>,
    pid: Option<u32>,
    superseded: Vec<[u8; 16]>,
}

fn encode(entry: &StoredEntry) -> Result<BytesMut, EncodeError> {
    let bytes = |incarnations: &[Incarnation]| -> Vec<[u8; 16]> {
        incarnations.iter().map(|incarnation| *incarnation.as_bytes()).collect()
    };
    let mut value = BytesMut::from(&[SERVER_FORM, 0, 0, 0, 0][..]);
    match entry {
        StoredEntry::Server { server, announced_at_ms, superseded } => {
            let content = Content {
                incarnation: *server.incarnation.as_bytes(),
                announced_at_ms: *announced_at_ms,
                addresses: server.addresses.clone(),
                roles: server.roles.clone(),
                agent: server.agent.clone(),
                pid: server.pid,
                superseded: bytes(superseded),
            };
            codec::encode_message(&content, &mut value)?;
        }
        StoredEntry::Gone { incarnations, .. } => {
            value[0] = GONE_FORM;
            codec::encode_message(&bytes(incarnations), &mut value)?;
        }
    }
    let checksum = checksum(entry.id().as_str().as_bytes(), &value[ENTRY_HEADER_BYTES..]);
    value[1..ENTRY_HEADER_BYTES].copy_from_slice(&checksum);
    Ok(value)
}

fn decode(key: &[u8], value: &[u8]) -> Result<StoredEntry, Damage> {
    let id = std::str::from_utf8(key).ok().and_then(|text| ServerId::new(text).ok()).ok_or(Damage::Key)?;
    let (header, content) =
        value.split_first_chunk::<ENTRY_HEADER_BYTES>().ok_or(Damage::Short { bytes: value.len() })?;
    let [form, stored_checksum @ ..] = header;
    if ![SERVER_FORM, GONE_FORM].contains(form) {
        return Err(Damage::Form { found: *form });
    }
    if *stored_checksum != checksum(key, content) {
        return Err(Damage::Checksum);
    }
    let incarnations = |bytes: Vec<[u8; 16]>| bytes.into_iter().map(Incarnation::from_bytes).collect();
    if *form == GONE_FORM {
        let content = codec::decode_message(content).map_err(Damage::Content)?;
        return Ok(StoredEntry::Gone { id, incarnations: incarnations(content) });
    }
    let content: Content = codec::decode_message(content).map_err(Damage::Content)?;
    let server = Announcement {
        id,
        incarnation: Incarnation::from_bytes(content.incarnation),
        addresses: content.addresses,
        roles: content.roles,
        agent: content.agent,
        pid: content.pid,
    };
    let superseded = incarnations(content.superseded);
    Ok(StoredEntry::Server { server, announced_at_ms: content.announced_at_ms, superseded })
}

fn checksum(key: &[u8], content: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(content);
    hasher.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests;
