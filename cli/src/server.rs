//! What the commands that run servers have in common: making the node, starting its roles, saying that it is ready,
//! and giving up in good order.

use std::{fmt, future};

use ensemble::{Address, Home, Node, NodeBuilder, ServerId};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    app::Context,
    console,
    exit::{Code, Failure, Outcome},
    options::{GlobalOptions, ServerOptions},
    printer::Printer,
    roles::{ChosenRole, RoleList},
    translate,
};

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

/// Begins the node `server`, which listens where `listen` says, or else at its socket in the home.
pub(crate) fn builder(
    server: &ServerId,
    home: &Home,
    options: &ServerOptions,
    listen: &[Address],
    announce: &[Address],
) -> Outcome<NodeBuilder> {
    let mut builder = Node::builder(server).home(home.clone()).allow_plain_tcp(options.insecure_tcp);
    if listen.is_empty() {
        let socket = home.socket(server)?;
        home.ensure_run_dir()?;
        builder = builder.listen(socket);
    }
    for address in listen {
        builder = builder.listen(address.clone());
    }
    for address in announce {
        builder = builder.announce(address.clone());
    }
    Ok(builder)
}

/// Makes a node a server of the ensemble: starts its roles, in their order, and then announces it, so that whoever
/// finds it finds its actors too.
pub(crate) async fn start(
    node: &Node,
    home: &Home,
    roles: Vec<ChosenRole<'_>>,
    registry: &Address,
    globals: &GlobalOptions,
) -> Outcome {
    let dir = home.ensure_server_dir(node.server())?;
    for ChosenRole { role, options } in roles {
        let context = ensemble::RoleContext::new(node.clone(), dir.clone(), options);
        role.start(context).await.map_err(|why| Failure::of_role(role.name(), &why))?;
        tracing::info!(server = %node.server(), role = role.name(), "the role has started");
    }
    let limit = globals.timeout();
    match tokio::time::timeout(limit, registry::enter(node, registry.clone())).await {
        Ok(entered) => entered.map(drop).map_err(|why| translate::join(why, limit)),
        Err(_) => Err(translate::no_answer(&format!("the registry at {registry}"), limit)),
    }
}

/// Ends a node that cannot become what it was to be, as at a shutdown: it leaves the registry and closes its stores.
pub(crate) async fn abandon(node: &Node) {
    node.run_until(future::ready(())).await;
}

/// Waits for SIGTERM or SIGINT.
pub(crate) fn terminated() -> Outcome<impl Future<Output = ()>> {
    let handler = |kind| {
        signal(kind).map_err(|cause| {
            Failure::new(Code::Failed, format_args!("the system gives no signal handlers: {cause}"))
        })
    };
    let (mut terminate, mut interrupt) =
        (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "asked to shut down");
    })
}

/// That a server is ready. Its JSON is one line too: `{"ready": ID, "addresses": [ADDRESS, ..]}`.
#[derive(Serialize)]
struct Ready<'a> {
    ready: &'a str,
    addresses: Vec<String>,
}

/// Says that a node is ready, and what else there is to say. A server goes on when nobody reads that.
pub(crate) fn announce_ready(context: Context<'_>, node: &Node, more: impl fmt::Display) -> Outcome {
    let printer: Printer = context.globals.printer();
    let addresses = node.addresses().iter().map(ToString::to_string).collect();
    let ready = Ready { ready: node.server().as_str(), addresses };
    let said = printer.result(&ready, |ready| {
        format!("... {} is ready at {}\n{more}", ready.ready, ready.addresses.join(" "))
    });
    match said {
        Err(Failure::OutputClosed) => Ok(()),
        other => other,
    }
}
