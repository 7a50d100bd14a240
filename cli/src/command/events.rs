//! `ensemble events`: what changes at the registry, as it happens.
//!
//! JSON: an object a line, each with `time` (as RFC 3339 has it, in UTC: when the command heard of it). `{"event": "snapshot", "revision": NUMBER, "history": UUID, "servers": [..]}`, the servers as of
//! `list servers`; `{"event": "fell_behind"}`, `{"event": "away"}`, `{"event": "back"}`; and of each change `event` (`announced`, `updated`, `suspected`,
//! `recovered`, `gone`), `revision`, `history`, `server`, `incarnation`, and, where they belong to it, `roles`,
//! `addresses`, `process_id`, `replaced` (an incarnation or null), `reason` (`disconnected`, `unheard`; `expired`,
//! `withdrawn`).

use std::{str::FromStr, time::SystemTime};

use ensemble::{Address, Incarnation, RoleName};
use registry::{Announcement, Change, Event, GoneReason, Revision, SuspectReason, WatchEvent, Watcher};
use serde::Serialize;

use super::servers::{Row, short};
use crate::{
    app::Context,
    console::{self, Console},
    exit::{Code, Failure, Outcome},
    following::until_stopped,
    human,
    options::ClientOptions,
    printer::Printer,
};

/// Shows what changes at the registry, as it happens
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each change is a line, with the time at which the command heard of it, in UTC, and its revision: a server announced itself or something new
about itself, is suspect, has recovered, or is gone. The first line says from where on. It goes on
until Ctrl-C, also while the registry is away or restarts; when it was too slow for the changes
that the registry keeps, it says so and goes on with a new first line.

Examples:
  $ ensemble events
  $ ensemble events --json
  $ ensemble events --from 0               with all earlier changes that the registry still has")]
pub(crate) struct Args {
    /// Begin behind this revision, a number, instead of with what there is now
    #[arg(long, value_name = "REVISION")]
    from: Option<From>,

    #[command(flatten)]
    client: ClientOptions,
}

/// A revision as it is typed: a number, or `NUMBER@HISTORY` where it has to be of that run of the registry.
#[derive(Debug, Clone, Copy)]
struct From {
    number: u64,
    history: Option<Incarnation>,
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, history) = match text.split_once('@') {
            None => (text, None),
            Some((number, history)) => {
                let history = incarnation(history).ok_or("behind @ there must be the id of a history")?;
                (number, Some(history))
            }
        };
        let number = number.parse().map_err(|_| "it must be a number, as in 42".to_owned())?;
        Ok(Self { number, history })
    }
}

/// An incarnation from its text form, that of a UUID.
fn incarnation(text: &str) -> Option<Incarnation> {
    let digits = text.replace('-', "");
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)?;
    Some(Incarnation::from_bytes(number.to_be_bytes()))
}

#[derive(Serialize)]
struct Snapshot<'a> {
    time: &'a str,
    event: &'static str,
    revision: u64,
    history: Incarnation,
    servers: &'a [Row],
}

/// What has nothing to say but its name.
#[derive(Serialize)]
struct Plain<'a> {
    time: &'a str,
    event: &'static str,
}

#[derive(Serialize)]
struct Changed<'a> {
    time: &'a str,
    event: &'static str,
    revision: u64,
    history: Incarnation,
    server: &'a str,
    incarnation: Incarnation,
    #[serde(flatten)]
    announced: Option<Announced<'a>>,
    #[serde(flatten)]
    replaced: Option<Replaced>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Announced<'a> {
    roles: &'a [RoleName],
    addresses: &'a [Address],
    process_id: Option<u32>,
}

#[derive(Serialize)]
struct Replaced {
    replaced: Option<Incarnation>,
}

pub(crate) fn execute(args: Args, context: Context<'_>) -> Outcome {
    let printer = context.settings.printer();
    console::run(context, &args.client, async |console| {
        let mut watcher = watcher(&console, args.from).await?;
        let follow = async {
            loop {
                let event = watcher.next().await.map_err(|why| console.registry_failure(&why))?;
                show(&event, SystemTime::now(), printer)?;
            }
        };
        until_stopped(follow).await
    })
}

async fn watcher(console: &Console, from: Option<From>) -> Outcome<Watcher> {
    let Some(From { number, history }) = from else { return Ok(console.registry.watch()) };
    let (_, now) = console.registry.snapshot().await.map_err(|why| console.registry_failure(&why))?;
    let revision = Revision { history: history.unwrap_or(now.history), number };
    if revision.history == now.history && number > now.number {
        let what = format_args!("the registry is at revision {}, and {number} is yet to come", now.number);
        return Err(Failure::new(Code::Usage, what).advise("choose an earlier one"));
    }
    Ok(console.registry.watch_from(revision))
}

