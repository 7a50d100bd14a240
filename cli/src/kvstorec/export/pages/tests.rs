//! Pages of a store in this process.

use std::collections::BTreeMap;

use ensemble::{Cookie, MemoryNetwork, Node, Role, RoleContext};
use kvstore::{KvStoreRole, PutOptions};
use tempfile::TempDir;

use super::*;

struct Fixture {
    client: Client,
    _nodes: [Node; 2],
    _dir: TempDir,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let network = MemoryNetwork::new();
    let cookie = Cookie::generate().unwrap();
    let server = Node::builder("kvstore").cookie(cookie.clone()).memory(network.clone());
    let server = server.listen("mem:kvstore".parse().unwrap()).start().await.unwrap();
    let context = RoleContext::new(server.clone(), dir.path().into(), BTreeMap::new());
    KvStoreRole.start(context).await.unwrap();
    let node = Node::builder("program").cookie(cookie).memory(network).start().await.unwrap();
    node.set_route("kvstore".parse().unwrap(), server.addresses());
    Fixture { client: Client::new(&node, "kvstore"), _nodes: [server, node], _dir: dir }
}

async fn all(mut pages: Pages) -> Vec<Found> {
    let mut all = Vec::new();
    while let Some(found) = pages.next().await.unwrap() {
        all.extend(found);
    }
    all
}

fn wanted(key: &'static str, revision: u64) -> Wanted {
    Wanted { key: key.into(), value_bytes: 1, revision: Some(revision), expires_at_ms: Some(7) }
}

#[test]
fn an_end_is_counted_from_when_it_was_asked_about() {
    assert_eq!(ends_at(None, 7), None);
    assert_eq!(ends_at(Some(3), 7), Some(10));
    assert_eq!(ends_at(Some(u64::MAX), 7), Some(u64::MAX));
}

#[actix::test]
async fn long_values_are_read_alone_and_too_long_ones_are_named() {
    let fixture = fixture().await;
    let client = &fixture.client;
    let lengths = [1, GROUP_BYTES, GROUP_BYTES + 1, 1, 3 * GROUP_BYTES, 1, 9 * GROUP_BYTES, 1];
    for (key, bytes) in lengths.iter().enumerate() {
        client.put(key.to_string(), vec![b'x'; *bytes as usize]).await.unwrap();
    }
    let limit = 8 * GROUP_BYTES;
    let found = all(Pages::begin(client.clone(), b"", limit)).await;
    assert_eq!(found.len(), lengths.len());
    for (key, (found, bytes)) in found.into_iter().zip(lengths).enumerate() {
        match found {
            Found::Entry(entry) => {
                assert_eq!((entry.key, entry.value.len() as u64), (key.to_string().into_bytes(), bytes));
            }
            Found::LeftOut(LeftOut { why, .. }) => {
                assert!(bytes > limit, "{key}");
                assert_eq!(why, "its 9437184 bytes are more than an export takes: use `kvstorec get`");
            }
            Found::Gone => panic!("{key} is there"),
        }
    }
}

#[actix::test]
async fn values_that_have_become_too_long_together_are_asked_for_in_parts() {
    let fixture = fixture().await;
    let client = &fixture.client;
    // Two answers of one message would not do.
    for key in ["a", "b", "c"] {
        client.put(key, vec![b'x'; 30 << 20]).await.unwrap();
    }
    let found =
        read(client, ["a", "b", "c"].iter().zip(1..).map(|(key, at)| wanted(key, at)).collect(), 64 << 20)
            .await;
    let entries = found.unwrap().into_iter().map(|found| match found {
        Found::Entry(entry) => (entry.key, entry.value.len()),
        _ => panic!("all are there"),
    });
    let expected = [b"a", b"b", b"c"].map(|key| (key.to_vec(), 30 << 20));
    assert_eq!(entries.collect::<Vec<_>>(), expected);
}

#[actix::test]
async fn what_has_changed_since_it_was_listed_has_the_end_of_its_own_revision() {
    let fixture = fixture().await;
    let client = &fixture.client;
    for key in ["gone", "same", "anew"] {
        client.put(key, "1").await.unwrap();
    }
    client.remove("gone").await.unwrap();
    let in_an_hour = PutOptions::new().expires_in(std::time::Duration::from_secs(3600));
    client.put_with("anew", "2", in_an_hour).await.unwrap();
    let asked = [("gone", 1), ("same", 2), ("anew", 3)].map(|(key, revision)| wanted(key, revision));
    let begun_ms = now_ms();
    let mut found = read(client, asked.into(), 64 << 20).await.unwrap().into_iter();
    assert!(matches!(found.next(), Some(Found::Gone)));
    let Some(Found::Entry(same)) = found.next() else { panic!("it is there") };
    assert_eq!((same.revision, same.expires_at_ms), (Some(2), Some(7)));
    let Some(Found::Entry(anew)) = found.next() else { panic!("it is there") };
    assert_eq!((anew.revision, &anew.value[..]), (Some(5), &b"2"[..]));
    assert!(anew.expires_at_ms.unwrap() > begun_ms + 1000);
}
