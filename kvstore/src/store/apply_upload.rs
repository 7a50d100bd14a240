//! How values in parts are written, given up and freed within a transaction.

use std::io::Write as _;
use std::ops::Bound;

use heed::RoTxn;

use super::apply::Batch;
use super::environment::Tables;
use super::error::{UploadError, WriteError};
use super::parts::{Manifest, PartHeader, State, Upload, part_key, read_part_key, read_value_key, value_key};

use super::record::{Codec, Header, PayloadChecksum};
use super::strays::{is_stray, is_unknown};
use super::upload::{Finish, MAX_UPLOADS, PreparedStep, UPLOAD_NEEDED_AFTER_MS, UploadDone};
use super::write::{Action, Applied, Change, Condition};

/// The key in `meta` of the last number that was given to a value in parts, as eight little-endian bytes.
const LAST_VALUE_KEY: &[u8] = b"value";

/// The numbers of values that begin in the same millisecond, before those of the next.
const NUMBERS_PER_MS: u64 = 1 << 16;

/// A step's own answer, or what ends the transaction.
type Stepped = Result<Result<Applied, WriteError>, heed::Error>;

impl Batch<'_, '_> {
    pub(super) fn upload(&mut self, step: &PreparedStep) -> Stepped {
        match step {
            // As with a put, what is there may be damaged: this writes over it.
            PreparedStep::Begin { condition: Condition::Always, .. } => self.begin(),
            PreparedStep::Begin { key, condition } => {
                // An early look, to save the way to what would be refused: the condition is judged again at the end.
                let change = Change { key: key.clone(), condition: *condition, action: Action::Check };
                match self.judge(&change)? {
                    Ok(_) => self.begin(),
                    Err(refusal) => Ok(Err(refusal)),
                }
            }
            PreparedStep::Part { upload, number, header, payload, checksum } => {
                self.add_part(*upload, *number, header, payload, checksum)
            }
            PreparedStep::Finish(finish) => self.finish(finish),
            PreparedStep::Abort { upload } => {
                if self.unfinished(*upload)?.is_some() {
                    self.drop_value(State::Unfinished, *upload)?;
                }
                Ok(Ok(UploadDone::Aborted.into()))
            }
        }
    }

    fn begin(&mut self) -> Stepped {
        if all_unfinished(self.transaction, self.tables)?.len() >= MAX_UPLOADS && !self.drop_idlest()? {
            return Ok(Err(UploadError::TooMany { limit: MAX_UPLOADS }.into()));
        }
        let upload = self.next_value()?;
        let part_bytes = self.options.part_bytes();
        let entry = Upload::new(part_bytes, self.now_ms).encode();
        self.tables.values.put(self.transaction, &value_key(State::Unfinished, upload), &entry)?;
        self.has_values = true;
        self.has_changed = true;
        Ok(Ok(UploadDone::Begun { upload, part_bytes }.into()))
    }

    /// A number that no value has had. That goes also for those whose numbers a crash has taken back, in a store that does
    /// not sync each commit: the time has gone on.
    fn next_value(&mut self) -> Result<u64, heed::Error> {
        let last = match self.tables.meta.get(self.transaction, LAST_VALUE_KEY)? {
            None => 0,
            Some(bytes) => u64::from_le_bytes(bytes.try_into().map_err(|_| heed::MdbError::Corrupted)?),
        };
        let by_time = self.now_ms.checked_mul(NUMBERS_PER_MS).unwrap_or(0);
        let next = last.checked_add(1).ok_or(heed::MdbError::Corrupted)?.max(by_time);
        self.tables.meta.put(self.transaction, LAST_VALUE_KEY, &next.to_le_bytes())?;
        Ok(next)
    }

