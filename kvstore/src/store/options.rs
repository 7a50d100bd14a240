//! What can be configured about a store, with the bounds and the defaults.

use std::time::Duration;

use super::error::OpenError;
use super::upload::MAX_PART_BYTES;

/// The longest key, which is LMDB's own limit.
pub const MAX_KEY_BYTES: usize = 511;

/// The highest value that [`StoreOptions::max_value_bytes`] can have.
pub const MAX_VALUE_BYTES_CEILING: usize = 1 << 40;

/// The highest value that [`StoreOptions::max_whole_bytes`] can have.
///
/// A record must fit one write of the kernel, which ends just below 2 GiB, and its length 32 bits.
pub const MAX_WHOLE_BYTES_CEILING: usize = 1 << 30;

/// The lowest value that `StoreOptions::part_bytes` can have.
pub const MIN_PART_BYTES: usize = 1 << 10;

/// The lowest value that [`StoreOptions::max_size_bytes`] can have: room for the trees themselves.
pub const MIN_MAX_SIZE_BYTES: usize = 1 << 20;

/// What is kept back from puts at the maximum size, so that removes, which need pages too, go on.
const REMOVE_RESERVE_BYTES: usize = 16 << 20;

/// A small store keeps back one part in this many instead.
const REMOVE_RESERVE_PART: usize = 4;

/// Map sizes are multiples of this: the largest page size of the systems we run on.
const MAP_GRANULE_BYTES: usize = 64 << 10;

/// When a write is answered, and what a crash can take back.
///
/// A crash is one of the machine or of the process: a store that was not closed is opened in its state of the last sync.
/// That state is whole, and existed: writes are lost from the end on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// When it is on disk: every commit ends with a sync of the file. A crash takes back nothing.
    #[default]
    Sync,
    /// When it is committed; an [`Engine`](crate::engine::Engine) syncs the file so often, in milliseconds. A crash takes
    /// back what was answered since the last sync: at most that time and the time of a sync.
    Interval {
        /// At least 1.
        ms: u32,
    },
    /// When it is committed; the file is synced when it suits. A crash takes back the last ten seconds and more.
    None,
}

/// How often a store is synced that need not be: what is written in between is room that is not used again.
const IDLE_SYNC: Duration = Duration::from_secs(10);

impl Durability {
    /// How often the file is to be synced; none when every commit does.
    pub(crate) fn sync_every(self) -> Option<Duration> {
        match self {
            Self::Sync => None,
            Self::Interval { ms } => Some(Duration::from_millis(ms.max(1).into())),
            Self::None => Some(IDLE_SYNC),
        }
    }
}

/// The configuration of a [`Store`](super::Store).
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The longest value, in bytes; at most [`MAX_VALUE_BYTES_CEILING`]. Default: 64 MiB.
    pub max_value_bytes: usize,
    /// The longest value that is put or got as a whole, in bytes: one that is longer is written and read part by part. At
    /// most [`MAX_WHOLE_BYTES_CEILING`], which is the default.
    pub max_whole_bytes: usize,
    /// The length of the parts in which a value is written that is written part by part, in bytes: from [`MIN_PART_BYTES`] to
    /// [`MAX_PART_BYTES`]. What was written with another length stays readable. Default: 1 MiB.
    pub part_bytes: usize,
    /// The level of zstd: higher is smaller and slower, negative is faster and larger. Default: 3.
    pub compression_level: i32,
    /// The size of the memory map at the start. It costs address space, not memory and not disk; a store that
    /// outgrows it maps its file anew, for which it waits until no transaction is open. Default: 1 GiB.
    pub initial_map_bytes: usize,
    /// How large the file of the data may become; at least [`MIN_MAX_SIZE_BYTES`]. The last quarter of it, or
    /// 16 MiB where that is less, is kept for removes. Default: 64 GiB.
    pub max_size_bytes: usize,
    /// When a write is answered. Default: [`Durability::Sync`].
    pub durability: Durability,
    /// How many changes are kept for those who watch, at least where there were so many; 0 for none. Together they take
    /// at most a sixteenth of `max_size_bytes`, which may be fewer. Default: 100,000.
    pub max_changes: u64,
}

/// How long values may be, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValueLimits {
    /// One that is written part by part.
    pub(crate) value_bytes: usize,
    /// One that is put or got as a whole.
    pub(crate) whole_bytes: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            max_value_bytes: 64 << 20,
            max_whole_bytes: MAX_WHOLE_BYTES_CEILING,
            part_bytes: MAX_PART_BYTES,
            compression_level: 3,
            initial_map_bytes: 1 << 30,
            max_size_bytes: 64 << 30,
            durability: Durability::Sync,
            max_changes: 100_000,
        }
    }
}

