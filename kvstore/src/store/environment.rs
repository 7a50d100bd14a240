//! LMDB under the store: opening it, its transactions, and the size of its map.
//!
//! The one home of `unsafe` in this crate. Two promises that the compiler cannot check are kept here: one
//! environment per directory (the caller holds the store's lock file), and no transaction open while the map
//! moves (the gate).

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use heed::types::Bytes;
use heed::{
    CommitOrAbort, CompactionOption, Database, Env, EnvFlags, EnvOpenOptions, FlagSetMode, MdbError, RoTxn,
    RwTxn, WithoutTls,
};

use super::copies::{Began, Copies, Copying, Source};
use super::error::{OpenError, StorageError};
use super::meta_page;
use crate::failpoint::{self, Moment};

/// The file that LMDB keeps in the directory.
pub(super) const DATA_FILE: &str = "data.mdb";

/// Named databases that an environment can hold: five now, with room for others.
const MAX_DATABASES: u32 = 8;

/// Reader slots: how many read transactions can be open at once.
const MAX_READERS: u32 = 512;

pub(super) type Table<'e> = Database<'e, Bytes, Bytes>;

/// What LMDB says of its file and its readers.
#[derive(Default)]
pub(super) struct Sizes {
    pub(super) map_bytes: u64,
    pub(super) page_bytes: u64,
    /// Pages of the file, used or free.
    pub(super) pages: u64,
    pub(super) readers: u64,
    pub(super) max_readers: u64,
}

impl Sizes {
    pub(super) fn file_bytes(&self) -> u64 {
        self.pages * self.page_bytes
    }
}

/// The named databases.
pub(super) struct Tables {
    /// Key to record.
    pub(super) records: Table<'static>,
    /// Expiry time and revision to key, for the records that end by themselves.
    pub(super) expiry: Table<'static>,
    /// Revision to change: the log.
    pub(super) changes: Table<'static>,
    /// Number of a value and of a part to the part, for the values in parts.
    pub(super) parts: Table<'static>,
    /// State and number of each value in parts.
    pub(super) values: Table<'static>,
    /// What the store knows about itself. The unnamed database, which holds the roots of the named ones beside
    /// it: a commit writes its page in any case, and a table of its own would be one more page to sync.
    pub(super) meta: Table<'static>,
}

impl Tables {
    /// All of them.
    pub(super) fn all(&self) -> [Table<'static>; 6] {
        [self.records, self.expiry, self.changes, self.parts, self.values, self.meta]
    }

    /// How many pages they take. LMDB keeps count of that.
    pub(super) fn used_pages(&self, transaction: &RoTxn<'_>) -> Result<u64, heed::Error> {
        self.all().iter().try_fold(0, |pages, table| {
            let stat = table.stat(transaction)?;
            Ok(pages + (stat.branch_pages + stat.leaf_pages + stat.overflow_pages) as u64)
        })
    }
}

/// What a body of a write transaction wants done with it.
pub(super) enum End<R> {
    /// Commit, durably.
    Commit(R),
    /// Nothing was changed: there is nothing to commit, and nothing to wait for.
    Unchanged(R),
}

pub(super) struct Environment {
    /// Read by every transaction for as long as it is open, written to move the map or to take another file.
    gate: RwLock<Option<Opened>>,
    /// The copies that are being written, each in a read transaction that lasts.
    copies: Copies,
    /// Open for as long as no page of its state is to be written over. Unlike all others it is outside of the gate.
    pin: Mutex<Option<RoTxn<'static, WithoutTls>>>,
}

/// A file that is open; there is none when it could not be opened again.
struct Opened {
    tables: Tables,
    env: Env<WithoutTls>,
    /// The system refused a new map when the old one was given up.
    is_lost: bool,
}

type Gate<'e> = RwLockReadGuard<'e, Option<Opened>>;

