//! Reading all entries of a store in the order of their keys, page by page: keys from lists, values many at a time, some of
//! these calls under way at once. Nothing here is written anywhere.

use std::{
    collections::VecDeque,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use ensemble::{CallError, Failure as CallFailure};
use kvstore::{
    Client, ClientError,
    messages::{KeyPage, ListedKey, StoreError, Value},
};
use tokio::task::JoinHandle;

use super::super::{
    lines::{Entry, LeftOut},
    store::unless_overloaded,
};

/// How many keys are asked for at once.
const PAGE_KEYS: u32 = 1000;

/// How long values are together that are asked for at once; a longer one is asked for alone. A store reads up to this much
/// in one go.
const GROUP_BYTES: u64 = 1 << 20;

/// How long the values of all calls that are under way may be together; a longer one is asked for alone.
const WINDOW_BYTES: u64 = 8 * GROUP_BYTES;

/// How many calls for values are under way at most.
const WINDOW_GROUPS: usize = 16;

/// How often a key that changes is looked at before its value and its time to live are of the same revision.
const MAX_LOOKS: usize = 100;

/// What has been read of a key.
pub(super) enum Found {
    Entry(Entry),
    /// It is there, and cannot be read.
    LeftOut(LeftOut),
    /// It has gone since it was listed.
    Gone,
}

/// Reads the entries of a store.
pub(super) struct Pages {
    client: Client,
    prefix: Bytes,
    max_value_bytes: u64,
    listing: Option<Answer<Listed>>,
    listed: VecDeque<Wanted>,
    under_way: VecDeque<Group>,
}

struct Group {
    bytes: u64,
    answer: Answer<Vec<Found>>,
}

/// A key that is to be read, with what its list says.
struct Wanted {
    key: Bytes,
    value_bytes: u64,
    revision: Option<u64>,
    expires_at_ms: Option<u64>,
}

struct Listed {
    page: KeyPage,
    asked_at_ms: u64,
}

/// What comes of a call that has begun, whether or not it is waited for.
struct Answer<T>(JoinHandle<Result<T, ClientError>>);

impl<T: 'static> Answer<T> {
    fn begin(work: impl Future<Output = Result<T, ClientError>> + 'static) -> Self {
        Self(actix::spawn(work))
    }

    async fn get(self) -> Result<T, ClientError> {
        let cancelled = ClientError::Call(CallError::Failed(CallFailure::Cancelled));
        self.0.await.unwrap_or(Err(cancelled))
    }
}

impl Pages {
    /// Begins to read all that begins with `prefix`, values up to a length.
    pub(super) fn begin(client: Client, prefix: &[u8], max_value_bytes: u64) -> Self {
        let prefix = Bytes::copy_from_slice(prefix);
        let listing = Some(list(&client, &prefix, Bytes::new()));
        Self { client, prefix, max_value_bytes, listing, listed: VecDeque::new(), under_way: VecDeque::new() }
    }

    /// Some more, in the order of the keys; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Found>>, ClientError> {
        loop {
            while let Some(group) = self.next_group() {
                self.under_way.push_back(group);
            }
            if let Some(group) = self.under_way.pop_front() {
                return group.answer.get().await.map(Some);
            }
            if !self.listed.is_empty() {
                continue;
            }
            let Some(listing) = self.listing.take() else { return Ok(None) };
            self.take(listing.get().await?);
        }
    }

    fn take(&mut self, Listed { page, asked_at_ms }: Listed) {
        // The next page is on its way while the values of this one are read.
        self.listing = page.next.map(|next| list(&self.client, &self.prefix, next));
        self.listed.extend(page.keys.into_iter().map(|listed| Wanted::new(listed, asked_at_ms)));
    }

    /// Begins to read some of the listed keys, unless too much is under way.
    fn next_group(&mut self) -> Option<Group> {
        let first = self.listed.front()?;
        let bytes_under_way: u64 = self.under_way.iter().map(|group| group.bytes).sum();
        let has_room = self.under_way.len() < WINDOW_GROUPS
            && bytes_under_way + first.value_bytes.min(self.max_value_bytes) <= WINDOW_BYTES;
        if !has_room && !self.under_way.is_empty() {
            return None;
        }
        let mut wanted = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.listed.front() {
            if !wanted.is_empty() && bytes + next.value_bytes > GROUP_BYTES {
                break;
            }
            bytes += next.value_bytes.min(self.max_value_bytes);
            wanted.extend(self.listed.pop_front());
        }
        let (client, max_value_bytes) = (self.client.clone(), self.max_value_bytes);
        let answer = Answer::begin(async move { read(&client, wanted, max_value_bytes).await });
        Some(Group { bytes, answer })
    }
}

impl Wanted {
    fn new(ListedKey { key, about }: ListedKey, asked_at_ms: u64) -> Self {
        Self {
            key,
            value_bytes: about.map_or(0, |about| about.value_bytes),
            revision: about.map(|about| about.revision),
            expires_at_ms: ends_at(about.and_then(|about| about.expires_in_ms), asked_at_ms),
        }
    }

