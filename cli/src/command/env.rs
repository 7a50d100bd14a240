//! `ensemble env`: where things are.
//!
//! JSON: an object with the same names as the lines. `registry` is null when it could not listen there.

use ensemble::ServerId;
use serde::Serialize;

use crate::{app::Context, exit::Outcome};

/// Shows the paths that the commands use
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  $ ensemble env
  $ ensemble --home /srv/ensemble env --json")]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Paths {
    home: String,
    cookie: String,
    servers: String,
    sockets: String,
    registry: Option<String>,
}

pub(crate) fn execute(_: Args, context: Context<'_>) -> Outcome {
    let home = context.globals.home()?;
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let registry = ServerId::new(registry::SERVER).ok().and_then(|id| home.socket(&id).ok());
    let paths = Paths {
        home: text(home.path()),
        cookie: text(&home.cookie()),
        servers: text(&home.path().join("server")),
        sockets: text(home.run_dir()),
        registry: registry.map(|address| address.to_string()),
    };
    context.globals.printer().result(&paths, |paths| {
        let registry = paths.registry.as_deref().unwrap_or("- (its path is too long for a socket)");
        let Paths { home, cookie, servers, sockets, .. } = paths;
        format!(
            "home      {home}\ncookie    {cookie}\nservers   {servers}\nsockets   {sockets}\n\
             registry  {registry}\n"
        )
    })
}
