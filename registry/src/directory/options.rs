//! The bounds of a directory, and the check of an announcement against them.

use std::time::Duration;

use crate::{Announcement, Refusal};

/// The lease, unless told otherwise: a crashed server is gone after at most this long. In milliseconds.
pub const DEFAULT_LEASE_MS: u64 = 10_000;
/// How often a server is to be heard from within a lease: two heartbeats in a row may be lost.
pub const HEARTBEATS_PER_LEASE: u32 = 3;
/// Servers at one registry: each costs about a kilobyte of memory and three heartbeats in a lease.
pub const DEFAULT_MAX_SERVERS: usize = 10_000;
/// Addresses of one server: a few networks, each with and without TLS, and a UNIX socket.
pub const DEFAULT_MAX_ADDRESSES: usize = 8;
/// Roles of one server.
pub const DEFAULT_MAX_ROLES: usize = 32;
/// Changes that are kept for watchers: enough for every server to change once.
pub const DEFAULT_MAX_CHANGES: usize = 16_384;
/// Ids that are gone but whose incarnations are still known, so that an old one is refused.
pub const DEFAULT_MAX_REMEMBERED: usize = 10_000;
/// Longest text in [`Announcement::agent`], in bytes.
pub const MAX_AGENT_BYTES: usize = 100;

/// The bounds of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The lease that each heartbeat renews, in milliseconds. Less than 2 counts as 2.
    pub lease_ms: u64,
    /// Most servers.
    pub max_servers: usize,
    /// Most addresses of one server.
    pub max_addresses: usize,
    /// Most roles of one server.
    pub max_roles: usize,
    /// Most changes kept for watchers. Less than `max_servers + 2`, what one operation can make, counts as that.
    pub max_changes: usize,
    /// Most ids that are gone but whose incarnations are still known.
    pub max_remembered: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lease_ms: DEFAULT_LEASE_MS,
            max_servers: DEFAULT_MAX_SERVERS,
            max_addresses: DEFAULT_MAX_ADDRESSES,
            max_roles: DEFAULT_MAX_ROLES,
            max_changes: DEFAULT_MAX_CHANGES,
            max_remembered: DEFAULT_MAX_REMEMBERED,
        }
    }
}

impl Options {
    pub(crate) fn effective(mut self) -> Self {
        self.lease_ms = self.lease_ms.max(2);
        self.max_changes = self.max_changes.max(self.max_servers.saturating_add(2));
        self
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// How long a server may be silent before it is suspect: a heartbeat that did not come, and half a
    /// heartbeat's time for a slow network.
    pub(crate) fn patience(&self) -> Duration {
        self.lease() / 2
    }

    /// The announcement without repetitions, if it keeps the bounds.
    pub(crate) fn check(&self, mut announcement: Announcement) -> Result<Announcement, Refusal> {
        // The bounds come first: what removes repetitions takes quadratic time.
        let found = announcement.addresses.len();
        if found > self.max_addresses {
            return Err(Refusal::TooManyAddresses { found, limit: self.max_addresses });
        }
        let found = announcement.roles.len();
        if found > self.max_roles {
            return Err(Refusal::TooManyRoles { found, limit: self.max_roles });
        }
        let bytes = announcement.agent.as_ref().map_or(0, String::len);
        if bytes > MAX_AGENT_BYTES {
            return Err(Refusal::AgentTooLong { bytes, limit: MAX_AGENT_BYTES });
        }
        for address in &announcement.addresses {
            // A path can be put into an address without going through its parser.
            let text = address.to_string();
            if text.parse().as_ref() != Ok(address) {
                return Err(Refusal::BadAddress);
            }
        }
        drop_repeated(&mut announcement.addresses);
        drop_repeated(&mut announcement.roles);
        Ok(announcement)
    }
}

fn drop_repeated<T: PartialEq>(items: &mut Vec<T>) {
    let mut kept: Vec<T> = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    *items = kept;
}
