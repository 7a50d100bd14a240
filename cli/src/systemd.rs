//! What a service manager is told, where one has asked for it with `$NOTIFY_SOCKET`: that a server is ready, and that it
//! stops.

use ensemble::Node;
use sd_notify::NotifyState;

/// The server can be used. That `node` stops is told when it begins to.
pub(crate) fn ready(node: &Node, stops_with: &Node) {
    let addresses: Vec<String> = node.addresses().iter().map(ToString::to_string).collect();
    let status = format!("{} is ready at {}", node.server(), addresses.join(" "));
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    stops_with.at_leave(async { tell(&[NotifyState::Stopping, NotifyState::Status("shutting down")]) });
}

fn tell(states: &[NotifyState<'_>]) {
    // A server is not worse for a manager that does not listen.
    if let Err(cause) = sd_notify::notify(states) {
        tracing::warn!(%cause, "the service manager cannot be told");
    }
}