    fn add_part(
        &mut self,
        upload: u64,
        number: u32,
        header: &PartHeader,
        payload: &[u8],
        checksum: &PayloadChecksum,
    ) -> Stepped {
        let Some(before) = self.unfinished(upload)? else {
            return Ok(Err(UploadError::NoSuchUpload.into()));
        };
        let key = part_key(upload, number);
        if number < before.next {
            // It was sent twice, because its answer was lost.
            let stored = self.tables.parts.get(self.transaction, &key)?;
            return Ok(match stored.map(|part| PartHeader::decode(&key, part)) {
                Some(Ok((stored, payload)))
                    if stored.content == header.content && stored.bytes == header.bytes =>
                {
                    Ok(UploadDone::Part { stored_bytes: payload.len() as u64 }.into())
                }
                _ => Err(UploadError::Differs.into()),
            });
        }
        let is_after_a_short_one =
            before.value_bytes != u64::from(before.next) * u64::from(before.part_bytes);
        if number > before.next || is_after_a_short_one {
            return Ok(Err(UploadError::OutOfOrder { expected: before.next }.into()));
        }
        if header.bytes > before.part_bytes {
            let (bytes, limit) = (header.bytes as usize, before.part_bytes as usize);
            return Ok(Err(UploadError::PartLength { bytes, limit }.into()));
        }
        let after = before.with(header, payload.len() as u64, self.now_ms);
        let limit = self.options.max_value_bytes;
        if after.value_bytes > limit as u64 || after.next == u32::MAX {
            let bytes = usize::try_from(after.value_bytes).unwrap_or(usize::MAX);
            return Ok(Err(WriteError::ValueTooLarge { bytes, limit }));
        }
        let header = header.encode(&key, checksum);
        let bytes = header.len() + payload.len();
        self.tables.parts.put_reserved(self.transaction, &key, bytes, |space| {
            space.write_all(&header)?;
            space.write_all(payload)
        })?;
        let entry = value_key(State::Unfinished, upload);
        self.tables.values.put(self.transaction, &entry, &after.encode())?;
        self.has_changed = true;
        Ok(Ok(UploadDone::Part { stored_bytes: payload.len() as u64 }.into()))
    }

    fn finish(&mut self, finish: &Finish) -> Stepped {
        let Some(upload) = self.unfinished(finish.upload)? else {
            return Ok(Err(UploadError::NoSuchUpload.into()));
        };
        if (upload.value_bytes, upload.checksum) != (finish.value_bytes, finish.checksum) {
            return Ok(Err(UploadError::Differs.into()));
        }
        let manifest = upload.manifest(finish.upload);
        let payload = manifest.encode();
        let action = Action::Put {
            codec: Codec::Parts,
            value_bytes: manifest.value_bytes,
            checksum: PayloadChecksum::of(&payload),
            payload: bytes::Bytes::copy_from_slice(&payload),
            expires_at_ms: finish.expires_at_ms,
        };
        let change = Change { key: finish.key.clone(), condition: finish.condition, action };
        match self.one(&change)? {
            Ok(Applied::Stored(stored)) => {
                self.tables.values.delete(self.transaction, &value_key(State::Unfinished, finish.upload))?;
                let owned = value_key(State::Owned, finish.upload);
                self.tables.values.put(self.transaction, &owned, &finish.key)?;
                let stored_bytes = manifest.stored_bytes;
                Ok(Ok(Applied::Stored(super::write::Stored { stored_bytes, ..stored })))
            }
            // Tried again, it gets further.
            Err(WriteError::TooMuchToCheck) => Ok(Err(WriteError::TooMuchToCheck)),
            other => {
                self.drop_value(State::Unfinished, finish.upload)?;
                Ok(other)
            }
        }
    }

    fn unfinished(&self, upload: u64) -> Result<Option<Upload>, heed::Error> {
        let entry = self.tables.values.get(self.transaction, &value_key(State::Unfinished, upload))?;
        Ok(entry.and_then(Upload::decode))
    }

    /// Gives up what nobody has added to since `before_ms`.
    pub(super) fn drop_unfinished(&mut self, before_ms: u64) -> Result<Applied, heed::Error> {
        let mut count = 0;
        for (upload, entry) in all_unfinished(self.transaction, self.tables)? {
            if entry.is_none_or(|entry| entry.changed_ms <= before_ms) {
                self.drop_value(State::Unfinished, upload)?;
                count += 1;
            }
        }
        Ok(Applied::Collected { count })
    }

    /// Gives up the upload to which nothing has come for longest, where its place may be taken.
    fn drop_idlest(&mut self) -> Result<bool, heed::Error> {
        let idlest = idlest(self.transaction, self.tables, self.now_ms)?;
        if let Some((upload, _)) = idlest {
            self.drop_value(State::Unfinished, upload)?;
        }
        Ok(idlest.is_some())
    }

    /// Drops those of the values that belong to no record.
    pub(super) fn drop_strays(&mut self, values: &[u64]) -> Result<Applied, heed::Error> {
        let mut count = 0;
        for value in values {
            let owner = self.tables.values.get(self.transaction, &value_key(State::Owned, *value))?;
            let Some(owner) = owner.map(<[u8]>::to_vec) else { continue };
            if is_stray(self.transaction, self.tables, *value, &owner)? {
                self.drop_value(State::Owned, *value)?;
                count += 1;
            }
        }
        Ok(Applied::Collected { count })
    }