impl StoreOptions {
    pub(super) fn check(&self) -> Result<(), OpenError> {
        let invalid = |option, bound| Err(OpenError::InvalidOption { option, bound });
        if self.max_value_bytes > MAX_VALUE_BYTES_CEILING {
            return invalid("max_value_bytes", "at most 1 TiB");
        }
        if self.max_whole_bytes > MAX_WHOLE_BYTES_CEILING {
            return invalid("max_whole_bytes", "at most 1 GiB");
        }
        if !(MIN_PART_BYTES..=MAX_PART_BYTES).contains(&self.part_bytes) {
            return invalid("part_bytes", "from 1 KiB to 1 MiB");
        }
        if self.max_size_bytes < MIN_MAX_SIZE_BYTES {
            return invalid("max_size_bytes", "at least 1 MiB");
        }
        if !zstd::compression_level_range().contains(&self.compression_level) {
            return invalid("compression_level", "one of zstd's levels");
        }
        Ok(())
    }

    /// How long values may be.
    pub(crate) fn value_limits(&self) -> ValueLimits {
        let value_bytes = self.max_value_bytes;
        ValueLimits { value_bytes, whole_bytes: value_bytes.min(self.max_whole_bytes) }
    }

    /// The length of parts, which was checked.
    pub(super) fn part_bytes(&self) -> u32 {
        u32::try_from(self.part_bytes).expect("a part has at most 1 MiB")
    }

    /// The size of the map at the start.
    pub(super) fn initial_map(&self) -> usize {
        round_up(self.initial_map_bytes.max(MAP_GRANULE_BYTES)).min(self.put_ceiling())
    }

    /// The largest map in which puts are tried.
    pub(super) fn put_ceiling(&self) -> usize {
        let reserve = REMOVE_RESERVE_BYTES.min(self.max_size_bytes / REMOVE_RESERVE_PART);
        round_down(self.max_size_bytes - reserve)
    }

    /// The largest map of all, in which only removes are tried.
    pub(super) fn map_ceiling(&self) -> usize {
        round_down(self.max_size_bytes)
    }

    /// The next size of a map in which `needed_bytes` more did not fit, up to `ceiling`.
    pub(super) fn grown_map(current: usize, needed_bytes: usize, ceiling: usize) -> usize {
        // Doubling keeps the number of growths small; what is needed counts twice for the trees around it.
        let grown = current.saturating_add(current.max(needed_bytes.saturating_mul(2)));
        if grown >= ceiling { ceiling } else { round_up(grown).min(ceiling) }
    }
}

fn round_up(bytes: usize) -> usize {
    bytes.checked_next_multiple_of(MAP_GRANULE_BYTES).unwrap_or(round_down(bytes))
}

fn round_down(bytes: usize) -> usize {
    bytes - bytes % MAP_GRANULE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_bounds_options_are_refused_by_name() {
        let refused = |options: StoreOptions| match options.check() {
            Err(OpenError::InvalidOption { option, .. }) => option,
            other => panic!("{other:?}"),
        };
        let default = StoreOptions::default;
        assert_eq!(refused(StoreOptions { max_value_bytes: (1 << 40) + 1, ..default() }), "max_value_bytes");
        assert_eq!(refused(StoreOptions { max_whole_bytes: (1 << 30) + 1, ..default() }), "max_whole_bytes");
        for part_bytes in [0, 1023, (1 << 20) + 1] {
            assert_eq!(refused(StoreOptions { part_bytes, ..default() }), "part_bytes");
        }
        assert_eq!(refused(StoreOptions { max_size_bytes: (1 << 20) - 1, ..default() }), "max_size_bytes");
        assert_eq!(refused(StoreOptions { compression_level: 23, ..default() }), "compression_level");
        default().check().unwrap();
    }

    #[test]
    fn a_map_grows_to_its_ceiling_and_stays_aligned() {
        let options = StoreOptions { max_size_bytes: 100 << 20, ..StoreOptions::default() };
        let mut size = StoreOptions { initial_map_bytes: 1, ..options.clone() }.initial_map();
        assert_eq!(size, MAP_GRANULE_BYTES);
        while size < options.put_ceiling() {
            let next = StoreOptions::grown_map(size, 1000, options.put_ceiling());
            assert!(next > size && next.is_multiple_of(MAP_GRANULE_BYTES), "{size} {next}");
            size = next;
        }
        assert_eq!(size, 84 << 20);
        assert_eq!(options.map_ceiling(), 100 << 20);
        assert_eq!(StoreOptions::grown_map(MAP_GRANULE_BYTES, 5 << 20, size), (10 << 20) + MAP_GRANULE_BYTES);
    }
}
