//! What the actor is sent and what it answers: a struct for each request, with its reply, and one error.
//!
//! | Message | Wire name | Payload | Result |
//! | --- | --- | --- | --- |
//! | [`Get`] | `kvstore.get` | codec | by hand: see there |
//! | [`Put`] | `kvstore.put` | by hand: see there | codec |
//! | [`PutWith`] | `kvstore.put-with` | by hand: see there | codec |
//! | [`Remove`] | `kvstore.remove` | codec | codec |
//! | [`RemoveIf`] | `kvstore.remove-if` | codec | codec |
//! | [`GetMany`] | `kvstore.get-many` | codec | by hand: see there |
//! | [`Apply`] | `kvstore.apply` | by hand: see there | codec |
//! | [`UploadBegin`] | `kvstore.upload-begin` | codec | codec |
//! | [`UploadPart`] | `kvstore.upload-part` | by hand: see there | codec |
//! | [`UploadFinish`] | `kvstore.upload-finish` | codec | codec |
//! | [`UploadAbort`] | `kvstore.upload-abort` | codec | codec |
//! | [`ReadBegin`] | `kvstore.read-begin` | codec | by hand: see there |
//! | [`ReadPart`] | `kvstore.read-part` | codec | by hand: see there |
//! | [`List`] | `kvstore.list` | codec | codec |
//! | [`StatKey`] | `kvstore.stat-key` | codec | codec |
//! | [`Stat`] | `kvstore.stat` | codec | codec |
//! | [`Watch`] | `kvstore.changes` | codec | by hand: see there |
//! | [`Verify`] | `kvstore.verify` | codec | codec |
//! | [`Backup`] | `kvstore.backup` | codec | codec |
//! | [`Compact`] | `kvstore.compact` | codec | codec |
//! | [`GetLimits`] | `kvstore.limits` | codec | codec |
//!
//! What carries a value is laid out by hand, with the value as the tail, so that it is never parsed, and copied only
//! into and out of a connection's buffers. The rest is [`ensemble::codec`]'s. Nothing here knows of the store.

mod apply;
mod backup;
mod compact;
mod condition;
mod error;
mod get;
mod get_many;
mod limits;
mod list;
mod put;
mod put_with;
mod read;
mod remove;
mod remove_if;
mod stat;
mod upload;
mod verify;
mod watch;
mod wire;

pub use apply::{Apply, ApplyRefused, Done, Op};
pub use backup::{Backup, BackupDone, BackupRefused};
pub use compact::{Compact, CompactDone};
pub use condition::Condition;
pub use error::StoreError;
pub use get::{Get, Value};
pub use get_many::{GetMany, Values};
pub use limits::{GetLimits, StoreLimits};
pub use list::{AboutKey, KeyPage, List, ListedKey};
pub use put::{Put, PutDone};
pub use put_with::PutWith;
pub use read::{InParts, Part, ReadBegin, ReadPart, Readable};
pub use remove::{Remove, RemoveDone};
pub use remove_if::RemoveIf;
pub use stat::{Durability, Fullness, KeyStat, Stat, StatKey, StoreStat, StoredAs};
pub use upload::{UploadAbort, UploadBegin, UploadBegun, UploadFinish, UploadPart, UploadPartDone};
pub use verify::{DamagedKey, VerifiedPart, Verify};
pub use watch::{
    Attached, Change, ChangeKind, Changes, MAX_WAIT_MS, MAX_WATCHES, MAX_WATCHES_OF_ONE, Watch, WatchRefused,
};
