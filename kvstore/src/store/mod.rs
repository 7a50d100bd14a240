//! The store: durable keys and values in one directory, plain and synchronous.
//!
//! Here live the format of a record, the database under it and its growth. Threads, queues and async callers
//! do not: see [`crate::engine`]. `docs/STORE-FORMAT.md` describes the files.

mod apply;
mod apply_upload;
mod backup;
mod ballast;
mod change;
mod changes;
mod checked;
mod clock;
mod commit;
mod compact;
mod compression;
mod copies;
mod environment;
mod error;
mod expiry;
mod files;
mod format;
mod handle;
mod lock;
mod log_room;
mod look;
mod meta_page;
mod opening;
mod options;
mod pages;
mod parts;
mod recent;
mod reclaim;
pub mod record;
mod room;
mod strays;
mod stream;
mod stream_io;
mod sync;
mod synced;
mod together;
mod tree_page;
mod upload;
mod verify;
mod write;

#[cfg(test)]
mod tests;

pub use backup::{BackedUp, BackupError, restore};
pub use change::{Change, ChangeKind};
pub use changes::{Attached, ChangesError, ChangesPage, ChangesQuery, MAX_PAGE_CHANGES};
pub use compact::Compacted;
pub use compression::MIN_COMPRESSED_BYTES;
pub(crate) use error::check_key;
pub use error::{Full, KeyError, OpenError, ReadError, StorageError, UploadError, WriteError};
pub use expiry::COLLECTED_AT_ONCE;
pub use format::STORE_VERSION;
pub use handle::{Entry, Store};
pub use look::{Listed, MAX_PAGE_KEYS, Meta, Page, Status};
pub(crate) use options::ValueLimits;
pub use options::{
    Durability, MAX_KEY_BYTES, MAX_VALUE_BYTES_CEILING, MAX_WHOLE_BYTES_CEILING, MIN_MAX_SIZE_BYTES,
    MIN_PART_BYTES, StoreOptions,
};
pub use strays::Strays;
pub use stream::{InParts, Layout};
pub use stream_io::{ValueReader, ValueWriter};
pub use together::{MAX_TOGETHER, Together, TogetherError};
pub use upload::{
    MAX_PART_BYTES, MAX_UPLOADS, UPLOAD_IDLE_MS, UPLOAD_NEEDED_AFTER_MS, UploadDone, UploadStep,
};
pub use verify::Verified;
pub use write::{Applied, Condition, Stored, Write};
