//! Sending to servers by what they are for, while they come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use ensemble::{CallError, Exports, Failure, Node, NotSent, RemoteMessage, Unknown};
use registry::{Client, Join, MAX_BROADCAST_CALLS, RoleAddr, SERVER};
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, task::yield_now};

use crate::common::{Ensemble, address, announce, announcement, end, id, role, until};

/// Answers with the server's name.
struct Namer {
    server: String,
    asked: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    released: Arc<Notify>,
}

impl Actor for Namer {
    type Context = Context<Self>;
}

#[derive(Clone, Message, Serialize, Deserialize)]
#[rtype(result = "String")]
enum Ask {
    /// Now.
    Name,
    /// After a few turns of the thread.
    Slowly,
    /// When it is released.
    Later,
    /// Never: it panics.
    Panic,
}

impl RemoteMessage for Ask {
    const NAME: &'static str = "test.ask";
}

impl Handler<Ask> for Namer {
    type Result = ResponseFuture<String>;

    fn handle(&mut self, ask: Ask, _: &mut Context<Self>) -> Self::Result {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let server = self.server.clone();
        match ask {
            Ask::Name => Box::pin(async { server }),
            Ask::Slowly => {
                let (running, most) = (Arc::clone(&self.running), Arc::clone(&self.most));
                Box::pin(async move {
                    most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    for _ in 0..20 {
                        yield_now().await;
                    }
                    running.fetch_sub(1, Ordering::Relaxed);
                    server
                })
            }
            Ask::Later => {
                let released = Arc::clone(&self.released);
                Box::pin(async move {
                    released.notified().await;
                    server
                })
            }
            Ask::Panic => panic!("as it was asked to"),
        }
    }
}

#[derive(Default)]
struct World {
    asked: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    released: Arc<Notify>,
}

impl World {
    async fn server(&self, ensemble: &Ensemble, name: &str) -> Node {
        let builder = ensemble.builder(name).role("namer").listen(address(name));
        let node = builder.start().await.unwrap();
        let namer = Namer {
            server: name.to_owned(),
            asked: Arc::clone(&self.asked),
            running: Arc::clone(&self.running),
            most: Arc::clone(&self.most),
            released: Arc::clone(&self.released),
        };
        node.export("namer", Exports::start(namer).message::<Ask>()).unwrap();
        registry::enter(&node, address(SERVER)).await.unwrap();
        node
    }
}

async fn has(namers: &RoleAddr, names: &[&str]) {
    let expected: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    until(async || (servers(namers).await == expected).then_some(())).await;
}

async fn servers(namers: &RoleAddr) -> Vec<String> {
    let all = namers.all().await.unwrap();
    all.iter().map(|remote| remote.reference().unwrap().server.to_string()).collect()
}

#[actix::test]
async fn it_follows_who_has_the_role() {
    let ensemble = Ensemble::new();
    let registry = ensemble.registry().await;
    let world = World::default();
    let (_console, client) = ensemble.console().await;
    let namers = client.role("namer");
    assert!(servers(&namers).await.is_empty());
    let nobody = namers.any().send(Ask::Name).await;
    assert_eq!(nobody, Err(CallError::NotSent(NotSent::UnknownServer)));
    let a = world.server(&ensemble, "a").await;
    let b = world.server(&ensemble, "b").await;
    let _other = ensemble.join("other").await.unwrap();
    has(&namers, &["a", "b"]).await;
    end(a).await;
    has(&namers, &["b"]).await;
    // What was known is used while there is nobody to ask.
    end(registry).await;
    assert_eq!(namers.any().send(Ask::Name).await.unwrap(), "b");
    let _registry = ensemble.registry_again(ensemble.dir.path()).await;
    let _c = world.server(&ensemble, "c").await;
    has(&namers, &["b", "c"]).await;
    // A crash makes it suspect: it is not among all, but still where nobody else is.
    drop(b);
    has(&namers, &["c"]).await;
    drop(client);
    assert_eq!(namers.any().send(Ask::Name).await.unwrap(), "c");
}

#[actix::test]
async fn any_takes_turns_and_spares_who_is_busy() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let world = World::default();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(world.server(&ensemble, name).await);
    }
    let (_console, client) = ensemble.console().await;
    let namers = client.role("namer");
    let mut names = String::new();
    for _ in 0..6 {
        names.push_str(&namers.any().send(Ask::Name).await.unwrap());
    }
    assert_eq!(names, "abcabc");
    // a is next, and then busy.
    let any = namers.any();
    let mut later: Pin<Box<dyn Future<Output = _>>> = Box::pin(any.send(Ask::Later));
    tokio::select! {
        biased;
        _ = &mut later => panic!("nobody has released it"),
        () = async {
            while world.asked.load(Ordering::Relaxed) < 7 {
                yield_now().await;
            }
        } => {}
    }
    names.clear();
    for _ in 0..4 {
        names.push_str(&namers.any().send(Ask::Name).await.unwrap());
    }
    assert_eq!(names, "bcbc");
    world.released.notify_one();
    assert_eq!(later.await.unwrap(), "a");
    assert_eq!(namers.any().send(Ask::Name).await.unwrap(), "a");
}

