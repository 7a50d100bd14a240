//! `kvstorec import`: stores what an export has.
//!
//! JSON: `{"imported": NUMBER, "kept": NUMBER, "ended": NUMBER, "left_out": NUMBER, "dry_run": BOOL}`: entries that were
//! stored, or would be; those whose keys were there already, with `--if-absent`; those that have ended meanwhile; and keys
//! of which the export has no value.

use std::time::{SystemTime, UNIX_EPOCH};

use kvstore::messages::StoreLimits;
use serde::Serialize;
use tokio::signal;

use super::{
    super::{
        cli::{Input as InputOption, Reach},
        key::Key,
        store::{Server, with_server},
    },
    check::{self, check, ended_early, over_limit},
    input::{Input, Part, Position},
    writes::{NotWritten, Tally, Way, Writes},
};
use crate::{
    exit::{Code, Failure, Outcome},
    human, progress,
    settings::Settings,
};

/// Stores the entries of an export
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The input is what `kvstorec export` writes. A file is read and checked to its end before anything is stored; standard \
input is stored as it comes. What has been cut off or altered is refused, unless --partial is given.

Keys that are there already are overwritten, and keep nothing of what they had. An entry that was to end by itself does so \
at the same time; what has ended meanwhile is not stored. Each entry gets a new revision.

An import that was interrupted can be run again: what it has stored is stored once more, or kept with --if-absent.

Examples:
  $ kvstorec import --input all.jsonl
  $ kvstorec import --input all.jsonl --dry-run
  $ gunzip < users.jsonl.gz | kvstorec import --if-absent")]
pub(in super::super) struct Args {
    #[command(flatten)]
    input: InputOption,

    /// Store only where there is no such key; count the others
    #[arg(long)]
    if_absent: bool,

    /// Check the input to its end, and store nothing
    #[arg(long)]
    dry_run: bool,

    /// Take also a part of an export, or one that was altered
    #[arg(long)]
    partial: bool,

    #[command(flatten)]
    reach: Reach,
}

#[derive(Serialize)]
struct Done {
    imported: u64,
    kept: u64,
    ended: u64,
    left_out: u64,
    dry_run: bool,
}

pub(in super::super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_server(&args.reach, settings, async |server| {
        let mut limits = server.client.limits().await.map_err(|why| server.failure(&why, &Key::default()))?;
        limits.max_value_bytes = limits.max_value_bytes.min(server.max_whole_value_bytes());
        let input = Input::open(&args.input.input, limits.max_value_bytes)?;
        let done = if args.dry_run {
            let checked = checked(&input, limits, args).await?;
            let check::Checked { entries, ended, left_out } = checked;
            Done { imported: entries, kept: 0, ended, left_out, dry_run: true }
        } else {
            if input.can_be_checked() {
                checked(&input, limits, args).await?;
            }
            let import = Import { server: &server, input: &input, limits, args, tally: Tally::default() };
            import.run(settings).await?
        };
        settings.printer().result(&done, text)
    })
}

fn text(done: &Done) -> String {
    let Done { imported, kept, ended, left_out, dry_run } = done;
    let entries = human::counted(*imported, "entry", "entries");
    let mut text = format!("{entries} {}", if *dry_run { "can be imported" } else { "imported" });
    for (count, what) in [(kept, "kept as they were"), (ended, "ended"), (left_out, "without a value")] {
        if *count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text + "\n"
}

async fn checked(input: &Input, limits: StoreLimits, args: &Args) -> Outcome<check::Checked> {
    let position = Position::default();
    let work = async {
        tokio::select! {
            checked = check(input, &position, limits, now_ms(), args.partial) => checked,
            _ = signal::ctrl_c() => {
                Err(Failure::new(Code::Failed, "interrupted while the input was checked")
                    .advise("nothing was imported"))
            }
        }
    };
    progress::showing(async || share_text("checking", input, &position), work).await
}

/// The time of this machine.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn share_text(what: &str, input: &Input, position: &Position) -> String {
    let bytes = position.bytes();
    match input.total_bytes {
        Some(total) => format!("{what} {}  {}", progress::bar(bytes, total), human::bytes(bytes)),
        None => format!("{what}: {}", human::bytes(bytes)),
    }
}

struct Import<'a> {
    server: &'a Server,
    input: &'a Input,
    limits: StoreLimits,
    args: &'a Args,
    tally: Tally,
}

/// Why an import ends before its end.
enum Stop {
    NotWritten(NotWritten),
    Failure(Failure),
    Interrupted,
}

impl From<NotWritten> for Stop {
    fn from(why: NotWritten) -> Self {
        Self::NotWritten(why)
    }
}

impl From<Failure> for Stop {
    fn from(why: Failure) -> Self {
        Self::Failure(why)
    }
}

