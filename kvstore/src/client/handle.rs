//! The client: calls, deadlines, trying again, and objects.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ensemble::{CallError, Node, NotSent, RemoteAddr, RemoteMessage, Unknown};
use serde::{Serialize, de::DeserializeOwned};

use super::{error::ClientError, options::PutOptions};
use crate::{
    actor::ACTOR,
    messages::{Get, GetLimits, Put, PutDone, PutWith, Remove, RemoveDone, RemoveIf, StoreError, Value},
    object::{Object, from_object, to_object},
    store::MAX_KEY_BYTES,
};

/// For a value of this length and more, the store is asked for its limit before the value is sent.
const ASK_LIMIT_FROM_BYTES: usize = 1 << 20;

/// How fast a value may come over at least: what the default deadline of a put counts with, per second.
const SLOWEST_BYTES: usize = 8 << 20;

/// How long a put of so many bytes may take by default, where a short call may take `call_timeout`: a second more for
/// each 8 MiB.
pub fn put_time(call_timeout: Duration, bytes: usize) -> Duration {
    call_timeout + Duration::from_secs((bytes / SLOWEST_BYTES) as u64)
}

/// A way to use the store of a server, anywhere in the ensemble. Cheap to clone.
///
/// Keys have 1 to 511 bytes, any bytes; values up to 64 MiB, unless the server is set up otherwise. A missing key is
/// `None`, which an empty value is not. [`put_stream`](Self::put_stream) and [`get_stream`](Self::get_stream) are for values
/// that are too long for the memory or for one message.
///
/// - *Deadlines.* A call takes at most the node's [`call_timeout`](ensemble::Limits::call_timeout), 5 s unless it is
///   set, and a put of a large value a second more for each 8 MiB. How long a value is that it gets, a get cannot
///   know: who reads large values over a slow connection sets a longer time with [`with_timeout`](Self::with_timeout).
/// - *Trying again.* A call that was not sent because the connection was lost is sent once more, and so is a get that
///   has lost its answer. A write whose outcome is unknown is never sent again.
/// - *Order.* Writes through one client (and its clones) are done in the order in which they were begun, except when
///   one is tried again. A get sees the writes that were answered before it was begun, and perhaps others.
#[derive(Debug, Clone)]
pub struct Client {
    remote: RemoteAddr,
    call_timeout: Duration,
    timeout: Option<Duration>,
}

impl Client {
    /// A client of the store that `server` offers, under the name that [`KvStoreRole`](crate::KvStoreRole) gives it. It
    /// does not keep the node: when that is dropped, calls fail.
    pub fn new(node: &Node, server: impl AsRef<str>) -> Self {
        Self::of(node, node.remote(server, ACTOR))
    }

    /// A client of the store behind an address, for one that is exported under another name.
    pub fn of(node: &Node, remote: RemoteAddr) -> Self {
        Self { remote, call_timeout: node.limits().call_timeout, timeout: None }
    }

