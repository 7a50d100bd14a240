//! `ensemble list`: servers, and what they have.
//!
//! JSON: an array, whose objects have these names:
//! - of `servers`: `server`, `roles`, `addresses`, `state`, `incarnation`, `process_id`, `age_ms` (null of the registry),
//!   `unheard_ms`;
//! - of `actors`: `actor`, `messages`, `unanswered`, `is_alive`;
//! - of `roles`: `role`, `about`, `options` (their keys), `is_running`;
//! - of `connections`: `peer`, `incarnation`, `address`, `transport`, `is_outgoing`, `calls_out`, `calls_in`,
//!   `received_bytes`, `sent_bytes`.

use clap::Subcommand;
use ensemble::{ActorInfo, Address, ConnectionInfo, ListActors, ListConnections, NODE_ACTOR, ServerId};
use serde::Serialize;

use super::{
    servers::{self, Row},
    spawn,
};
use crate::{
    app::Context,
    console,
    exit::Outcome,
    human,
    options::ClientOptions,
    spawning::{ListRoles, ROLES_ACTOR, RoleInfo},
    table::{Cell, Tone},
};

/// Lists servers, or what a server has: actors, roles, connections
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  $ ensemble list servers
  $ ensemble list actors kvstore
  $ ensemble list connections kvstore")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists the servers that the registry knows, and the registry itself
    #[command(after_help = "\
AGE is the time since the server announced itself, HEARD the time since the registry last heard
from it. A server that is suspect was not heard from in time, or its connection has broken; when
its lease ends it is no longer listed. PID is the server's process, on its own machine.

Examples:
  $ ensemble list servers
  $ ensemble list servers --json")]
    Servers {
        #[command(flatten)]
        client: ClientOptions,
    },
    /// Lists the actors that a server exports
    #[command(after_help = "Example:\n  $ ensemble list actors kvstore")]
    Actors {
        /// The server
        server: ServerId,
        #[command(flatten)]
        client: ClientOptions,
    },
    /// Lists the roles that can be started in a server, and those that it has
    #[command(after_help = "\
Only servers that `ensemble run` and `ensemble up` have started can start roles.

Example:
  $ ensemble list roles kvstore")]
    Roles {
        /// The server
        server: ServerId,
        #[command(flatten)]
        client: ClientOptions,
    },
    /// Lists the connections of a server, that of this command among them
    #[command(after_help = "\
IN FLIGHT is what has not been answered yet: calls of the server (out) and calls of the peer (in).

Example:
  $ ensemble list connections kvstore")]
    Connections {
        /// The server
        server: ServerId,
        #[command(flatten)]
        client: ClientOptions,
    },
}

pub(crate) fn execute(args: Args, context: Context<'_>) -> Outcome {
    match args.what {
        What::Servers { client } => list_servers(context, &client),
        What::Actors { server, client } => list_actors(context, &client, &server),
        What::Roles { server, client } => list_roles(context, &client, &server),
        What::Connections { server, client } => list_connections(context, &client, &server),
    }
}

fn list_servers(context: Context<'_>, client: &ClientOptions) -> Outcome {
    console::run(context, client, async |console| {
        let all = console.registry.all().await.map_err(|why| console.registry_failure(&why))?;
        let mut rows = vec![Row::of_registry(&console).await?];
        rows.extend(all.iter().map(Row::from));
        servers::show(&rows, context.settings.printer())
    })
}

#[derive(Serialize)]
struct ActorRow {
    actor: String,
    messages: Vec<String>,
    unanswered: u64,
    is_alive: bool,
}