impl Import<'_> {
    async fn run(&self, settings: &Settings) -> Outcome<Done> {
        let position = Position::default();
        let text = async || {
            let share = share_text("importing", self.input, &position);
            format!("{share}, {}", human::counted(self.tally.imported.get(), "entry", "entries"))
        };
        let way = Way {
            client: self.server.client.clone(),
            if_absent: self.args.if_absent,
            timeout: settings.timeout(),
            is_timeout_given: settings.given_timeout().is_some(),
            now_ms,
        };
        let work = async {
            let mut writes = Writes::new(way, &self.tally);
            let stored = tokio::select! {
                stored = self.store(&position, &mut writes) => stored,
                _ = signal::ctrl_c() => Err(Stop::Interrupted),
            };
            // What is under way may be stored: it is waited for, so that what is said is true.
            let finished = tokio::select! {
                finished = writes.finish() => finished,
                _ = signal::ctrl_c() => Ok(()),
            };
            match (stored, finished) {
                (Err(Stop::Failure(why)), _) => Err(self.how_far(why)),
                (Err(Stop::NotWritten(why)), _) | (_, Err(why)) => Err(self.not_written(why)),
                (Err(Stop::Interrupted), Ok(())) => {
                    Err(self.how_far(Failure::new(Code::Failed, "interrupted")))
                }
                (Ok(left_out), Ok(())) => Ok(left_out),
            }
        };
        let left_out = progress::showing(text, work).await?;
        let Tally { imported, kept, ended, .. } = &self.tally;
        let (imported, kept, ended) = (imported.get(), kept.get(), ended.get());
        Ok(Done { imported, kept, ended, left_out, dry_run: false })
    }

    /// Stores all of it; gives how many keys have no value.
    async fn store(&self, position: &Position, writes: &mut Writes<'_>) -> Result<u64, Stop> {
        let name = &self.input.name;
        let mut parts = self.input.read(position)?;
        let mut left_out = 0;
        loop {
            let Some(part) = parts.recv().await else { return Err(ended_early(self.input).into()) };
            match part {
                Part::Batch(entries) => {
                    let over = entries.iter().enumerate().find_map(|(index, (line, entry))| {
                        over_limit(entry, self.limits).map(|what| (index, *line, what))
                    });
                    let Some((index, line, what)) = over else {
                        writes.push(entries).await?;
                        continue;
                    };
                    let before: Vec<_> = entries.into_iter().take(index).collect();
                    writes.push(before).await?;
                    return Err(wrong(format_args!("{name}, line {line}: {what}")).into());
                }
                Part::LeftOut(line, of) => {
                    left_out += 1;
                    let key = Key::of(of.key);
                    progress::aside(format_args!(
                        "kvstorec: {name}, line {line}: the export has no value of {key}: {}",
                        of.why
                    ));
                }
                Part::Wrong(line, why) => {
                    return Err(wrong(format_args!("{name}, {}: {why}", why.place(line))).into());
                }
                Part::Failed(failure) => return Err(failure.into()),
                Part::End(ending) => {
                    let Some(what) = check::judge(&ending, name) else { return Ok(left_out) };
                    if !self.args.partial {
                        return Err(Failure::new(Code::Failed, what).into());
                    }
                    progress::aside(format_args!("kvstorec: {what}; what there is of it is imported"));
                    return Ok(left_out);
                }
            }
        }
    }

    fn not_written(&self, why: NotWritten) -> Failure {
        let NotWritten { why, at, first_line, last_line } = why;
        let key = at.as_ref().map_or_else(Key::default, |(_, key)| Key::of(key.clone()));
        let lines = match &at {
            Some((line, _)) => format!("line {line}"),
            None => format!("lines {first_line} to {last_line}"),
        };
        match self.server.failure(&why, &key) {
            Failure::Problem { code, what, .. } => {
                self.how_far(Failure::new(code, format_args!("{}, {lines}: {what}", self.input.name)))
            }
            closed @ Failure::OutputClosed => closed,
        }
    }

    /// Adds what was imported before.
    fn how_far(&self, failure: Failure) -> Failure {
        let Tally { imported, kept, done_to_line, .. } = &self.tally;
        if imported.get() == 0 && kept.get() == 0 {
            return failure.advise("no entry is known to be imported; it can be run again");
        }
        let kept = match kept.get() {
            0 => String::new(),
            kept => format!(" and {kept} kept"),
        };
        let up_to = done_to_line.get();
        let imported = human::counted(imported.get(), "entry is", "entries are");
        failure.advise(format_args!(
            "{imported} imported{kept}, all up to line {up_to} among them; it can be run again"
        ))
    }
}

fn wrong(what: std::fmt::Arguments<'_>) -> Failure {
    Failure::new(Code::Usage, what)
}
