//! Writing an export: lines in memory, which somebody else takes to where they go.

use std::io::Write as _;

use super::{
    bytes,
    format::{Entry, FORMAT, Header, LeftOut, VERSION},
};

/// Writes the lines of one export.
#[derive(Default)]
pub(in super::super) struct Writer {
    /// What nobody has taken yet.
    text: Vec<u8>,
    /// How much of it is in the checksum.
    summed: usize,
    crc32: crc32fast::Hasher,
    entries: u64,
    left_out: u64,
}

impl Writer {
    /// Begins with the first line.
    pub(in super::super) fn new(header: &Header) -> Self {
        let mut writer = Self::default();
        writer.push(format_args!("{{\"format\":\"{FORMAT}\",\"version\":{VERSION}"));
        if let Some(revision) = header.revision {
            writer.push(format_args!(",\"revision\":{revision}"));
        }
        writer.text.push(b',');
        bytes::push(&mut writer.text, "prefix", &header.prefix);
        writer.end_line();
        writer
    }

    pub(in super::super) fn entry(&mut self, entry: &Entry) {
        let Entry { key, value, revision, expires_at_ms } = entry;
        self.text.push(b'{');
        bytes::push(&mut self.text, "key", key);
        if let Some(revision) = revision {
            self.push(format_args!(",\"revision\":{revision}"));
        }
        if let Some(expires_at_ms) = expires_at_ms {
            self.push(format_args!(",\"expires_at_ms\":{expires_at_ms}"));
        }
        self.text.push(b',');
        bytes::push(&mut self.text, "value", value);
        self.end_line();
        self.entries += 1;
    }

    pub(in super::super) fn left_out(&mut self, LeftOut { key, why }: &LeftOut) {
        self.text.push(b'{');
        bytes::push(&mut self.text, "key", key);
        self.text.extend_from_slice(b",\"error\":");
        serde_json::to_writer(&mut self.text, why).expect("text can be written to memory");
        self.end_line();
        self.left_out += 1;
    }

    /// Writes the last line.
    pub(in super::super) fn end(&mut self) {
        self.sum();
        let crc32 = self.crc32.clone().finalize();
        let (entries, left_out) = (self.entries, self.left_out);
        self.push(format_args!(
            "{{\"end\":true,\"entries\":{entries},\"left_out\":{left_out},\"crc32\":\"{crc32:08x}\""
        ));
        self.end_line();
    }

    /// How many bytes there are to be taken.
    pub(in super::super) fn len(&self) -> usize {
        self.text.len()
    }

    /// How many entries have been written.
    pub(in super::super) fn entries(&self) -> u64 {
        self.entries
    }

    /// The bytes since this was called last.
    pub(in super::super) fn take(&mut self) -> Vec<u8> {
        self.sum();
        self.summed = 0;
        std::mem::take(&mut self.text)
    }

    fn sum(&mut self) {
        self.crc32.update(&self.text[self.summed..]);
        self.summed = self.text.len();
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("memory can be written");
    }

    fn end_line(&mut self) {
        self.text.extend_from_slice(b"}\n");
    }
}
