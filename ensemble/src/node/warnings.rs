//! How many warnings a node's peers can cause. Only counting is here: the clock is an argument, and whoever counts
//! writes to the log.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Warnings in one [`WINDOW`]: enough to see what goes on, too few to fill a disk.
const MAX_WARNINGS: u32 = 10;

/// What the warnings are counted over.
pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// What is shown of a name that a peer has chosen, in bytes.
const SHOWN_BYTES: usize = 100;

/// Whether to write a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Say,
    LeaveOut,
    /// As `LeaveOut`, and after a [`WINDOW`] somebody is to say how many were left out.
    LeaveOutAndReport,
}

#[derive(Debug, Default)]
struct Count {
    began: Option<Instant>,
    said: u32,
    left_out: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Warnings(Mutex<Count>);

impl Warnings {
    pub(super) fn judge(&self, now: Instant) -> Verdict {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if count.began.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW) {
            count.began = Some(now);
            count.said = 0;
        }
        if count.said < MAX_WARNINGS {
            count.said += 1;
            return Verdict::Say;
        }
        count.left_out += 1;
        if count.left_out == 1 { Verdict::LeaveOutAndReport } else { Verdict::LeaveOut }
    }

    /// How many were left out since the last time.
    pub(super) fn take_left_out(&self) -> u64 {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).left_out)
    }
}

/// A name that a peer has chosen, safe for a log: short, and without control characters.
pub(super) fn shown(name: &[u8]) -> impl fmt::Display + '_ {
    name[..name.len().min(SHOWN_BYTES)].escape_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let warnings = Warnings::default();
        let start = Instant::now();
        let judge = |after_ms| warnings.judge(start + Duration::from_millis(after_ms));
        let verdicts: Vec<Verdict> = (0..1000).map(judge).collect();
        assert!(verdicts[..10].iter().all(|verdict| *verdict == Verdict::Say));
        assert_eq!(verdicts[10], Verdict::LeaveOutAndReport);
        assert!(verdicts[11..].iter().all(|verdict| *verdict == Verdict::LeaveOut));
        assert_eq!(warnings.take_left_out(), 990);
        assert_eq!(warnings.take_left_out(), 0);
        assert_eq!(judge(999), Verdict::LeaveOutAndReport);
        assert_eq!(judge(1000), Verdict::Say);
        // A clock that is behind changes nothing.
        assert_eq!(judge(500), Verdict::Say);
        assert_eq!(warnings.take_left_out(), 1);
    }

    #[test]
    fn few_warnings_are_all_said() {
        let warnings = Warnings::default();
        let start = Instant::now();
        for at in 0..100 {
            assert_eq!(warnings.judge(start + at * WINDOW / 10), Verdict::Say);
        }
        assert_eq!(warnings.take_left_out(), 0);
    }

    #[test]
    fn a_name_is_short_and_harmless() {
        assert_eq!(shown(b"test.record").to_string(), "test.record");
        assert_eq!(shown(b"a\nb\x1b[31m\xff").to_string(), "a\\nb\\x1b[31m\\xff");
        assert_eq!(shown(&[b'x'; 255]).to_string(), "x".repeat(100));
    }
}
