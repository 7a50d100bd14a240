//! `kvstorec get`: the bytes under a key.
//!
//! JSON: `{"key": TEXT, "revision": NUMBER, "value": TEXT, "value_hex": HEX}`, as of [`get_many`](super::get_many). A value
//! that comes part by part has no `value`, also where it is a text.

use std::cell::Cell;

use kvstore::{ValueStream, messages::Value};
use tokio::signal;

use super::{
    cli::{Output, Place},
    get_many::Got,
    key::hex,
    put::WHOLE_BYTES,
    store::{Store, interrupted, share, with_store},
};
use crate::{exit::Outcome, files, pieces::Pieces, printer, progress, settings::Settings};

/// Gets the bytes stored under a key
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The exit code is 3 when there is no such key, and 0 when its value is empty. A value that is longer than the
memory is no matter. When it is replaced meanwhile, it comes as it was; what was written to standard output is
the whole value only when the exit code is 0.

Examples:
  $ kvstorec get foo.json
  $ kvstorec get foo.json --output foo.json")]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

/// How a line of JSON ends whose last member is empty: what comes there goes before it.
const JSON_END: &[u8] = b"\"}\n";

pub(super) fn execute(args: &Args, settings: &Settings) -> Outcome {
    with_store(&args.place, settings, async |store| {
        let mut value = store.get_stream().await?;
        let printer = settings.printer();
        let output = &args.output.output;
        let taken = Cell::new(0);
        let is_json = printer.is_json();
        let mut copy = Copy { store: &store, value: &mut value, is_json, taken: &taken };
        if copy.value.value_bytes() <= WHOLE_BYTES {
            return files::write(output, &copy.whole().await?, printer);
        }
        let mut pieces = Pieces::begin(output)?;
        match copy.in_pieces(&mut pieces).await {
            Ok(()) => pieces.finish().await,
            Err(failure) => {
                pieces.abandon().await;
                Err(failure)
            }
        }
    })
}

/// A value on its way to the output.
struct Copy<'a> {
    store: &'a Store,
    value: &'a mut ValueStream,
    is_json: bool,
    taken: &'a Cell<u64>,
}

impl Copy<'_> {
    /// All of the output.
    async fn whole(&mut self) -> Outcome<Vec<u8>> {
        let mut value = Vec::new();
        while let Some(piece) = self.value.next().await.map_err(|why| self.store.failure(&why))? {
            value.extend_from_slice(&piece);
        }
        if !self.is_json {
            return Ok(value);
        }
        let value = Value::new(value, self.value.revision());
        printer::json_line(&Got::new(&self.store.key, Ok(Some(&value))))
    }

    async fn in_pieces(&mut self, output: &mut Pieces) -> Outcome {
        let (total, taken) = (self.value.value_bytes(), self.taken);
        let text = async || share("getting", taken.get(), Some(total));
        let work = async {
            let (begin, end) = self.around()?;
            output.write(begin).await?;
            while let Some(piece) = self.next().await? {
                output.write(piece).await?;
            }
            output.write(end).await
        };
        let work = async {
            tokio::select! {
                done = work => done,
                _ = signal::ctrl_c() => Err(interrupted("what was written is not the whole value")),
            }
        };
        progress::showing(text, work).await
    }

    /// What goes before the value and behind it.
    fn around(&self) -> Outcome<(Vec<u8>, Vec<u8>)> {
        if !self.is_json {
            return Ok((Vec::new(), Vec::new()));
        }
        let (key, revision) = (self.store.key.in_json(), self.value.revision());
        let mut line = printer::json_line(&Got::Bytes { key, revision, value_hex: String::new() })?;
        let end = line.split_off(line.len() - JSON_END.len());
        Ok((line, end))
    }

    async fn next(&mut self) -> Outcome<Option<Vec<u8>>> {
        let piece = self.value.next().await.map_err(|why| self.store.failure(&why))?;
        Ok(piece.map(|piece| {
            self.taken.set(self.taken.get() + piece.len() as u64);
            if self.is_json { hex(&piece).into_bytes() } else { piece.into() }
        }))
    }
}
