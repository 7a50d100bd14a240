//! `ensemble ping`: whether a server or an actor answers, and how soon.
//!
//! JSON: `{"server": ID, "actor": NAME, "round_trips_ms": [NUMBER, ..]}`.

use std::time::Instant;

use ensemble::{ActorName, NODE_ACTOR, ServerId};
use serde::Serialize;

use crate::{app::Context, console, exit::Outcome, options::ClientOptions};

/// Asks a server, or an actor of it, whether it is alive
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints OK. With --count, prints the time of each round trip instead, and then a summary.

Examples:
  $ ensemble ping kvstore
  $ ensemble ping kvstore kvstore
  $ ensemble ping kvstore --count 10")]
pub(crate) struct Args {
    /// The server to ask
    server: ServerId,

    /// The actor to ask; without it, the server itself
    actor: Option<ActorName>,

    /// How often to ask
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: Option<u32>,

    #[command(flatten)]
    client: ClientOptions,
}

#[derive(Serialize)]
struct Pinged<'a> {
    server: &'a ServerId,
    actor: &'a str,
    round_trips_ms: &'a [f64],
}

pub(crate) fn execute(args: Args, context: Context<'_>) -> Outcome {
    let printer = context.globals.printer();
    console::run(context, &args.client, async |console| {
        let actor = args.actor.as_ref().map_or(NODE_ACTOR, ActorName::as_str);
        let remote = console.remote(&args.server, actor);
        let mut times_ms = Vec::new();
        for number in 1..=args.count.unwrap_or(1) {
            let begin = Instant::now();
            remote.ping().await.map_err(|why| console.failure(&why, &args.server, actor))?;
            let time_ms = begin.elapsed().as_secs_f64() * 1000.0;
            times_ms.push(time_ms);
            if args.count.is_some() && !printer.is_json() {
                printer.bytes(format!("{number} {time_ms:.3} ms\n").as_bytes())?;
            }
        }
        let pinged = Pinged { server: &args.server, actor, round_trips_ms: &times_ms };
        printer.result(&pinged, |_| match args.count {
            None => "OK\n".to_owned(),
            Some(_) => summary(&times_ms),
        })
    })
}

fn summary(times_ms: &[f64]) -> String {
    let mut sorted = times_ms.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { return String::new() };
    let median = sorted[sorted.len() / 2];
    format!("least {least:.3} ms, median {median:.3} ms, most {most:.3} ms\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_summary_is_of_the_sorted_times() {
        assert_eq!(super::summary(&[3.0, 1.0, 2.0]), "least 1.000 ms, median 2.000 ms, most 3.000 ms\n");
    }
}
