//! Asks over the network whether a server lives.

use std::time::Duration;

use ensemble::{Address, Incarnation, Node, NotSent, ServerId, handshake::RefuseReason};
use tokio::{task::JoinSet, time::timeout};

/// Time for a server to prove itself at any of its addresses.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether a node authenticates at one of these addresses with that id and that incarnation.
pub(super) async fn is_alive(
    node: Node,
    server: &ServerId,
    incarnation: Incarnation,
    addresses: &[Address],
) -> bool {
    // A node does not connect to itself.
    if server == node.server() {
        return incarnation == node.incarnation();
    }
    let mut answers = JoinSet::new();
    for address in addresses {
        answers.spawn(node.probe(server, address));
    }
    drop(node);
    let any_is_right = async {
        while let Some(answer) = answers.join_next().await {
            if answer.is_ok_and(|answer| is_right(&answer, incarnation)) {
                return true;
            }
        }
        false
    };
    timeout(PROBE_TIMEOUT, any_is_right).await.unwrap_or(false)
}

/// One that has no room for a connection cannot say who it is. It is given the benefit of the doubt: refusing the
/// new start of a dead server costs it the rest of a lease, displacing a live one costs its work.
fn is_right(answer: &Result<Incarnation, NotSent>, incarnation: Incarnation) -> bool {
    match answer {
        Ok(found) => *found == incarnation,
        Err(NotSent::Rejected(RefuseReason::Overloaded)) => true,
        Err(_) => false,
    }
}
