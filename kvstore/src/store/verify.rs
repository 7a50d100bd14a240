//! Checking every record and every part, some at a time.

use std::ops::Bound;

use bytes::Bytes;
use heed::{RoTxn, WithoutTls};

use super::environment::Tables;
use super::error::{ReadError, StorageError};
use super::handle::Store;
use super::options::MAX_KEY_BYTES;
use super::parts::{Manifest, State, part_key, read_part_key, value_key};
use super::record::{Codec, Damage, Header, RecordError};
use super::strays::is_stray;
use super::stream::check_part;
use super::{KeyError, MAX_PAGE_KEYS};

/// What is checked at a time, in bytes: what others wait for a reader.
const MAX_PART_BYTES: u64 = 16 << 20;

/// The records that are checked at a time, or the values whose parts are looked for.
const MAX_PART_RECORDS: u64 = 10_000;

/// What was found in some of the records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// How many records were checked.
    pub records: u64,
    /// How many bytes they have, headers included, and with the parts of values.
    pub bytes: u64,
    /// The keys whose records, or the parts of their values, are not what was written. Parts that no record has are told
    /// without a key.
    pub damaged: Vec<(Bytes, RecordError)>,
    /// What to go on behind, which may be more than a key; none at the end.
    pub next: Option<Bytes>,
}

/// Where checking goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cursor {
    /// Behind this key, or from the first on.
    Behind(Bytes),
    /// Within the value of a key: with this part.
    Within { key: Bytes, value: u64, number: u32 },
    /// Looking for parts that no record has, from this value on.
    Strays { value: u64 },
}

/// A cursor that is no key is longer than any: the key, filled up, its length, a number of a value and of a part.
const LONG_CURSOR_BYTES: usize = MAX_KEY_BYTES + 2 + 8 + 4;

impl Cursor {
    fn encode(&self) -> Bytes {
        let (key, value, number) = match self {
            Self::Behind(key) => return key.clone(),
            Self::Within { key, value, number } => (&key[..], *value, *number),
            Self::Strays { value } => (&[][..], *value, 0),
        };
        let mut bytes = key.to_vec();
        bytes.resize(MAX_KEY_BYTES, 0);
        bytes.extend_from_slice(&u16::try_from(key.len()).unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(&part_key(value, number));
        bytes.into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let too_long = || KeyError::TooLong { bytes: bytes.len(), limit: MAX_KEY_BYTES };
        match bytes.len() {
            0..=MAX_KEY_BYTES => Ok(Self::Behind(Bytes::copy_from_slice(bytes))),
            LONG_CURSOR_BYTES => {
                let (key, rest) = bytes.split_at(MAX_KEY_BYTES);
                let (length, part) = rest.split_first_chunk().ok_or_else(too_long)?;
                let (value, number) = read_part_key(part).ok_or_else(too_long)?;
                match key.get(..u16::from_be_bytes(*length).into()) {
                    Some([]) => Ok(Self::Strays { value }),
                    Some(key) => Ok(Self::Within { key: Bytes::copy_from_slice(key), value, number }),
                    None => Err(too_long()),
                }
            }
            _ => Err(too_long()),
        }
    }
}

impl Store {
    /// Checks the records behind `after`, and the parts of their values, as many as are checked at a time. Neither waits for
    /// a writer nor makes one wait, and takes no memory but for what is damaged.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the database itself cannot be read.
    pub fn verify(&self, after: Option<&[u8]>) -> Result<Verified, ReadError> {
        let cursor = Cursor::decode(after.unwrap_or_default())?;
        self.reading(|transaction, tables| {
            let mut check = Check { transaction, tables, done: Verified::default() };
            let next = match cursor {
                Cursor::Behind(key) if key.is_empty() => check.records(Bound::Unbounded, None)?,
                Cursor::Behind(key) => check.records(Bound::Excluded(&key), None)?,
                Cursor::Within { key, value, number } => {
                    check.records(Bound::Included(&key), Some((value, number)))?
                }
                Cursor::Strays { value } => check.strays(value)?,
            };
            Ok(Verified { next: next.map(|cursor| cursor.encode()), ..check.done })
        })
    }
}

/// A checking of some records.
struct Check<'c, 't> {
    transaction: &'c RoTxn<'t, WithoutTls>,
    tables: &'c Tables,
    done: Verified,
}

impl Check<'_, '_> {
    /// Checks records, the first of them, where it still has that value, only from a part on. Says where to go on.
    fn records(
        &mut self,
        from: Bound<&[u8]>,
        mut within: Option<(u64, u32)>,
    ) -> Result<Option<Cursor>, ReadError> {
        let range = (from, Bound::Unbounded);
        for entry in self.tables.records.range(self.transaction, &range).map_err(failed)? {
            let (key, record) = entry.map_err(failed)?;
            let within = within.take();
            let key = || Bytes::copy_from_slice(key);
            match Header::decode(&key(), record) {
                Err(damage) => self.done.damaged.push((key(), damage)),
                Ok((Header { codec: Codec::Parts, .. }, payload)) => {
                    let manifest = Manifest::decode(payload)?;
                    let first = within.filter(|(value, _)| *value == manifest.value);
                    let first = first.map_or(0, |(_, number)| number);
                    match self.parts(&manifest, first) {
                        Ok(None) => {}
                        Ok(Some(number)) => {
                            return Ok(Some(Cursor::Within { key: key(), value: manifest.value, number }));
                        }
                        Err(ReadError::Damaged { damage }) => {
                            self.done.damaged.push((key(), damage.into()));
                        }
                        Err(ReadError::NewerFormat { found, supported }) => {
                            let newer = RecordError::NewerFormat { found, supported };
                            self.done.damaged.push((key(), newer));
                        }
                        Err(other) => return Err(other),
                    }
                }
                Ok(_) => {}
            }
            self.done.records += 1;
            self.done.bytes += record.len() as u64;
            if self.is_enough() {
                return Ok(Some(Cursor::Behind(key())));
            }
        }
        if self.tables.parts.is_empty(self.transaction).map_err(failed)? {
            return Ok(None);
        }
        Ok(Some(Cursor::Strays { value: 0 }))
    }