    fn entry(&self, value: Value) -> Found {
        let Value { bytes, revision, .. } = value;
        Found::Entry(Entry {
            key: self.key.to_vec(),
            value: bytes.to_vec(),
            revision: Some(revision),
            expires_at_ms: self.expires_at_ms,
        })
    }

    fn left_out(&self, why: impl Into<String>) -> Found {
        Found::LeftOut(LeftOut { key: self.key.to_vec(), why: why.into() })
    }
}

/// When an entry ends. The time at which it was asked about makes that a little too early rather than too late.
fn ends_at(expires_in_ms: Option<u64>, asked_at_ms: u64) -> Option<u64> {
    expires_in_ms.map(|left_ms| asked_at_ms.saturating_add(left_ms))
}

/// The time of this machine.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn list(client: &Client, prefix: &Bytes, after: Bytes) -> Answer<Listed> {
    let (client, prefix) = (client.clone(), prefix.clone());
    Answer::begin(async move {
        let asked_at_ms = now_ms();
        let page = unless_overloaded(async || client.list(&prefix, &after, PAGE_KEYS).await).await?;
        Ok(Listed { page, asked_at_ms })
    })
}

/// Reads the values of keys.
async fn read(client: &Client, wanted: Vec<Wanted>, max_value_bytes: u64) -> Result<Vec<Found>, ClientError> {
    let mut found = Vec::new();
    // What comes first is at the end.
    let mut todo = vec![wanted];
    while let Some(mut wanted) = todo.pop() {
        if let [only] = &wanted[..]
            && only.value_bytes > max_value_bytes
        {
            found.push(too_long(only));
            continue;
        }
        let keys = || wanted.iter().map(|wanted| &wanted.key);
        match unless_overloaded(async || client.get_many(keys()).await).await {
            Ok(values) => {
                for (wanted, value) in wanted.into_iter().zip(values) {
                    found.push(judge(client, wanted, value).await?);
                }
            }
            Err(why) if is_too_much(&why) && wanted.len() > 1 => {
                let second = wanted.split_off(wanted.len() / 2);
                todo.extend([second, wanted]);
            }
            Err(why) if is_too_much(&why) => {
                found.extend(wanted.iter().map(too_long));
            }
            Err(other) => return Err(other),
        }
    }
    Ok(found)
}

/// Whether the values are longer than an answer can be.
fn is_too_much(why: &ClientError) -> bool {
    matches!(
        why,
        ClientError::Store(
            StoreError::AnswerTooLarge { .. }
                | StoreError::ValueTooLarge { .. }
                | StoreError::StoredValueTooLarge { .. },
        ) | ClientError::Call(CallError::Failed(CallFailure::ReplyTooLarge))
    )
}

fn too_long(wanted: &Wanted) -> Found {
    let bytes = wanted.value_bytes;
    wanted.left_out(format!("its {bytes} bytes are more than an export takes: use `kvstorec get`"))
}

/// What cannot be read is left out where that is for the sake of what is stored; all else ends the export.
fn left_out(wanted: &Wanted, why: ClientError) -> Result<Found, ClientError> {
    match why {
        why if is_too_much(&why) => Ok(too_long(wanted)),
        ClientError::Store(why @ (StoreError::Damaged | StoreError::NewerFormat { .. })) => {
            Ok(wanted.left_out(why.to_string()))
        }
        other => Err(other),
    }
}

async fn judge(
    client: &Client,
    mut wanted: Wanted,
    mut value: Result<Option<Value>, StoreError>,
) -> Result<Found, ClientError> {
    for _ in 0..MAX_LOOKS {
        let value_now = match value {
            Ok(None) => return Ok(Found::Gone),
            Err(why) => return left_out(&wanted, why.into()),
            Ok(Some(value_now)) => value_now,
        };
        if wanted.revision == Some(value_now.revision) {
            return Ok(wanted.entry(value_now));
        }
        // It was put anew since it was listed: with how much time is to be seen.
        let asked_at_ms = now_ms();
        let stat = match unless_overloaded(async || client.stat_key(&wanted.key).await).await {
            Ok(stat) => stat,
            Err(why) => return left_out(&wanted, why),
        };
        let Some(stat) = stat else { return Ok(Found::Gone) };
        wanted.revision = Some(stat.revision);
        wanted.expires_at_ms = ends_at(stat.expires_in_ms, asked_at_ms);
        if stat.revision == value_now.revision {
            return Ok(wanted.entry(value_now));
        }
        wanted.value_bytes = stat.value_bytes;
        value = match unless_overloaded(async || client.get(&wanted.key).await).await {
            Ok(value) => Ok(value),
            Err(why) => return left_out(&wanted, why),
        };
    }
    Ok(wanted.left_out("it changes too fast to be read together with its time to live"))
}

#[cfg(test)]
mod tests;
