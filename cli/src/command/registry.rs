//! `ensemble registry`: runs the registry.

use crate::{
    app::Context,
    console,
    exit::{Failure, Outcome},
    logging,
    options::ServerOptions,
    server, signals, translate,
};

/// Runs the registry, which knows the servers of the ensemble
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Runs until it is shut down, by `ensemble shutdown`, SIGTERM or Ctrl-C.

Examples:
  $ ensemble registry
  $ ensemble registry -l tcp:127.0.0.1:7700
  $ ensemble registry --log warn --log-file -")]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerOptions,
}

pub(crate) fn execute(args: Args, context: Context<'_>) -> Outcome {
    let home = context.settings.home();
    let id = console::registry_id();
    let setup = context.settings.server(&id, &args.server, server::DEFAULT_LOG_LEVEL)?;
    home.create()?;
    let log = logging::start_server(&setup.log, home, &id)?;
    console::block_on(async {
        let terminated = signals::terminated(context, log)?;
        let builder = server::builder(&id, home, &setup)?;
        let node = builder.start().await.map_err(|why| Failure::of_registry(why, "--listen"))?;
        let dir = home.ensure_server_dir(&id)?;
        registry::serve(&node, &dir).await.map_err(|why| translate::serve(&why))?;
        server::announce_ready(context, &node, &node, "")?;
        node.run_until(terminated).await;
        Ok(())
    })
}
