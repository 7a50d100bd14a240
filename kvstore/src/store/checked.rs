//! How much of the records that conditions are about is read while others wait to write.
//!
//! A condition needs a few bytes of a record, but whether they are right only the checksum over all of it tells. A call
//! of a few kilobytes could so have gigabytes read under the writer's lock. Hence a bound for each transaction, and a
//! memory of the long records that were found to be sound: what is refused once gets further when it is tried again.

use std::collections::HashMap;

use super::record::{Header, RecordError};

/// The records that one transaction reads for its conditions, in bytes: some hundredths of a second. The first record
/// is read however long it is.
const MAX_READ_BYTES: usize = 256 << 20;

/// Records from this length on are remembered: as many shorter ones as can be asked about together are within the bound.
const MIN_REMEMBERED_BYTES: usize = 64 << 10;

/// How many records are remembered: four times as many as writes can be done together.
const MAX_REMEMBERED: usize = 4096;

/// Why it is not known what a record says.
pub(super) enum Unknown {
    /// It is damaged, or of a later version.
    Unreadable(RecordError),
    /// The transaction has read enough.
    TooMuch,
}

/// What was read, and what was found to be sound.
pub(super) struct Checked {
    limit_bytes: usize,
    read_bytes: usize,
    /// The header and the length of each record, by key. Another header is of another record, or is damaged.
    sound: HashMap<Box<[u8]>, (Header, usize)>,
}

impl Checked {
    pub(super) fn new() -> Self {
        Self::within(MAX_READ_BYTES)
    }

    pub(super) fn within(limit_bytes: usize) -> Self {
        Self { limit_bytes, read_bytes: 0, sound: HashMap::new() }
    }

    /// A transaction begins.
    pub(super) fn begin(&mut self) {
        self.read_bytes = 0;
    }

    /// The header of a record, once all of the record was held against its checksum.
    pub(super) fn header(&mut self, key: &[u8], record: &[u8]) -> Result<Header, Unknown> {
        let is_long = record.len() >= MIN_REMEMBERED_BYTES;
        if is_long && let Some(known) = self.sound.get(key) {
            let (header, _) = Header::peek(record).map_err(Unknown::Unreadable)?;
            if *known == (header, record.len()) {
                return Ok(header);
            }
        }
        let read_bytes = self.read_bytes.saturating_add(record.len());
        if self.read_bytes > 0 && read_bytes > self.limit_bytes {
            return Err(Unknown::TooMuch);
        }
        self.read_bytes = read_bytes;
        let (header, _) = Header::decode(key, record).map_err(Unknown::Unreadable)?;
        if is_long {
            if self.sound.len() >= MAX_REMEMBERED {
                self.sound.clear();
            }
            self.sound.insert(key.into(), (header, record.len()));
        }
        Ok(header)
    }
}
