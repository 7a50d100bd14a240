//! Output that is written in pieces, on a thread of its own, so that a slow disk or reader keeps no connection waiting. A file
//! appears whole or not at all, as in [`crate::files`].

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    exit::{Code, Failure, Outcome},
    files::{self, Temporary},
};

/// Pieces that wait to be written.
const MAX_WAITING: usize = 2;

/// An output that takes pieces.
pub(crate) struct Pieces {
    name: String,
    /// Whether something has to be removed when it is given up.
    is_file: bool,
    to_thread: mpsc::Sender<Piece>,
    /// None once it has been heard.
    written: Option<oneshot::Receiver<io::Result<()>>>,
}

enum Piece {
    Bytes(Vec<u8>),
    /// There are no more: the file is moved to its place.
    End,
}

impl Pieces {
    /// Begins to write to `path`; `-` is standard output.
    pub(crate) fn begin(path: &Path) -> Outcome<Self> {
        let name =
            if files::is_standard(path) { "standard output".to_owned() } else { path.display().to_string() };
        let begun = if files::is_standard(path) { Ok(Output::Standard) } else { Output::beside(path) };
        let output = begun.map_err(|cause| failure(&name, &cause))?;
        let is_file = matches!(output, Output::File { .. });
        let (to_thread, pieces) = mpsc::channel(MAX_WAITING);
        let (tell, written) = oneshot::channel();
        let write = move || {
            if tell.send(output.write_all(pieces)).is_err() {
                tracing::debug!("nobody waits for the output any more");
            }
        };
        thread::Builder::new().name("output".to_owned()).spawn(write).map_err(|cause| {
            Failure::new(Code::Failed, format_args!("{name} cannot be written: {cause}"))
                .advise("the system has no room for another thread: end other processes")
        })?;
        Ok(Self { name, is_file, to_thread, written: Some(written) })
    }

    /// Whether it is an ordinary file, of which nothing is there before its end.
    pub(crate) fn is_file(&self) -> bool {
        self.is_file
    }

    /// Hands over a piece; waits where there are too many.
    pub(crate) async fn write(&mut self, bytes: Vec<u8>) -> Outcome {
        match self.to_thread.send(Piece::Bytes(bytes)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.why().await),
        }
    }

    /// Waits until all of it is written, and a file in its place.
    pub(crate) async fn finish(mut self) -> Outcome {
        // Where the thread has ended already, it has said why.
        drop(self.to_thread.send(Piece::End).await);
        self.heard().await.unwrap_or_else(|| Err(ended(&self.name)))
    }

    /// Gives up: waits until what was written of a file is removed. Whoever reads standard output may keep it waiting for
    /// ever.
    pub(crate) async fn abandon(mut self) {
        // That is how the thread knows.
        drop(std::mem::replace(&mut self.to_thread, mpsc::channel(1).0));
        if self.is_file {
            drop(self.heard().await);
        }
    }

    /// Why the thread has ended.
    async fn why(&mut self) -> Failure {
        match self.heard().await {
            Some(Err(failure)) => failure,
            Some(Ok(())) | None => ended(&self.name),
        }
    }

    /// What the thread says at its end; none when it has said it before, or nothing.
    async fn heard(&mut self) -> Option<Outcome> {
        let written = self.written.take()?.await.ok()?;
        Some(written.map_err(|cause| failure(&self.name, &cause)))
    }
}

fn failure(name: &str, cause: &io::Error) -> Failure {
    if name == "standard output" {
        return crate::printer::output_failure(cause);
    }
    Failure::new(Code::Failed, format_args!("cannot write {name}: {cause}"))
        .advise("nothing is left half-written; choose another --output")
}

fn ended(name: &str) -> Failure {
    Failure::new(Code::Failed, format_args!("cannot write {name}: its thread has ended"))
}

enum Output {
    Standard,
    /// No ordinary file, such as a device or a pipe.
    Direct(File),
    File {
        file: File,
        temporary: Temporary,
        target: PathBuf,
    },
}

impl Output {
    fn beside(path: &Path) -> io::Result<Self> {
        // Through a symbolic link, so that what it points to is replaced and not the link.
        let target = match fs::canonicalize(path) {
            Ok(target) => target,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(cause) => return Err(cause),
        };
        let permissions = match fs::metadata(&target) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => {
                return Ok(Self::Direct(OpenOptions::new().write(true).open(&target)?));
            }
            Ok(found) => Some(found.permissions()),
            Err(_) => None,
        };
        Self::temporary(target, permissions)
    }

    fn temporary(target: PathBuf, permissions: Option<Permissions>) -> io::Result<Self> {
        let temporary = Temporary::beside(&target);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary.0)?;
        if let Some(permissions) = permissions {
            file.set_permissions(permissions)?;
        }
        Ok(Self::File { file, temporary, target })
    }

    fn write_all(mut self, mut pieces: mpsc::Receiver<Piece>) -> io::Result<()> {
        while let Some(piece) = pieces.blocking_recv() {
            match piece {
                Piece::Bytes(bytes) => self.write(&bytes)?,
                Piece::End => return self.finish(),
            }
        }
        // Given up: a temporary file is removed.
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Standard => io::stdout().lock().write_all(bytes),
            Self::Direct(file) | Self::File { file, .. } => file.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Standard => io::stdout().lock().flush(),
            Self::Direct(_) => Ok(()),
            Self::File { file, temporary, target } => {
                // A disk that is full may say so only now.
                file.sync_all()?;
                fs::rename(&temporary.0, target)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut pieces = Pieces::begin(&path).unwrap();
        for piece in ["one ", "two ", "three ", "four"] {
            pieces.write(piece.into()).await.unwrap();
            assert!(!path.exists());
        }
        pieces.finish().await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one two three four");
        let mut given_up = Pieces::begin(&path).unwrap();
        given_up.write(b"other".to_vec()).await.unwrap();
        given_up.abandon().await;
        assert_eq!(fs::read(&path).unwrap(), b"one two three four");
        assert_eq!(names(dir.path()), ["out"]);
        let mut full = Pieces::begin(Path::new("/dev/full")).unwrap();
        let failure = loop {
            if let Err(failure) = full.write(vec![0; 4096]).await {
                break failure;
            }
        };
        full.abandon().await;
        assert!(failure.to_string().contains("cannot write /dev/full: No space left"), "{failure}");
        assert!(Pieces::begin(dir.path()).is_err());
    }
}
