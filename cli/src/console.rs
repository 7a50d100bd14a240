//! The short-lived node inside a command that asks servers. Its id is unique, so that commands that run at the same
//! time never get each other's replies.

use std::{future::Future, time::Duration};

use ensemble::{
    Address, CallError, Limits, ListConnections, NODE_ACTOR, Node, NodeBuilder, RemoteAddr, RemoteMessage,
    ServerId,
};
use registry::{Client, ClientError};

use crate::{
    app::Context,
    exit::{Failure, Outcome},
    logging,
    options::ClientOptions,
    progress,
    settings::Settings,
    translate::{self, Target},
};

/// A node, and the registry that it asks where servers are.
pub(crate) struct Console {
    pub(crate) node: Node,
    pub(crate) registry: Client,
    registry_address: Address,
    timeout: Duration,
}

/// Runs `work` with a console on this thread.
pub(crate) fn run(
    context: Context<'_>,
    options: &ClientOptions,
    work: impl AsyncFnOnce(Console) -> Outcome,
) -> Outcome {
    run_with(context.settings, options, context.settings.timeout(), work)
}

/// As [`run`], with another timeout for calls.
pub(crate) fn run_with(
    settings: &Settings,
    options: &ClientOptions,
    timeout: Duration,
    work: impl AsyncFnOnce(Console) -> Outcome,
) -> Outcome {
    logging::start_client();
    block_on(async {
        let console = Console::open(settings, options, timeout).await?;
        work(console).await
    })
}

/// As [`run_with`], but no registry is asked: of all servers, only `server` is known, at `address`.
pub(crate) fn run_without_registry(
    settings: &Settings,
    server: &ServerId,
    address: &Address,
    insecure_tcp: bool,
    timeout: Duration,
    work: impl AsyncFnOnce(Console) -> Outcome,
) -> Outcome {
    logging::start_client();
    block_on(async {
        let registry_address = settings.registry(None)?.value;
        let node = builder(settings, insecure_tcp, timeout)?.start().await?;
        node.set_route(server.clone(), vec![address.clone()]);
        let registry = Client::of(&node);
        work(Console { node, registry, registry_address, timeout }).await
    })
}

/// Begins to make a console's node.
fn builder(settings: &Settings, insecure_tcp: bool, timeout: Duration) -> Outcome<NodeBuilder> {
    Ok(registry::console()
        .home(settings.home().clone())
        .allow_plain_tcp(settings.insecure_tcp(insecure_tcp)?)
        .limits(limits(timeout)))
}

/// Runs a future with an actix system on this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    actix::System::new().block_on(work)
}

/// The server id of the registry.
pub(crate) fn registry_id() -> ServerId {
    ServerId::new(registry::SERVER).expect("the registry's id is a server id")
}

/// Limits under which no part of a call takes longer than `timeout`.
fn limits(timeout: Duration) -> Limits {
    let defaults = Limits::default();
    Limits {
        call_timeout: timeout,
        connect_timeout: defaults.connect_timeout.min(timeout),
        handshake_timeout: defaults.handshake_timeout.min(timeout),
        ..defaults
    }
}

impl Console {
    async fn open(settings: &Settings, options: &ClientOptions, timeout: Duration) -> Outcome<Self> {
        let registry_address = settings.registry(options.registry.as_ref())?.value;
        let builder = builder(settings, options.insecure_tcp, timeout)?;
        let connecting = registry::connect(builder, Some(registry_address.clone()));
        let (node, registry) = progress::waiting_for("the registry", connecting)
            .await
            .map_err(|why| translate::join(why, timeout))?;
        Ok(Self { node, registry, registry_address, timeout })
    }

    /// Where the registry is.
    pub(crate) fn registry_address(&self) -> &Address {
        &self.registry_address
    }

    /// A way to send to an actor.
    pub(crate) fn remote(&self, server: &ServerId, actor: &str) -> RemoteAddr {
        self.node.remote(server, actor)
    }

    /// Sends a message to an actor, and waits for the answer.
    pub(crate) async fn ask<M: RemoteMessage>(
        &self,
        server: &ServerId,
        actor: &str,
        message: M,
    ) -> Outcome<M::Result> {
        let asked = self.remote(server, actor).send(message);
        let answered = progress::waiting_for(&format!("{server} to answer"), asked).await;
        answered.map_err(|why| self.failure(&why, server, actor))
    }

    /// The bytes that have gone to a server, and those that have come from it.
    pub(crate) async fn traffic(&self, server: &str) -> (u64, u64) {
        let own = self.remote(self.node.server(), NODE_ACTOR);
        let connections = own.send(ListConnections).await.unwrap_or_default();
        let to_server = connections.iter().filter(|info| info.peer.as_str() == server);
        to_server
            .fold((0, 0), |(sent, received), info| (sent + info.sent_bytes, received + info.received_bytes))
    }

    /// The failure of a command because of that of a call.
    pub(crate) fn failure(&self, why: &CallError, server: &ServerId, actor: &str) -> Failure {
        translate::call(why, self.target(server.as_str(), actor))
    }

    /// The failure of a command because of that of a call to the registry's node.
    pub(crate) fn registry_call_failure(&self, why: &CallError) -> Failure {
        translate::registry_call(why, &self.registry_address, self.timeout)
    }

    /// What a call is for, to be named in its failure.
    pub(crate) fn target<'a>(&'a self, server: &'a str, actor: &'a str) -> Target<'a> {
        Target { server, actor, registry: &self.registry_address, timeout: self.timeout }
    }

    /// The failure of a command because of that of the registry.
    pub(crate) fn registry_failure(&self, why: &ClientError) -> Failure {
        translate::registry(why, &self.registry_address, self.timeout)
    }
}
