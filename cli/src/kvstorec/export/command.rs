//! `kvstorec export`: the entries of a store as lines of JSON, whose form is that of [`lines`](super::super::lines).
//!
//! With `--output FILE`, JSON: `{"file": PATH, "entries": NUMBER, "left_out": NUMBER, "revision": NUMBER, "bytes": NUMBER}`,
//! with the revision of the store when it began.

use std::{cell::Cell, ffi::OsString};

use serde::Serialize;
use tokio::signal;

use super::{
    super::{
        cli::{Output, Reach},
        key::Key,
        lines::{Header, LeftOut, Writer},
        store::{Server, with_server},
    },
    pages::{Found, Pages},
};
use crate::{
    exit::{Code, Failure, Outcome},
    files, human,
    pieces::Pieces,
    progress,
    settings::Settings,
};

/// How much is written at once.
const PIECE_BYTES: usize = 256 << 10;

/// Writes the entries as lines of JSON
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first line says what it is, each other one has a key, its value, its revision, and when it ends, and the last one has \
their number and a checksum. What is no text is in base64. docs/STORE-FORMAT.md has the form.

The store is in use meanwhile: what is written while the export runs may be in it or not, and all else is in it exactly \
once. A copy as of one moment is a backup. A file appears whole or not at all.

An entry that cannot be read, or whose value is longer than a message (65 MiB), is named and left out, and the exit code \
is 1.

Examples:
  $ kvstorec export --output all.jsonl
  $ kvstorec export users/ | gzip > users.jsonl.gz")]
pub(in super::super) struct Args {
    /// What the keys begin with [default: all keys]
    #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: OsString,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    reach: Reach,
}

#[derive(Serialize)]
struct Done {
    file: String,
    entries: u64,
    left_out: u64,
    revision: u64,
    bytes: u64,
}

/// How far it has come, for whoever watches.
#[derive(Default)]
struct Seen {
    entries: Cell<u64>,
    left_out: Cell<u64>,
    bytes: Cell<u64>,
}

pub(in super::super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_server(&args.reach, settings, async |server| {
        let prefix = Key::new(&args.prefix);
        let stat = server.client.stat().await.map_err(|why| server.failure(&why, &prefix))?;
        // How many there are is known only of the whole store.
        let total = Some(stat.entries).filter(|_| args.prefix.is_empty());
        let header = Header { revision: Some(stat.revision), prefix: prefix.bytes().to_vec() };
        let mut output = Pieces::begin(&args.output.output)?;
        let seen = Seen::default();
        let is_file = output.is_file();
        let work = async {
            tokio::select! {
                written = write_all(&server, &header, &mut output, &seen) => written,
                _ = signal::ctrl_c() => Err(interrupted(is_file, &seen)),
            }
        };
        match progress::showing(async || seen.text(total), work).await {
            Ok(()) => output.finish().await?,
            Err(failure) => {
                output.abandon().await;
                return Err(failure);
            }
        }
        seen.report(&args.output, stat.revision, settings)
    })
}

async fn write_all(server: &Server, header: &Header, output: &mut Pieces, seen: &Seen) -> Outcome {
    let mut pages = Pages::begin(server.client.clone(), &header.prefix, server.max_whole_value_bytes());
    let mut writer = Writer::new(header);
    let failed = |why| server.failure(&why, &Key::of(header.prefix.clone()));
    while let Some(found) = pages.next().await.map_err(failed)? {
        for found in found {
            match found {
                Found::Gone => {}
                Found::Entry(entry) => {
                    writer.entry(&entry);
                    seen.entries.set(writer.entries());
                }
                Found::LeftOut(left_out) => {
                    writer.left_out(&left_out);
                    seen.left_out.set(seen.left_out.get() + 1);
                    let LeftOut { key, why } = left_out;
                    progress::aside(format_args!("kvstorec: {} is left out: {why}", Key::of(key)));
                }
            }
            if writer.len() >= PIECE_BYTES {
                seen.write(&mut writer, output).await?;
            }
        }
    }
    writer.end();
    seen.write(&mut writer, output).await
}

fn interrupted(is_file: bool, seen: &Seen) -> Failure {
    let entries = human::counted(seen.entries.get(), "entry", "entries");
    let what = format_args!("interrupted after {entries}");
    Failure::new(Code::Failed, what).advise(if is_file {
        "no file was written"
    } else {
        "what was written has no last line, and an import notices that"
    })
}

impl Seen {
    async fn write(&self, writer: &mut Writer, output: &mut Pieces) -> Outcome {
        self.bytes.set(self.bytes.get() + writer.len() as u64);
        output.write(writer.take()).await
    }

    fn text(&self, total: Option<u64>) -> String {
        let entries = self.entries.get();
        let bar = total.map(|total| progress::bar(entries + self.left_out.get(), total));
        let begin = bar.map_or_else(|| "exporting: ".to_owned(), |bar| format!("exporting {bar}  "));
        let entries = human::counted(entries, "entry", "entries");
        format!("{begin}{entries}, {}", human::bytes(self.bytes.get()))
    }

    /// Says what was done, where standard output is not what was written.
    fn report(&self, output: &Output, revision: u64, settings: &Settings) -> Outcome {
        let (entries, left_out) = (self.entries.get(), self.left_out.get());
        if !files::is_standard(&output.output) {
            let file = output.output.display().to_string();
            let done = Done { file, entries, left_out, revision, bytes: self.bytes.get() };
            settings.printer().result(&done, |done| {
                let left_out = if left_out == 0 { String::new() } else { format!(", {left_out} left out") };
                let Done { file, entries, revision, bytes, .. } = done;
                let entries = human::counted(*entries, "entry", "entries");
                format!("{file}: {entries}, {bytes} bytes, revision {revision}{left_out}\n")
            })?;
        }
        if left_out == 0 {
            return Ok(());
        }
        let what = format_args!("{left_out} of {} keys have no value in the export", entries + left_out);
        Err(Failure::new(Code::Failed, what).advise("they are named above, each with the reason"))
    }
}
