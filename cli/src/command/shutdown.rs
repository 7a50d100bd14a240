//! `ensemble shutdown`: ends the whole ensemble, a server, or an actor, and returns when they are gone.
//!
//! JSON: `{"shut_down": [NAME, ..], "withdrawn": [ID, ..], "remaining": [{"name": NAME, "why": TEXT, "process_id": NUMBER},
//! ..]}`; the process is null where it is not known. What was not there, or left by itself meanwhile, is in none of them.

use std::{
    cell::Cell,
    io::{self, BufRead, IsTerminal, Write},
    time::Duration,
};

use ensemble::{ActorName, Address, CallError, ListActors, NODE_ACTOR, Refusal, ServerId};
use registry::{ClientError, ServerInfo};
use serde::Serialize;

use super::stop::{Remains, Stopped, Stopper, Target};
use crate::{
    app::Context,
    console::{self, Console},
    exit::{Code, Failure, Outcome},
    options::ClientOptions,
    printer::Printer,
};

/// Longer than a server gives itself to answer what it has accepted, in each of its steps.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Shuts down the ensemble, a server of it, or an actor of a server
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a server, shuts down every server that the registry knows, and the registry last. The
registry takes the servers of its own process along, which are shut down first, as after `up`.
A server answers what it has accepted before it goes; the command returns when all are gone, and
names those that would not go, with their processes. One that is dead already is withdrawn from
the registry. --timeout is the time for each of them, by default 30 s.

Examples:
  $ ensemble shutdown -f
  $ ensemble shutdown kvstore
  $ ensemble shutdown kvstore kvstore                           only its actor kvstore
  $ ensemble shutdown kvstore --at unix:/run/e/kvstore.sock     without the registry")]
pub(crate) struct Args {
    /// Do not ask first
    #[arg(short, long)]
    force: bool,

    /// The server; without it, the whole ensemble
    server: Option<ServerId>,

    /// The actor; without it, the whole server
    actor: Option<ActorName>,

    /// Address of the server: the registry is not asked, and may have gone
    #[arg(long, value_name = "ADDR", requires = "server", conflicts_with_all = ["registry", "actor"])]
    at: Option<Address>,

    #[command(flatten)]
    client: ClientOptions,
}

pub(crate) fn execute(args: Args, context: Context<'_>) -> Outcome {
    if let (Some(server), Some(actor)) = (&args.server, &args.actor)
        && is_whole_server(server, actor)
    {
        let what = format_args!("the actor {actor} of {server} is a part of the server, and ends with it");
        let advice = format_args!("shut the server down with `{} shutdown {server}`", context.name);
        return Err(Failure::new(Code::Usage, what).advise(advice));
    }
    if !args.force {
        confirm(&args)?;
    }
    let timeout = context.settings.timeout_or(DEFAULT_TIMEOUT);
    let has_begun = Cell::new(false);
    let work = async |console: Console| {
        has_begun.set(true);
        let mut report = Report::new(context.settings.printer());
        let stopper = Stopper::new(&console, timeout);
        let done = match (&args.server, &args.actor) {
            (Some(server), Some(actor)) => stop_actor(&console, &mut report, server, actor).await,
            (Some(server), None) => match &args.at {
                Some(address) => stop_at(&stopper, &mut report, server, address).await,
                None => stop_server(&console, &stopper, &mut report, server).await,
            },
            (None, _) => stop_all(&console, &stopper, &mut report).await,
        };
        let shown = report.finish();
        done.and(shown)
    };
    match (&args.at, &args.server) {
        (Some(address), Some(server)) => {
            let tcp = args.client.insecure_tcp;
            console::run_without_registry(context.settings, server, address, tcp, timeout, work)
        }
        _ => console::run_with(context.settings, &args.client, timeout, work).map_err(|why| {
            let is_unreachable = matches!(why, Failure::Problem { code: Code::Unreachable, .. });
            let is_registry_gone = is_unreachable && !has_begun.get();
            if is_registry_gone { without_registry(why, args.server.as_ref(), context) } else { why }
        }),
    }
}

/// What to do where no registry says which servers there are.
fn without_registry(why: Failure, server: Option<&ServerId>, context: Context<'_>) -> Failure {
    let home = context.settings.home();
    let name = server.map_or("SERVER", ServerId::as_str);
    let socket = server.and_then(|server| home.socket(server).ok());
    let address = socket.map_or_else(|| "ADDRESS".to_owned(), |socket| socket.to_string());
    let begin = "start it with `ensemble registry`, say where it is with --registry";
    let end = format!("`{} shutdown {name} --at {address}`", context.name);
    why.advise(match server {
        Some(_) => format!("{begin}, or do without it: {end}"),
        None => {
            format!("{begin}, or end servers one by one: {end}; sockets are in {}", home.run_dir().display())
        }
    })
}