impl Opened {
    fn open<R>(
        directory: &Path,
        map_bytes: usize,
        settle: impl FnOnce(&Table<'_>, &mut RwTxn<'_>) -> Result<R, OpenError>,
    ) -> Result<(Self, R), OpenError> {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(map_bytes).max_dbs(MAX_DATABASES).max_readers(MAX_READERS);
        #[expect(unsafe_code, reason = "nobody else writes the file: the store's lock file is held")]
        // SAFETY: the map is only undefined when the file is changed behind LMDB's back. The caller holds the
        // store's lock file, so no other store has it open, and within this process heed refuses a second open.
        let env = unsafe { options.open(directory) }.map_err(|error| open_error(directory, error))?;
        clear_stale_readers(&env).map_err(|error| open_error(directory, error))?;
        restore_length(&env, directory)?;

        let transaction = env.write_txn().map_err(|error| open_error(directory, error))?;
        let mut settled = None;
        let tables = env
            .create_databases_and_commit(transaction, |opener, transaction| {
                let records = opener.create_database::<Bytes, Bytes>(transaction, Some("records"))?;
                let expiry = opener.create_database::<Bytes, Bytes>(transaction, Some("expiry"))?;
                let changes = opener.create_database::<Bytes, Bytes>(transaction, Some("changes"))?;
                let parts = opener.create_database::<Bytes, Bytes>(transaction, Some("parts"))?;
                let values = opener.create_database::<Bytes, Bytes>(transaction, Some("values"))?;
                let meta = opener.create_database::<Bytes, Bytes>(transaction, None)?;
                Ok(match settle(&meta, transaction) {
                    Ok(found) => {
                        settled = Some(found);
                        CommitOrAbort::Commit((records, expiry, changes, parts, values, meta))
                    }
                    Err(refusal) => CommitOrAbort::Abort(refusal),
                })
            })
            .map_err(|error| open_error(directory, error))?;
        let (records, expiry, changes, parts, values, meta) = Result::from(tables)?;
        let tables = Tables { records, expiry, changes, parts, values, meta };
        let settled = settled.expect("what was committed was settled");
        Ok((Self { tables, env, is_lost: false }, settled))
    }
}

impl Environment {
    /// Opens or creates the environment in `directory`, which nobody else has open.
    ///
    /// `settle` looks at the `meta` table and may fill it; its error undoes the creation.
    pub(super) fn open<R>(
        directory: &Path,
        map_bytes: usize,
        settle: impl FnOnce(&Table<'_>, &mut RwTxn<'_>) -> Result<R, OpenError>,
    ) -> Result<(Self, R), OpenError> {
        let (opened, settled) = Opened::open(directory, map_bytes, settle)?;
        let environment =
            Self { gate: RwLock::new(Some(opened)), copies: Copies::default(), pin: Mutex::new(None) };
        Ok((environment, settled))
    }

    /// Closes the file, has `swap` put another in its place, and opens what is there then: while no transaction is open.
    pub(super) fn replace(
        &self,
        directory: &Path,
        map_bytes: usize,
        swap: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), StorageError> {
        let mut gate = self.gate_alone();
        *self.pin() = None;
        let Some(Opened { env, .. }) = gate.take_if(|opened| !opened.is_lost) else {
            return Err(StorageError::new("be compacted", MdbError::Panic));
        };
        env.prepare_for_closing().wait();
        let swapped = swap();
        let opened = Opened::open(directory, map_bytes, |_, _| Ok(()));
        let (opened, ()) = opened.map_err(|error| StorageError::new("be opened again", error))?;
        *gate = Some(opened);
        swapped.map_err(|error| StorageError::new("be compacted", error))
    }

    /// The gate for moving the map. Copies are waited for before it is asked for: who waits at it holds up all new readers.
    fn gate_alone(&self) -> RwLockWriteGuard<'_, Option<Opened>> {
        // Held until the gate is there, so that no copy begins in between.
        let _none = self.copies.wait_for_none();
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the map cannot be moved for a while.
    pub(super) fn is_being_copied(&self) -> bool {
        self.copies.is_any()
    }

