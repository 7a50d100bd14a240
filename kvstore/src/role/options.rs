//! The options of the role, from text.

use std::{collections::BTreeMap, path::PathBuf};

use ensemble::{Limits, RoleError, RoleOption};

use crate::{
    messages::PutWith,
    store::{Durability, MAX_VALUE_BYTES_CEILING, MAX_WHOLE_BYTES_CEILING, MIN_MAX_SIZE_BYTES, StoreOptions},
};

const PATH: &str = "path";
const MAX_VALUE: &str = "max-value";
const MAX_SIZE: &str = "max-size";
const LEVEL: &str = "level";
const DURABILITY: &str = "durability";
const CHANGES: &str = "changes";

pub(super) const OPTIONS: &[RoleOption] = &[
    RoleOption { key: PATH, help: "the store's directory; default: kvstore.db in the server's own" },
    RoleOption { key: MAX_VALUE, help: "longest value, in bytes or with KiB, MiB, GiB; default: 64MiB" },
    RoleOption { key: MAX_SIZE, help: "how large the store may become, likewise; default: 64GiB" },
    RoleOption {
        key: DURABILITY,
        help: "when a write is answered: sync, on disk; interval=MS, synced so often; none; default: sync",
    },
    RoleOption {
        key: CHANGES,
        help: "how many changes are kept for those who watch; 0 for none; default: 100000",
    },
    RoleOption { key: LEVEL, help: "zstd's level: higher is smaller and slower; default: 3" },
];

/// Where the store is, and how it is set up.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) path: PathBuf,
    pub(super) store: StoreOptions,
}

impl Setup {
    /// Reads the options of a role that is started with its files in `dir`, at a node with such limits.
    pub(super) fn parse(
        options: &BTreeMap<String, String>,
        dir: &std::path::Path,
        limits: &Limits,
    ) -> Result<Self, RoleError> {
        let store = StoreOptions { max_whole_bytes: max_whole_bytes(limits), ..StoreOptions::default() };
        let mut setup = Self { path: dir.join("kvstore.db"), store };
        for (key, value) in options {
            let bad =
                |expected: String| RoleError::BadOption { key: key.clone(), value: value.clone(), expected };
            match key.as_str() {
                PATH if value.is_empty() => return Err(bad("a directory".to_owned())),
                PATH => setup.path = value.into(),
                MAX_VALUE => {
                    setup.store.max_value_bytes =
                        parse_bytes(value, 1, MAX_VALUE_BYTES_CEILING).map_err(bad)?;
                }
                MAX_SIZE => {
                    setup.store.max_size_bytes =
                        parse_bytes(value, MIN_MAX_SIZE_BYTES, usize::MAX).map_err(bad)?;
                }
                DURABILITY => setup.store.durability = parse_durability(value).map_err(bad)?,
                CHANGES => {
                    let number = value.parse().map_err(|_| "a whole number".to_owned());
                    setup.store.max_changes = number.map_err(bad)?;
                }
                LEVEL => setup.store.compression_level = parse_level(value).map_err(bad)?,
                _ => return Err(bad(known_keys())),
            }
        }
        Ok(setup)
    }
}

/// The longest value that gets through a node with such limits as a whole.
fn max_whole_bytes(limits: &Limits) -> usize {
    let message_bytes = usize::try_from(limits.max_message_bytes).unwrap_or(usize::MAX);
    message_bytes.saturating_sub(PutWith::MAX_OVERHEAD_BYTES).min(MAX_WHOLE_BYTES_CEILING)
}

/// A number of bytes; the error is what is expected.
fn parse_bytes(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let expected = || match most {
        usize::MAX => format!("a number of bytes, as 1048576, 1024KiB or 1MiB, of at least {least}"),
        most => format!("a number of bytes, as 1048576, 1024KiB or 1MiB, from {least} to {most}"),
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: usize = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(expected()),
    };
    let bytes = number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    bytes.filter(|bytes| (least..=most).contains(bytes)).ok_or_else(expected)
}

