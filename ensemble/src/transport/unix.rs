//! UNIX sockets. A lock file beside the socket tells a live listener from what a crash left behind: the system lets
//! go of the lock when the process ends, however it ends.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};

use super::{Stream, TransportError};
use crate::address::{Address, MAX_SOCKET_PATH_BYTES};

pub(super) async fn connect(path: &Path) -> io::Result<Stream> {
    if path.as_os_str().as_bytes().len() > MAX_SOCKET_PATH_BYTES {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    stream(UnixStream::connect(path).await?)
}

fn stream(socket: UnixStream) -> io::Result<Stream> {
    let peer_uid = Some(socket.peer_cred()?.uid());
    let (reader, writer) = socket.into_split();
    Ok(Stream { reader: Box::new(reader), writer: Box::new(writer), peer_uid, peer_address: None })
}

pub(crate) struct Listener {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket, so that only the own one is removed.
    identity: Option<(u64, u64)>,
    _lock: File,
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(OsString::from(".lock"));
    name.into()
}

impl Listener {
    pub(super) fn bind(path: &Path, address: &Address) -> Result<Self, TransportError> {
        let bytes = path.as_os_str().as_bytes().len();
        if bytes > MAX_SOCKET_PATH_BYTES {
            return Err(TransportError::PathTooLong { address: address.clone(), bytes });
        }
        let failed = |source| TransportError::io(address, source);
        let in_use = || TransportError::InUse { address: address.clone() };
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(lock_path(path))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(TransportError::NotASocket { address: address.clone() });
            }
            // Somebody who knows nothing of the lock may listen there.
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => return Err(in_use()),
            Ok(_) => {
                tracing::info!(path = %path.display(), "removing the socket that a crashed server left behind");
                fs::remove_file(path).map_err(failed)?;
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(failed(cause)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned(), identity: identity(path), _lock: lock })
    }

    pub(super) async fn accept(&mut self) -> io::Result<Stream> {
        stream(self.listener.accept().await?.0)
    }

    pub(super) fn address(&self) -> Address {
        Address::Unix(self.path.clone())
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The lock file stays: removing it would let two processes lock two files of the same name.
        if self.identity.is_some()
            && identity(&self.path) == self.identity
            && let Err(cause) = fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %cause, "the socket could not be removed");
        }
    }
}