    /// A copy is being written until the result is dropped. One with a source may be given up.
    pub(super) fn begin_copy(&self, source: Option<Arc<Source>>) -> Copying<'_> {
        let began = Began { file_bytes: self.sizes().file_bytes(), transaction: self.last_transaction() };
        self.copies.begin(began, source)
    }

    /// Gives up copies that a write needs to end: that hold back pages which were freed since, or where the map is to be
    /// moved, all of them. Says whether there were some.
    pub(super) fn give_up_copies(&self, moves_map: bool) -> bool {
        let last = self.last_transaction();
        self.copies.give_up(|began| moves_map || began.transaction < last)
    }

    /// Gives up copies for which the file has grown too far.
    pub(super) fn give_up_outgrown_copies(&self) {
        if self.copies.is_any() {
            let file_bytes = self.sizes().file_bytes();
            self.copies.give_up(|began| began.is_outgrown(file_bytes));
        }
    }

    fn last_transaction(&self) -> u64 {
        self.gate().as_ref().map_or(0, |opened| opened.env.info().last_txn_id as u64)
    }

    fn gate(&self) -> Gate<'_> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `body` in a read transaction. Neither waits for a writer nor makes one wait.
    pub(super) fn read<R>(
        &self,
        body: impl FnOnce(&RoTxn<'_, WithoutTls>, &Tables) -> R,
    ) -> Result<R, heed::Error> {
        let gate = self.gate();
        let opened = usable(&gate)?;
        let transaction = match opened.env.read_txn() {
            // Others may have died with slots that nobody has taken back yet.
            Err(heed::Error::Mdb(MdbError::ReadersFull)) if clear_stale_readers(&opened.env)? > 0 => {
                opened.env.read_txn()
            }
            begun => begun,
        };
        Ok(body(&transaction?, &opened.tables))
    }

    /// Runs `body` in a write transaction and commits what it changed; an error undoes everything.
    pub(super) fn write<R>(
        &self,
        body: impl FnOnce(&mut RwTxn<'_>, &Tables) -> Result<End<R>, heed::Error>,
    ) -> Result<R, heed::Error> {
        let gate = self.gate();
        let opened = usable(&gate)?;
        failpoint::reach(Moment::BeforeTransaction);
        let mut transaction = opened.env.write_txn()?;
        match body(&mut transaction, &opened.tables)? {
            End::Commit(result) => {
                failpoint::reach(Moment::BeforeCommit);
                transaction.commit()?;
                failpoint::reach(Moment::AfterCommit);
                Ok(result)
            }
            End::Unchanged(result) => {
                transaction.abort();
                Ok(result)
            }
        }
    }

    /// Has commits no longer wait for the disk.
    pub(super) fn stop_syncing(&self) -> Result<(), heed::Error> {
        let gate = self.gate();
        let opened = usable(&gate)?;
        #[expect(unsafe_code, reason = "the state that is on disk is noted and pinned")]
        // SAFETY: without syncs a loss of power damages the file. The caller keeps what is needed to put back the last
        // state that was synced.
        unsafe {
            opened.env.set_flags(EnvFlags::NO_SYNC, FlagSetMode::Enable)
        }
    }

    /// Has everything that was committed on disk.
    pub(super) fn sync(&self) -> Result<(), heed::Error> {
        let gate = self.gate();
        let opened = usable(&gate)?;
        opened.env.force_sync()
    }

    /// Keeps the pages of the present state from being written over, in place of those of another.
    pub(super) fn pin_state(&self) -> Result<(), heed::Error> {
        let gate = self.gate();
        let pin = usable(&gate)?.env.clone().static_read_txn()?;
        *self.pin() = Some(pin);
        Ok(())
    }

    pub(super) fn unpin(&self) {
        *self.pin() = None;
    }

    fn pin(&self) -> MutexGuard<'_, Option<RoTxn<'static, WithoutTls>>> {
        self.pin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The two pages that say which state is the last, and the root page that they lead to.
    pub(super) fn synced_pages(&self) -> io::Result<(Vec<u8>, Option<meta_page::Page>)> {
        let gate = self.gate();
        let opened = usable(&gate).map_err(io::Error::other)?;
        let page_bytes = opened.env.unnamed_database_stat().page_size as usize;
        let file = opened.env.try_clone_inner_file().map_err(io::Error::other)?;
        let mut metas = vec![0; 2 * page_bytes];
        file.read_exact_at(&mut metas, 0)?;
        let root = meta_page::root_page(&metas, &file)?;
        Ok((metas, root))
    }

    /// Copies what is committed, at one moment, without free pages. The caller has said that a copy begins.
    pub(super) fn copy_to(&self, file: &mut std::fs::File) -> Result<(), heed::Error> {
        let gate = self.gate();
        let opened = usable(&gate)?;
        opened.env.copy_to_file(file, CompactionOption::Enabled)
    }

    /// Takes back the slots of readers whose process has ended without giving them back; says how many.
    pub(super) fn reclaim_readers(&self) -> Result<usize, heed::Error> {
        let gate = self.gate();
        clear_stale_readers(&usable(&gate)?.env)
    }

    /// The size of the map; 0 without one.
    pub(super) fn map_bytes(&self) -> usize {
        self.gate().as_ref().map_or(0, |opened| opened.env.info().map_size)
    }

    pub(super) fn sizes(&self) -> Sizes {
        let gate = self.gate();
        let Some(Opened { env, .. }) = &*gate else { return Sizes::default() };
        let info = env.info();
        Sizes {
            map_bytes: info.map_size as u64,
            page_bytes: env.unnamed_database_stat().page_size.into(),
            pages: info.last_page_number as u64 + 1,
            readers: info.number_of_readers.into(),
            max_readers: info.maximum_number_of_readers.into(),
        }
    }

    /// Maps the file anew, with `map_bytes` or as much as the data takes, once no transaction is open.
    pub(super) fn resize(&self, map_bytes: usize) -> Result<(), StorageError> {
        let mut gate = self.gate_alone();
        let Some(opened) = gate.as_mut().filter(|opened| !opened.is_lost) else {
            return Err(StorageError::new("change the size of its map", MdbError::Panic));
        };
        if self.pin().is_some() {
            return Err(StorageError::new("change the size of its map", MdbError::BadTxn));
        }
        #[expect(unsafe_code, reason = "no transaction is open: the gate is held for writing")]
        // SAFETY: every transaction but the pin holds the gate for reading until it ends, so there is none now; the pin
        // is not there, and is set only by who writes, which is the caller.
        let resized = unsafe { opened.env.resize(map_bytes) };
        resized.map_err(|error| {
            // LMDB gave up the old map before it asked for the new one: nothing may touch it any more.
            opened.is_lost = true;
            StorageError::of_heed("change the size of its map", error)
        })
    }
}

/// Makes a database with nothing in it, as a file of which only the caller knows.
pub(super) fn create_database(path: &Path) -> Result<(), heed::Error> {
    let mut options = EnvOpenOptions::new();
    #[expect(unsafe_code, reason = "nobody else writes the file, or knows of it")]
    // SAFETY: the map is undefined when the file is changed, and the lock is there for others. There are none.
    let env = unsafe {
        options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::NO_LOCK);
        options.open(path)?
    };
    env.prepare_for_closing().wait();
    Ok(())
}

/// Runs `body` in a read transaction of a copy, of which only the caller knows.
pub(super) fn read_copy<R>(
    path: &Path,
    body: impl FnOnce(&RoTxn<'_, WithoutTls>, &Tables) -> Result<R, heed::Error>,
) -> Result<R, heed::Error> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.max_dbs(MAX_DATABASES);
    #[expect(unsafe_code, reason = "nobody else writes the file, or knows of it")]
    // SAFETY: the map is undefined when the file is changed, and the lock is there for who writes. Nobody does: the copy is
    // whole, and the caller's alone.
    let env = unsafe {
        options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::READ_ONLY | EnvFlags::NO_LOCK);
        options.open(path)?
    };
    let transaction = env.read_txn()?;
    let tables = env.open_databases_and_commit(transaction, |opener, transaction| {
        let open = |name| -> Result<_, heed::Error> {
            let table = opener.open_database::<Bytes, Bytes>(transaction, name)?;
            table.ok_or_else(|| MdbError::NotFound.into())
        };
        let tables = (
            open(Some("records"))?,
            open(Some("expiry"))?,
            open(Some("changes"))?,
            open(Some("parts"))?,
            open(Some("values"))?,
            open(None)?,
        );
        Ok::<_, heed::Error>(CommitOrAbort::<_, heed::Error>::Commit(tables))
    })?;
    let (records, expiry, changes, parts, values, meta) = Result::from(tables)?;
    let read = body(&env.read_txn()?, &Tables { records, expiry, changes, parts, values, meta });
    env.prepare_for_closing().wait();
    read
}

