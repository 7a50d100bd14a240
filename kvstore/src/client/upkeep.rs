//! The client's calls for operators.

use std::{os::unix::ffi::OsStrExt, path::Path};

use bytes::Bytes;

use super::{
    error::ClientError,
    handle::{Again, Client},
};
use crate::messages::{Backup, BackupDone, Compact, CompactDone, VerifiedPart, Verify};

impl Client {
    /// Has the store check some of its records, from the one behind `after` on (empty: from the first).
    /// [`VerifiedPart::next`] is what to go on behind.
    ///
    /// # Errors
    /// When the store cannot be asked, or its database cannot be read.
    pub async fn verify(&self, after: &Bytes) -> Result<VerifiedPart, ClientError> {
        Ok(self.call(self.time_for(0), Again::UnlessAnswered, || Verify { after: after.clone() }).await??)
    }

    /// Has the store give the free room in its file back to the file system; writes wait for it. It takes long, as a
    /// [`backup`](Self::backup) does.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`](crate::messages::StoreError::Overloaded) during another or a backup; or the store cannot
    /// be asked.
    pub async fn compact(&self) -> Result<CompactDone, ClientError> {
        Ok(self.call(self.time_for(0), Again::UnlessSent, || Compact).await??)
    }

    /// Has the server write a backup of the store to a new file of its own machine, with an absolute path. A store of some
    /// size takes longer than a call may by default: set a longer time with [`with_timeout`](Self::with_timeout).
    ///
    /// # Errors
    /// [`ClientError::Backup`], or the store cannot be asked. When it is unknown whether it was done, the file tells: it
    /// appears whole or not at all.
    pub async fn backup(&self, path: &Path) -> Result<BackupDone, ClientError> {
        let backup = Backup { path: Bytes::copy_from_slice(path.as_os_str().as_bytes()) };
        Ok(self.call(self.time_for(0), Again::UnlessSent, || backup.clone()).await??)
    }
}
