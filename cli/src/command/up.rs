//! `ensemble up`: a registry and a server in one process, for a first try and for a small machine.

use std::{
    env,
    fmt::Write,
    path::{Path, PathBuf},
};

use ensemble::{Address, Cookie, CookieError, Home, Node, ServerId};
use tokio::sync::watch;

use crate::{
    app::Context,
    console,
    exit::{Failure, Outcome},
    logging,
    options::ServerOptions,
    roles::{ChosenRole, RoleOptions},
    server,
    settings::{Origin, ServerSetup, Settings, Sourced},
    signals, translate,
};

/// What it logs unless it is told otherwise: it is run by hand, and what it says should stay readable.
const DEFAULT_LOG_LEVEL: &str = "warn";

/// Runs a registry and a server with roles, in one process
#[derive(Debug, clap::Args)]
#[command(
    mut_arg("listen", |arg| arg.help("Address at which the server listens; repeatable [default: a socket in the home]")),
    mut_arg("level", |arg| arg.help("Least level to log: error, warn, info, debug or trace; also by module, as in info,kvstore=debug [env: ENSEMBLE_LOG] [default: warn]")),
    after_help = "\
Makes the home directory and the cookie if they are missing. Runs until it is shut down, by
`ensemble shutdown`, SIGTERM or Ctrl-C: first the server, then the registry.

Examples:
  $ ensemble up
  $ ensemble up --roles kvstore,echo store-1"
)]
pub(crate) struct Args {
    /// The server's id [default: the first role]
    server: Option<ServerId>,

    #[command(flatten)]
    roles: RoleOptions,

    /// Address at which the registry listens; repeatable [default: a socket in the home]
    #[arg(long, value_name = "ADDR")]
    listen_registry: Vec<Address>,

    #[command(flatten)]
    options: ServerOptions,
}

pub(crate) fn execute(args: Args, context: Context<'_>) -> Outcome {
    let settings = context.settings;
    let roles = context.roles.choose(&args.roles, settings)?;
    let id = server::id(args.server.as_ref(), &args.roles.roles)?;
    let home = settings.home();
    let setup = settings.server(&id, &args.options, DEFAULT_LOG_LEVEL)?;
    let registry_setup = settings.registry_of_up(&args.listen_registry, &setup)?;
    make_home(home)?;
    let log = logging::start_server(&setup.log, home, &id)?;
    console::block_on(async {
        let terminated = signals::terminated(context, log)?;
        let registry = start_registry(&registry_setup, home).await?;
        let server = match start_server(&args, context, &setup, &id, &registry, roles).await {
            Ok(server) => server,
            Err(failure) => {
                server::abandon(&registry).await;
                return Err(failure);
            }
        };
        let tcp = if setup.insecure_tcp { Tcp::Allowed } else { Tcp::OnThisMachine };
        let steps = next_steps(&args, context, tcp, &registry, &server);
        if let Err(failure) = server::announce_ready(context, &server, &registry, steps) {
            server::abandon(&server).await;
            server::abandon(&registry).await;
            return Err(failure);
        }
        run_both(server, registry, terminated).await;
        Ok(())
    })
}

fn make_home(home: &Home) -> Outcome {
    home.create()?;
    match Cookie::load(&home.cookie()) {
        Err(CookieError::NotFound { .. }) => match Cookie::create(&home.cookie(), false) {
            // Another `up` was faster; both have the same one then.
            Err(CookieError::AlreadyExists { .. }) => Ok(()),
            other => Ok(other.map(drop)?),
        },
        other => Ok(other.map(drop)?),
    }
}

async fn start_registry(setup: &ServerSetup, home: &Home) -> Outcome<Node> {
    let id = console::registry_id();
    let builder = server::builder(&id, home, setup)?;
    let node = builder.start().await.map_err(|why| Failure::of_registry(why, "--listen-registry"))?;
    let dir = home.ensure_server_dir(&id)?;
    match registry::serve(&node, &dir).await {
        Ok(()) => Ok(node),
        Err(why) => {
            server::abandon(&node).await;
            Err(translate::serve(&why))
        }
    }
}

async fn start_server(
    args: &Args,
    context: Context<'_>,
    setup: &ServerSetup,
    id: &ServerId,
    registry: &Node,
    roles: Vec<ChosenRole>,
) -> Outcome<Node> {
    let mut builder = server::builder(id, context.settings.home(), setup)?;
    for role in &args.roles.roles.0 {
        builder = builder.role(role);
    }
    let node = builder.start().await?;
    if let Err(failure) = server::start(&node, context, roles, &first_address(registry)).await {
        server::abandon(&node).await;
        return Err(failure);
    }
    Ok(node)
}