fn parse_level(text: &str) -> Result<i32, String> {
    let levels = zstd::compression_level_range();
    let level = text.parse().ok().filter(|level| levels.contains(level));
    level.ok_or_else(|| format!("a whole number from {} to {}", levels.start(), levels.end()))
}

fn parse_durability(text: &str) -> Result<Durability, String> {
    match text {
        "sync" => Ok(Durability::Sync),
        "none" => Ok(Durability::None),
        _ => {
            let ms = text.strip_prefix("interval=").and_then(|ms| ms.parse().ok());
            let ms = ms.filter(|ms| (1..=MAX_INTERVAL_MS).contains(ms));
            ms.map(|ms| Durability::Interval { ms })
                .ok_or_else(|| format!("sync, none, or interval=MS with MS from 1 to {MAX_INTERVAL_MS}"))
        }
    }
}

/// An hour; who can lose more can do with none.
const MAX_INTERVAL_MS: u32 = 3_600_000;

fn known_keys() -> String {
    let keys: Vec<_> = OPTIONS.iter().map(|option| option.key).collect();
    format!("the role's options are {}", keys.join(", "))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(key: &str, value: &str) -> Result<Setup, RoleError> {
        let options = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        Setup::parse(&options, Path::new("/server"), &Limits::default())
    }

    #[test]
    fn without_options_the_defaults_hold() {
        let setup = Setup::parse(&BTreeMap::new(), Path::new("/server"), &Limits::default()).unwrap();
        assert_eq!(setup.path, Path::new("/server/kvstore.db"));
        assert_eq!(setup.store.max_value_bytes, 64 << 20);
        // The default limit of messages has room for the default limit of values.
        assert!(setup.store.max_value_bytes <= setup.store.max_whole_bytes);
    }

    #[test]
    fn options_are_read() {
        assert_eq!(parse("path", "elsewhere").unwrap().path, Path::new("elsewhere"));
        for (text, bytes) in
            [("1", 1), ("7B", 7), ("2KiB", 2048), ("3MiB", 3 << 20), ("2GiB", 2 << 30), ("1024GiB", 1 << 40)]
        {
            assert_eq!(parse("max-value", text).unwrap().store.max_value_bytes, bytes);
        }
        assert_eq!(parse("max-size", "2GiB").unwrap().store.max_size_bytes, 2 << 30);
        assert_eq!(parse("level", "-5").unwrap().store.compression_level, -5);
        assert_eq!(parse("changes", "0").unwrap().store.max_changes, 0);
        assert_eq!(parse("changes", "123").unwrap().store.max_changes, 123);
        let durability = |text| parse("durability", text).unwrap().store.durability;
        assert_eq!(durability("sync"), Durability::Sync);
        assert_eq!(durability("interval=50"), Durability::Interval { ms: 50 });
        assert_eq!(durability("none"), Durability::None);
        assert_eq!(parse("level", "19").unwrap().store.compression_level, 19);
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        let bad = [
            ("path", ""),
            ("max-value", ""),
            ("max-value", "0"),
            ("max-value", "-1"),
            ("max-value", "1MB"),
            ("max-value", "1 MiB"),
            ("max-value", "KiB"),
            ("max-value", "1025GiB"),
            ("max-value", "99999999999999999999"),
            ("max-value", "18446744073709551615KiB"),
            ("max-size", "1KiB"),
            ("level", "fast"),
            ("level", "23"),
            ("level", "3.0"),
            ("durability", ""),
            ("durability", "interval"),
            ("durability", "interval=0"),
            ("durability", "interval=3600001"),
            ("durability", "fast"),
            ("changes", ""),
            ("changes", "-1"),
            ("changes", "all"),
            ("colour", "red"),
        ];
        for (key, value) in bad {
            match parse(key, value) {
                Err(RoleError::BadOption { key: of, value: what, expected }) => {
                    assert_eq!((of.as_str(), what.as_str()), (key, value));
                    assert!(!expected.is_empty());
                }
                other => panic!("{key}={value}: {other:?}"),
            }
        }
    }
}
