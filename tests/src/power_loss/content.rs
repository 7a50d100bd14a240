//! One file's bytes: what programs see, what is surely kept, and the changes in between.

use crate::random::Random;

/// What a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

/// What a file system hands to the disk as a whole, as long as nothing is torn.
const BLOCK_BYTES: usize = 4096;

/// The bytes of a file.
#[derive(Debug, Default)]
pub(super) struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// What makes `now` of `durable`, in its order.
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

/// What becomes of the changes of one file when the power goes.
#[derive(Debug, Clone, Copy)]
enum Fate {
    AllLost,
    AllKept,
    /// Up to some moment.
    Prefix,
    /// Each piece for itself: so many of a hundred are kept.
    Scattered(u64),
}

impl Content {
    /// Bytes that are all durable.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { now: bytes.clone(), durable: bytes, pending: Vec::new() }
    }

    pub(super) fn now(&self) -> &[u8] {
        &self.now
    }

    /// At most `length` bytes from `at`.
    pub(super) fn read(&self, at: usize, length: usize) -> &[u8] {
        let from = &self.now[at.min(self.now.len())..];
        &from[..length.min(from.len())]
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        put(&mut self.now, at, bytes);
        self.pending.push(Change::Write { at, bytes: bytes.to_vec() });
    }

    pub(super) fn set_length(&mut self, length: usize) {
        self.now.resize(length, 0);
        self.pending.push(Change::Length(length));
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Write { at, bytes } => put(&mut self.durable, at, &bytes),
                Change::Length(length) => self.durable.resize(length, 0),
            }
        }
    }

    /// What is there after the power has gone.
    pub(super) fn after_cut(&self, random: &mut Random) -> Vec<u8> {
        let fate = match random.below(8) {
            0 => Fate::AllLost,
            1 => Fate::AllKept,
            2 => Fate::Prefix,
            _ => Fate::Scattered(1 + random.below(99)),
        };
        let piece_bytes = if random.percent(50) { SECTOR_BYTES } else { BLOCK_BYTES };
        let mut left = self.durable.clone();
        let prefix = random.below(self.pending.len() as u64 + 1) as usize;
        for (index, change) in self.pending.iter().enumerate() {
            let is_kept = |random: &mut Random| match fate {
                Fate::AllLost => false,
                Fate::AllKept => true,
                Fate::Prefix => index < prefix,
                Fate::Scattered(percent) => random.percent(percent),
            };
            match change {
                Change::Length(length) => {
                    if is_kept(random) {
                        left.resize(*length, 0);
                    }
                }
                Change::Write { at, bytes } => {
                    for (at, piece) in pieces(*at, bytes, piece_bytes) {
                        if is_kept(random) {
                            put(&mut left, at, piece);
                        }
                    }
                }
            }
        }
        self.reveal_blocks(&mut left, random);
        left
    }

    /// A file system may make a file longer before its new blocks are written: they are zeros, or what another file has
    /// left there.
    fn reveal_blocks(&self, left: &mut Vec<u8>, random: &mut Random) {
        if left.len() < self.now.len() && random.percent(30) {
            let missing = self.now.len() - left.len();
            let bytes = if random.percent(50) { vec![0; missing] } else { random.bytes(missing) };
            left.extend_from_slice(&bytes);
        }
    }
}

fn put(into: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if into.len() < end {
        into.resize(end, 0);
    }
    into[at..end].copy_from_slice(bytes);
}

/// Cuts a write where pieces of the disk begin.
fn pieces(at: usize, bytes: &[u8], piece_bytes: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let start = done;
        let from = at + start;
        let length = (piece_bytes - from % piece_bytes).min(bytes.len() - start);
        done += length;
        (length > 0).then(|| (from, &bytes[start..done]))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn writes_are_cut_where_pieces_begin() {
        let bytes = [7; 1200];
        let cut: Vec<(usize, usize)> =
            pieces(1000, &bytes, 512).map(|(at, piece)| (at, piece.len())).collect();
        assert_eq!(cut, [(1000, 24), (1024, 512), (1536, 512), (2048, 152)]);
        assert_eq!(pieces(5, &[], 512).count(), 0);
    }

    #[test]
    fn what_is_synced_is_kept_whatever_happens() {
        let mut random = Random::new(1);
        for _ in 0..500 {
            let mut content = Content::default();
            for _ in 0..random.below(6) {
                let at = random.below(9000) as usize;
                if random.percent(20) {
                    content.set_length(at);
                } else {
                    let length = random.below(9000) as usize;
                    content.write(at, &random.bytes(length));
                }
            }
            content.sync();
            assert_eq!(content.after_cut(&mut random), content.now());
        }
    }

    /// What a sector was written with; a question mark where it was with no one letter.
    fn letter(sector: &[u8]) -> char {
        if sector.iter().all(|byte| byte == &sector[0]) { sector[0].into() } else { '?' }
    }

    /// The states of three sectors, as the letters of the write that each has, that cuts leave.
    fn left(mut change: impl FnMut(&mut Content)) -> HashSet<String> {
        let mut content = Content::of(vec![b'a'; 3 * SECTOR_BYTES]);
        change(&mut content);
        let mut random = Random::new(2);
        (0..2000)
            .map(|_| {
                let left = content.after_cut(&mut random);
                left.chunks(SECTOR_BYTES).map(letter).collect()
            })
            .collect()
    }

    #[test]
    fn what_is_not_synced_is_lost_torn_and_reordered() {
        let found = left(|content| {
            content.write(0, &[b'b'; 3 * SECTOR_BYTES]);
            content.write(SECTOR_BYTES, &[b'c'; 2 * SECTOR_BYTES]);
        });
        for possible in ["aaa", "bbb", "bcc", "aac", "aca", "abc", "baa", "acb"] {
            assert!(found.contains(possible), "{possible} in {found:?}");
        }
        // A sector is never torn, and the first was never written with c.
        assert!(found.iter().all(|state| !state.starts_with('c') && !state.contains('?')), "{found:?}");
    }

    #[test]
    fn a_length_can_be_lost_or_come_without_its_bytes() {
        let found = left(|content| {
            content.set_length(SECTOR_BYTES);
            content.write(2 * SECTOR_BYTES, &[b'b'; SECTOR_BYTES]);
        });
        for possible in ["aaa", "a", "aab", "a\0b", "a\0\0", "a??"] {
            assert!(found.contains(possible), "{possible:?} in {found:?}");
        }
    }
}
