//! The input of an import, read on a thread of its own: what it comes from may be slow, and connections must not wait for
//! it.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tokio::sync::mpsc;

use super::super::lines::{Ending, Entry, Item, LeftOut, LineError, MAX_OVERHEAD_BYTES, ReadError, Reader};
use crate::{
    exit::{Code, Failure, Outcome},
    files,
};

/// How many entries are written at once at most, and how long their values may be together; a longer one is alone.
const BATCH_ENTRIES: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

/// Where lines come from.
pub(super) struct Input {
    from: From,
    pub(super) name: String,
    /// How many bytes there are; unknown of what is no ordinary file.
    pub(super) total_bytes: Option<u64>,
    max_line_bytes: u64,
}

enum From {
    Standard,
    File(File),
}

/// How many bytes have been read, for whoever watches.
#[derive(Clone, Default)]
pub(super) struct Position(Arc<AtomicU64>);

impl Position {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An entry, with its line.
pub(super) type Numbered = (u64, Entry);

/// What the thread has read.
pub(super) enum Part {
    /// Entries, each of another key.
    Batch(Vec<Numbered>),
    LeftOut(u64, LeftOut),
    Wrong(u64, LineError),
    /// The last of them.
    End(Ending),
    /// Instead of the end.
    Failed(Failure),
}

impl Input {
    /// Opens a file, of which a line may be as long as one with a value of so many bytes.
    pub(super) fn open(path: &Path, max_value_bytes: u64) -> Outcome<Self> {
        // In text, a character takes two at most; in base64, fewer.
        let max_line_bytes = max_value_bytes.saturating_mul(2).saturating_add(MAX_OVERHEAD_BYTES);
        if files::is_standard(path) {
            let name = "standard input".to_owned();
            return Ok(Self { from: From::Standard, name, total_bytes: None, max_line_bytes });
        }
        let name = path.display().to_string();
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (found, file) = opened.map_err(|cause| cannot_read(&name, &cause))?;
        let total_bytes = found.is_file().then_some(found.len());
        Ok(Self { from: From::File(file), name, total_bytes, max_line_bytes })
    }

    /// Whether it can be read twice.
    pub(super) fn can_be_checked(&self) -> bool {
        self.total_bytes.is_some()
    }

    /// Reads all of it on a thread.
    pub(super) fn read(&self, position: &Position) -> Outcome<mpsc::Receiver<Part>> {
        let from: Box<dyn Read + Send> = match &self.from {
            From::Standard => Box::new(io::stdin()),
            From::File(file) => {
                let again = file.try_clone().and_then(|mut file| {
                    if self.can_be_checked() {
                        file.rewind()?;
                    }
                    Ok(file)
                });
                Box::new(again.map_err(|cause| cannot_read(&self.name, &cause))?)
            }
        };
        let (to_caller, parts) = mpsc::channel(1);
        let reading = Reading {
            to_caller,
            name: self.name.clone(),
            position: position.clone(),
            max_line_bytes: self.max_line_bytes,
        };
        let read = move || reading.run(from);
        thread::Builder::new().name("input".to_owned()).spawn(read).map_err(|cause| {
            Failure::new(Code::Failed, format_args!("{} cannot be read: {cause}", self.name))
                .advise("the system has no room for another thread: end other processes")
        })?;
        Ok(parts)
    }
}

fn cannot_read(name: &str, cause: &io::Error) -> Failure {
    Failure::new(Code::Failed, format_args!("cannot read {name}: {cause}")).advise("name a file with --input")
}

struct Reading {
    to_caller: mpsc::Sender<Part>,
    name: String,
    position: Position,
    max_line_bytes: u64,
}

impl Reading {
    fn run(self, from: impl Read) {
        let last = self.read(from).unwrap_or_else(|why| Some(Part::Failed(why)));
        if last.is_some_and(|last| self.to_caller.blocking_send(last).is_err()) {
            tracing::debug!("nobody waits for the input any more");
        }
    }