fn list_actors(context: Context<'_>, client: &ClientOptions, server: &ServerId) -> Outcome {
    console::run(context, client, async |console| {
        let actors = console.ask(server, NODE_ACTOR, ListActors).await?;
        let row = |info: ActorInfo| ActorRow {
            actor: info.name.to_string(),
            messages: info.messages,
            unanswered: info.unanswered,
            is_alive: info.is_alive,
        };
        let rows: Vec<ActorRow> = actors.into_iter().map(row).collect();
        let printer = context.settings.printer();
        printer.result(&rows, |rows| {
            let cells = |row: &ActorRow| {
                let state = match row.is_alive {
                    true => Cell::toned("alive", Tone::Good),
                    false => Cell::toned("dead", Tone::Bad),
                };
                let unanswered = row.unanswered.to_string();
                [row.actor.clone().into(), state, unanswered.into(), row.messages.join(" ").into()]
            };
            printer.columns(
                ["ACTOR", "STATE", "UNANSWERED", "MESSAGES"],
                &rows.iter().map(cells).collect::<Vec<_>>(),
            )
        })
    })
}

#[derive(Serialize)]
struct RoleRow {
    role: String,
    about: String,
    options: Vec<String>,
    is_running: bool,
}

fn list_roles(context: Context<'_>, client: &ClientOptions, server: &ServerId) -> Outcome {
    console::run(context, client, async |console| {
        let roles = console.ask(server, ROLES_ACTOR, ListRoles).await.map_err(spawn::starts_none(server))?;
        let row = |info: RoleInfo| RoleRow {
            role: info.name,
            about: info.about,
            options: info.options,
            is_running: info.is_running,
        };
        let rows: Vec<RoleRow> = roles.into_iter().map(row).collect();
        let printer = context.settings.printer();
        printer.result(&rows, |rows| {
            let cells = |row: &RoleRow| {
                let state = match row.is_running {
                    true => Cell::toned("running", Tone::Good),
                    false => Cell::from("-"),
                };
                let options = row.options.iter().map(|key| format!("{}.{key}", row.role)).collect::<Vec<_>>();
                let options = if options.is_empty() { "-".to_owned() } else { options.join(" ") };
                [row.role.clone().into(), state, row.about.clone().into(), options.into()]
            };
            printer
                .columns(["ROLE", "STATE", "ABOUT", "OPTIONS"], &rows.iter().map(cells).collect::<Vec<_>>())
        })
    })
}

#[derive(Serialize)]
struct ConnectionRow {
    peer: String,
    incarnation: String,
    address: String,
    transport: String,
    is_outgoing: bool,
    calls_out: u64,
    calls_in: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

fn list_connections(context: Context<'_>, client: &ClientOptions, server: &ServerId) -> Outcome {
    console::run(context, client, async |console| {
        let connections = console.ask(server, NODE_ACTOR, ListConnections).await?;
        let row = |info: ConnectionInfo| ConnectionRow {
            peer: info.peer.to_string(),
            incarnation: info.incarnation.to_string(),
            transport: transport(&info.address).to_owned(),
            address: info.address.to_string(),
            is_outgoing: info.is_outgoing,
            calls_out: info.calls_out,
            calls_in: info.calls_in,
            received_bytes: info.received_bytes,
            sent_bytes: info.sent_bytes,
        };
        let rows: Vec<ConnectionRow> = connections.into_iter().map(row).collect();
        let printer = context.settings.printer();
        printer.result(&rows, |rows| {
            let cells = |row: &ConnectionRow| {
                let direction = if row.is_outgoing { "to" } else { "from" };
                [
                    format!("{direction} {}", row.peer),
                    row.transport.clone(),
                    format!("{} out, {} in", row.calls_out, row.calls_in),
                    human::bytes(row.sent_bytes),
                    human::bytes(row.received_bytes),
                    row.address.clone(),
                ]
                .map(Cell::from)
            };
            let header = ["PEER", "TRANSPORT", "IN FLIGHT", "SENT", "RECEIVED", "ADDRESS"];
            printer.columns(header, &rows.iter().map(cells).collect::<Vec<_>>())
        })
    })
}

/// What carries a connection.
fn transport(address: &Address) -> &'static str {
    match address {
        Address::Unix(_) => "unix",
        Address::Tcp(_) => "tcp",
        Address::Tls(_) => "tls",
        Address::Memory(_) => "memory",
    }
}
