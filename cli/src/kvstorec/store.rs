//! What the subcommands have in common: the way to the store, and what they say of it.

use kvstore::{Client, ClientError};

use super::{cli::Place, key::Key};
use crate::{
    console::{self, Console},
    exit::{Code, Failure, Outcome},
    options::GlobalOptions,
    translate,
};

/// The store that a command is for.
pub(super) struct Store {
    pub(super) client: Client,
    pub(super) key: Key,
    console: Console,
    server: String,
}

/// Runs `work` with the store at `place`.
pub(super) fn with_store(
    place: &Place,
    globals: &GlobalOptions,
    work: impl AsyncFnOnce(Store) -> Outcome,
) -> Outcome {
    console::run_with(globals, &place.client, globals.timeout(), async |console| {
        let mut client = Client::new(&console.node, &place.server);
        // Without one the client gives long values more time.
        if let Some(timeout) = globals.given_timeout() {
            client = client.with_timeout(timeout);
        }
        let server = place.server.to_string();
        work(Store { client, key: place.key(), console, server }).await
    })
}

impl Store {
    /// The longest value that can be on its way to a store, in bytes.
    pub(super) fn max_value_bytes(&self) -> u64 {
        self.console.node.limits().max_message_bytes
    }

    pub(super) fn failure(&self, why: &ClientError) -> Failure {
        translate::store(why, &self.key, self.console.target(&self.server, kvstore::ACTOR))
    }

    /// There is nothing under the key.
    pub(super) fn no_such_key(&self) -> Failure {
        Failure::new(Code::NotFound, format_args!("{} has no key {}", self.server, self.key))
            .advise("store something with `kvstorec put`")
    }
}
