//! `ensemble run`: runs a server with roles.

use ensemble::{Address, ServerId};

use crate::{
    app::Context, console, exit::Outcome, logging, options::ServerOptions, roles::RoleOptions, server,
};

/// Runs a server with roles
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Runs until it is shut down, by `ensemble shutdown`, SIGTERM or Ctrl-C.

Examples:
  $ ensemble run --roles kvstore
  $ ensemble run --roles kvstore,echo store-1
  $ ensemble run --roles \"(kvstore)\" kvstore
  $ ensemble run --roles kvstore -r tcp:127.0.0.1:7700 -l tcp:127.0.0.1:0")]
pub(crate) struct Args {
    /// The server's id [default: the first role]
    server: Option<ServerId>,

    #[command(flatten)]
    roles: RoleOptions,

    /// Address of the registry [default: that of the home]
    #[arg(short, long, value_name = "ADDR", env = "ENSEMBLE_REGISTRY", hide_env_values = true)]
    registry: Option<Address>,

    #[command(flatten)]
    options: ServerOptions,
}

pub(crate) fn execute(args: Args, context: Context<'_>) -> Outcome {
    let roles = context.roles.choose(&args.roles)?;
    let id = server::id(args.server.as_ref(), &args.roles.roles)?;
    let home = context.globals.home()?;
    let registry = console::registry_address(&home, args.registry.as_ref())?;
    home.create()?;
    logging::start_server(&args.options.log, &home, &id)?;
    console::block_on(async {
        let terminated = server::terminated(context)?;
        let options = &args.options;
        let mut builder = server::builder(&id, &home, options, &options.listen, &options.announce)?;
        for role in &args.roles.roles.0 {
            builder = builder.role(role);
        }
        let node = builder.start().await?;
        let started = match server::start(&node, &home, roles, &registry, context.globals).await {
            Ok(()) => server::announce_ready(context, &node, ""),
            failed => failed,
        };
        if let Err(failure) = started {
            server::abandon(&node).await;
            return Err(failure);
        }
        node.run_until(terminated).await;
        Ok(())
    })
}
