//! Handlers that look at the store without reading values.

use actix::{Context, Handler, ResponseFuture};
use bytes::Bytes;

use super::handlers::{KvStore, respond};
use crate::{
    messages::{
        AboutKey, Durability, Fullness, KeyPage, KeyStat, List, ListedKey, Stat, StatKey, StoreError,
        StoreStat, StoredAs,
    },
    store::{self, Full, Listed, Meta, Page, Status, record::Codec},
};

impl Handler<List> for KvStore {
    type Result = ResponseFuture<Result<KeyPage, StoreError>>;

    fn handle(&mut self, List { prefix, after, limit }: List, _: &mut Context<Self>) -> Self::Result {
        let doing = prefix.clone();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = move |store: &store::Store| {
            store.list(&prefix, Some(&after[..]).filter(|after| !after.is_empty()), limit)
        };
        respond("list", doing, self.engine().try_query(page), |page| Ok(key_page(page)))
    }
}

impl Handler<StatKey> for KvStore {
    type Result = ResponseFuture<Result<Option<KeyStat>, StoreError>>;

    fn handle(&mut self, StatKey { key }: StatKey, _: &mut Context<Self>) -> Self::Result {
        let asked = key.clone();
        let meta = self.engine().try_query(move |store| store.meta(&asked));
        respond("stat", key, meta, |meta| Ok(meta.map(key_stat)))
    }
}

impl Handler<Stat> for KvStore {
    type Result = ResponseFuture<Result<StoreStat, StoreError>>;

    fn handle(&mut self, _: Stat, _: &mut Context<Self>) -> Self::Result {
        let status = self.engine().try_query(store::Store::status);
        respond("stat", Bytes::new(), status, |status| Ok(store_stat(&status)))
    }
}

fn key_page(page: Page) -> KeyPage {
    let keys = page.keys.into_iter().map(|Listed { key, meta }| {
        let about = meta.ok().map(|Meta { revision, value_bytes, stored_bytes, expires_in_ms, .. }| {
            AboutKey { revision, value_bytes, stored_bytes, expires_in_ms }
        });
        ListedKey { key, about }
    });
    KeyPage { keys: keys.collect(), next: page.next }
}

fn key_stat(meta: Meta) -> KeyStat {
    let Meta { revision, value_bytes, stored_bytes, codec, expires_in_ms } = meta;
    let codec = match codec {
        Codec::Raw => StoredAs::Raw,
        Codec::Zstd => StoredAs::Zstd,
        Codec::Parts => StoredAs::Parts,
    };
    KeyStat { revision, value_bytes, stored_bytes, codec, expires_in_ms }
}

fn store_stat(status: &Status) -> StoreStat {
    let full = match status.full {
        None => Fullness::HasRoom,
        Some(Full::MaxSize { .. }) => Fullness::AtMaxSize,
        Some(Full::Disk) => Fullness::DiskFull,
        Some(Full::ReadOnly) => Fullness::ReadOnly,
    };
    let durability = match status.durability {
        store::Durability::Sync => Durability::Sync,
        store::Durability::Interval { ms } => Durability::Interval { ms: ms.into() },
        store::Durability::None => Durability::None,
    };
    StoreStat {
        entries: status.entries,
        revision: status.revision,
        used_bytes: status.used_bytes,
        file_bytes: status.file_bytes,
        page_bytes: status.page_bytes,
        free_pages: status.free_pages,
        map_bytes: status.map_bytes,
        max_size_bytes: status.max_size_bytes,
        readers: status.readers,
        max_readers: status.max_readers,
        full,
        durability,
        changes: status.changes,
        first_change: status.first_change,
    }
}
