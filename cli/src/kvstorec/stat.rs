//! `kvstorec stat`: what is known about a key, or how the store is.
//!
//! JSON of a key: `{"key": TEXT, "revision": NUMBER, "value_bytes": NUMBER, "stored_bytes": NUMBER, "codec": TEXT,
//! "expires_in_ms": NUMBER | null}`; `key_hex` instead of `key` where that is no text. Of the store: the members of
//! [`OfStore`].

use std::ffi::OsString;

use kvstore::messages::{Durability, Fullness, KeyStat, StoreStat, StoredAs};
use serde::Serialize;

use super::{
    cli::Reach,
    key::{JsonKey, Key},
    list::time_left,
    store::with_server,
};
use crate::{exit::Outcome, settings::Settings};

/// Shows what is known about a key, or how the store is
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The record of a key is read and checked; the exit code is 3 when there is no such key.

Examples:
  $ kvstorec stat
  $ kvstorec stat my-alist")]
pub(super) struct Args {
    /// The key [default: the store as a whole]
    #[arg(value_name = "KEY")]
    key: Option<OsString>,

    #[command(flatten)]
    reach: Reach,
}

#[derive(Serialize)]
struct OfKey<'a> {
    #[serde(flatten)]
    key: JsonKey<'a>,
    revision: u64,
    value_bytes: u64,
    stored_bytes: u64,
    codec: String,
    expires_in_ms: Option<u64>,
}

#[derive(Serialize)]
struct OfStore {
    entries: u64,
    revision: u64,
    used_bytes: u64,
    file_bytes: u64,
    page_bytes: u64,
    free_pages: u64,
    map_bytes: u64,
    max_size_bytes: u64,
    readers: u64,
    max_readers: u64,
    full: String,
    durability: String,
    changes: u64,
    first_change: u64,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_server(&args.reach, settings, async |server| match &args.key {
        Some(key) => {
            let key = Key::new(key);
            let stat = server.client.stat_key(key.bytes()).await.map_err(|why| server.failure(&why, &key))?;
            let stat = stat.ok_or_else(|| server.no_such_key(&key))?;
            settings.printer().result(&of_key(&key, &stat), |of| lines_of_key(&key, of))
        }
        None => {
            let stat = server.client.stat().await.map_err(|why| server.failure(&why, &Key::default()))?;
            settings.printer().result(&of_store(&stat), lines_of_store)
        }
    })
}

fn of_key<'a>(key: &'a Key, stat: &KeyStat) -> OfKey<'a> {
    let codec = match stat.codec {
        StoredAs::Raw => "raw".to_owned(),
        StoredAs::Zstd => "zstd".to_owned(),
        StoredAs::Parts => "parts".to_owned(),
        StoredAs::Other(number) => format!("codec {number}"),
        other => format!("{other:?}"),
    };
    OfKey {
        key: key.in_json(),
        revision: stat.revision,
        value_bytes: stat.value_bytes,
        stored_bytes: stat.stored_bytes,
        codec,
        expires_in_ms: stat.expires_in_ms,
    }
}

fn of_store(stat: &StoreStat) -> OfStore {
    let full = match stat.full {
        Fullness::HasRoom => "no".to_owned(),
        Fullness::AtMaxSize => "max-size".to_owned(),
        Fullness::DiskFull => "disk".to_owned(),
        Fullness::ReadOnly => "read-only".to_owned(),
        other => format!("{other:?}"),
    };
    let durability = match stat.durability {
        Durability::Sync => "sync".to_owned(),
        Durability::Interval { ms } => format!("interval={ms}"),
        Durability::None => "none".to_owned(),
        other => format!("{other:?}"),
    };
    OfStore {
        entries: stat.entries,
        revision: stat.revision,
        used_bytes: stat.used_bytes,
        file_bytes: stat.file_bytes,
        page_bytes: stat.page_bytes,
        free_pages: stat.free_pages,
        map_bytes: stat.map_bytes,
        max_size_bytes: stat.max_size_bytes,
        readers: stat.readers,
        max_readers: stat.max_readers,
        full,
        durability,
        changes: stat.changes,
        first_change: stat.first_change,
    }
}

fn lines_of_key(key: &Key, of: &OfKey<'_>) -> String {
    lines(&[
        ("key", key.in_list()),
        ("revision", of.revision.to_string()),
        ("size", format!("{} bytes", of.value_bytes)),
        ("stored", format!("{} bytes, {}", of.stored_bytes, of.codec)),
        ("time left", time_left(of.expires_in_ms)),
    ])
}

fn lines_of_store(of: &OfStore) -> String {
    let full = match of.full.as_str() {
        "no" => "no",
        "max-size" => "yes, at its maximum size: reads and removes go on",
        "disk" => "yes, its disk is full: reads and removes go on",
        "read-only" => "its file system is read-only: reads go on",
        other => other,
    };
    let changes = match of.changes {
        0 => "none kept".to_owned(),
        count => format!("{count} kept, from revision {} on", of.first_change),
    };
    lines(&[
        ("entries", of.entries.to_string()),
        ("revision", of.revision.to_string()),
        ("durability", of.durability.clone()),
        ("changes", changes),
        ("full", full.to_owned()),
        ("data", format!("{} bytes", of.used_bytes)),
        ("file", format!("{} bytes, {} free pages of {} bytes", of.file_bytes, of.free_pages, of.page_bytes)),
        ("map", format!("{} bytes, at most {}", of.map_bytes, of.max_size_bytes)),
        ("readers", format!("{} of {} slots", of.readers, of.max_readers)),
    ])
}

fn lines(rows: &[(&str, String)]) -> String {
    rows.iter().map(|(name, value)| format!("{name:<10}  {value}\n")).collect()
}
