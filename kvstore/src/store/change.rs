//! A change as it is kept in the table `changes`: what was done with a key at a revision. Keeping and reading changes
//! is in `changes`.

use bytes::Bytes;

use super::error::check_key;

/// The version of an entry that this code writes, and the newest that it reads.
pub(super) const CHANGE_VERSION: u8 = 1;

/// Version, kind, checksum, length of the value.
const HEADER_BYTES: usize = 1 + 1 + 4 + 8;
const CHECKSUM_AT: usize = 2;
const LENGTH_AT: usize = 6;

const PUT: u8 = 1;
const REMOVED: u8 = 2;
const EXPIRED: u8 = 3;

/// What was done with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The revision of the change.
    pub revision: u64,
    /// The key.
    pub key: Bytes,
    /// What was done.
    pub kind: ChangeKind,
}

/// What a change has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// A value was stored.
    Put {
        /// The length of the value.
        value_bytes: u64,
    },
    /// The key was removed.
    Removed,
    /// The key's time had ended, and it was collected.
    Expired,
}

/// An entry that is not what was written, or not of a version that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// The key of an entry: the order of the table is that of the revisions.
pub(super) fn entry_key(revision: u64) -> [u8; 8] {
    revision.to_be_bytes()
}

/// The revision that the key of an entry stands for.
pub(super) fn entry_revision(entry_key: &[u8]) -> Result<u64, Unreadable> {
    entry_key.try_into().map(u64::from_be_bytes).map_err(|_| Unreadable)
}

/// Writes the entry of a change into `out`, in place of what is there.
pub(super) fn encode(out: &mut Vec<u8>, revision: u64, key: &[u8], kind: ChangeKind) {
    let (kind, value_bytes) = match kind {
        ChangeKind::Put { value_bytes } => (PUT, value_bytes),
        ChangeKind::Removed => (REMOVED, 0),
        ChangeKind::Expired => (EXPIRED, 0),
    };
    out.clear();
    out.extend_from_slice(&[CHANGE_VERSION, kind]);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&value_bytes.to_le_bytes());
    out.extend_from_slice(key);
    let checksum = checksum(revision, out);
    out[CHECKSUM_AT..LENGTH_AT].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads the entry of a revision. The key is that of the entry itself.
pub(super) fn decode(revision: u64, entry: &[u8]) -> Result<(&[u8], ChangeKind), Unreadable> {
    let (header, key) = entry.split_first_chunk::<HEADER_BYTES>().ok_or(Unreadable)?;
    let [CHANGE_VERSION, kind, stored @ .., _, _, _, _, _, _, _, _] = header else { return Err(Unreadable) };
    if u32::from_le_bytes(*stored) != checksum(revision, entry) || check_key(key).is_err() {
        return Err(Unreadable);
    }
    let length = header[LENGTH_AT..].try_into().expect("eight bytes are left");
    let kind = match (kind, u64::from_le_bytes(length)) {
        (&PUT, value_bytes) => ChangeKind::Put { value_bytes },
        (&REMOVED, 0) => ChangeKind::Removed,
        (&EXPIRED, 0) => ChangeKind::Expired,
        _ => return Err(Unreadable),
    };
    Ok((key, kind))
}

/// Of the revision, and of the entry without its checksum.
fn checksum(revision: u64, entry: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&entry_key(revision));
    hasher.update(&entry[..CHECKSUM_AT]);
    hasher.update(&entry[LENGTH_AT..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(revision: u64, key: &[u8], kind: ChangeKind) -> Vec<u8> {
        let mut out = vec![9; 3];
        encode(&mut out, revision, key, kind);
        out
    }

    #[test]
    fn golden_bytes() {
        let golden: [(_, _, &[u8]); 3] = [
            (ChangeKind::Put { value_bytes: 0x0102 }, 1, &[0xdc, 0xc0, 0xc5, 0x37]),
            (ChangeKind::Removed, 2, &[0xd3, 0xc0, 0xf5, 0xf7]),
            (ChangeKind::Expired, 3, &[0xbc, 0x8c, 0x50, 0x6c]),
        ];
        for (kind, code, checksum) in golden {
            let entry = encoded(0x0102_0304_0506_0708, b"key", kind);
            assert_eq!(entry[..2], [1, code]);
            assert_eq!(entry[2..6], *checksum, "{kind:?} {:02x?}", &entry[2..6]);
            let length: &[u8] = if code == 1 { &[2, 1, 0, 0, 0, 0, 0, 0] } else { &[0; 8] };
            assert_eq!((&entry[6..14], &entry[14..]), (length, &b"key"[..]));
            assert_eq!(decode(0x0102_0304_0506_0708, &entry), Ok((&b"key"[..], kind)));
        }
        assert_eq!(entry_key(0x0102), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(entry_revision(&entry_key(77)), Ok(77));
        assert_eq!(entry_revision(&[0; 7]), Err(Unreadable));
    }

    #[test]
    fn every_damage_is_found() {
        let entry = encoded(7, b"a key", ChangeKind::Put { value_bytes: 3 });
        for bit in 0..entry.len() * 8 {
            let mut damaged = entry.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(7, &damaged), Err(Unreadable), "bit {bit}");
        }
        for cut in 0..entry.len() {
            assert_eq!(decode(7, &entry[..cut]), Err(Unreadable), "{cut}");
        }
        assert_eq!(decode(8, &entry), Err(Unreadable), "it is of another revision");
    }
}
