//! What the commands that run servers have in common: making the node, starting its roles, saying that it is ready,
//! and giving up in good order.

use std::{fmt, future, time::Duration};

use ensemble::{Address, CallError, Home, Node, NodeBuilder, ServerId};
use registry::JoinError;
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    app::Context,
    console,
    exit::{Code, Failure, Outcome},
    printer::Printer,
    roles::{ChosenRole, RoleList},
    settings::ServerSetup,
    spawning, systemd, translate,
};

/// How long a server that could not be announced waits for its withdrawal.
const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(1);

/// What a server logs unless it is told otherwise.
pub(crate) const DEFAULT_LOG_LEVEL: &str = "info";

/// The id that a server gets: the one that was asked for, or else its first role.
pub(crate) fn id(asked: Option<&ServerId>, roles: &RoleList) -> Outcome<ServerId> {
    let id = match asked {
        Some(id) => id.clone(),
        None => roles.default_server()?,
    };
    if id == console::registry_id() {
        let what = format_args!("the server id {id} is that of the registry itself");
        return Err(Failure::new(Code::Usage, what).advise("choose another"));
    }
    Ok(id)
}

/// Begins the node `server`, which listens where it was told, or else at its socket in the home.
pub(crate) fn builder(server: &ServerId, home: &Home, setup: &ServerSetup) -> Outcome<NodeBuilder> {
    let mut builder = Node::builder(server).home(home.clone()).allow_plain_tcp(setup.insecure_tcp);
    if setup.listen.is_empty() {
        let socket = home.socket(server)?;
        home.ensure_run_dir()?;
        builder = builder.listen(socket);
    }
    for address in &setup.listen {
        builder = builder.listen(address.clone());
    }
    for address in &setup.announce {
        builder = builder.announce(address.clone());
    }
    Ok(builder)
}

/// Makes a node a server of the ensemble: starts its roles, in their order, and then announces it, so that whoever
/// finds it finds its actors too.
pub(crate) async fn start(
    node: &Node,
    context: Context<'_>,
    roles: Vec<ChosenRole>,
    registry: &Address,
) -> Outcome {
    let settings = context.settings;
    let dir = settings.home().ensure_server_dir(node.server())?;
    for chosen in roles {
        let name = chosen.role.name();
        let role_context = ensemble::RoleContext::new(node.clone(), dir.clone(), chosen.values());
        chosen.role.start(role_context).await.map_err(|why| chosen.failure(&why))?;
        tracing::info!(server = %node.server(), role = name, "the role has started");
    }
    spawning::export(node, context.roles, settings)?;
    enter(node, registry, settings.timeout()).await
}

/// Announces a node. One that gives up may have been announced all the same: its message is on its way to a registry
/// that was only slow, which would then have a server that there never was. So it is withdrawn behind that message.
async fn enter(node: &Node, registry: &Address, limit: Duration) -> Outcome {
    let failure = match timeout(limit, registry::enter(node, registry.clone())).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(why)) if may_be_announced(&why) => translate::join(why, limit),
        Ok(Err(why)) => return Err(translate::join(why, limit)),
        Err(_) => translate::no_answer(&format!("the registry at {registry}"), limit),
    };
    let client = registry::Client::of(node);
    match timeout(WITHDRAW_TIMEOUT, client.withdraw(node.server(), Some(node.incarnation()))).await {
        Ok(Ok(_)) => {}
        Ok(Err(cause)) => tracing::debug!(%cause, "not withdrawn from the registry"),
        Err(_) => tracing::debug!("withdrawn from the registry, which has not answered"),
    }
    Err(failure)
}

/// Whether the registry may have got the announcement all the same.
fn may_be_announced(why: &JoinError) -> bool {
    let (JoinError::Unreachable { source, .. } | JoinError::Call { source, .. }) = why else { return false };
    matches!(source, CallError::Unknown(_))
}

/// Ends a node that cannot become what it was to be, as at a shutdown: it leaves the registry and closes its stores.
pub(crate) async fn abandon(node: &Node) {
    node.run_until(future::ready(())).await;
}

/// That a server is ready. Its JSON is one line too: `{"ready": ID, "addresses": [ADDRESS, ..]}`.
#[derive(Serialize)]
struct Ready<'a> {
    ready: &'a str,
    addresses: Vec<String>,
}

/// Says that a node is ready, and what else there is to say. A server goes on when nobody reads that. The service
/// manager is told too, and when `stops_with` begins to stop: the node whose end is that of the process.
pub(crate) fn announce_ready(
    context: Context<'_>,
    node: &Node,
    stops_with: &Node,
    more: impl fmt::Display,
) -> Outcome {
    let printer: Printer = context.settings.printer();
    let addresses = node.addresses().iter().map(ToString::to_string).collect();
    let ready = Ready { ready: node.server().as_str(), addresses };
    let said = printer.result(&ready, |ready| {
        format!("... {} is ready at {}\n{more}", ready.ready, ready.addresses.join(" "))
    });
    match said {
        Err(Failure::OutputClosed) => {}
        other => other?,
    }
    systemd::ready(node, stops_with);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::mpsc};

    use actix::{Actor, Handler, ResponseFuture};
    use ensemble::{Cookie, Exports};
    use registry::messages::{Announce, Denied, Lease, Withdraw};

    use super::*;

    /// A registry that hangs on announcements.
    struct SlowRegistry(mpsc::Sender<ServerId>);

    impl Actor for SlowRegistry {
        type Context = actix::Context<Self>;
    }

    impl Handler<Announce> for SlowRegistry {
        type Result = ResponseFuture<Result<Lease, Denied>>;

        fn handle(&mut self, _: Announce, _: &mut Self::Context) -> Self::Result {
            Box::pin(pending())
        }
    }

    impl Handler<Withdraw> for SlowRegistry {
        type Result = Result<bool, Denied>;

        fn handle(&mut self, withdraw: Withdraw, _: &mut Self::Context) -> Self::Result {
            assert!(withdraw.incarnation.is_some(), "another start of the server must stay");
            self.0.send(withdraw.id).unwrap();
            Ok(true)
        }
    }

    #[test]
    fn a_server_whose_announcement_is_given_up_is_withdrawn() {
        let dir = tempfile::Builder::new().prefix("ens-").tempdir_in("/tmp").unwrap();
        console::block_on(async {
            let home = Home::resolve(Some(dir.path())).unwrap();
            home.create().unwrap();
            home.ensure_run_dir().unwrap();
            Cookie::create(&home.cookie(), false).unwrap();
            let begin = |id: &ServerId| Node::builder(id).home(home.clone()).listen(home.socket(id).unwrap());
            let registry = begin(&console::registry_id()).start().await.unwrap();
            let (tell, told) = mpsc::channel();
            let exports = Exports::start(SlowRegistry(tell)).message::<Announce>().message::<Withdraw>();
            registry.export(registry::ACTOR, exports).unwrap();
            let id = ServerId::new("slow").unwrap();
            let node = begin(&id).start().await.unwrap();
            let given_up = enter(&node, &registry.addresses()[0], Duration::from_millis(500)).await;
            assert!(
                matches!(given_up, Err(Failure::Problem { code: Code::Unreachable, .. })),
                "{given_up:?}"
            );
            assert_eq!(told.try_iter().collect::<Vec<_>>(), [id]);
        });
    }
}
