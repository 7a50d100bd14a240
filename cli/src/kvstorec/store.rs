//! What the subcommands have in common: the way to the store, and what they say of it.

use std::time::Duration;

use kvstore::{
    Client, ClientError, PutOptions,
    messages::{PutDone, StoreError},
};

use super::{cli::Place, key::Key};
use crate::{
    console::{self, Console},
    exit::{Code, Failure, Outcome},
    options::GlobalOptions,
    translate::{self, Target},
};

/// The store that a command is for.
pub(super) struct Store {
    pub(super) client: Client,
    pub(super) key: Key,
    console: Console,
    server: String,
    given_timeout: Option<Duration>,
}

/// How long a put of so many bytes may take: what `--timeout` says, else what the client would give it.
fn put_timeout(given: Option<Duration>, default: Duration, bytes: usize) -> Duration {
    given.unwrap_or_else(|| kvstore::put_time(default, bytes))
}

/// Runs `work` with the store at `place`.
pub(super) fn with_store(
    place: &Place,
    globals: &GlobalOptions,
    work: impl AsyncFnOnce(Store) -> Outcome,
) -> Outcome {
    console::run_with(globals, &place.client, globals.timeout(), async |console| {
        let client = Client::new(&console.node, &place.server).with_timeout(globals.timeout());
        let server = place.server.to_string();
        let given_timeout = globals.given_timeout();
        work(Store { client, key: place.key(), console, server, given_timeout }).await
    })
}

impl Store {
    /// The longest value that can be on its way to a store, in bytes.
    pub(super) fn max_value_bytes(&self) -> u64 {
        self.console.node.limits().max_message_bytes
    }

    /// Puts a value under the key; a long one gets more time.
    pub(super) async fn put(&self, value: Vec<u8>, options: PutOptions) -> Outcome<PutDone> {
        let mut target = self.console.target(&self.server, kvstore::ACTOR);
        target.timeout = put_timeout(self.given_timeout, target.timeout, value.len());
        let client = self.client.clone().with_timeout(target.timeout);
        let done = if options == PutOptions::new() {
            client.put(self.key.bytes(), value).await
        } else {
            client.put_with(self.key.bytes(), value, options).await
        };
        done.map_err(|why| self.failure_within(&why, target))
    }

    pub(super) fn failure(&self, why: &ClientError) -> Failure {
        self.failure_within(why, self.console.target(&self.server, kvstore::ACTOR))
    }

    fn failure_within(&self, why: &ClientError, target: Target<'_>) -> Failure {
        let ClientError::Store(StoreError::Conflict { current }) = why else {
            return translate::store(why, &self.key, target);
        };
        let key = &self.key;
        let failure = match current {
            Some(revision) => {
                Failure::new(Code::Conflict, format_args!("the key {key} has revision {revision}"))
            }
            None => Failure::new(Code::Conflict, format_args!("there is no key {key}")),
        };
        failure.advise("nothing was changed: see what is there now, and decide again")
    }

    /// There is nothing under the key.
    pub(super) fn no_such_key(&self) -> Failure {
        Failure::new(Code::NotFound, format_args!("{} has no key {}", self.server, self.key))
            .advise("store something with `kvstorec put`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_get_more_time_unless_it_was_given() {
        let seconds = Duration::from_secs;
        for (given, bytes, expected) in
            [(None, 0, 5), (None, (8 << 20) - 1, 5), (None, 64 << 20, 13), (Some(seconds(2)), 64 << 20, 2)]
        {
            assert_eq!(put_timeout(given, seconds(5), bytes), seconds(expected), "{given:?} {bytes}");
        }
    }
}