/// Whether a server without that actor would run on, and nobody could find or stop it.
fn is_whole_server(server: &ServerId, actor: &ActorName) -> bool {
    let is_registry = *server == console::registry_id() && actor.as_str() == registry::ACTOR;
    actor.as_str() == NODE_ACTOR || is_registry
}

fn confirm(args: &Args) -> Outcome {
    let what = match (&args.server, &args.actor) {
        (Some(server), Some(actor)) => format!("the actor {actor} of {server}"),
        (Some(server), None) if *server == console::registry_id() => {
            "the registry, and the servers in its process".to_owned()
        }
        (Some(server), None) => format!("the server {server}"),
        (None, _) => "all servers and the registry".to_owned(),
    };
    if !io::stdin().is_terminal() {
        let what =
            format_args!("nobody can be asked whether to shut down {what}: standard input is no terminal");
        return Err(Failure::new(Code::Usage, what).advise("use --force to be asked nothing"));
    }
    let ask = |mut to: io::Stderr| write!(to, "Shut down {what}? [y/N] ").and_then(|()| to.flush());
    let mut answer = String::new();
    let asked = ask(io::stderr()).and_then(|()| io::stdin().lock().read_line(&mut answer));
    if asked.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    if answer.is_empty() {
        // The question has no line of its own yet.
        crate::printer::complain(format_args!(""));
    }
    Err(Failure::new(Code::Failed, "nothing was shut down")
        .advise("answer y, or use --force to be asked nothing"))
}

async fn stop_actor(console: &Console, report: &mut Report, server: &ServerId, actor: &ActorName) -> Outcome {
    let name = format!("{server}/{actor}");
    let listed = console.remote(server, NODE_ACTOR).send(ListActors).await;
    let actors = listed.map_err(|why| {
        let failure = console.failure(&why, server, NODE_ACTOR);
        report.remains_unless_unknown(&name, failure)
    })?;
    if !actors.iter().any(|info| info.name == *actor) {
        return Err(console.failure(&Refusal::NoSuchActor.into(), server, actor.as_str()));
    }
    report.begin(&name)?;
    match console.remote(server, actor.as_str()).shutdown().await {
        // Somebody else was faster.
        Ok(()) | Err(CallError::Refused(Refusal::NoSuchActor)) => Ok(()),
        Err(why) => {
            let failure = console.failure(&why, server, actor.as_str());
            Err(report.remains_unless_unknown(&name, failure))
        }
    }
}

async fn stop_server(
    console: &Console,
    stopper: &Stopper<'_>,
    report: &mut Report,
    server: &ServerId,
) -> Outcome {
    if *server == console::registry_id() {
        // They would go with it, and could not leave it in good order when it has gone before.
        for info in stopper.servers_in_registry_process().await {
            stop_known(console, stopper, report, &info, Registry::Stays).await?;
        }
        let addresses = [console.registry_address().clone()];
        return stop_registry(stopper, report, &addresses).await;
    }
    let found = console.registry.lookup(server).await;
    let info = found.map_err(|why| {
        let failure = console.registry_failure(&why);
        report.remains_unless_unknown(server.as_str(), failure)
    })?;
    stop_known(console, stopper, report, &info, Registry::Stays).await
}

/// Whether the registry is to be shut down too. One that has gone before knows no dead servers.
#[derive(Clone, Copy)]
enum Registry {
    Stays,
    Goes,
}

async fn stop_known(
    console: &Console,
    stopper: &Stopper<'_>,
    report: &mut Report,
    info: &ServerInfo,
    registry: Registry,
) -> Outcome {
    // What is to be stopped is what was found, wherever the registry has gone meanwhile.
    console.node.set_route(info.id.clone(), info.addresses.clone());
    report.begin(info.id.as_str())?;
    let target = Target { server: &info.id, addresses: &info.addresses, process_id: info.pid };
    let stopped = match stopper.stop(&target).await {
        Ok(Stopped::Gone) => return Ok(()),
        Ok(Stopped::WasDead) => withdraw(console, report, info, registry).await.map_err(Remains::of),
        Err(remains) => Err(remains),
    };
    stopped.map_err(|remains| report.remains(info.id.as_str(), remains))
}

/// A server at an address, without the registry's help.
async fn stop_at(
    stopper: &Stopper<'_>,
    report: &mut Report,
    server: &ServerId,
    address: &Address,
) -> Outcome {
    report.begin(server.as_str())?;
    let addresses = [address.clone()];
    let target = Target { server, addresses: &addresses, process_id: None };
    let stopped = match stopper.stop(&target).await {
        Ok(Stopped::Gone) => return Ok(()),
        Ok(Stopped::WasDead) => {
            let what = format_args!("the server {server} is not running at {address}");
            Failure::new(Code::Unreachable, what).advise("see where it listens, in its log")
        }
        Err(remains) => return Err(report.remains(server.as_str(), remains)),
    };
    Err(report.remains(server.as_str(), Remains::of(stopped)))
}

