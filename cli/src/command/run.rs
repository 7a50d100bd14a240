//! `ensemble run`: runs a server with roles.

use ensemble::{Address, ServerId};

use crate::{
    app::Context, console, exit::Outcome, logging, options::ServerOptions, roles::RoleOptions, server,
    signals,
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

    /// Address of the registry [env: ENSEMBLE_REGISTRY] [default: that of the home]
    #[arg(short, long, value_name = "ADDR")]
    registry: Option<Address>,

    #[command(flatten)]
    options: ServerOptions,
}

pub(crate) fn execute(args: Args, context: Context<'_>) -> Outcome {
    let settings = context.settings;
    let roles = context.roles.choose(&args.roles, settings)?;
    let id = server::id(args.server.as_ref(), &args.roles.roles)?;
    let setup = settings.server(&id, &args.options, server::DEFAULT_LOG_LEVEL)?;
    let home = settings.home();
    let registry = settings.registry(args.registry.as_ref())?.value;
    home.create()?;
    let log = logging::start_server(&setup.log, home, &id)?;
    console::block_on(async {
        let terminated = signals::terminated(context, log)?;
        let mut builder = server::builder(&id, home, &setup)?;
        for role in &args.roles.roles.0 {
            builder = builder.role(role);
        }
        let node = builder.start().await?;
        let started = match server::start(&node, context, roles, &registry).await {
            Ok(()) => server::announce_ready(context, &node, &node, ""),
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
