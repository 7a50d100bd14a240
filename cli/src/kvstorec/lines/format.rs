//! The form of an export, version 1, which docs/STORE-FORMAT.md describes: what its lines say.

use super::{
    bytes,
    members::{LineError, Members},
};

/// What the first line has as `format`.
pub(super) const FORMAT: &str = "kvstore-export";

/// The version of the form.
pub(super) const VERSION: u64 = 1;

/// What a line has at most beside the key and the value.
pub(in super::super) const MAX_OVERHEAD_BYTES: u64 = 4096;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Header {
    /// The revision of the store when the export began; unknown where somebody has written the line by hand.
    pub(in super::super) revision: Option<u64>,
    /// What all keys begin with.
    pub(in super::super) prefix: Vec<u8>,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Entry {
    pub(in super::super) key: Vec<u8>,
    pub(in super::super) value: Vec<u8>,
    /// That of the store which it was exported from.
    pub(in super::super) revision: Option<u64>,
    /// When it ends, in milliseconds since 1970-01-01 UTC.
    pub(in super::super) expires_at_ms: Option<u64>,
}

/// A key whose value the export does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct LeftOut {
    pub(in super::super) key: Vec<u8>,
    pub(in super::super) why: String,
}

/// How an export ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Ending {
    /// With a last line that fits what came before.
    Whole,
    /// Without a last line, or within a line.
    Cut,
    /// With a last line that does not fit: why.
    Altered(String),
}

/// What a line says.
pub(super) enum Line {
    Entry(Entry),
    LeftOut(LeftOut),
    End(End),
}

/// The last line.
pub(super) struct End {
    pub(super) entries: u64,
    pub(super) left_out: u64,
    /// Of all bytes before the line.
    pub(super) crc32: u32,
}

impl Header {
    /// Reads the first line; `None` where it is none.
    pub(super) fn parse(line: &[u8]) -> Result<Option<Self>, LineError> {
        let Ok(version) = version(line) else { return Ok(None) };
        if version != VERSION {
            return Err(LineError::new(format!(
                "the export has version {version} of the form; this program reads version {VERSION}"
            )));
        }
        let members = Members::parse(line, &["format", "version", "revision", "prefix", "prefix_base64"])?;
        let prefix = bytes::of(&members, "prefix")?.unwrap_or_default();
        Ok(Some(Self { revision: members.number("revision")?, prefix }))
    }
}

/// The version in a first line, whatever else a newer one may have.
fn version(line: &[u8]) -> Result<u64, ()> {
    let value: serde_json::Value = serde_json::from_slice(line).map_err(drop)?;
    if value["format"] != FORMAT {
        return Err(());
    }
    value["version"].as_u64().ok_or(())
}

const MEMBERS: [&str; 11] = [
    "key",
    "key_base64",
    "revision",
    "expires_at_ms",
    "value",
    "value_base64",
    "error",
    "end",
    "entries",
    "left_out",
    "crc32",
];

impl Line {
    pub(super) fn parse(line: &[u8]) -> Result<Self, LineError> {
        let members = Members::parse(line, &MEMBERS)?;
        if members.flag("end")? == Some(true) {
            return End::of(&members).map(Self::End);
        }
        for name in ["end", "entries", "left_out", "crc32"] {
            if members.has(name) {
                return Err(members.wrong(name, format!("{name} is only for the last line")));
            }
        }
        let key = bytes::of(&members, "key")?;
        let key = key.ok_or_else(|| LineError::new("there must be a key, as key or key_base64"))?;
        let value = bytes::of(&members, "value")?;
        match (value, members.text("error")?) {
            (Some(value), None) => Ok(Self::Entry(Entry {
                key,
                value,
                revision: members.number("revision")?,
                expires_at_ms: members.number("expires_at_ms")?,
            })),
            (None, Some(why)) => Ok(Self::LeftOut(LeftOut { key, why: why.into_owned() })),
            (Some(_), Some(_)) => Err(members.wrong("error", "value and error do not go together")),
            (None, None) => Err(LineError::new("there must be a value, as value or value_base64")),
        }
    }
}

impl End {
    fn of(members: &Members<'_>) -> Result<Self, LineError> {
        let number = |name: &str| {
            let missing = || LineError::new(format!("the last line must have {name}"));
            members.number(name)?.ok_or_else(missing)
        };
        let crc32 = members.text("crc32")?.filter(|text| text.len() == 8);
        let crc32 = crc32.and_then(|text| u32::from_str_radix(&text, 16).ok());
        let crc32 = crc32.ok_or_else(|| {
            members.wrong("crc32", "the last line must have crc32: eight hexadecimal digits")
        })?;
        Ok(Self { entries: number("entries")?, left_out: number("left_out")?, crc32 })
    }
}
