//! Joining in a home directory, over UNIX sockets.

use std::path::Path;

use ensemble::{Cookie, Home, NODE_ACTOR, Node, StartError};
use registry::{Client, Join, JoinError, SERVER, connect, console, enter, serve};
use tempfile::TempDir;

use crate::common::{end, id};

fn home_in(dir: &Path) -> Home {
    Home::resolve_with(Some(dir), |_| None).unwrap()
}

async fn registry(home: &Home) -> Node {
    let builder = Node::builder(SERVER).home(home.clone());
    home.ensure_run_dir().unwrap();
    let node = builder.listen(home.socket(&id(SERVER)).unwrap()).start().await.unwrap();
    serve(&node, &home.server_dir(&id(SERVER))).await.unwrap();
    node
}

fn new_home() -> (TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let home = home_in(dir.path());
    Cookie::create(&home.cookie(), false).unwrap();
    (dir, home)
}

#[actix::test]
async fn a_home_is_all_that_nodes_need_to_find_each_other() {
    let (_dir, home) = new_home();
    let registry = registry(&home).await;
    let server = Node::builder("kv@/site").role("test").home(home.clone()).join().await.unwrap();
    assert_eq!(server.addresses(), [home.socket(&id("kv@/site")).unwrap()]);
    let (console, client) = connect(console().home(home.clone()), None).await.unwrap();
    assert!(console.addresses().is_empty());
    console.remote("kv@/site", NODE_ACTOR).ping().await.unwrap();
    let info = client.lookup(&id("kv@/site")).await.unwrap();
    assert_eq!((info.incarnation, info.addresses), (server.incarnation(), server.addresses()));
    end(server).await;
    assert_eq!(client.all().await.unwrap(), []);
    end(registry).await;
}

#[actix::test]
async fn a_node_can_export_first_and_enter_then() {
    let (_dir, home) = new_home();
    let _registry = registry(&home).await;
    let builder = Node::builder("a").home(home.clone()).listen(home.socket(&id("a")).unwrap());
    let node = builder.start().await.unwrap();
    let client = enter(&node, home.socket(&id(SERVER)).unwrap()).await.unwrap();
    assert_eq!(client.lookup(&id("a")).await.unwrap().addresses, node.addresses());
    end(node).await;
}

#[actix::test]
async fn a_second_start_in_the_same_home_finds_the_socket_in_use() {
    let (_dir, home) = new_home();
    let _registry = registry(&home).await;
    let server = Node::builder("a").home(home.clone()).join().await.unwrap();
    let refused = Node::builder("a").home(home.clone()).join().await;
    assert!(
        matches!(&refused, Err(JoinError::Start(StartError::Listen(ensemble::TransportError::InUse { .. })))),
        "{refused:?}"
    );
    assert_eq!(Client::of(&server).lookup(&id("a")).await.unwrap().incarnation, server.incarnation());
}

#[actix::test]
async fn what_is_missing_in_a_home_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let home = home_in(dir.path());
    let refused = Node::builder("a").home(home.clone()).join().await;
    assert!(matches!(&refused, Err(JoinError::Start(StartError::Cookie(_)))), "{refused:?}");
    Cookie::create(&home.cookie(), false).unwrap();
    let refused = Node::builder("a").home(home.clone()).join().await;
    assert!(matches!(&refused, Err(JoinError::Unreachable { .. })), "{refused:?}");
    let refused = Node::builder("no name!").home(home).join().await;
    assert!(matches!(&refused, Err(JoinError::Start(StartError::Name(_)))), "{refused:?}");
}

#[actix::test]
async fn a_wrong_cookie_is_told_on_the_side_that_has_it() {
    let (_dir, home) = new_home();
    let _registry = registry(&home).await;
    let builder = || Node::builder("a").home(home.clone()).cookie(Cookie::generate().unwrap());
    let refused = builder().join().await;
    assert!(matches!(&refused, Err(JoinError::NotAuthenticated { .. })), "{refused:?}");
    let refused = connect(builder(), None).await;
    assert!(matches!(&refused, Err(JoinError::NotAuthenticated { .. })), "{refused:?}");
}
