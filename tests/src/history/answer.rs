//! What was answered and what was found, as lines of text that one process writes and another reads.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hasher as _},
    str::FromStr,
};

/// What tells one value from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    bytes: u64,
    hash: u64,
}

impl Digest {
    /// That of a value.
    pub fn of(value: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(value);
        Self { bytes: value.len() as u64, hash: hasher.finish() }
    }
}

/// What a step of a writer was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Which writer.
    pub writer: u32,
    /// Which of its steps.
    pub index: u32,
    /// What it was answered.
    pub outcome: Outcome,
}

/// How a step ended that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done: the revision of each change; none for a remove that found nothing.
    Done(Vec<Option<u64>>),
    /// Its condition did not hold: nothing was changed.
    Conflict,
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { writer, index, outcome } = self;
        match outcome {
            Outcome::Conflict => write!(formatter, "conflict {writer} {index}"),
            Outcome::Done(revisions) => {
                write!(formatter, "done {writer} {index}")?;
                revisions.iter().try_for_each(|revision| match revision {
                    Some(revision) => write!(formatter, " {revision}"),
                    None => write!(formatter, " -"),
                })
            }
        }
    }
}

impl FromStr for Answer {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let other = || format!("this is no answer: {line}");
        let mut words = line.split(' ');
        let kind = words.next();
        let mut number = || words.next()?.parse().ok();
        let (writer, index) = (number().ok_or_else(other)?, number().ok_or_else(other)?);
        let revision = |word| match word {
            "-" => Ok(None),
            word => word.parse().map(Some).map_err(|_| other()),
        };
        let outcome = match kind {
            Some("conflict") => Outcome::Conflict,
            Some("done") => Outcome::Done(words.map(revision).collect::<Result<_, _>>()?),
            _ => return Err(other()),
        };
        Ok(Self { writer, index, outcome })
    }
}

/// What is in a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The last revision that was given out.
    pub revision: u64,
    /// The revision and the value of each key.
    pub entries: BTreeMap<String, (u64, Digest)>,
    /// The keys whose records are damaged.
    pub damaged: Vec<String>,
}

impl fmt::Display for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, (revision, Digest { bytes, hash })) in &self.entries {
            writeln!(formatter, "entry {key} {revision} {bytes} {hash}")?;
        }
        for key in &self.damaged {
            writeln!(formatter, "damaged {key}")?;
        }
        // The last line, so that the text is known to be whole.
        writeln!(formatter, "revision {}", self.revision)
    }
}

impl FromStr for Found {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        for line in text.lines() {
            let other = |_| format!("this is nothing that was found: {line}");
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["entry", key, revision, bytes, hash] => {
                    let revision = revision.parse().map_err(other)?;
                    let digest =
                        Digest { bytes: bytes.parse().map_err(other)?, hash: hash.parse().map_err(other)? };
                    found.entries.insert(key.to_owned(), (revision, digest));
                }
                ["damaged", key] => found.damaged.push(key.to_owned()),
                ["revision", revision] => {
                    found.revision = revision.parse().map_err(other)?;
                    return Ok(found);
                }
                _ => return Err(format!("this is nothing that was found: {line}")),
            }
        }
        Err("what was found is not whole".to_owned())
    }
}
