//! `ensemble ping`: whether a server or an actor answers, and how soon.
//!
//! JSON: `{"server": ID, "actor": NAME, "sent": NUMBER, "answered": NUMBER, "lost": NUMBER, "min_ms": NUMBER,
//! "median_ms": NUMBER, "mean_ms": NUMBER, "p99_ms": NUMBER, "max_ms": NUMBER, "round_trips_ms": [NUMBER, ..]}`. The
//! statistics are null when nothing was answered; the last member has the times of those that were, in their order.

use std::time::{Duration, Instant};

use ensemble::{ActorName, NODE_ACTOR, RemoteAddr, ServerId};
use serde::Serialize;
use tokio::signal;

use crate::{
    app::Context,
    console::{self, Console},
    exit::{Code, Failure, Outcome},
    options::{ClientOptions, parse_duration, whole_number},
    printer::Printer,
    progress,
};

/// Asks a server, or an actor of it, whether it is alive
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints OK. With --count, prints the time of each round trip instead, and then a summary; one that
is not answered is lost, and the next is sent all the same. Ctrl-C ends it with the summary. The
exit code is 4 when any was lost.

Examples:
  $ ensemble ping kvstore
  $ ensemble ping kvstore kvstore
  $ ensemble ping kvstore --count 10 --interval 1")]
pub(crate) struct Args {
    /// The server to ask
    server: ServerId,

    /// The actor to ask; without it, the server itself
    actor: Option<ActorName>,

    /// How often to ask
    #[arg(short, long, value_name = "N", value_parser = whole_number(1_u32, 1_000_000))]
    count: Option<u32>,

    /// Time between one answer and the next question, as in 1, 0.5 or 200ms [default: none]
    #[arg(short, long, value_name = "SECONDS", requires = "count", value_parser = parse_duration)]
    interval: Option<Duration>,

    #[command(flatten)]
    client: ClientOptions,
}

#[derive(Serialize)]
struct Pinged<'a> {
    server: &'a ServerId,
    actor: &'a str,
    #[serde(flatten)]
    tally: &'a Tally,
    #[serde(flatten)]
    statistics: Statistics,
    round_trips_ms: &'a [f64],
}

/// What has become of the questions.
#[derive(Debug, Default, Serialize)]
struct Tally {
    sent: u32,
    answered: u32,
    lost: u32,
}

/// About the times of those that were answered.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Statistics {
    min_ms: Option<f64>,
    median_ms: Option<f64>,
    mean_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
}

impl Statistics {
    fn of(times_ms: &[f64]) -> Self {
        let mut sorted = times_ms.to_vec();
        sorted.sort_by(f64::total_cmp);
        // The nearest rank: the least of the times that is not exceeded by that share of them.
        let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied();
        Self {
            min_ms: sorted.first().copied(),
            median_ms: rank(50),
            mean_ms: (!sorted.is_empty()).then(|| sorted.iter().sum::<f64>() / sorted.len() as f64),
            p99_ms: rank(99),
            max_ms: sorted.last().copied(),
        }
    }

    fn to_line(&self) -> String {
        let named = [
            ("min", self.min_ms),
            ("median", self.median_ms),
            ("mean", self.mean_ms),
            ("p99", self.p99_ms),
            ("max", self.max_ms),
        ];
        let texts: Vec<String> = named
            .into_iter()
            .filter_map(|(name, time_ms)| time_ms.map(|time_ms| format!("{name} {time_ms:.3} ms")))
            .collect();
        if texts.is_empty() { String::new() } else { format!("{}\n", texts.join(", ")) }
    }
}

pub(crate) fn execute(args: Args, context: Context<'_>) -> Outcome {
    let printer = context.settings.printer();
    console::run(context, &args.client, async |console| {
        let actor = args.actor.as_ref().map_or(NODE_ACTOR, ActorName::as_str);
        let mut pings = Pings {
            remote: console.remote(&args.server, actor),
            console: &console,
            args: &args,
            actor,
            printer,
            tally: Tally::default(),
            times_ms: Vec::new(),
        };
        match args.count {
            None => pings.one().await?,
            Some(count) => tokio::select! {
                done = pings.many(count) => done?,
                _ = signal::ctrl_c() => {}
            },
        }
        pings.finish()
    })
}

/// A row of pings, and what has come of them so far.
struct Pings<'a> {
    remote: RemoteAddr,
    console: &'a Console,
    args: &'a Args,
    actor: &'a str,
    printer: Printer,
    tally: Tally,
    times_ms: Vec<f64>,
}

impl Pings<'_> {
    async fn one(&mut self) -> Outcome {
        let begin = Instant::now();
        let waiting = format!("{} to answer", self.args.server);
        let answered = progress::waiting_for(&waiting, self.remote.ping()).await;
        self.tally.sent += 1;
        match answered {
            Ok(()) => {
                self.tally.answered += 1;
                // Whole nanoseconds, which is what was measured.
                self.times_ms.push((begin.elapsed().as_secs_f64() * 1e9).round() / 1e6);
                Ok(())
            }
            Err(why) => {
                self.tally.lost += 1;
                Err(self.console.failure(&why, &self.args.server, self.actor))
            }
        }
    }

    async fn many(&mut self, count: u32) -> Outcome {
        for number in 1..=count {
            let line = match self.one().await {
                Ok(()) => format!("{number} {:.3} ms", self.times_ms.last().copied().unwrap_or_default()),
                // One that has answered before may come back; what never did was never there.
                Err(Failure::Problem { code, what, .. })
                    if code == Code::Unreachable || self.tally.answered > 0 =>
                {
                    format!("{number} lost: {what}")
                }
                Err(failure) => return Err(failure),
            };
            if !self.printer.is_json() {
                self.printer.bytes(format!("{line}\n").as_bytes())?;
            }
            if let Some(interval) = self.args.interval.filter(|_| number < count) {
                tokio::time::sleep(interval).await;
            }
        }
        Ok(())
    }

    fn finish(&self) -> Outcome {
        let Tally { sent, answered, lost } = self.tally;
        let pinged = Pinged {
            server: &self.args.server,
            actor: self.actor,
            tally: &self.tally,
            statistics: Statistics::of(&self.times_ms),
            round_trips_ms: &self.times_ms,
        };
        self.printer.result(&pinged, |pinged| match self.args.count {
            None => "OK\n".to_owned(),
            Some(_) => {
                let statistics = pinged.statistics.to_line();
                format!("{sent} sent, {answered} answered, {lost} lost\n{statistics}")
            }
        })?;
        if lost == 0 {
            return Ok(());
        }
        let what = format_args!("{} did not answer {lost} of {sent} pings", self.args.server);
        Err(Failure::new(Code::Unreachable, what).advise("see its log, or wait longer with --timeout"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_of_the_sorted_times() {
        let times: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(
            Statistics::of(&times).to_line(),
            "min 1.000 ms, median 100.000 ms, mean 100.500 ms, p99 198.000 ms, max 200.000 ms\n"
        );
        assert_eq!(
            Statistics::of(&[3.0]).to_line(),
            "min 3.000 ms, median 3.000 ms, mean 3.000 ms, p99 3.000 ms, max 3.000 ms\n"
        );
    }

    #[test]
    fn of_nothing_there_are_none() {
        let none = Statistics::of(&[]);
        assert_eq!((none.to_line().as_str(), &none), ("", &Statistics::default()));
    }
}
