//! Values in parts as streams of bytes, for programs that have the store in their own process.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use crc32fast::Hasher;

use super::error::{ReadError, WriteError};
use super::handle::Store;
use super::stream::{InParts, Layout};
use super::upload::{UploadDone, UploadStep};
use super::write::{Applied, Condition, Stored};

impl Store {
    /// Begins to write a value of any length up to the store's limit, part by part.
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// use kvstore::store::{Condition, Store, StoreOptions};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let store = Store::open(directory.path(), StoreOptions::default())?;
    /// let mut writer = store.writer("log", Condition::Always)?;
    /// for line in 0..100_000 {
    ///     writeln!(writer, "line {line}")?;
    /// }
    /// writer.finish(None)?;
    ///
    /// let mut reader = store.reader(b"log")?.expect("it was just written");
    /// let mut first = [0; 7];
    /// reader.read_exact(&mut first)?;
    /// assert_eq!(&first, b"line 0\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`WriteError`]; the condition is judged now and again at the end.
    pub fn writer(&self, key: impl Into<Bytes>, condition: Condition) -> Result<ValueWriter, WriteError> {
        let key = key.into();
        let step = UploadStep::Begin { key: key.clone(), condition, value_bytes: None };
        match self.step(step)? {
            Applied::Upload(UploadDone::Begun { upload, part_bytes }) => Ok(ValueWriter {
                store: self.clone(),
                key,
                condition,
                upload,
                part_bytes: part_bytes as usize,
                part: BytesMut::new(),
                number: 0,
                value_bytes: 0,
                checksum: Hasher::new(),
                has_ended: false,
            }),
            _ => unreachable!("a beginning was asked for"),
        }
    }

    /// Begins to read a value of any length; `None` where there is no such key. It is read to its end although it is replaced
    /// or removed meanwhile, unless its reader pauses for more than a minute or the store is full.
    ///
    /// # Errors
    ///
    /// [`ReadError`]
    pub fn reader(&self, key: &[u8]) -> Result<Option<ValueReader>, ReadError> {
        loop {
            let (revision, value_bytes, read, rest) = match self.layout(key)? {
                None => return Ok(None),
                Some(Layout::InParts(parts)) => {
                    (parts.revision, parts.value_bytes, Bytes::new(), Some((parts, 0)))
                }
                Some(Layout::Whole) => match self.get(key) {
                    Ok(None) => return Ok(None),
                    Ok(Some(entry)) => (entry.revision, entry.value.len() as u64, entry.value, None),
                    // A longer value has taken its place meanwhile.
                    Err(ReadError::ValueTooLarge { .. }) if self.is_in_parts(key)? => continue,
                    Err(other) => return Err(other),
                },
            };
            let key = Bytes::copy_from_slice(key);
            return Ok(Some(ValueReader { store: self.clone(), key, revision, value_bytes, read, rest }));
        }
    }

    fn is_in_parts(&self, key: &[u8]) -> Result<bool, ReadError> {
        Ok(matches!(self.layout(key)?, Some(Layout::InParts(_))))
    }

    fn step(&self, step: UploadStep) -> Result<Applied, WriteError> {
        self.apply_one(super::Write::Upload(step))
    }
}

/// A value that is being written. It is there when [`finish`](Self::finish) returns; when this is dropped before, nothing is
/// left of it.
#[derive(Debug)]
pub struct ValueWriter {
    store: Store,
    key: Bytes,
    condition: Condition,
    upload: u64,
    part_bytes: usize,
    part: BytesMut,
    number: u32,
    value_bytes: u64,
    checksum: Hasher,
    has_ended: bool,
}

impl ValueWriter {
    /// Puts what was written under the key, for a time in milliseconds or for ever.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn finish(mut self, ttl_ms: Option<u64>) -> Result<Stored, WriteError> {
        if !self.part.is_empty() {
            self.send_part()?;
        }
        let step = UploadStep::Finish {
            upload: self.upload,
            key: self.key.clone(),
            condition: self.condition,
            ttl_ms,
            value_bytes: self.value_bytes,
            checksum: self.checksum.clone().finalize(),
        };
        let done = self.store.step(step);
        // It goes on after these, or that is unknown: it is given up once more.
        self.has_ended = !matches!(
            done,
            Err(WriteError::Storage(_) | WriteError::StoreFull(_) | WriteError::TooMuchToCheck)
        );
        match done? {
            Applied::Stored(stored) => Ok(stored),
            _ => unreachable!("an end was asked for"),
        }
    }

    fn send_part(&mut self) -> Result<(), WriteError> {
        let bytes = self.part.split().freeze();
        self.checksum.update(&bytes);
        self.value_bytes += bytes.len() as u64;
        self.store.step(UploadStep::Part { upload: self.upload, number: self.number, bytes })?;
        self.number += 1;
        Ok(())
    }
}

impl Write for ValueWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let some = &bytes[..bytes.len().min(self.part_bytes - self.part.len())];
        self.part.extend_from_slice(some);
        if self.part.len() == self.part_bytes {
            self.send_part().map_err(io::Error::other)?;
        }
        Ok(some.len())
    }

    /// Does nothing: all parts but the last have the same length.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for ValueWriter {
    fn drop(&mut self) {
        if !self.has_ended
            && let Err(error) = self.store.step(UploadStep::Abort { upload: self.upload })
        {
            tracing::warn!(%error, "a value that was not written to its end was not given up");
        }
    }
}

/// A value that is being read. An error of its `Read` has a [`ReadError`] inside.
#[derive(Debug)]
pub struct ValueReader {
    store: Store,
    key: Bytes,
    revision: u64,
    value_bytes: u64,
    read: Bytes,
    /// What is still to be read, from which part on.
    rest: Option<(InParts, u32)>,
}

impl ValueReader {
    /// The revision of the put.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The length of the value.
    pub fn value_bytes(&self) -> u64 {
        self.value_bytes
    }
}

impl Read for ValueReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read.is_empty()
            && let Some((parts, next)) = &mut self.rest
            && *next < parts.parts
        {
            let part = self.store.read_part(&self.key, parts.value, *next);
            self.read = part.map_err(io::Error::other)?;
            *next += 1;
        }
        let count = buffer.len().min(self.read.len());
        self.read.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