#[actix::test]
async fn any_tries_another_only_when_the_message_was_certainly_not_executed() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let world = World::default();
    let mut gone = Vec::new();
    for name in ["a", "b"] {
        let node = ensemble.builder(name).start().await.unwrap();
        let mut stale = announcement(name, node.incarnation(), &["nobody"]);
        stale.roles = vec![role("namer")];
        announce(&node, stale).await.unwrap();
        gone.push(node);
    }
    // It joined without an actor.
    let empty = ensemble.builder("c").role("namer").listen(address("c"));
    let _empty = empty.join_at(address(SERVER)).await.unwrap();
    let _d = world.server(&ensemble, "d").await;
    let (_console, client) = ensemble.console().await;
    let namers = client.role("namer");
    has(&namers, &["a", "b", "c", "d"]).await;
    for _ in 0..5 {
        assert_eq!(namers.any().send(Ask::Name).await.unwrap(), "d");
    }
    // What an actor has begun is not sent to another.
    let _e = world.server(&ensemble, "e").await;
    has(&namers, &["a", "b", "c", "d", "e"]).await;
    let before = world.asked.load(Ordering::Relaxed);
    assert_eq!(namers.any().send(Ask::Panic).await, Err(CallError::Failed(Failure::Died)));
    assert_eq!(world.asked.load(Ordering::Relaxed), before + 1);
    let hasty = namers.clone().with_timeout(Duration::from_millis(300));
    assert_eq!(hasty.any().send(Ask::Later).await, Err(CallError::Unknown(Unknown::Deadline)));
    assert_eq!(world.asked.load(Ordering::Relaxed), before + 2);
}

#[actix::test]
async fn a_key_stays_where_it_is_when_others_come_and_go() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let world = World::default();
    let mut nodes = BTreeMap::new();
    for name in ["a", "b", "c", "d"] {
        nodes.insert(name.to_owned(), world.server(&ensemble, name).await);
    }
    let (_console, client) = ensemble.console().await;
    let namers = client.role("namer");
    let owners = async || {
        let mut owners = Vec::new();
        for key in 0..100_u32 {
            let owner = namers.by_key(key.to_string()).await.unwrap();
            owners.push(owner.send(Ask::Name).await.unwrap());
        }
        owners
    };
    let before = owners().await;
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 4);
    end(nodes.remove("b").unwrap()).await;
    has(&namers, &["a", "c", "d"]).await;
    for (was, is) in before.iter().zip(owners().await) {
        assert!(*was == is || was == "b");
    }
    let _b = world.server(&ensemble, "b").await;
    has(&namers, &["a", "b", "c", "d"]).await;
    assert_eq!(owners().await, before);
}

#[actix::test]
async fn a_broadcast_gives_a_result_for_each_server() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let world = World::default();
    let mut nodes = Vec::new();
    let names: Vec<String> = (0..MAX_BROADCAST_CALLS + 8).map(|n| format!("s{n:02}")).collect();
    for name in &names {
        nodes.push(world.server(&ensemble, name).await);
    }
    let gone = ensemble.builder("gone").start().await.unwrap();
    let mut stale = announcement("gone", gone.incarnation(), &["nobody"]);
    stale.roles = vec![role("namer")];
    announce(&gone, stale).await.unwrap();

    let (_console, client) = ensemble.console().await;
    let mut results = client.role("namer").broadcast(Ask::Slowly).await.unwrap().into_iter();
    let (server, result) = results.next().unwrap();
    assert_eq!(server, id("gone"));
    assert!(matches!(result, Err(CallError::NotSent(_))), "{result:?}");
    let expected: Vec<_> = names.iter().map(|name| (id(name), Ok(name.clone()))).collect();
    assert_eq!(results.collect::<Vec<_>>(), expected);
    let most = world.most.load(Ordering::Relaxed);
    assert!(most > 1 && most <= MAX_BROADCAST_CALLS, "{most} at once");

    // Those that never answer do not hold up the end, and those that had no turn are told apart.
    let hasty = client.role("namer").with_timeout(Duration::from_millis(500));
    let results = hasty.broadcast(Ask::Later).await.unwrap();
    let count = |why: &CallError| results.iter().filter(|(_, result)| result.as_ref() == Err(why)).count();
    assert_eq!(results.len(), names.len() + 1);
    let (sent, unsent) = (Unknown::Deadline.into(), NotSent::Deadline.into());
    assert!(count(&sent) >= MAX_BROADCAST_CALLS && count(&unsent) > 0, "{results:?}");
    assert_eq!(count(&sent) + count(&unsent), names.len());
}

#[actix::test]
async fn text_that_is_no_name_is_an_error_of_each_send() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let (console, client) = ensemble.console().await;
    for bad in [client.role("no name"), client.role("namer").actor("no name")] {
        let refused = bad.any().send(Ask::Name).await;
        assert!(matches!(refused, Err(CallError::NotSent(NotSent::BadName(_)))), "{refused:?}");
        assert!(bad.all().await.is_err());
    }
    // Nor does anything go out of a node that has gone.
    let namers = client.role("namer");
    drop(console);
    assert_eq!(namers.all().await.map(drop), Err(CallError::NotSent(NotSent::ShuttingDown)));
}

#[actix::test]
async fn a_registry_that_was_never_there_is_said_to_be_so() {
    let ensemble = Ensemble::new();
    let node = ensemble.builder("a").start().await.unwrap();
    let client = Client::new(&node, address(SERVER));
    let namers = client.role("namer").with_timeout(Duration::from_millis(50));
    assert_eq!(namers.any().send(Ask::Name).await, Err(CallError::NotSent(NotSent::NotResolved)));
}
