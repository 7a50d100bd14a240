//! Finding parts that belong to nothing: a record that was damaged when it was replaced did not tell of its parts.

use std::ops::Bound;

use heed::RoTxn;

use super::environment::Tables;
use super::error::{StorageError, WriteError};
use super::handle::Store;
use super::parts::{Manifest, State, read_value_key, value_key};
use super::record::{Codec, Header};
use super::write::{Applied, Prepared};

/// How many values are looked at in one transaction.
const LOOKED_AT_ONCE: usize = 1000;

/// Where looking for strays goes on. The default is the beginning.
#[derive(Debug, Default)]
pub struct Strays {
    from: u64,
}

impl Strays {
    /// All were looked for, and what comes next is the beginning.
    pub fn is_at_end(&self) -> bool {
        self.from == 0
    }
}

impl Store {
    /// Drops values that belong to no record any more, looking at some at a time. Says how many those are.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn drop_strays(&self, strays: &mut Strays) -> Result<usize, WriteError> {
        let (values, next) = self.strays(strays.from).map_err(WriteError::Storage)?;
        strays.from = next.unwrap_or(0);
        if values.is_empty() {
            return Ok(0);
        }
        match self.commit_one(Prepared::DropStrays { values })? {
            Applied::Collected { count } => Ok(count),
            _ => unreachable!("nothing else was asked for"),
        }
    }

    /// Some of the values, from a number on, whose records are not theirs; and where to go on.
    fn strays(&self, from: u64) -> Result<(Vec<u64>, Option<u64>), StorageError> {
        let found = self.environment().read(|transaction, tables| {
            let bounds = (value_key(State::Owned, from), value_key(State::Owned, u64::MAX));
            let range = (Bound::Included(&bounds.0[..]), Bound::Included(&bounds.1[..]));
            let mut strays = Vec::new();
            for (looked_at, entry) in tables.values.range(transaction, &range)?.enumerate() {
                let (key, owner) = entry?;
                let Some(value) = read_value_key(key) else { continue };
                if looked_at >= LOOKED_AT_ONCE {
                    return Ok((strays, Some(value)));
                }
                if is_stray(transaction, tables, value, owner)? {
                    strays.push(value);
                }
            }
            Ok::<_, heed::Error>((strays, None))
        });
        found.flatten().map_err(failed)
    }
}

/// Whether the record under a value's key is another's. One that is damaged may be its own.
pub(super) fn is_stray(
    transaction: &RoTxn<'_>,
    tables: &Tables,
    value: u64,
    owner: &[u8],
) -> Result<bool, heed::Error> {
    let Some(record) = tables.records.get(transaction, owner)? else { return Ok(true) };
    Ok(match Header::decode(owner, record) {
        Ok((Header { codec: Codec::Parts, .. }, payload)) => {
            Manifest::decode(payload).is_ok_and(|manifest| manifest.value != value)
        }
        Ok(_) => true,
        Err(_) => false,
    })
}

fn failed(error: heed::Error) -> StorageError {
    StorageError::of_heed("read", error)
}
