//! The published bounds (docs/GUARANTEES.md), and how a test holds what it has measured against one.

use std::time::Duration;

/// The lease of a registry that is not told otherwise: a server that is not heard from for so long is gone.
pub(crate) const LEASE: Duration = Duration::from_millis(registry::DEFAULT_LEASE_MS);

/// How often a server is heard from.
pub(crate) const HEARTBEAT: Duration =
    Duration::from_millis(registry::DEFAULT_LEASE_MS / registry::HEARTBEATS_PER_LEASE as u64);

/// A server whose process has ended is suspect.
pub(crate) const SUSPECT_AFTER_CRASH: Duration = Duration::from_secs(1);

/// A server that hangs, or cannot be reached, is suspect: half a lease after it was last heard from.
pub(crate) const SUSPECT_AFTER_SILENCE: Duration = Duration::from_millis(registry::DEFAULT_LEASE_MS / 2);

/// A server that is dead, hangs, or cannot be reached is gone.
pub(crate) const GONE: Duration = Duration::from_millis(registry::DEFAULT_LEASE_MS + 1000);

/// When a network is whole again, servers are back in the registry, and calls go through.
pub(crate) const HEALED: Duration = Duration::from_secs(10);

/// What a busy machine may add to a bound: the processes of a test share two processors with those of other tests, in
/// debug builds, and the one that measures must be given one too.
pub(crate) const MARGIN: Duration = Duration::from_secs(1);

/// Prints what was measured.
///
/// # Panics
/// When it is over the bound and the margin.
#[track_caller]
pub(crate) fn within(bound: Duration, what: &str, measured: Duration) {
    eprintln!("{what} after {measured:.3?}; the bound is {bound:?}");
    assert!(measured <= bound + MARGIN, "{what} after {measured:?}; the bound is {bound:?}");
}
