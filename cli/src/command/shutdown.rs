//! `ensemble shutdown`: ends the whole ensemble, a server, or an actor, and returns when they are gone.
//!
//! JSON: `{"shut_down": [NAME, ..], "withdrawn": [ID, ..], "remaining": [{"name": NAME, "why": TEXT}, ..]}`.

use std::{
    io::{self, BufRead, Write},
    time::Duration,
};

use ensemble::{ActorName, ServerId};
use registry::ServerInfo;
use serde::Serialize;

use super::stop::{Stopped, Stopper};
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
Without a server, shuts down every server that the registry knows, and the registry last.
A server answers what it has accepted before it goes; the command returns when all are gone.
One that is dead already is withdrawn from the registry.
--timeout is the time for each of them, by default 30 s.

Examples:
  $ ensemble shutdown -f
  $ ensemble shutdown kvstore
  $ ensemble shutdown kvstore kvstore")]
pub(crate) struct Args {
    /// Do not ask first
    #[arg(short, long)]
    force: bool,

    /// The server; without it, the whole ensemble
    server: Option<ServerId>,

    /// The actor; without it, the whole server
    actor: Option<ActorName>,

    #[command(flatten)]
    client: ClientOptions,
}

pub(crate) fn execute(args: Args, context: Context<'_>) -> Outcome {
    if !args.force {
        confirm(&args)?;
    }
    let timeout = context.globals.timeout_or(DEFAULT_TIMEOUT);
    console::run_with(context.globals, &args.client, timeout, async |console| {
        let mut report = Report::new(context.globals.printer());
        let stopper = Stopper::new(&console, timeout);
        let done = match (&args.server, &args.actor) {
            (Some(server), Some(actor)) => stop_actor(&console, &mut report, server, actor).await,
            (Some(server), None) => stop_server(&console, &stopper, &mut report, server).await,
            (None, _) => stop_all(&console, &stopper, &mut report).await,
        };
        let shown = report.finish();
        done.and(shown)
    })
}

fn confirm(args: &Args) -> Outcome {
    let what = match (&args.server, &args.actor) {
        (Some(server), Some(actor)) => format!("the actor {actor} of {server}"),
        (Some(server), None) => format!("the server {server}"),
        (None, _) => "all servers and the registry".to_owned(),
    };
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
    report.begin(&format!("{server}/{actor}"))?;
    let stopped = console.remote(server, actor.as_str()).shutdown().await;
    stopped.map_err(|why| console.failure(&why, server, actor.as_str()))
}

async fn stop_server(
    console: &Console,
    stopper: &Stopper<'_>,
    report: &mut Report,
    server: &ServerId,
) -> Outcome {
    if *server == console::registry_id() {
        return stop_registry(stopper, report).await;
    }
    let info = console.registry.lookup(server).await.map_err(|why| console.registry_failure(&why))?;
    report.begin(server.as_str())?;
    match stopper.stop(server).await {
        Ok(Stopped::Gone) => Ok(()),
        Ok(Stopped::WasDead) => withdraw(console, report, &info).await,
        Err(why) => {
            report.remains(server.as_str(), &why);
            Err(why)
        }
    }
}

async fn withdraw(console: &Console, report: &mut Report, info: &ServerInfo) -> Outcome {
    // Only that incarnation: if it has been started anew meanwhile, the new one stays.
    let withdrawn = console.registry.withdraw(&info.id, Some(info.incarnation)).await;
    withdrawn.map_err(|why| console.registry_failure(&why))?;
    report.withdrawn(info.id.as_str())
}

async fn stop_registry(stopper: &Stopper<'_>, report: &mut Report) -> Outcome {
    report.begin(registry::SERVER)?;
    let stopped = stopper.stop(&console::registry_id()).await;
    stopped.map(|_| ()).inspect_err(|why| report.remains(registry::SERVER, why))
}

/// Every server, one after the other, then the registry. One that will not go keeps none of the others.
async fn stop_all(console: &Console, stopper: &Stopper<'_>, report: &mut Report) -> Outcome {
    let servers = console.registry.all().await.map_err(|why| console.registry_failure(&why))?;
    let mut remaining = Vec::new();
    for info in servers.iter().filter(|info| info.id != console::registry_id()) {
        match stop_server(console, stopper, report, &info.id).await {
            Ok(()) => {}
            Err(closed @ Failure::OutputClosed) => return Err(closed),
            Err(why) => remaining.push(format!("{} ({why})", info.id)),
        }
    }
    match stop_registry(stopper, report).await {
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

    fn remains(&mut self, name: &str, why: &Failure) {
        self.done.shut_down.retain(|other| other != name);
        self.done.remaining.push(Remaining { name: name.to_owned(), why: why.to_string() });
    }

    fn finish(self) -> Outcome {
        if self.printer.is_json() { self.printer.json(&self.done) } else { Ok(()) }
    }
}