    /// Drops those of the values that have parts and no entry.
    pub(super) fn drop_unknown(&mut self, values: &[u64]) -> Result<Applied, heed::Error> {
        let mut count = 0;
        for value in values {
            if is_unknown(self.transaction, self.tables, *value)? && self.first_part(*value)?.is_some() {
                self.drop_value(State::Owned, *value)?;
                count += 1;
            }
        }
        Ok(Applied::Collected { count })
    }

    /// Has the parts freed of a value whose record is about to go.
    pub(super) fn forget_parts(&mut self, key: &[u8]) -> Result<(), heed::Error> {
        if !self.has_values {
            return Ok(());
        }
        let Some(record) = self.tables.records.get(self.transaction, key)? else { return Ok(()) };
        let Ok((Header { codec: Codec::Parts, .. }, payload)) = Header::peek(record) else { return Ok(()) };
        let Ok(Manifest { value, .. }) = Manifest::decode(payload) else { return Ok(()) };
        // The record may be damaged: it must not take another's parts with it.
        let owner = self.tables.values.get(self.transaction, &value_key(State::Owned, value))?;
        if owner == Some(key) {
            self.drop_value(State::Owned, value)?;
        }
        Ok(())
    }

    fn drop_value(&mut self, from: State, value: u64) -> Result<(), heed::Error> {
        self.tables.values.delete(self.transaction, &value_key(from, value))?;
        let dropped = value_key(State::Dropped, value);
        self.tables.values.put(self.transaction, &dropped, &self.now_ms.to_le_bytes())?;
        self.has_changed = true;
        Ok(())
    }

    /// Frees parts of dropped values, at most so many, and forgets each value with its last part.
    pub(super) fn free(&mut self, values: &[u64], most: usize) -> Result<Applied, heed::Error> {
        let (mut freed_parts, mut freed_values) = (0, 0);
        for &value in values {
            let dropped = value_key(State::Dropped, value);
            if freed_parts >= most || self.tables.values.get(self.transaction, &dropped)?.is_none() {
                continue;
            }
            self.has_changed = true;
            if let Some(first) = self.first_part(value)? {
                let others = u32::try_from(most - freed_parts - 1).unwrap_or(u32::MAX);
                let some = (part_key(value, first), part_key(value, first.saturating_add(others)));
                let some = (Bound::Included(&some.0[..]), Bound::Included(&some.1[..]));
                freed_parts += self.tables.parts.delete_range(self.transaction, &some)?;
            }
            if self.first_part(value)?.is_none() {
                self.tables.values.delete(self.transaction, &dropped)?;
                freed_values += 1;
            }
        }
        Ok(Applied::Freed { parts: freed_parts, values: freed_values })
    }

    fn first_part(&self, value: u64) -> Result<Option<u32>, heed::Error> {
        let first_and_last = (part_key(value, 0), part_key(value, u32::MAX));
        let of_value = (Bound::Included(&first_and_last.0[..]), Bound::Included(&first_and_last.1[..]));
        match self.tables.parts.range(self.transaction, &of_value)?.next() {
            Some(part) => Ok(read_part_key(part?.0).map(|(_, number)| number)),
            None => Ok(None),
        }
    }
}

/// The values that are being written, with how far they are; none for one whose entry is damaged.
fn all_unfinished(
    transaction: &RoTxn<'_>,
    tables: &Tables,
) -> Result<Vec<(u64, Option<Upload>)>, heed::Error> {
    let entries = tables.values.prefix_iter(transaction, &[State::Unfinished as u8])?;
    let entries = entries.filter_map(|entry| match entry {
        Ok((key, entry)) => Some(Ok((read_value_key(key)?, Upload::decode(entry)))),
        Err(error) => Some(Err(error)),
    });
    entries.collect()
}

/// The upload to which nothing has come for longest, and when something did, where that is so long ago that another may
/// have its place or its room.
pub(super) fn idlest(
    transaction: &RoTxn<'_>,
    tables: &Tables,
    now_ms: u64,
) -> Result<Option<(u64, u64)>, heed::Error> {
    let all = all_unfinished(transaction, tables)?.into_iter();
    let all = all.map(|(upload, entry)| (upload, entry.map_or(0, |entry| entry.changed_ms)));
    let idlest = all.min_by_key(|(_, changed_ms)| *changed_ms);
    Ok(idlest.filter(|(_, changed_ms)| now_ms.saturating_sub(*changed_ms) >= UPLOAD_NEEDED_AFTER_MS))
}
