//! Reading a value piece by piece.

use bytes::Bytes;
use crc32fast::Hasher;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{
    error::ClientError,
    handle::{Again, Client, checked},
    put_stream::PARTS_IN_FLIGHT,
    window::Window,
};
use crate::messages::{InParts, Part, ReadBegin, ReadPart, Readable, Value};

impl Client {
    /// Begins to read a value however long it is; `None` where there is no such key. A few MiB of it are in memory at a time,
    /// or all of it where it was put as a whole.
    ///
    /// It is read to its end although it is replaced or removed meanwhile, unless its reader pauses for more than a minute or
    /// the store is full: then the answer is [`StoreError::ValueGone`](crate::messages::StoreError::ValueGone). What an
    /// overloaded store refuses is asked for again, twenty times.
    ///
    /// ```no_run
    /// # async fn copy(store: kvstore::Client) -> Result<(), kvstore::ClientError> {
    /// if let Some(mut value) = store.get_stream("disk.img").await? {
    ///     println!("{} bytes", value.value_bytes());
    ///     while let Some(piece) = value.next().await? {
    ///         println!("{} of them", piece.len());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_stream(&self, key: impl AsRef<[u8]>) -> Result<Option<ValueStream>, ClientError> {
        let key = checked(key.as_ref())?;
        let begin = ReadBegin { key: key.clone() };
        let begun = self.call_patiently(Again::UnlessAnswered, || begin.clone()).await?;
        if let Some(Readable::InParts(parts)) = &begun
            && !is_consistent(parts)
        {
            return Err(ClientError::Differs);
        }
        Ok(begun.map(|begun| {
            let (revision, value_bytes, rest) = match begun {
                Readable::Whole(value) => {
                    let Value { bytes, revision, .. } = value.released();
                    (revision, bytes.len() as u64, Rest::Whole(Some(bytes)))
                }
                Readable::InParts(parts) => {
                    let reading = Reading {
                        client: self.clone(),
                        key,
                        parts,
                        next: 0,
                        window: Window::default(),
                        taken: 0,
                        checksum: Hasher::new(),
                    };
                    (parts.revision, parts.value_bytes, Rest::Parts(Box::new(reading)))
                }
            };
            ValueStream { revision, value_bytes, rest }
        }))
    }
}

/// Whether there are as many parts as a value of this length has: without that, its end could come too early.
fn is_consistent(parts: &InParts) -> bool {
    parts.part_bytes > 0 && parts.value_bytes.div_ceil(parts.part_bytes.into()) == u64::from(parts.parts)
}

/// A value that is being read.
pub struct ValueStream {
    revision: u64,
    value_bytes: u64,
    rest: Rest,
}

enum Rest {
    Whole(Option<Bytes>),
    Parts(Box<Reading>),
}

struct Reading {
    client: Client,
    key: Bytes,
    parts: InParts,
    /// The number of the next part to ask for.
    next: u32,
    window: Window<Result<Bytes, ClientError>>,
    /// How many parts were taken.
    taken: u32,
    checksum: Hasher,
}

impl ValueStream {
    /// The revision of the put.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The length of the value.
    pub fn value_bytes(&self) -> u64 {
        self.value_bytes
    }

    /// The next piece; none at the end. What comes before that may not be taken for the whole value: with the end it is known
    /// that it was.
    ///
    /// # Errors
    /// As [`Client::get`]; [`StoreError::ValueGone`](crate::messages::StoreError::ValueGone); [`ClientError::Differs`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        match &mut self.rest {
            Rest::Whole(bytes) => Ok(bytes.take().filter(|bytes| !bytes.is_empty())),
            Rest::Parts(reading) => reading.next().await,
        }
    }

    /// Writes what is left to `output`, and says how many bytes that was.
    ///
    /// # Errors
    /// As [`next`](Self::next); [`ClientError::Output`] when `output` fails.
    pub async fn copy_to(&mut self, output: &mut (impl AsyncWrite + Unpin)) -> Result<u64, ClientError> {
        let failed =
            |cause: std::io::Error| ClientError::Output { kind: cause.kind(), why: cause.to_string() };
        let mut bytes = 0;
        while let Some(piece) = self.next().await? {
            bytes += piece.len() as u64;
            match &mut self.rest {
                Rest::Parts(reading) => reading.window.meanwhile(output.write_all(&piece)).await,
                Rest::Whole(_) => output.write_all(&piece).await,
            }
            .map_err(failed)?;
        }
        output.flush().await.map_err(failed)?;
        Ok(bytes)
    }
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while self.window.len() < PARTS_IN_FLIGHT && self.next < self.parts.parts {
            let read = ReadPart { key: self.key.clone(), value: self.parts.value, number: self.next };
            let client = self.client.clone();
            self.window.push(async move {
                let part: Part = client.call_patiently(Again::UnlessAnswered, || read.clone()).await?;
                Ok(part.bytes)
            });
            self.next += 1;
        }
        let Some(piece) = self.window.next().await.transpose()? else {
            let is_whole = self.checksum.clone().finalize() == self.parts.checksum;
            return if is_whole { Ok(None) } else { Err(ClientError::Differs) };
        };
        let before = u64::from(self.taken) * u64::from(self.parts.part_bytes);
        let expected = self.parts.value_bytes.saturating_sub(before).min(self.parts.part_bytes.into());
        if piece.len() as u64 != expected {
            return Err(ClientError::Differs);
        }
        self.taken += 1;
        self.checksum.update(&piece);
        Ok(Some(piece))
    }
}

impl std::fmt::Debug for ValueStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValueStream")
            .field("revision", &self.revision)
            .field("value_bytes", &self.value_bytes)
            .finish_non_exhaustive()
    }
}
