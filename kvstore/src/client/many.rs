//! The client's calls with many keys.

use super::{
    error::ClientError,
    handle::{Again, Client, checked},
};
use crate::messages::{Apply, Done, GetMany, Op, StoreError, Value};

impl Client {
    /// Reads many keys, up to 1024, as they are at one moment. Each has its own answer, in the order of the keys.
    ///
    /// # Errors
    /// When a key is none, there are too many, their values are longer together than a value may be
    /// ([`StoreError::AnswerTooLarge`]), or the store cannot be asked.
    pub async fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Result<Option<Value>, StoreError>>, ClientError> {
        let keys = keys.into_iter().map(|key| checked(key.as_ref()));
        let get = GetMany { keys: keys.collect::<Result<_, _>>()? };
        let values = self.call(self.time_for(0), Again::UnlessAnswered, || get.clone()).await??;
        Ok(values.into_values())
    }

    /// Does several writes, up to 1024, all or none, each of another key. They are on disk when this returns. All conditions
    /// are judged before anything is changed.
    ///
    /// ```no_run
    /// use kvstore::messages::{Condition, Op};
    ///
    /// # async fn transfer(store: kvstore::Client, seen: u64) -> Result<(), kvstore::ClientError> {
    /// store
    ///     .apply([
    ///         Op::Put { key: "new-name".into(), value: "v".into(), condition: Condition::Absent, ttl_ms: None },
    ///         Op::Remove { key: "old-name".into(), condition: Condition::Revision(seen) },
    ///     ])
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ClientError::Apply`], which says which of the writes keeps all from being done; or the store cannot be asked.
    pub async fn apply(&self, writes: impl IntoIterator<Item = Op>) -> Result<Vec<Done>, ClientError> {
        let apply = Apply { writes: writes.into_iter().collect() };
        let time = self.time_for(apply.value_bytes());
        Ok(self.call(time, Again::UnlessSent, || apply.clone()).await??)
    }
}
