//! The client's calls that look at a store without reading values.

use bytes::Bytes;

use super::{
    error::ClientError,
    handle::{Again, Client, checked},
};
use crate::messages::{GetLimits, KeyPage, KeyStat, List, Stat, StatKey, StoreLimits, StoreStat};

impl Client {
    /// What is known about a key, whose record is checked; `None` where there is no such key.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn stat_key(&self, key: impl AsRef<[u8]>) -> Result<Option<KeyStat>, ClientError> {
        let stat = StatKey { key: checked(key.as_ref())? };
        Ok(self.call(self.time_for(0), Again::UnlessAnswered, || stat.clone()).await??)
    }

    /// How the store is.
    ///
    /// # Errors
    /// When the store cannot be asked, or its database fails.
    pub async fn stat(&self) -> Result<StoreStat, ClientError> {
        Ok(self.call(self.time_for(0), Again::UnlessAnswered, || Stat).await??)
    }

    /// How long keys and values may be.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn limits(&self) -> Result<StoreLimits, ClientError> {
        Ok(self.call(self.time_for(0), Again::UnlessAnswered, || GetLimits).await?)
    }

    /// Some of the keys that begin with `prefix`, from the first one behind `after` on (empty: from the beginning): at most
    /// `limit` of them, and never more than 1000. [`KeyPage::next`] is what to go on behind.
    ///
    /// ```no_run
    /// # async fn all_keys(store: kvstore::Client) -> Result<(), kvstore::ClientError> {
    /// let mut after = Some(Default::default());
    /// while let Some(last) = after {
    ///     let page = store.list("users/", &last, 1000).await?;
    ///     for listed in page.keys {
    ///         println!("{:?}", listed.key);
    ///     }
    ///     after = page.next;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the prefix is longer than a key can be, or the store cannot be asked.
    pub async fn list(
        &self,
        prefix: impl AsRef<[u8]>,
        after: &Bytes,
        limit: u32,
    ) -> Result<KeyPage, ClientError> {
        let list = List { prefix: Bytes::copy_from_slice(prefix.as_ref()), after: after.clone(), limit };
        Ok(self.call(self.time_for(0), Again::UnlessAnswered, || list.clone()).await??)
    }
}