async fn withdraw(console: &Console, report: &mut Report, info: &ServerInfo, registry: Registry) -> Outcome {
    // Only that incarnation: if it has been started anew meanwhile, the new one stays.
    match console.registry.withdraw(&info.id, Some(info.incarnation)).await {
        Ok(true) => report.withdrawn(info.id.as_str()),
        // It left by itself.
        Ok(false) => Ok(()),
        Err(ClientError::Unreachable(_)) if matches!(registry, Registry::Goes) => Ok(()),
        Err(why) => Err(console.registry_failure(&why)),
    }
}

async fn stop_registry(stopper: &Stopper<'_>, report: &mut Report, addresses: &[Address]) -> Outcome {
    report.begin(registry::SERVER)?;
    let target = Target { server: &console::registry_id(), addresses, process_id: None };
    let stopped = stopper.stop(&target).await;
    stopped.map(|_| ()).map_err(|remains| report.remains(registry::SERVER, remains))
}

/// Every server, one after the other, then the registry. One that will not go keeps none of the others.
async fn stop_all(console: &Console, stopper: &Stopper<'_>, report: &mut Report) -> Outcome {
    let servers = console.registry.all().await.map_err(|why| console.registry_failure(&why))?;
    let mut remaining = Vec::new();
    for info in servers.iter().filter(|info| info.id != console::registry_id()) {
        let stopped = match console.registry.lookup(&info.id).await {
            Ok(found) => stop_known(console, stopper, report, &found, Registry::Goes).await,
            // It left while the others were shut down.
            Err(ClientError::UnknownServer(_)) => Ok(()),
            // The registry has gone before: another shutdown is under way, say.
            Err(_) => stop_known(console, stopper, report, info, Registry::Goes).await,
        };
        match stopped {
            Ok(()) => {}
            Err(closed @ Failure::OutputClosed) => return Err(closed),
            Err(why) => remaining.push(format!("{} ({why})", info.id)),
        }
    }
    let addresses = [console.registry_address().clone()];
    match stop_registry(stopper, report, &addresses).await {
        Ok(()) => {}
        Err(closed @ Failure::OutputClosed) => return Err(closed),
        Err(why) => remaining.push(format!("{} ({why})", registry::SERVER)),
    }
    if remaining.is_empty() {
        return Ok(());
    }
    let what = format_args!("still there: {}", remaining.join(", "));
    Err(Failure::new(Code::Unreachable, what).advise("end their processes by hand"))
}

/// What has been done so far: shown line by line as it happens, or at the end as JSON.
struct Report {
    printer: Printer,
    done: Done,
}

#[derive(Default, Serialize)]
struct Done {
    shut_down: Vec<String>,
    withdrawn: Vec<String>,
    remaining: Vec<Remaining>,
}

#[derive(Serialize)]
struct Remaining {
    name: String,
    why: String,
    process_id: Option<u32>,
}

impl Report {
    fn new(printer: Printer) -> Self {
        Self { printer, done: Done::default() }
    }

    fn line(&self, line: &str) -> Outcome {
        if self.printer.is_json() { Ok(()) } else { self.printer.bytes(format!("... {line}\n").as_bytes()) }
    }

    fn begin(&mut self, name: &str) -> Outcome {
        self.done.shut_down.push(name.to_owned());
        self.line(&format!("shutting down {name}"))
    }

    fn withdrawn(&mut self, name: &str) -> Outcome {
        self.done.shut_down.retain(|other| other != name);
        self.done.withdrawn.push(name.to_owned());
        self.line(&format!("{name} was dead: withdrawn from the registry"))
    }

    /// Notes that it is still there, unless there is no such server or actor.
    fn remains_unless_unknown(&mut self, name: &str, why: Failure) -> Failure {
        match &why {
            Failure::Problem { code: Code::NotFound, .. } => {
                self.done.shut_down.retain(|other| other != name)
            }
            _ => return self.remains(name, Remains::of(why)),
        }
        why
    }

    /// Notes that it is still there; gives back why.
    fn remains(&mut self, name: &str, remains: Remains) -> Failure {
        let Remains { why, process_id, .. } = remains;
        self.done.shut_down.retain(|other| other != name);
        self.done.remaining.push(Remaining { name: name.to_owned(), why: why.to_string(), process_id });
        why
    }

    fn finish(self) -> Outcome {
        if self.printer.is_json() { self.printer.json(&self.done) } else { Ok(()) }
    }
}
