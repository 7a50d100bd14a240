//! Input that may be too long for the memory: what is short is read whole, as in [`crate::files`], and the rest of what is
//! long comes in pieces, from a thread of its own.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Read},
    path::Path,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    thread,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::mpsc,
};

use crate::{
    exit::{Code, Failure, Outcome},
    files,
};

/// What is read at once.
const PIECE_BYTES: usize = 256 << 10;

/// Pieces that wait to be taken.
const MAX_WAITING: usize = 4;

/// An input whose beginning was read.
pub(crate) enum Input {
    /// All of it.
    Whole(Vec<u8>),
    /// More than was to be read at once.
    Long(Long),
}

/// A long input. It is read as a stream.
pub(crate) struct Long {
    /// What it is called.
    pub(crate) name: String,
    /// How long it is, where that can be known.
    pub(crate) bytes: Option<u64>,
    /// How much was taken, for whoever watches.
    pub(crate) taken: Rc<Cell<u64>>,
    piece: Bytes,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
}

/// Reads up to `whole_bytes`, and begins to read the rest, where there is more.
pub(crate) fn begin(path: &Path, whole_bytes: u64) -> Outcome<Input> {
    let name = files::name_of_input(path);
    let failed = |cause: io::Error| unreadable(&name, &cause.to_string());
    let (mut from, bytes): (Box<dyn Read + Send>, _) = if files::is_standard(path) {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        (Box::new(file), Some(metadata.len()).filter(|_| metadata.is_file()))
    };
    let mut content = Vec::new();
    (&mut from).take(whole_bytes + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 <= whole_bytes {
        return Ok(Input::Whole(content));
    }
    let (to, pieces) = mpsc::channel(MAX_WAITING);
    thread::Builder::new().name("input".to_owned()).spawn(move || read_all(from, &to)).map_err(failed)?;
    // A file that grows meanwhile is longer than it was.
    let bytes = bytes.filter(|bytes| *bytes >= content.len() as u64);
    Ok(Input::Long(Long { name, bytes, taken: Rc::default(), piece: content.into(), pieces }))
}

/// The failure of an input.
pub(crate) fn unreadable(name: &str, why: &str) -> Failure {
    Failure::new(Code::Failed, format_args!("cannot read {name}: {why}")).advise("name a file with --input")
}

/// Reads until the end, an error, or nobody takes it any more.
fn read_all(mut from: impl Read, to: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = BytesMut::zeroed(PIECE_BYTES);
        let read = match from.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => Ok(piece.split_to(count).freeze()),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => Err(cause),
        };
        let is_over = read.is_err();
        if to.blocking_send(read).is_err() || is_over {
            return;
        }
    }
}

impl AsyncRead for Long {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.piece.is_empty() {
            match ready!(self.pieces.poll_recv(context)) {
                None => return Poll::Ready(Ok(())),
                Some(piece) => self.piece = piece?,
            }
        }
        let count = buffer.remaining().min(self.piece.len());
        buffer.put_slice(&self.piece[..count]);
        self.piece.advance(count);
        self.taken.set(self.taken.get() + count as u64);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_is_short_is_read_whole_and_what_is_long_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in");
        let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        for (length, whole_bytes, is_whole) in
            [(0, 0, true), (10, 10, true), (11, 10, false), (content.len(), 1 << 20, false)]
        {
            fs::write(&path, &content[..length]).unwrap();
            match begin(&path, whole_bytes).unwrap() {
                Input::Whole(read) => assert!(is_whole && read == content[..length]),
                Input::Long(mut long) => {
                    assert!(!is_whole);
                    assert_eq!(long.bytes, Some(length as u64));
                    let mut read = Vec::new();
                    long.read_to_end(&mut read).await.unwrap();
                    assert!(read == content[..length]);
                    assert_eq!(long.taken.get(), length as u64);
                }
            }
        }
        let missing = begin(&dir.path().join("none"), 1).err().unwrap().to_string();
        assert!(missing.contains("cannot read") && missing.contains("none"), "{missing}");
        assert!(begin(dir.path(), 1).is_err(), "a directory");
    }

    #[tokio::test]
    async fn an_input_that_fails_says_so() {
        struct Torn;
        impl Read for Torn {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("torn"))
            }
        }
        let (to, pieces) = mpsc::channel(1);
        thread::spawn(move || read_all(Torn, &to));
        let mut long =
            Long { name: String::new(), bytes: None, taken: Rc::default(), piece: Bytes::new(), pieces };
        assert_eq!(long.read(&mut [0]).await.unwrap_err().to_string(), "torn");
    }
}
