//! `ensemble lookup`: what the registry knows of a server, or of a role.
//!
//! JSON: an array of servers, as of `list servers`.

use ensemble::{RoleName, ServerId};

use super::servers::{self, Row};
use crate::{
    app::Context,
    console,
    exit::{Code, Failure, Outcome},
    options::ClientOptions,
};

/// Shows where a server is, or which servers have a role
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").args(["server", "role"]).required(true), after_help = "\
Examples:
  $ ensemble lookup kvstore
  $ ensemble lookup --role kvstore
  $ ensemble lookup --role kvstore --json")]
pub(crate) struct Args {
    /// The server
    server: Option<ServerId>,

    /// A role; shows all servers that have it
    #[arg(long, value_name = "ROLE")]
    role: Option<RoleName>,

    #[command(flatten)]
    client: ClientOptions,
}

pub(crate) fn execute(args: Args, context: Context<'_>) -> Outcome {
    console::run(context, &args.client, async |console| {
        let mut found = Vec::new();
        if let Some(server) = &args.server {
            found.push(if *server == console::registry_id() {
                Row::of_registry(&console).await?
            } else {
                let info = console.registry.lookup(server).await;
                Row::from(&info.map_err(|why| console.registry_failure(&why))?)
            });
        }
        if let Some(role) = &args.role {
            let all = console.registry.by_role(role).await.map_err(|why| console.registry_failure(&why))?;
            found = all.iter().map(Row::from).collect();
            if found.is_empty() {
                let what = format_args!("no server has the role {role}");
                return Err(Failure::new(Code::NotFound, what)
                    .advise(format_args!("start one with `ensemble run --roles {role}`")));
            }
        }
        servers::show(&found, context.settings.printer())
    })
}
