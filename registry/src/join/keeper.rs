//! Keeps the lease of a node: heartbeats, and announcing anew when the registry has lost it or the node has changed. One
//! future, on the thread of the node's connections; `pulse` steps in when that thread is held up.

use std::{sync::Arc, time::Duration};

use ensemble::{Address, Node, WeakNode};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::pulse::{Pulse, Signs};
use crate::{
    Announcement, Client, ClientError, HEARTBEATS_PER_LEASE, Heartbeat, Refusal,
    backoff::Backoff,
    messages::{Denied, Lease},
};

/// No heartbeats come closer than this, whatever lease the registry names.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);

/// See the module.
pub(super) struct Keeper {
    node: WeakNode,
    client: Client,
    /// Grows when the node's roles or addresses change.
    changes: watch::Receiver<u64>,
    /// What the registry has accepted.
    accepted: Announcement,
    /// What it has refused for its content, and what is not announced again before it changes.
    refused: Option<Announcement>,
    lease: Lease,
    signs: Arc<Signs>,
    _pulse: Option<Pulse>,
}

enum Kept {
    Yes,
    NotNow,
    Never,
}

impl Keeper {
    /// Keeps what was `accepted` of `node` for that lease. `changes` are counted from before it was announced.
    pub(super) fn new(
        node: &Node,
        client: Client,
        registry: Address,
        changes: watch::Receiver<u64>,
        accepted: Announcement,
        lease: Lease,
    ) -> Self {
        let signs = Arc::new(Signs::new(Duration::from_millis(lease.lease_ms)));
        let pulse = Pulse::start(node, registry, Arc::clone(&signs))
            .inspect_err(|cause| {
                tracing::warn!(%cause, "no thread for the lease: it depends on the node's own alone");
            })
            .ok();
        Self { node: node.downgrade(), client, changes, accepted, refused: None, lease, signs, _pulse: pulse }
    }

    /// Runs until the node ends, or its id is taken over; then the node is asked to shut down.
    pub(super) async fn run(self) {
        let signs = Arc::clone(&self.signs);
        tokio::select! {
            () = self.keep() => {}
            () = signs.tick() => {}
        }
    }

    async fn keep(mut self) {
        let mut backoff = Backoff::new();
        let mut is_away = false;
        loop {
            let period = self.period();
            // A short lease must not end during a wait.
            let mut pause = || sleep(backoff.next().min(period));
            if is_away {
                pause().await;
            } else {
                tokio::select! {
                    ended = timeout(period, self.client.remote().disconnected()) => match ended {
                        // The registry has gone, or only its connection. Its other servers notice in the same moment.
                        Ok(()) => pause().await,
                        Err(_) => backoff.reset(),
                    },
                    // The node has changed, or ended.
                    _ = self.changes.changed() => {}
                }
            }
            let Some(node) = self.node.upgrade() else { return };
            self.changes.mark_unchanged();
            let current = Announcement {
                addresses: node.addresses(),
                roles: node.roles().to_vec(),
                ..self.accepted.clone()
            };
            drop(node);
            is_away = match self.renew(current, period, is_away).await {
                Kept::Yes => {
                    if is_away {
                        tracing::info!("the registry is back");
                    }
                    false
                }
                Kept::NotNow => true,
                Kept::Never => {
                    if let Some(node) = self.node.upgrade() {
                        node.shutdown();
                    }
                    return;
                }
            };
        }
    }

    fn period(&self) -> Duration {
        (Duration::from_millis(self.lease.lease_ms) / HEARTBEATS_PER_LEASE).max(SHORTEST_PERIOD)
    }

    async fn renew(&mut self, current: Announcement, period: Duration, is_away: bool) -> Kept {
        let is_news = current != self.accepted && self.refused.as_ref() != Some(&current);
        let done = if is_news { self.announce(current).await } else { self.beat(period).await };
        match done {
            Ok(kept) => kept,
            Err(failure) => {
                if !is_away {
                    let why = std::error::Error::source(&failure).map(ToString::to_string);
                    tracing::warn!(cause = %failure, why, "the lease cannot be renewed; trying again until it can");
                }
                Kept::NotNow
            }
        }
    }

    async fn beat(&mut self, period: Duration) -> Result<Kept, ClientError> {
        let Announcement { id, incarnation, .. } = &self.accepted;
        match self.client.heartbeat(id, *incarnation, period).await? {
            Heartbeat::Renewed { lease_ms } => {
                self.lease.lease_ms = lease_ms;
                self.signs.renewed(Duration::from_millis(lease_ms));
                Ok(Kept::Yes)
            }
            Heartbeat::Superseded => {
                tracing::error!(server = %id, %incarnation, "another server has taken over the id; shutting down");
                Ok(Kept::Never)
            }
            Heartbeat::Unknown => self.announce(self.accepted.clone()).await,
        }
    }

    async fn announce(&mut self, announcement: Announcement) -> Result<Kept, ClientError> {
        let (id, incarnation) = (&announcement.id, announcement.incarnation);
        match self.client.announce(announcement.clone()).await {
            Ok(lease) => {
                tracing::info!(server = %id, roles = announcement.roles.len(), "announced again to the registry");
                self.lease = lease;
                self.signs.renewed(Duration::from_millis(lease.lease_ms));
                self.accepted = announcement;
                Ok(Kept::Yes)
            }
            Err(ClientError::Refused(Denied::Refused(
                refusal @ (Refusal::Held { .. } | Refusal::Superseded { .. }),
            ))) => {
                tracing::error!(server = %id, %incarnation, %refusal, "the id is lost; shutting down");
                Ok(Kept::Never)
            }
            // What it announced before goes on to hold: its lease must not end because of this.
            Err(ClientError::Refused(Denied::Refused(refusal))) if announcement != self.accepted => {
                tracing::error!(server = %id, %refusal, "the registry does not take what has changed about this server");
                self.refused = Some(announcement);
                Ok(Kept::Yes)
            }
            Err(cause) => Err(cause),
        }
    }
}
