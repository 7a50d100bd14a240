//! Keeps the lease of a node: heartbeats, and announcing anew when the registry has lost it. One future, which is
//! `Send` and needs no actix: it runs where it is spawned.

use std::time::Duration;

use ensemble::WeakNode;
use tokio::time::{sleep, timeout};

use crate::{
    Announcement, Client, ClientError, HEARTBEATS_PER_LEASE, Heartbeat, Refusal,
    backoff::Backoff,
    messages::{Denied, Lease},
};

/// No heartbeats come closer than this, whatever lease the registry names.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);

/// See the module.
pub(super) struct Keeper {
    pub(super) node: WeakNode,
    pub(super) client: Client,
    pub(super) announcement: Announcement,
    pub(super) lease: Lease,
}

enum Kept {
    Yes,
    NotNow,
    Never,
}

impl Keeper {
    /// Runs until the node ends, or its id is taken over; then the node is asked to shut down.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new();
        let mut is_away = false;
        loop {
            let period = self.period();
            // A short lease must not end during a wait.
            let mut pause = || sleep(backoff.next().min(period));
            if is_away {
                pause().await;
            } else if timeout(period, self.client.remote().disconnected()).await.is_err() {
                backoff.reset();
            } else {
                // The registry has gone, or only its connection. Its other servers notice in the same moment.
                pause().await;
            }
            if self.node.upgrade().is_none() {
                return;
            }
            is_away = match self.beat(period, is_away).await {
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

    async fn beat(&mut self, period: Duration, is_away: bool) -> Kept {
        let Announcement { id, incarnation, .. } = &self.announcement;
        let failure = match self.client.heartbeat(id, *incarnation, period).await {
            Ok(Heartbeat::Renewed { lease_ms }) => {
                self.lease.lease_ms = lease_ms;
                return Kept::Yes;
            }
            Ok(Heartbeat::Superseded) => {
                tracing::error!(server = %id, %incarnation, "another server has taken over the id; shutting down");
                return Kept::Never;
            }
            Ok(Heartbeat::Unknown) => match self.client.announce(self.announcement.clone()).await {
                Ok(lease) => {
                    tracing::info!(server = %id, "announced again to the registry");
                    self.lease = lease;
                    return Kept::Yes;
                }
                Err(ClientError::Refused(Denied::Refused(
                    refusal @ (Refusal::Held { .. } | Refusal::Superseded { .. }),
                ))) => {
                    tracing::error!(server = %id, %incarnation, %refusal, "the id is lost; shutting down");
                    return Kept::Never;
                }
                Err(cause) => cause,
            },
            Err(cause) => cause,
        };
        if !is_away {
            let why = std::error::Error::source(&failure).map(ToString::to_string);
            tracing::warn!(cause = %failure, why, "the lease cannot be renewed; trying again until it can");
        }
        Kept::NotNow
    }
}
