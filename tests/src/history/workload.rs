//! What the writers do.

use crate::random::Random;

/// How many write at once. Each has one write under way at a time.
pub const WRITERS: u32 = 4;

/// Keys that all write.
const SHARED_KEYS: u64 = 24;

/// Keys that end by themselves soon.
const BRIEF_KEYS: u64 = 6;

/// Keys that only one writer writes, always all of them together.
const OWN_KEYS: u32 = 5;

/// A time after which no test runs any more.
const LONG_TTL_MS: u64 = 24 * 3600 * 1000;

const BRIEF_PREFIX: &str = "brief-";

/// What writers do, all of which follows from a seed.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    seed: u64,
}

/// One write, or several together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// All are done or none.
    pub changes: Vec<Change>,
    /// The condition of a single change.
    pub wanted: Wanted,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Stores a value.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// How long it is there.
        ttl_ms: Option<u64>,
    },
    /// Removes a key.
    Remove {
        /// The key.
        key: String,
    },
}

/// On which condition a change is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// None.
    Always,
    /// There is no such key.
    Absent,
    /// The key has the revision that the writers know of it; without one, none.
    AsLast,
}

impl Change {
    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Remove { key } => key,
        }
    }
}

/// Whether an entry of this key may end by itself at any moment.
pub(super) fn may_end(key: &str) -> bool {
    key.starts_with(BRIEF_PREFIX)
}

impl Workload {
    /// The one of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// What a writer does next when it has done so much.
    pub fn step(&self, writer: u32, index: u32) -> Step {
        let mut random = Random::of_part(self.seed, (u64::from(writer) << 32) | u64::from(index));
        let shared = format!("shared-{}", random.below(SHARED_KEYS));
        let (change, wanted) = match random.below(100) {
            0..12 => return together(writer, &mut random),
            12..24 => (Change::Remove { key: shared }, Wanted::Always),
            24..28 => (Change::Remove { key: shared }, Wanted::AsLast),
            28..34 => {
                let key = format!("{BRIEF_PREFIX}{}", random.below(BRIEF_KEYS));
                let ttl_ms = Some(1 + random.below(40));
                (Change::Put { key, value: value(&mut random), ttl_ms }, Wanted::Always)
            }
            choice => {
                let wanted = match choice {
                    34..42 => Wanted::Absent,
                    42..50 => Wanted::AsLast,
                    _ => Wanted::Always,
                };
                let ttl_ms = random.percent(10).then_some(LONG_TTL_MS);
                (Change::Put { key: shared, value: value(&mut random), ttl_ms }, wanted)
            }
        };
        Step { changes: vec![change], wanted }
    }
}

fn together(writer: u32, random: &mut Random) -> Step {
    let change = |number| {
        let key = format!("own-{writer}-{number}");
        if random.percent(80) {
            Change::Put { key, value: value(random), ttl_ms: None }
        } else {
            Change::Remove { key }
        }
    };
    Step { changes: (0..OWN_KEYS).map(change).collect(), wanted: Wanted::Always }
}

/// Mostly short, sometimes of many pages; each is another, except for the shortest.
fn value(random: &mut Random) -> Vec<u8> {
    let below = match random.below(100) {
        0..10 => 1,
        10..20 => 16,
        20..65 => 1000,
        65..88 => 9000,
        88..97 => 40_000,
        _ => 200_000,
    };
    let length = random.below(below) as usize;
    if random.percent(30) {
        // It compresses.
        let word = random.bytes(16);
        word.into_iter().cycle().take(length).collect()
    } else {
        random.bytes(length)
    }
}