fn show(event: &WatchEvent, at: SystemTime, printer: Printer) -> Outcome {
    let time = &human::time(at);
    let plain = |event, human: &str| printer.result(&Plain { time, event }, |_| format!("{time} {human}"));
    match event {
        WatchEvent::Snapshot(servers, revision) => {
            let rows: Vec<Row> = servers.iter().map(Row::from).collect();
            let Revision { history, number } = *revision;
            let snapshot = Snapshot { time, event: "snapshot", revision: number, history, servers: &rows };
            printer.result(&snapshot, |_| {
                let names: Vec<&str> = servers.iter().map(|info| info.id.as_str()).collect();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(" ") };
                format!("{time} revision {number}, servers: {names}\n")
            })
        }
        WatchEvent::FellBehind => plain("fell_behind", "... fell behind: some changes are not shown\n"),
        WatchEvent::Away => {
            plain("away", "... the registry is away: what comes next is shown when it is back\n")
        }
        WatchEvent::Back => plain("back", "... the registry is back\n"),
        WatchEvent::Change(change) => printer.result(&changed(time, change), |_| {
            format!("{time} {} {} {}\n", change.revision.number, change.id, text(change))
        }),
        // What a newer library tells is not for this command.
        _ => Ok(()),
    }
}

fn changed<'a>(time: &'a str, change: &'a Change) -> Changed<'a> {
    fn announced(server: &Announcement) -> Option<Announced<'_>> {
        let Announcement { roles, addresses, pid, .. } = server;
        Some(Announced { roles, addresses, process_id: *pid })
    }
    let mut changed = Changed {
        time,
        event: "",
        revision: change.revision.number,
        history: change.revision.history,
        server: change.id.as_str(),
        incarnation: change.incarnation,
        announced: None,
        replaced: None,
        reason: None,
    };
    changed.event = match &change.event {
        Event::Announced { server, replaced } => {
            changed.announced = announced(server);
            changed.replaced = Some(Replaced { replaced: *replaced });
            "announced"
        }
        Event::Updated { server } => {
            changed.announced = announced(server);
            "updated"
        }
        Event::Suspected { reason } => {
            changed.reason = Some(match reason {
                SuspectReason::Disconnected => "disconnected",
                SuspectReason::Unheard => "unheard",
            });
            "suspected"
        }
        Event::Recovered => "recovered",
        Event::Gone { reason } => {
            changed.reason = Some(match reason {
                GoneReason::Expired => "expired",
                GoneReason::Withdrawn => "withdrawn",
            });
            "gone"
        }
    };
    changed
}

fn text(change: &Change) -> String {
    match &change.event {
        Event::Announced { server, replaced } => {
            let instead = replaced.map(|old| format!(" in place of {}", short(&old.to_string())));
            let instead = instead.unwrap_or_default();
            format!("announced {}{instead}: {}", short(&change.incarnation.to_string()), what(server))
        }
        Event::Updated { server } => format!("updated: {}", what(server)),
        Event::Suspected { reason: SuspectReason::Disconnected } => {
            "suspect: its connection broke".to_owned()
        }
        Event::Suspected { reason: SuspectReason::Unheard } => "suspect: it was not heard from".to_owned(),
        Event::Recovered => "recovered".to_owned(),
        Event::Gone { reason: GoneReason::Expired } => "gone: its lease ended".to_owned(),
        Event::Gone { reason: GoneReason::Withdrawn } => "gone: withdrawn".to_owned(),
    }
}

fn what(server: &Announcement) -> String {
    let words = |words: Vec<String>| if words.is_empty() { "-".to_owned() } else { words.join(",") };
    let roles = words(server.roles.iter().map(ToString::to_string).collect());
    let addresses = words(server.addresses.iter().map(ToString::to_string).collect());
    format!("roles {roles}, at {addresses}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_a_number_and_may_have_a_history() {
        let history = Incarnation::fresh();
        let full: From = format!("7@{history}").parse().unwrap();
        assert_eq!((full.number, full.history), (7, Some(history)));
        let number: From = "7".parse().unwrap();
        assert_eq!((number.number, number.history), (7, None));
        for wrong in ["", "x", "-1", "7@", "7@x"] {
            assert!(wrong.parse::<From>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_has_only_a_name_has_that_in_json() {
        let line = serde_json::to_string(&Plain { time: "T", event: "fell_behind" }).unwrap();
        assert_eq!(line, r#"{"time":"T","event":"fell_behind"}"#);
    }
}
