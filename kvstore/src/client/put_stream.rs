//! Storing a value that is read piece by piece.

use std::{collections::VecDeque, io, time::Duration};

use bytes::{Bytes, BytesMut};
use crc32fast::Hasher;
use ensemble::RemoteAddr;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{
    error::ClientError,
    handle::{Again, Client, checked},
    options::PutOptions,
    patience::{ATTEMPTS, PAUSE, is_for_a_while},
    window::Window,
};
use crate::{
    messages::{
        PutDone, StoreError, UploadAbort, UploadBegin, UploadBegun, UploadFinish, UploadPart, UploadPartDone,
    },
    store::MAX_PART_BYTES,
};

/// Parts that are under way at once: the next are sent while those before them are written to the disk.
pub(super) const PARTS_IN_FLIGHT: usize = 4;

/// A value that ends within so many bytes is put as a whole.
const WHOLE_BYTES: usize = 1 << 20;

/// How long the parts under way may take beyond a short call.
const PARTS_TIME: Duration = Duration::from_secs(10);

impl Client {
    /// Stores what `input` gives, to its end, as the options say. However long it is, a few MiB of it are in memory at a time;
    /// it may be as long as the server's option `max-value` says. It is there all at once, when this returns, or not at all.
    /// Where its length is known, a value that is too long is refused before it is read. What an overloaded store refuses is
    /// sent again, for two seconds.
    ///
    /// When the future is dropped, the store is told to give the put up. That is sent in the background, and is lost when the
    /// node is dropped at once; another call of this client that is answered has come behind it. A put that was just
    /// being finished may be done all the same.
    ///
    /// ```no_run
    /// # async fn store_file(store: kvstore::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use kvstore::PutOptions;
    ///
    /// let file = std::io::Cursor::new(vec![7; 100 << 20]);
    /// store.put_stream("disk.img", file, None, PutOptions::new().if_absent()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`put_with`](Self::put_with); [`ClientError::Input`] when `input` fails; [`StoreError::NoSuchUpload`] when it gives
    /// nothing for five minutes or the server was started anew meanwhile.
    pub async fn put_stream(
        &self,
        key: impl AsRef<[u8]>,
        mut input: impl AsyncRead + Unpin,
        length: Option<u64>,
        options: PutOptions,
    ) -> Result<PutDone, ClientError> {
        let key = checked(key.as_ref())?;
        let begin = read_up_to(&mut input, WHOLE_BYTES).await?;
        if begin.len() < WHOLE_BYTES {
            return if options == PutOptions::new() {
                self.put(key, begin).await
            } else {
                self.put_with(key, begin, options).await
            };
        }
        let value_bytes = length.filter(|length| *length >= WHOLE_BYTES as u64);
        let message = UploadBegin { key: key.clone(), condition: options.condition, value_bytes };
        let UploadBegun { upload, part_bytes } =
            self.call_patiently(Again::UnlessSent, || message.clone()).await?;
        let given_up = GivenUp { remote: Some(self.remote().clone()), upload };
        let mut sending = Sending {
            client: self.clone(),
            upload,
            part_bytes: part_bytes as usize,
            next: 0,
            unanswered: VecDeque::new(),
            window: Window::default(),
            attempts: 0,
            value_bytes: 0,
            checksum: Hasher::new(),
        };
        let done = match sending.send_all(begin, &mut input).await {
            Ok(()) => sending.finish(key, options).await,
            Err(why) => Err(why),
        };
        given_up.unless_needed(self, done.as_ref().err()).await;
        done
    }

    pub(super) fn parts_time(&self) -> Duration {
        self.time_or(PARTS_TIME)
    }
}

/// Reads until there are so many bytes, or the end.
async fn read_up_to(input: &mut (impl AsyncRead + Unpin), bytes: usize) -> Result<Bytes, ClientError> {
    let mut read = BytesMut::with_capacity(bytes);
    let mut limited = input.take(bytes as u64);
    while read.len() < bytes && limited.read_buf(&mut read).await.map_err(input_failed)? > 0 {}
    Ok(read.freeze())
}

fn input_failed(cause: io::Error) -> ClientError {
    ClientError::Input { kind: cause.kind(), why: cause.to_string() }
}

