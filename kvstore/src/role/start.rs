//! Starting the role: opening the store off the event loop, and exporting the actor.

use std::{collections::BTreeMap, path::Path};

use ensemble::{Limits, Role, RoleContext, RoleError, RoleOption, Starting};

use super::options::{OPTIONS, Setup};
use crate::{
    actor::{ACTOR, KvStore},
    engine::EngineOptions,
    store::Store,
};

/// Calls that may wait in the engine: sixteen clients' windows. Of a read only the key waits.
const MAX_QUEUED_CALLS: usize = 16 << 10;

/// The role `kvstore`: a store in the server's directory, offered as the actor [`kvstore`](ACTOR).
///
/// | Option | Value | Default |
/// | --- | --- | --- |
/// | `path` | the store's directory | `kvstore.db` in the server's own |
/// | `max-value` | longest value: bytes, or with KiB, MiB, GiB | 64MiB |
/// | `max-size` | how large the store may become, likewise | 64GiB |
/// | `durability` | when a write is answered: `sync`, `interval=MS` or `none` (see [`Durability`](crate::store::Durability)) | `sync` |
/// | `changes` | how many changes are kept for those who watch; 0 for none | 100000 |
/// | `level` | zstd's level | 3 |
///
/// A value that does not fit a message, which [`max_message_bytes`](ensemble::Limits::max_message_bytes) of the node bounds, is
/// put and got as a stream: with [`Client::put_stream`](crate::Client::put_stream) and
/// [`Client::get_stream`](crate::Client::get_stream).
#[derive(Debug, Clone, Copy, Default)]
pub struct KvStoreRole;

impl Role for KvStoreRole {
    fn name(&self) -> &'static str {
        "kvstore"
    }

    fn about(&self) -> &'static str {
        "a durable key-value store"
    }

    fn options(&self) -> &'static [RoleOption] {
        OPTIONS
    }

    fn check(&self, options: &BTreeMap<String, String>) -> Result<(), RoleError> {
        Setup::parse(options, Path::new(""), &Limits::default()).map(drop)
    }

    fn start(&self, context: RoleContext) -> Starting<'_> {
        Box::pin(start(context))
    }
}

async fn start(RoleContext { node, dir, options, .. }: RoleContext) -> Result<(), RoleError> {
    let setup = Setup::parse(&options, &dir, node.limits())?;
    let path = setup.path.clone();
    let open = move || -> Result<KvStore, RoleError> {
        let store = Store::open(&setup.path, setup.store).map_err(RoleError::failed)?;
        let engine = EngineOptions {
            max_queued_reads: MAX_QUEUED_CALLS,
            max_queued_writes: MAX_QUEUED_CALLS,
            ..EngineOptions::default()
        };
        KvStore::new(store, &engine).map_err(RoleError::failed)
    };
    let actor = tokio::task::spawn_blocking(open).await.map_err(RoleError::failed)??;
    let (engine, released) = (actor.engine().clone(), actor.release_watchers());
    if let Err(cause) = node.export(ACTOR, actor.exports()) {
        engine.close().await;
        return Err(RoleError::failed(cause));
    }
    tracing::info!(path = %path.display(), "the store is open");
    node.at_leave(released);
    node.at_stop(async move { engine.close().await });
    Ok(())
}