/// Runs until both have ended. The server goes when the process is told to or the registry has gone; the registry
/// goes when the process is told to, but not before the server, which has to leave it in good order.
async fn run_both(server: Node, registry: Node, terminated: impl Future<Output = ()>) {
    let (tell, told) = watch::channel(false);
    let until = |mut told: watch::Receiver<bool>| async move {
        // An error means that whoever could tell has gone.
        drop(told.wait_for(|told| *told).await);
    };
    let (server_gone, mut server_has_gone) = watch::channel(false);
    let (server_told, registry_told) = (until(told.clone()), until(told));
    let run_server = async {
        server.run_until(server_told).await;
        // With the last handle its connections end, which is how a shutdown knows.
        drop(server);
        server_gone.send_replace(true);
    };
    let run_registry = async {
        let told = async {
            registry_told.await;
            drop(server_has_gone.wait_for(|gone| *gone).await);
        };
        registry.run_until(told).await;
        tell.send_replace(true);
    };
    let listen = async {
        terminated.await;
        tell.send_replace(true);
    };
    tokio::select! {
        _ = async { tokio::join!(run_server, run_registry) } => {}
        () = async { listen.await; std::future::pending().await } => {}
    }
}

/// What to type next, so that it works in another terminal as it stands.
fn next_steps(args: &Args, context: Context<'_>, tcp: Tcp, registry: &Node, server: &Node) -> String {
    let home = context.settings.home();
    let mut text = String::from("\nIn another terminal:\n");
    let is_default = Home::resolve_with(None, |name| env::var_os(name).filter(|_| name != "ENSEMBLE_HOME"))
        .is_ok_and(|default| default.path() == home.path());
    let client = client_options(context.settings, tcp, registry, server);
    let mut line = |line: &str| writeln!(text, "  $ {line}").expect("a string can be written");
    if !is_default || *context.settings.home_origin() == Origin::Flag("--home") {
        line(&format!("export ENSEMBLE_HOME={}", quoted(home.path())));
    }
    if args.roles.roles.0.iter().any(|role| role.as_str() == "kvstore") {
        let store = match server.server().as_str() {
            kvstore::ACTOR => String::new(),
            id => format!(" --server {id}"),
        };
        let kvstorec = program_to_type("kvstorec");
        line(&format!("echo hello | {kvstorec} put{store}{client} greeting"));
        line(&format!("{kvstorec} get{store}{client} greeting"));
    }
    let ensemble = program_to_type(context.name);
    line(&format!("{ensemble} list servers{client}"));
    line(&format!("{ensemble} shutdown -f{client}"));
    text
}

/// Whether the servers here may be reached over plain TCP from other machines.
#[derive(Clone, Copy)]
enum Tcp {
    Allowed,
    OnThisMachine,
}

/// The options with which a command in another terminal finds the registry, and may talk to it and to the server.
fn client_options(settings: &Settings, tcp: Tcp, registry: &Node, server: &Node) -> String {
    let mut options = String::new();
    let address = first_address(registry);
    // What is set in the home is set there too; a variable may be or not.
    let is_known =
        |known: &Sourced<Address>| known.value == address && !matches!(known.origin, Origin::Variable(_));
    if !settings.registry(None).is_ok_and(|known| is_known(&known)) {
        let address = address.to_string();
        write!(options, " -r {}", quoted(Path::new(&address))).expect("a string can be written");
    }
    let is_remote = |node: &Node| node.addresses().iter().any(|address| !address.is_loopback());
    if matches!(tcp, Tcp::Allowed) && (is_remote(registry) || is_remote(server)) {
        options.push_str(" --insecure-tcp");
    }
    options
}

fn first_address(registry: &Node) -> Address {
    registry.addresses().into_iter().next().expect("the registry listens at one address at least")
}

/// The program `name` as it is to be typed: its name alone when the shell finds the one beside this program.
fn program_to_type(name: &str) -> String {
    let Some(dir) = env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned)) else {
        return name.to_owned();
    };
    let beside = dir.join(name);
    let search = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&search).map(|dir| dir.join(name)).find(|path| path.is_file());
    if !beside.is_file() {
        // Cargo builds only the program that it is to run.
        return match (found, env::var_os("CARGO")) {
            (None, Some(_)) => {
                let profile = if dir.ends_with("release") { " --release" } else { "" };
                format!("cargo run{profile} --bin {name} --")
            }
            _ => name.to_owned(),
        };
    }
    if found.is_some_and(|found| found.canonicalize().ok() == beside.canonicalize().ok()) {
        return name.to_owned();
    }
    quoted(&relative(beside))
}

/// A path as seen from the working directory, when it is below that.
fn relative(path: PathBuf) -> PathBuf {
    let here = env::current_dir().ok();
    match here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned)) {
        // A single word would be looked for elsewhere.
        Some(relative) if relative.components().count() > 1 => relative,
        _ => path,
    }
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c);
    if text.chars().all(is_plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_a_shell_would_take_them_apart() {
        assert_eq!(quoted(Path::new("/srv/e-1")), "/srv/e-1");
        assert_eq!(quoted(Path::new("/a b/c'd")), r"'/a b/c'\''d'");
    }
}
