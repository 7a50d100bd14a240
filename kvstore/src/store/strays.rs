//! Finding parts that belong to nothing: a record that was damaged when it was replaced did not tell of its parts, and what
//! the table `values` says of others may be lost.

use std::collections::BTreeSet;
use std::ops::Bound;

use heed::RoTxn;

use super::environment::Tables;
use super::error::{StorageError, WriteError};
use super::handle::Store;
use super::parts::{Manifest, State, part_key, read_part_key, read_value_key, value_key};
use super::record::{Codec, Header};
use super::write::{Applied, Prepared};

/// How many values, or records, are looked at in one transaction.
const LOOKED_AT_ONCE: usize = 1000;

/// Where looking for strays goes on. The default is the beginning.
#[derive(Debug, Default)]
pub struct Strays(Place);

#[derive(Debug)]
enum Place {
    /// At the values that are under keys, from this one on.
    Owned { from: u64 },
    /// At the parts, from this value on: of some of the values nothing is known.
    Parts { from: u64, unknown: BTreeSet<u64> },
    /// At the records behind a key: some may have these values all the same.
    Records { after: Vec<u8>, unknown: BTreeSet<u64> },
}

impl Default for Place {
    fn default() -> Self {
        Self::Owned { from: 0 }
    }
}

impl Strays {
    /// All were looked for, or that has failed: what comes next is the beginning.
    pub fn is_at_end(&self) -> bool {
        matches!(self.0, Place::Owned { from: 0 })
    }
}

impl Store {
    /// Drops values that belong to no record any more, looking at some at a time. Says how many those are.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn drop_strays(&self, strays: &mut Strays) -> Result<usize, WriteError> {
        let place = std::mem::take(&mut strays.0);
        let (next, found) = self.look_for_strays(place).map_err(WriteError::Storage)?;
        strays.0 = next.unwrap_or_default();
        let Some(found) = found else { return Ok(0) };
        match self.commit_one(found)? {
            Applied::Collected { count } => Ok(count),
            _ => unreachable!("nothing else was asked for"),
        }
    }

    /// Where to go on, and what is to be done about what was found.
    fn look_for_strays(&self, place: Place) -> Result<(Option<Place>, Option<Prepared>), StorageError> {
        let looked = self.environment().read(|transaction, tables| match place {
            Place::Owned { from } => {
                let (values, next) = owned_strays(transaction, tables, from)?;
                let next = match next {
                    Some(from) => Place::Owned { from },
                    None => Place::Parts { from: 0, unknown: BTreeSet::new() },
                };
                Ok((Some(next), (!values.is_empty()).then_some(Prepared::DropStrays { values })))
            }
            Place::Parts { from, mut unknown } => {
                let next = match find_unknown(transaction, tables, from, &mut unknown)? {
                    Some(from) => Some(Place::Parts { from, unknown }),
                    None if unknown.is_empty() => None,
                    None => Some(Place::Records { after: Vec::new(), unknown }),
                };
                Ok((next, None))
            }
            Place::Records { after, mut unknown } => {
                let next = leave_those_of_records(transaction, tables, &after, &mut unknown)?;
                Ok(match next {
                    _ if unknown.is_empty() => (None, None),
                    Some(after) => (Some(Place::Records { after, unknown }), None),
                    None => (None, Some(Prepared::DropUnknown { values: unknown.into_iter().collect() })),
                })
            }
        });
        looked.flatten().map_err(|error| StorageError::of_heed("read", error))
    }
}

/// Some of the values, from a number on, whose records are not theirs; and where to go on.
fn owned_strays(
    transaction: &RoTxn<'_>,
    tables: &Tables,
    from: u64,
) -> Result<(Vec<u64>, Option<u64>), heed::Error> {
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
    Ok((strays, None))
}

/// Adds values that have parts, from a number on, and of which the table `values` says nothing; and says where to go on.
fn find_unknown(
    transaction: &RoTxn<'_>,
    tables: &Tables,
    from: u64,
    unknown: &mut BTreeSet<u64>,
) -> Result<Option<u64>, heed::Error> {
    let mut from = from;
    for _ in 0..LOOKED_AT_ONCE {
        let first = part_key(from, 0);
        let range = (Bound::Included(&first[..]), Bound::Unbounded);
        let Some(part) = tables.parts.range(transaction, &range)?.next() else { return Ok(None) };
        let Some((value, _)) = read_part_key(part?.0) else { return Ok(None) };
        if is_unknown(transaction, tables, value)? {
            unknown.insert(value);
        }
        match value.checked_add(1) {
            // The others have their turn when those are gone.
            Some(next) if unknown.len() < LOOKED_AT_ONCE => from = next,
            _ => return Ok(None),
        }
    }
    Ok(Some(from))
}

/// Takes out the values that are those of records behind a key, and says behind which to go on. No record can come to one
/// meanwhile: that needs an entry in `values`.
fn leave_those_of_records(
    transaction: &RoTxn<'_>,
    tables: &Tables,
    after: &[u8],
    unknown: &mut BTreeSet<u64>,
) -> Result<Option<Vec<u8>>, heed::Error> {
    let from = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after) };
    let records = tables.records.range(transaction, &(from, Bound::Unbounded))?;
    let mut last: &[u8] = after;
    for (looked_at, entry) in records.enumerate() {
        let (key, record) = entry?;
        if looked_at >= LOOKED_AT_ONCE {
            return Ok(Some(last.to_vec()));
        }
        last = key;
        let value = match Header::peek(record) {
            Ok((Header { codec: Codec::Parts, .. }, _)) => {
                let payload = Header::decode(key, record).map(|(_, payload)| payload);
                payload.ok().and_then(|payload| Manifest::decode(payload).ok()).map(|found| found.value)
            }
            Ok(_) => continue,
            Err(_) => None,
        };
        let Some(value) = value else {
            // Nobody knows what is that one's.
            unknown.clear();
            return Ok(None);
        };
        unknown.remove(&value);
    }
    Ok(None)
}

/// Whether the table `values` says nothing of a value.
pub(super) fn is_unknown(transaction: &RoTxn<'_>, tables: &Tables, value: u64) -> Result<bool, heed::Error> {
    for state in [State::Owned, State::Unfinished, State::Dropped] {
        if tables.values.get(transaction, &value_key(state, value))?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
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