/// An upload under way.
struct Sending {
    client: Client,
    upload: u64,
    part_bytes: usize,
    /// The number of the next part.
    next: u32,
    /// What was sent and may have to be sent again, in its order.
    unanswered: VecDeque<UploadPart>,
    window: Window<Result<UploadPartDone, ClientError>>,
    attempts: u32,
    value_bytes: u64,
    checksum: Hasher,
}

impl Sending {
    /// Sends what was read, and the rest.
    async fn send_all(
        &mut self,
        mut read: Bytes,
        input: &mut (impl AsyncRead + Unpin),
    ) -> Result<(), ClientError> {
        // A part is held in memory, several times over.
        if !(1..=MAX_PART_BYTES).contains(&self.part_bytes) {
            let (bytes, limit) = (self.part_bytes as u64, MAX_PART_BYTES as u64);
            return Err(StoreError::PartLength { bytes, limit }.into());
        }
        let mut is_end = false;
        while !is_end {
            while read.len() >= self.part_bytes {
                self.send(read.split_to(self.part_bytes)).await?;
            }
            let missing = self.part_bytes - read.len();
            let more = self.window.meanwhile(read_up_to(input, missing)).await?;
            is_end = more.len() < missing;
            read = if read.is_empty() { more } else { [read, more].concat().into() };
        }
        if !read.is_empty() {
            self.send(read).await?;
        }
        while !self.unanswered.is_empty() {
            self.answered().await?;
        }
        Ok(())
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), ClientError> {
        while self.window.len() >= PARTS_IN_FLIGHT {
            self.answered().await?;
        }
        self.checksum.update(&bytes);
        self.value_bytes += bytes.len() as u64;
        let part = UploadPart { upload: self.upload, number: self.next, bytes };
        let too_many = StoreError::ValueTooLarge { bytes: self.value_bytes, limit: self.value_bytes - 1 };
        self.next = self.next.checked_add(1).ok_or(too_many)?;
        self.begin(part.clone());
        self.unanswered.push_back(part);
        Ok(())
    }

    fn begin(&mut self, part: UploadPart) {
        let client = self.client.clone();
        self.window.push(async move {
            let time = client.parts_time();
            Ok(client.call(time, Again::UnlessAnswered, || part.clone()).await??)
        });
    }

    /// Waits for the first answer. When the store has too much to do, it and all behind it are sent again.
    async fn answered(&mut self) -> Result<(), ClientError> {
        match self.window.next().await {
            Some(Ok(UploadPartDone { .. })) => {
                self.unanswered.pop_front();
                self.attempts = 0;
                Ok(())
            }
            Some(Err(why)) if self.attempts < ATTEMPTS && is_for_a_while(&why) => {
                self.attempts += 1;
                self.window = Window::default();
                tokio::time::sleep(PAUSE).await;
                for part in self.unanswered.clone() {
                    self.begin(part);
                }
                Ok(())
            }
            Some(Err(why)) => Err(why),
            None => Ok(()),
        }
    }

    async fn finish(&mut self, key: Bytes, options: PutOptions) -> Result<PutDone, ClientError> {
        let finish = UploadFinish {
            upload: self.upload,
            key,
            condition: options.condition,
            ttl_ms: options.ttl_ms(),
            value_bytes: self.value_bytes,
            checksum: self.checksum.clone().finalize(),
        };
        self.client.call_patiently(Again::UnlessSent, || finish.clone()).await
    }
}

/// An upload that is given up when this is dropped, as the future is that it belongs to.
struct GivenUp {
    remote: Option<RemoteAddr>,
    upload: u64,
}

impl GivenUp {
    /// Gives it up where it has failed, and was not ended by that.
    async fn unless_needed(mut self, client: &Client, why: Option<&ClientError>) {
        self.remote = None;
        if why.is_some() {
            let abort = UploadAbort { upload: self.upload };
            let given_up = client.call(client.time_for(0), Again::UnlessAnswered, || abort).await;
            if !matches!(given_up, Ok(Ok(()))) {
                tracing::debug!(?given_up, "the store gives the upload up by itself later");
            }
        }
    }
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        if let Some(remote) = self.remote.take()
            && let Err(why) = remote.try_send(UploadAbort { upload: self.upload })
        {
            tracing::debug!(%why, "the store gives the upload up by itself later");
        }
    }
}
