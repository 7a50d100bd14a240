//! Announcing, looking up, leaving.

use ensemble::NODE_ACTOR;
use registry::{
    ClientError, Liveness,
    messages::{All, ByRole, Page},
};

use crate::common::{Ensemble, address, end, id, role};

#[actix::test]
async fn a_server_that_has_joined_is_found_by_id_by_role_and_by_its_name() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let server = ensemble.join("a").await.unwrap();
    let _other = ensemble.join("b").await.unwrap();
    let (console, client) = ensemble.console().await;

    let info = client.lookup(&id("a")).await.unwrap();
    assert_eq!(info.incarnation, server.incarnation());
    assert_eq!(info.addresses, [address("a")]);
    assert_eq!(info.roles, [role("test")]);
    assert_eq!((info.liveness, info.lease_ms), (Liveness::Reachable, 10_000));
    assert_eq!(info.pid, Some(std::process::id()));
    let ids = |infos: Vec<registry::ServerInfo>| -> Vec<String> {
        infos.into_iter().map(|info| info.id.to_string()).collect()
    };
    assert_eq!(ids(client.by_role(&role("test")).await.unwrap()), ["a", "b"]);
    assert_eq!(ids(client.by_role(&role("none")).await.unwrap()), [""; 0]);
    assert_eq!(ids(client.all().await.unwrap()), ["a", "b"]);
    console.remote("a", NODE_ACTOR).ping().await.unwrap();
    let unknown = client.lookup(&id("c")).await;
    assert_eq!(unknown, Err(ClientError::UnknownServer(id("c"))));
}

#[actix::test]
async fn a_server_that_shuts_down_withdraws() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let server = ensemble.join("a").await.unwrap();
    let (_console, client) = ensemble.console().await;
    assert_eq!(client.all().await.unwrap().len(), 1);
    end(server).await;
    assert_eq!(client.all().await.unwrap(), []);
}

#[actix::test]
async fn lists_come_in_pages() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let mut servers = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        servers.push(ensemble.join(name).await.unwrap());
    }
    let (_console, client) = ensemble.console().await;
    let ask = async |after: Option<&str>, limit| {
        let page = All { after: after.map(id), limit };
        let all = client.remote().send(page).await.unwrap();
        let page = ByRole { role: role("test"), after: after.map(id), limit };
        let by_role = client.remote().send(page).await.unwrap();
        let ids = |page: &Page| page.servers.iter().map(|info| info.id.to_string()).collect::<String>();
        assert_eq!((ids(&all), all.more), (ids(&by_role), by_role.more));
        (ids(&all), all.more)
    };
    assert_eq!(ask(None, 2).await, ("ab".into(), true));
    assert_eq!(ask(Some("b"), 2).await, ("cd".into(), true));
    assert_eq!(ask(Some("d"), 2).await, ("e".into(), false));
    assert_eq!(ask(Some("c"), 2).await, ("de".into(), false));
    assert_eq!(ask(Some("e"), 2).await, (String::new(), false));
    assert_eq!(ask(None, 0).await, ("a".into(), true));
    assert_eq!(ask(None, u32::MAX).await, ("abcde".into(), false));
}

#[actix::test]
async fn nothing_of_a_node_that_was_dropped_stays() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let node = ensemble.join("a").await.unwrap();
    let weak = node.downgrade();
    assert!(weak.upgrade().is_some());
    drop(node);
    assert!(weak.upgrade().is_none());
}