fn clear_stale_readers(env: &Env<WithoutTls>) -> Result<usize, heed::Error> {
    let count = env.clear_stale_readers()?;
    if count > 0 {
        tracing::warn!(count, "slots of readers whose process was killed are free again");
    }
    Ok(count)
}

fn usable<'e>(gate: &'e Gate<'_>) -> Result<&'e Opened, heed::Error> {
    gate.as_ref().filter(|opened| !opened.is_lost).ok_or_else(|| MdbError::Panic.into())
}

/// Gives a file that was cut short its length again.
///
/// Reading a page that is mapped but not in the file kills the process; a page of zeros is an error instead.
fn restore_length(env: &Env<WithoutTls>, directory: &Path) -> Result<(), OpenError> {
    let pages = env.info().last_page_number as u64 + 1;
    let expected = pages * u64::from(env.unnamed_database_stat().page_size);
    let file = env.try_clone_inner_file().map_err(|error| open_error(directory, error))?;
    let restored = file
        .metadata()
        .and_then(|metadata| if metadata.len() < expected { file.set_len(expected) } else { Ok(()) });
    restored.map_err(|source| OpenError::Io { what: "data file", path: directory.join(DATA_FILE), source })
}

fn open_error(directory: &Path, error: heed::Error) -> OpenError {
    let path = directory.join(DATA_FILE);
    match error {
        heed::Error::EnvAlreadyOpened => OpenError::InUse { path: directory.to_owned() },
        heed::Error::Io(source) => OpenError::Io { what: "data file", path, source },
        heed::Error::Mdb(MdbError::Invalid) => {
            OpenError::NotAStore { path, reason: "it is no LMDB database" }
        }
        heed::Error::Mdb(MdbError::VersionMismatch) => {
            OpenError::NotAStore { path, reason: "it is of another version of LMDB" }
        }
        heed::Error::Mdb(MdbError::Corrupted | MdbError::PageNotFound) => {
            OpenError::NotAStore { path, reason: "its pages are damaged" }
        }
        heed::Error::Mdb(MdbError::Incompatible) => {
            OpenError::NotAStore { path, reason: "it is another program's database" }
        }
        other => StorageError::of_heed("open", other).into(),
    }
}

impl From<heed::Error> for OpenError {
    fn from(error: heed::Error) -> Self {
        StorageError::of_heed("open", error).into()
    }
}
