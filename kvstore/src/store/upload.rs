//! Writing a value part by part: what can be asked, and what is prepared before the transaction, which is in
//! `apply_upload`.

use bytes::Bytes;

use super::compression::compress;
use super::error::{UploadError, WriteError, check_key};
use super::options::StoreOptions;
use super::parts::PartHeader;
use super::record::PayloadChecksum;
use super::write::{Applied, Condition};

/// How many values can be written part by part at once.
pub const MAX_UPLOADS: usize = 64;

/// How long an upload lives to which nothing comes, in milliseconds: five minutes.
pub const UPLOAD_IDLE_MS: u64 = 5 * 60 * 1000;

/// How long nothing may come to an upload whose place or room another needs, in milliseconds: half a minute. Its client may
/// have been killed.
pub const UPLOAD_NEEDED_AFTER_MS: u64 = 30 * 1000;

/// One step of writing a value part by part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadStep {
    /// Begins. What is given is judged now, to save the way to a value that would be refused, and again at the end.
    Begin {
        /// 1 to 511 bytes.
        key: Bytes,
        /// What must hold.
        condition: Condition,
        /// The length of the value, where it is known.
        value_bytes: Option<u64>,
    },
    /// Adds a part. Each but the last is as long as the answer to the beginning says. One that has come already is not
    /// written again.
    Part {
        /// What the answer to the beginning has named it.
        upload: u64,
        /// From 0.
        number: u32,
        /// At least one byte.
        bytes: Bytes,
    },
    /// Puts what was written under the key. Whether it is done or refused, the upload has ended then, unless it is not
    /// what was to be written, there is no room, or too much to check.
    Finish {
        /// What the answer to the beginning has named it.
        upload: u64,
        /// 1 to 511 bytes.
        key: Bytes,
        /// What must hold.
        condition: Condition,
        /// How long the entry is there, in milliseconds; for ever without.
        ttl_ms: Option<u64>,
        /// The length of the value.
        value_bytes: u64,
        /// The CRC-32 (IEEE) of the value.
        checksum: u32,
    },
    /// Gives up. That there is no such upload is no error.
    Abort {
        /// What the answer to the beginning has named it.
        upload: u64,
    },
}

impl UploadStep {
    /// How many bytes of the caller's it holds.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Begin { key, .. } | Self::Finish { key, .. } => key.len(),
            Self::Part { bytes, .. } => bytes.len(),
            Self::Abort { .. } => 0,
        }
    }

    /// Holds the step against the limits of a store.
    pub(crate) fn check(&self, max_value_bytes: usize) -> Result<(), WriteError> {
        let (key, value_bytes) = match self {
            Self::Begin { key, value_bytes, .. } => (key, *value_bytes),
            Self::Finish { key, value_bytes, .. } => (key, Some(*value_bytes)),
            Self::Part { bytes, .. } if bytes.is_empty() || bytes.len() > MAX_PART_BYTES => {
                return Err(UploadError::PartLength { bytes: bytes.len(), limit: MAX_PART_BYTES }.into());
            }
            Self::Part { .. } | Self::Abort { .. } => return Ok(()),
        };
        check_key(key)?;
        let bytes = value_bytes.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if bytes > max_value_bytes {
            return Err(WriteError::ValueTooLarge { bytes, limit: max_value_bytes });
        }
        Ok(())
    }
}

/// The longest part: what is held of a value in memory at a time.
pub const MAX_PART_BYTES: usize = 1 << 20;

/// What a step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadDone {
    /// Begun.
    Begun {
        /// What to name it by.
        upload: u64,
        /// How long each part but the last has to be.
        part_bytes: u32,
    },
    /// The part is stored.
    Part {
        /// Its length as it is stored: after compression.
        stored_bytes: u64,
    },
    /// There is no such upload any more.
    Aborted,
}

/// A step with everything done that can be done before the transaction.
pub(super) enum PreparedStep {
    Begin { key: Bytes, condition: Condition },
    Part { upload: u64, number: u32, header: PartHeader, payload: Bytes, checksum: PayloadChecksum },
    Finish(Box<Finish>),
    Abort { upload: u64 },
}

pub(super) struct Finish {
    pub(super) upload: u64,
    pub(super) key: Bytes,
    pub(super) condition: Condition,
    pub(super) expires_at_ms: Option<u64>,
    pub(super) value_bytes: u64,
    pub(super) checksum: u32,
}

impl PreparedStep {
    /// Prepares a step that was checked.
    pub(super) fn new(step: UploadStep, options: &StoreOptions, now_ms: u64) -> Self {
        match step {
            UploadStep::Begin { key, condition, .. } => Self::Begin { key, condition },
            UploadStep::Part { upload, number, bytes } => {
                let length = u32::try_from(bytes.len()).expect("a part has at most 1 MiB");
                let content = PayloadChecksum::of(&bytes);
                let (codec, payload) = compress(bytes, options.compression_level);
                let header = PartHeader { codec, bytes: length, content: content.value() };
                let is_raw = payload.len() == length as usize;
                let checksum = if is_raw { content } else { PayloadChecksum::of(&payload) };
                Self::Part { upload, number, header, payload, checksum }
            }
            UploadStep::Finish { upload, key, condition, ttl_ms, value_bytes, checksum } => {
                let expires_at_ms = ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms));
                Self::Finish(Box::new(Finish {
                    upload,
                    key,
                    condition,
                    expires_at_ms,
                    value_bytes,
                    checksum,
                }))
            }
            UploadStep::Abort { upload } => Self::Abort { upload },
        }
    }

    pub(super) fn adds_nothing(&self) -> bool {
        matches!(self, Self::Abort { .. })
    }

    pub(super) fn stored_bytes(&self) -> usize {
        match self {
            Self::Part { payload, .. } => payload.len(),
            Self::Finish(finish) => finish.key.len(),
            Self::Begin { .. } | Self::Abort { .. } => 0,
        }
    }
}

impl From<UploadDone> for Applied {
    fn from(done: UploadDone) -> Self {
        Self::Upload(done)
    }
}
