//! `ensemble spawn`: starts a role in a server that runs.
//!
//! JSON: `{"server": ID, "role": NAME, "announced": BOOL}`.

use std::{collections::BTreeMap, time::Duration};

use ensemble::{CallError, RoleName, ServerId};
use serde::Serialize;

use crate::{
    app::Context,
    console,
    exit::{Code, Failure, Outcome},
    options::ClientOptions,
    progress,
    roles::{RoleSetting, parse_setting},
    spawning::{ROLES_ACTOR, SpawnError, SpawnRole},
};

/// To open a store that was not closed, say, takes longer than a call.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts a role in a running server
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The server must have been started by `ensemble run` or `ensemble up`, with a program that has the
role. Options that are set for the role where the server runs hold, unless they are given here.
The role is gone when the server ends. --timeout is by default 30 s.

Examples:
  $ ensemble list roles store-1               which roles there are
  $ ensemble spawn store-1 echo
  $ ensemble spawn store-1 kvstore -o kvstore.max-value=1MiB")]
pub(crate) struct Args {
    /// The server
    server: ServerId,

    /// The role to start
    role: RoleName,

    /// Option of the role, as in kvstore.max-value=1MiB; repeatable
    #[arg(short, long = "option", value_name = "ROLE.KEY=VALUE", value_parser = parse_setting)]
    options: Vec<RoleSetting>,

    #[command(flatten)]
    client: ClientOptions,
}

#[derive(Serialize)]
struct Started<'a> {
    server: &'a ServerId,
    role: &'a RoleName,
    announced: bool,
}

pub(crate) fn execute(args: Args, context: Context<'_>) -> Outcome {
    let Args { server, role, .. } = &args;
    let options = options(role, &args.options)?;
    let timeout = context.settings.timeout_or(DEFAULT_TIMEOUT);
    console::run_with(context.settings, &args.client, timeout, async |console| {
        let asked = console.remote(server, ROLES_ACTOR).send(SpawnRole { role: role.clone(), options });
        let answered = progress::waiting_for(&format!("{server} to start {role}"), asked).await;
        let answer = answered
            .map_err(|why: CallError| starts_none(server)(console.failure(&why, server, ROLES_ACTOR)))?;
        let spawned = answer.map_err(|why| refused(why, server, role))?;
        let started = Started { server, role, announced: spawned.is_announced };
        context.settings.printer().result(&started, |started| match started.announced {
            true => format!("... {server} has the role {role}\n"),
            false => format!("... {server} has the role {role}; the registry will know when it answers\n"),
        })
    })
}

/// The options of the role, by their keys.
fn options(role: &RoleName, given: &[RoleSetting]) -> Outcome<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    for RoleSetting { role: of, key, value } in given {
        let wrong = |what: &str| Err(Failure::new(Code::Usage, format_args!("the option {of}.{key} {what}")));
        if of != role.as_str() {
            return wrong(&format!("is not for the role {role}"))
                .map_err(|failure: Failure| failure.advise(format_args!("give those of {role} only")));
        }
        if options.insert(key.clone(), value.clone()).is_some() {
            return wrong("is given twice").map_err(|failure: Failure| failure.advise("give it once"));
        }
    }
    Ok(options)
}

/// Puts it into words that a server has no actor that starts roles.
pub(super) fn starts_none(server: &ServerId) -> impl Fn(Failure) -> Failure {
    move |failure| match failure {
        Failure::Problem { code: Code::NotFound, what, .. } if what.ends_with(ROLES_ACTOR) => {
            Failure::new(Code::NotFound, format_args!("{server} is no server that can start roles"))
                .advise("only those that `ensemble run` or `ensemble up` has started can")
        }
        other => other,
    }
}

fn refused(why: SpawnError, server: &ServerId, role: &RoleName) -> Failure {
    match why {
        SpawnError::UnknownRole { known } => {
            Failure::new(Code::NotFound, format_args!("the program of {server} has no role {role}"))
                .advise(format_args!("it has: {}", known.join(", ")))
        }
        SpawnError::AlreadyRunning => {
            Failure::new(Code::Failed, format_args!("{server} has the role {role} already"))
                .advise("start it in another server")
        }
        SpawnError::UnknownOption { key, known } => {
            let known: Vec<String> = known.iter().map(|key| format!("{role}.{key}")).collect();
            let failure = Failure::new(Code::Usage, format_args!("the role {role} has no option {key:?}"));
            match known.as_slice() {
                [] => failure.advise("it has none"),
                known => failure.advise(format_args!("it has: {}", known.join(", "))),
            }
        }
        SpawnError::BadOption { key, value, expected } => {
            Failure::new(Code::Usage, format_args!("the option {role}.{key} cannot be {value:?}: {expected}"))
        }
        SpawnError::Failed { why } => Failure::new(Code::Failed, format_args!("{server}: {why}")),
        SpawnError::ShuttingDown => {
            Failure::new(Code::Unreachable, format_args!("{server} is shutting down"))
                .advise("choose another server")
        }
    }
}
