//! The version of a store's layout and what else is settled when one is opened: older versions are raised to this one
//! here, and it is decided whether its revisions go on as they were.

use std::path::Path;

use heed::RwTxn;

use super::environment::Table;
use super::error::OpenError;
use crate::history::History;

/// The version of the store's layout that this code writes, and the newest that it opens.
///
/// It counts the tables and what they mean; a record has a version of its own. Version 1 had no changes and no history.
pub const STORE_VERSION: u32 = 2;

const OLDEST_VERSION: u32 = 1;

const FORMAT_KEY: &[u8] = b"format";
const HISTORY_KEY: &[u8] = b"history";

/// Has the store in the version of this code, and says which history its revisions belong to. `is_another` says that
/// revisions which were given out may be given out again.
pub(super) fn settle(
    meta: &Table<'_>,
    transaction: &mut RwTxn<'_>,
    directory: &Path,
    is_another: bool,
) -> Result<History, OpenError> {
    let path = || directory.join("data.mdb");
    let found = match meta.get(transaction, FORMAT_KEY)?.map(|bytes| bytes.try_into().map(u32::from_le_bytes))
    {
        None => None,
        Some(Ok(found @ OLDEST_VERSION..=STORE_VERSION)) => Some(found),
        Some(Ok(found)) if found > STORE_VERSION => {
            return Err(OpenError::NewerFormat { found, supported: STORE_VERSION });
        }
        Some(_) => {
            return Err(OpenError::NotAStore { path: path(), reason: "its format version is none" });
        }
    };
    let history = match meta.get(transaction, HISTORY_KEY)? {
        Some(bytes) => {
            let bytes = bytes.try_into();
            let reason = "the id of its history is none";
            Some(bytes.map_err(|_| OpenError::NotAStore { path: path(), reason })?)
        }
        None => None,
    };
    if found != Some(STORE_VERSION) {
        meta.put(transaction, FORMAT_KEY, &STORE_VERSION.to_le_bytes())?;
    }
    match history {
        Some(bytes) if !is_another => Ok(History::from_bytes(bytes)),
        _ => {
            let fresh = History::fresh();
            meta.put(transaction, HISTORY_KEY, fresh.as_bytes())?;
            Ok(fresh)
        }
    }
}