    /// Checks the parts of a value, from one on; says with which to go on.
    fn parts(&mut self, manifest: &Manifest, first: u32) -> Result<Option<u32>, ReadError> {
        let owner = value_key(State::Owned, manifest.value);
        if self.tables.values.get(self.transaction, &owner).map_err(failed)?.is_none() {
            return Err(Damage::Stray { value: manifest.value }.into());
        }
        for number in first..manifest.parts() {
            if self.is_enough() {
                return Ok(Some(number));
            }
            let part = check_part(self.transaction, self.tables, manifest, number)?;
            self.done.bytes += part.len() as u64;
        }
        Ok(None)
    }

    /// Looks for parts that are neither a record's nor about to be freed.
    fn strays(&mut self, from: u64) -> Result<Option<Cursor>, ReadError> {
        let mut value = from;
        for _ in 0..MAX_PART_RECORDS {
            let first = part_key(value, 0);
            let range = (Bound::Included(&first[..]), Bound::Unbounded);
            let part = self.tables.parts.range(self.transaction, &range).map_err(failed)?.next();
            let Some(part) = part else { return Ok(None) };
            let (key, _) = part.map_err(failed)?;
            let Some((found, _)) = read_part_key(key) else {
                self.done.damaged.push((Bytes::new(), Damage::Stray { value }.into()));
                return Ok(None);
            };
            if !self.is_known(found)? {
                self.done.damaged.push((Bytes::new(), Damage::Stray { value: found }.into()));
            }
            let Some(next) = found.checked_add(1) else { return Ok(None) };
            value = next;
            if self.is_enough() {
                break;
            }
        }
        Ok(Some(Cursor::Strays { value }))
    }

    fn is_known(&self, value: u64) -> Result<bool, ReadError> {
        for state in [State::Unfinished, State::Dropped] {
            let entry = self.tables.values.get(self.transaction, &value_key(state, value));
            if entry.map_err(failed)?.is_some() {
                return Ok(true);
            }
        }
        let owner = self.tables.values.get(self.transaction, &value_key(State::Owned, value));
        let Some(owner) = owner.map_err(failed)? else { return Ok(false) };
        // A record that is damaged is named already.
        Ok(!is_stray(self.transaction, self.tables, value, owner).map_err(failed)?)
    }

    fn is_enough(&self) -> bool {
        self.done.bytes >= MAX_PART_BYTES
            || self.done.records >= MAX_PART_RECORDS
            || self.done.damaged.len() >= MAX_PAGE_KEYS
    }
}

fn failed(error: heed::Error) -> StorageError {
    StorageError::of_heed("read", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let key = Bytes::from(vec![7; MAX_KEY_BYTES]);
        for cursor in [
            Cursor::Behind(Bytes::new()),
            Cursor::Behind(key.clone()),
            Cursor::Within { key: "k".into(), value: 1, number: 2 },
            Cursor::Within { key, value: u64::MAX, number: u32::MAX },
            Cursor::Strays { value: 9 },
        ] {
            assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        }
        for bytes in [MAX_KEY_BYTES + 1, LONG_CURSOR_BYTES - 1, LONG_CURSOR_BYTES + 1] {
            let refused = KeyError::TooLong { bytes, limit: MAX_KEY_BYTES };
            assert_eq!(Cursor::decode(&vec![0; bytes]), Err(refused));
        }
        assert!(Cursor::decode(&[255; LONG_CURSOR_BYTES]).is_err());
    }
}
