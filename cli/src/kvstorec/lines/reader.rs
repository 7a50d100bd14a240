//! Reading an export, line by line, in bounded memory. A line that is wrong does not keep the next from being read.

use std::io::{self, BufRead, Read as _};

use super::{
    format::{End, Ending, Entry, Header, LeftOut, Line},
    members::LineError,
};

/// Reads the lines of one export.
pub(in super::super) struct Reader<R> {
    from: R,
    max_line_bytes: u64,
    line: Vec<u8>,
    /// Of the line that was read last, from 1 on.
    number: u64,
    bytes: u64,
    crc32: crc32fast::Hasher,
    entries: u64,
    left_out: u64,
    end: Option<Ending>,
}

/// What has been read.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Item {
    Entry(Entry),
    LeftOut(LeftOut),
    /// The last of them.
    End(Ending),
}

/// Why nothing was read.
#[derive(Debug)]
pub(in super::super) enum ReadError {
    Io(io::Error),
    /// The first line is not one of an export.
    NoExport(LineError),
    /// The line is wrong, and reading goes on behind it.
    Line(LineError),
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line.
    pub(in super::super) fn begin(from: R, max_line_bytes: u64) -> Result<(Self, Header), ReadError> {
        let mut reader = Self {
            from,
            max_line_bytes: MAX_FIRST_LINE_BYTES.min(max_line_bytes),
            line: Vec::new(),
            number: 0,
            bytes: 0,
            crc32: crc32fast::Hasher::new(),
            entries: 0,
            left_out: 0,
            end: None,
        };
        let none = || {
            ReadError::NoExport(LineError::new(
                "it does not begin as an export does: {\"format\": \"kvstore-export\", \"version\": 1}",
            ))
        };
        reader.next_line()?.map_err(|_| none())?;
        let header = Header::parse(&reader.line).map_err(ReadError::NoExport)?.ok_or_else(none)?;
        reader.crc32.update(&reader.line);
        reader.max_line_bytes = max_line_bytes;
        Ok((reader, header))
    }

    /// The number of the line that was read last.
    pub(in super::super) fn line(&self) -> u64 {
        self.number
    }

    /// How many bytes have been read.
    pub(in super::super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads on. After [`Item::End`], there is only that.
    pub(in super::super) fn next(&mut self) -> Result<Item, ReadError> {
        loop {
            if let Err(why) = self.next_line()? {
                self.crc32.update(&self.line);
                return Err(ReadError::Line(why));
            }
            if self.line.is_empty() {
                return Ok(Item::End(self.end.clone().unwrap_or(Ending::Cut)));
            }
            let text = self.line.trim_ascii();
            if text.is_empty() {
                self.crc32.update(&self.line);
                continue;
            }
            if self.end.is_some() {
                return Err(ReadError::Line(LineError::new("there is something behind the last line")));
            }
            let parsed = Line::parse(text);
            if parsed.is_err() && !self.line.ends_with(b"\n") {
                // The rest of the line is somewhere else.
                self.line.clear();
                return Ok(Item::End(Ending::Cut));
            }
            match parsed {
                Ok(Line::End(end)) => self.end = Some(self.judged(&end)),
                Ok(Line::Entry(entry)) => {
                    self.crc32.update(&self.line);
                    self.entries += 1;
                    return Ok(Item::Entry(entry));
                }
                Ok(Line::LeftOut(left_out)) => {
                    self.crc32.update(&self.line);
                    self.left_out += 1;
                    return Ok(Item::LeftOut(left_out));
                }
                Err(why) => {
                    self.crc32.update(&self.line);
                    return Err(ReadError::Line(why));
                }
            }
        }
    }

    /// Reads a line, with its end. An empty one is the end of the input.
    fn next_line(&mut self) -> Result<Result<(), LineError>, ReadError> {
        self.line.clear();
        // A line of a long value does not stay for those behind it.
        self.line.shrink_to(KEPT_BYTES);
        let limit = self.max_line_bytes + 1;
        let read = self.from.by_ref().take(limit).read_until(b'\n', &mut self.line);
        self.bytes += read.map_err(ReadError::Io)? as u64;
        if !self.line.is_empty() {
            self.number += 1;
        }
        if self.line.len() as u64 <= self.max_line_bytes || self.line.ends_with(b"\n") {
            return Ok(Ok(()));
        }
        self.bytes += self.from.skip_until(b'\n').map_err(ReadError::Io)? as u64;
        let what = format!("it is longer than any line can be: {} bytes", self.max_line_bytes);
        Ok(Err(LineError::new(what)))
    }

    fn judged(&self, end: &End) -> Ending {
        let count = |what: &str, found: u64, said: u64| {
            (found != said).then(|| format!("it has {found} {what}, and its last line says {said}"))
        };
        let other = || {
            let is_same = self.crc32.clone().finalize() == end.crc32;
            (!is_same).then(|| "its checksum is another than its last line says".to_owned())
        };
        count("entries", self.entries, end.entries)
            .or_else(|| count("keys without a value", self.left_out, end.left_out))
            .or_else(other)
            .map_or(Ending::Whole, Ending::Altered)
    }
}

/// What is longer is something else.
const MAX_FIRST_LINE_BYTES: u64 = 64 << 10;

/// What stays allocated for the next line.
const KEPT_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests;