    /// Gives the last part, which is still to be sent, unless nobody takes any.
    fn read(&self, from: impl Read) -> Outcome<Option<Part>> {
        let begun = Reader::begin(BufReader::with_capacity(256 << 10, from), self.max_line_bytes);
        let (mut reader, _) = begun.map_err(|why| self.failure(why))?;
        let mut batch = Batch::default();
        loop {
            let item = reader.next();
            self.position.0.store(reader.bytes(), Ordering::Relaxed);
            let line = reader.line();
            let part = match item {
                Ok(Item::Entry(entry)) => {
                    let before = batch.before(&entry).map(Part::Batch);
                    batch.push(line, entry);
                    match before {
                        Some(before) => before,
                        None => continue,
                    }
                }
                other => {
                    if let Some(rest) = batch.take()
                        && self.to_caller.blocking_send(Part::Batch(rest)).is_err()
                    {
                        return Ok(None);
                    }
                    match other {
                        Ok(Item::End(ending)) => return Ok(Some(Part::End(ending))),
                        Ok(Item::LeftOut(left_out)) => Part::LeftOut(line, left_out),
                        Err(ReadError::Line(why)) => Part::Wrong(line, why),
                        Err(why) => return Err(self.failure(why)),
                        Ok(Item::Entry(_)) => unreachable!("it was taken above"),
                    }
                }
            };
            if self.to_caller.blocking_send(part).is_err() {
                return Ok(None);
            }
        }
    }

    fn failure(&self, why: ReadError) -> Failure {
        match why {
            ReadError::Io(cause) => cannot_read(&self.name, &cause),
            ReadError::NoExport(why) | ReadError::Line(why) => {
                Failure::new(Code::Usage, format_args!("{}: {why}", self.name))
                    .advise("nothing was imported; name a file that `kvstorec export` has written")
            }
        }
    }
}

/// Entries that are gathered, each of another key.
#[derive(Default)]
struct Batch {
    entries: Vec<Numbered>,
    keys: HashSet<Vec<u8>>,
    bytes: usize,
}

impl Batch {
    /// What has to go before this entry.
    fn before(&mut self, entry: &Entry) -> Option<Vec<Numbered>> {
        let is_full = self.entries.len() >= BATCH_ENTRIES || self.bytes + entry.value.len() > BATCH_BYTES;
        if is_full || self.keys.contains(&entry.key) { self.take() } else { None }
    }

    fn push(&mut self, line: u64, entry: Entry) {
        self.bytes += entry.value.len();
        self.keys.insert(entry.key.clone());
        self.entries.push((line, entry));
    }

    fn take(&mut self) -> Option<Vec<Numbered>> {
        let Self { entries, .. } = std::mem::take(self);
        (!entries.is_empty()).then_some(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, bytes: usize) -> Entry {
        Entry { key: key.into(), value: vec![b'x'; bytes], revision: None, expires_at_ms: None }
    }

    fn batches(entries: Vec<Entry>) -> Vec<usize> {
        let mut batch = Batch::default();
        let mut sizes = Vec::new();
        for (line, entry) in (1..).zip(entries) {
            sizes.extend(batch.before(&entry).map(|before| before.len()));
            batch.push(line, entry);
        }
        sizes.extend(batch.take().map(|rest| rest.len()));
        assert!(batch.take().is_none());
        sizes
    }

    #[test]
    fn a_batch_has_bounds_and_no_key_twice() {
        let many = (0..BATCH_ENTRIES + 1).map(|key| entry(&key.to_string(), 1)).collect();
        assert_eq!(batches(many), [BATCH_ENTRIES, 1]);
        let third = BATCH_BYTES / 3;
        let long = ["a", "b", "c", "d"].map(|key| entry(key, third));
        assert_eq!(batches(long.to_vec()), [3, 1]);
        let longer = [entry("a", 1), entry("b", 2 * BATCH_BYTES), entry("c", 1), entry("c", 1)];
        assert_eq!(batches(longer.to_vec()), [1, 1, 1, 1]);
    }
}