    /// The same, with this much time for each call, whatever its size.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Reads a key; `None` where there is no such key.
    ///
    /// # Errors
    /// When the key is none, the record is damaged, or the store cannot be asked.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>, ClientError> {
        let get = Get { key: checked(key.as_ref())? };
        let value = self.call(self.time_for(0), Again::UnlessAnswered, || get.clone()).await??;
        Ok(value.map(Value::released))
    }

    /// Stores a value under a key, in place of what was there. It is on disk when this returns.
    ///
    /// # Errors
    /// When the key or the value is over its limit, the store is full, or it cannot be asked.
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<PutDone, ClientError> {
        let put = Put { key: checked(key.as_ref())?, value: value.into() };
        let time = self.check_length(put.value.len()).await?;
        Ok(self.call(time, Again::UnlessSent, || put.clone()).await??)
    }

    /// Stores a value under a key as the options say.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`StoreError::Conflict`] when the condition does not hold.
    pub async fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<PutDone, ClientError> {
        let (condition, ttl_ms) = (options.condition, options.ttl_ms());
        let put = PutWith { key: checked(key.as_ref())?, value: value.into(), condition, ttl_ms };
        let time = self.check_length(put.value.len()).await?;
        Ok(self.call(time, Again::UnlessSent, || put.clone()).await??)
    }

    /// Removes a key. That there is no such key is no error.
    ///
    /// # Errors
    /// When the key is none, or the store cannot be asked.
    pub async fn remove(&self, key: impl AsRef<[u8]>) -> Result<RemoveDone, ClientError> {
        let remove = Remove { key: checked(key.as_ref())? };
        Ok(self.call(self.time_for(0), Again::UnlessSent, || remove.clone()).await??)
    }

    /// Removes a key if it has this revision.
    ///
    /// # Errors
    /// As [`remove`](Self::remove), and [`StoreError::Conflict`] when the key has another revision, or is not there.
    pub async fn remove_if(&self, key: impl AsRef<[u8]>, revision: u64) -> Result<RemoveDone, ClientError> {
        let remove = RemoveIf { key: checked(key.as_ref())?, revision };
        Ok(self.call(self.time_for(0), Again::UnlessSent, || remove.clone()).await??)
    }

    /// Reads a value of any type that serde can read, as [`from_object`] does.
    ///
    /// # Errors
    /// As [`get`](Self::get), and when the value is no object or of another shape than the type.
    pub async fn get_object<T: DeserializeOwned>(
        &self,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<T>, ClientError> {
        match self.get_value(key).await? {
            Some(object) => from_object(&object).map(Some).map_err(ClientError::Shape),
            None => Ok(None),
        }
    }

    /// Stores a value of any type that serde can write, as [`to_object`] makes an object of it.
    ///
    /// # Errors
    /// As [`put`](Self::put), and when the value cannot become an object.
    pub async fn put_object<T: Serialize + ?Sized>(
        &self,
        key: impl AsRef<[u8]>,
        value: &T,
    ) -> Result<PutDone, ClientError> {
        self.put_value(key, &to_object(value).map_err(ClientError::NoObject)?).await
    }

    /// Reads an object as it is. It may take some fifty times the memory of its bytes.
    ///
    /// # Errors
    /// As [`get`](Self::get), and when the value is no object.
    pub async fn get_value(&self, key: impl AsRef<[u8]>) -> Result<Option<Object>, ClientError> {
        match self.get(key).await? {
            Some(value) => Object::from_bytes(&value.bytes).map(Some).map_err(ClientError::NotAnObject),
            None => Ok(None),
        }
    }

    /// Stores an object as it is.
    ///
    /// # Errors
    /// As [`put`](Self::put), and when the object is nested too deep.
    pub async fn put_value(&self, key: impl AsRef<[u8]>, object: &Object) -> Result<PutDone, ClientError> {
        self.put(key, object.to_bytes().map_err(ClientError::TooDeep)?).await
    }

    /// Spares a long value the way when it would be refused; says how much time its put has.
    pub(super) async fn check_length(&self, bytes: usize) -> Result<Duration, ClientError> {
        let time = self.time_for(bytes);
        if bytes >= ASK_LIMIT_FROM_BYTES {
            let limit = self.call(time, Again::UnlessAnswered, || GetLimits).await?.max_value_bytes;
            if bytes as u64 > limit {
                return Err(StoreError::ValueTooLarge { bytes: bytes as u64, limit }.into());
            }
        }
        Ok(time)
    }

    pub(super) fn remote(&self) -> &RemoteAddr {
        &self.remote
    }

    /// How long a call may take that may take this much longer than a short one.
    pub(super) fn time_or(&self, longer: Duration) -> Duration {
        self.timeout.unwrap_or(self.call_timeout + longer)
    }

    pub(super) fn time_for(&self, bytes: usize) -> Duration {
        self.timeout.unwrap_or_else(|| put_time(self.call_timeout, bytes))
    }

    pub(super) async fn call<M: RemoteMessage>(
        &self,
        time: Duration,
        again: Again,
        message: impl Fn() -> M,
    ) -> Result<M::Result, CallError> {
        let began = Instant::now();
        match self.remote.clone().with_timeout(time).send(message()).await {
            Err(why) if again.is_allowed(&why) => {
                let left = time.saturating_sub(began.elapsed());
                self.remote.clone().with_timeout(left).send(message()).await
            }
            outcome => outcome,
        }
    }
}

/// When a call that lost its connection is sent once more.
#[derive(Clone, Copy)]
pub(super) enum Again {
    /// What may be done twice.
    UnlessAnswered,
    /// What may not.
    UnlessSent,
}

impl Again {
    fn is_allowed(self, why: &CallError) -> bool {
        match why {
            CallError::NotSent(NotSent::ConnectionLost) => true,
            CallError::Unknown(Unknown::ConnectionLost) => matches!(self, Self::UnlessAnswered),
            _ => false,
        }
    }
}

/// A key within the limits, which no store can have otherwise.
pub(super) fn checked(key: &[u8]) -> Result<Bytes, StoreError> {
    match key.len() {
        1..=MAX_KEY_BYTES => Ok(Bytes::copy_from_slice(key)),
        bytes => Err(StoreError::KeyLength { bytes: bytes as u64, limit: MAX_KEY_BYTES as u64 }),
    }
}

#[cfg(test)]
mod tests {
    use ensemble::{Cookie, Failure, Refusal};

    use super::*;

    #[test]
    fn only_what_a_lost_connection_kept_from_being_done_twice_is_sent_again() {
        let not_sent = CallError::NotSent(NotSent::ConnectionLost);
        let no_answer = CallError::Unknown(Unknown::ConnectionLost);
        assert!(Again::UnlessSent.is_allowed(&not_sent));
        assert!(!Again::UnlessSent.is_allowed(&no_answer));
        assert!(Again::UnlessAnswered.is_allowed(&not_sent));
        assert!(Again::UnlessAnswered.is_allowed(&no_answer));
        for other in [
            CallError::NotSent(NotSent::Deadline),
            CallError::NotSent(NotSent::QueueFull),
            CallError::Unknown(Unknown::Deadline),
            CallError::Refused(Refusal::Overloaded),
            CallError::Failed(Failure::Died),
        ] {
            assert!(!Again::UnlessSent.is_allowed(&other), "{other:?}");
            assert!(!Again::UnlessAnswered.is_allowed(&other), "{other:?}");
        }
    }

    #[actix::test]
    async fn a_large_value_has_more_time_unless_a_time_is_set() {
        let cookie = Cookie::generate().unwrap();
        let node = Node::builder("node").cookie(cookie).start().await.unwrap();
        let client = Client::new(&node, "kvstore");
        let default = node.limits().call_timeout;
        assert_eq!(client.time_for(0), default);
        assert_eq!(client.time_for(64 << 20), default + Duration::from_secs(8));
        let timeout = Duration::from_millis(20);
        assert_eq!(client.with_timeout(timeout).time_for(64 << 20), timeout);
    }
}
