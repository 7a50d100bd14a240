//! What a node that has joined does for its entry: it follows what changes about the node, is kept while the node's
//! thread is busy, and goes with the node.

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use actix::{Actor, Addr, Context, Handler, Message};
use ensemble::{Cookie, Incarnation, MemoryNetwork, Node};
use registry::{
    ClientError, DEFAULT_MAX_ROLES, Event, GoneReason, Join, JoinError, Liveness, SERVER, WatchEvent,
    Watcher, enter,
};
use tokio::time::{pause, sleep, timeout};

use crate::common::{Ensemble, PATIENCE, address, announce, id, role, silent, until};

async fn has_roles(client: &registry::Client, server: &Node, roles: &[&str]) {
    let expected: Vec<_> = roles.iter().map(|name| role(name)).collect();
    until(async || {
        let info = client.lookup(server.server()).await.ok()?;
        (info.roles == expected && info.incarnation == server.incarnation()).then_some(())
    })
    .await;
}

#[actix::test]
async fn a_role_that_is_added_is_announced() {
    let ensemble = Ensemble::with_lease(600_000);
    let registry = ensemble.registry().await;
    let server = ensemble.join("a").await.unwrap();
    let (_console, client) = ensemble.console().await;
    let mut watcher = client.watch();
    assert!(matches!(next(&mut watcher).await, WatchEvent::Snapshot(..)));
    server.add_role(role("x"));
    // No heartbeat would come for minutes.
    let WatchEvent::Change(change) = next(&mut watcher).await else { panic!("the roles have changed") };
    let Event::Updated { server: updated } = change.event else { panic!("{change:?}") };
    assert_eq!(updated.roles, [role("test"), role("x")]);
    assert_eq!(client.by_role(&role("x")).await.unwrap().len(), 1);

    // Also when nobody is there to hear it.
    drop(registry);
    server.add_role(role("y"));
    let _registry = ensemble.registry_again(ensemble.dir.path()).await;
    let (_console, client) = ensemble.console().await;
    has_roles(&client, &server, &["test", "x", "y"]).await;
}

#[actix::test]
async fn a_change_that_is_refused_does_not_cost_the_lease() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let server = ensemble.join("a").await.unwrap();
    let (_console, client) = ensemble.console().await;
    for n in 0..DEFAULT_MAX_ROLES {
        server.add_role(role(&format!("r{n}")));
    }
    pause();
    sleep(Duration::from_secs(60)).await;
    let info = client.lookup(&id("a")).await.unwrap();
    assert_eq!((info.incarnation, info.liveness), (server.incarnation(), Liveness::Reachable));
    assert!(info.roles.len() <= DEFAULT_MAX_ROLES);
}

#[actix::test]
async fn a_node_that_shuts_down_while_it_is_announced_leaves_nothing_behind() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let (_console, client) = ensemble.console().await;
    // The registry takes a second to find out that nobody answers there, and then accepts the announcement.
    let (_listener, nowhere) = silent();
    let dead = ensemble.builder("a").start().await.unwrap();
    let mut stale = crate::common::announcement("a", dead.incarnation(), &[]);
    stale.addresses = vec![nowhere];
    announce(&dead, stale).await.unwrap();
    let node = ensemble.builder("a").listen(address("a")).start().await.unwrap();
    let entering = enter(&node, address(SERVER));
    let ending = async {
        tokio::task::yield_now().await;
        node.run_until(async {}).await;
    };
    let (entered, ()) = tokio::join!(entering, ending);
    drop(node);
    let found = client.lookup(&id("a")).await;
    assert_eq!(found, Err(ClientError::UnknownServer(id("a"))), "{entered:?}");
}

#[actix::test]
async fn a_node_that_shuts_down_already_is_not_announced() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let (_console, client) = ensemble.console().await;
    let node = ensemble.builder("a").listen(address("a")).start().await.unwrap();
    node.run_until(async {}).await;
    assert!(matches!(enter(&node, address(SERVER)).await, Err(JoinError::ShuttingDown)));
    assert_eq!(client.lookup(&id("a")).await, Err(ClientError::UnknownServer(id("a"))));
}

/// Holds up the thread of its node.
struct Busy;

impl Actor for Busy {
    type Context = Context<Self>;
}

/// Until the other end is dropped.
#[derive(Message)]
#[rtype(result = "()")]
struct Hang(mpsc::Receiver<()>);

impl Handler<Hang> for Busy {
    type Result = ();

    fn handle(&mut self, Hang(released): Hang, _: &mut Context<Self>) {
        assert!(released.recv().is_err());
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Work(Duration);

impl Handler<Work> for Busy {
    type Result = ();

    fn handle(&mut self, Work(lasting): Work, _: &mut Context<Self>) {
        thread::sleep(lasting);
    }
}

/// A server on a thread of its own, with an actor there.
struct Apart {
    busy: Addr<Busy>,
    incarnation: Incarnation,
    node: Node,
    thread: JoinHandle<()>,
}

async fn apart(network: &Arc<MemoryNetwork>, cookie: &Cookie) -> Apart {
    let (started, starting) = tokio::sync::oneshot::channel();
    let builder = Node::builder("apart").cookie(cookie.clone()).memory(Arc::clone(network));
    let thread = thread::spawn(move || {
        actix::System::new().block_on(async move {
            let node = builder.listen(address("apart")).join_at(address(SERVER)).await.unwrap();
            assert!(started.send((Busy.start(), node.clone())).is_ok());
            node.run_until(std::future::pending()).await;
        });
    });
    let (busy, node) = starting.await.unwrap();
    Apart { busy, incarnation: node.incarnation(), node, thread }
}

impl Apart {
    async fn end(self) {
        self.node.shutdown();
        drop(self.node);
        tokio::task::spawn_blocking(|| self.thread.join().unwrap()).await.unwrap();
    }
}

/// The next event, but for the registry's going and coming.
async fn next(watcher: &mut Watcher) -> WatchEvent {
    loop {
        let event = timeout(PATIENCE, watcher.next()).await.expect("there is an event").unwrap();
        if !matches!(event, WatchEvent::Away | WatchEvent::Back) {
            return event;
        }
    }
}

/// The next thing that happens to a server, but for becoming suspect and recovering.
async fn next_of_weight(watcher: &mut Watcher) -> Event {
    loop {
        match next(watcher).await {
            WatchEvent::Change(change) => match change.event {
                Event::Suspected { .. } | Event::Recovered => {}
                event => return event,
            },
            other => panic!("{other:?}"),
        }
    }
}

#[actix::test]
async fn a_busy_thread_does_not_cost_the_lease() {
    // It is held up for longer than that in a row: without anybody's help the lease would end.
    let ensemble = Ensemble::with_lease(4_500);
    let _registry = ensemble.registry().await;
    let (_console, client) = ensemble.console().await;
    let server = apart(&ensemble.network, &ensemble.cookie).await;
    let mut watcher = client.watch();
    assert!(matches!(next(&mut watcher).await, WatchEvent::Snapshot(..)));
    // One message that takes long, and a flood, which the mailbox works off without a pause.
    server.busy.do_send(Work(Duration::from_millis(2_300)));
    for _ in 0..46 {
        server.busy.do_send(Work(Duration::from_millis(50)));
    }
    server.busy.send(Work(Duration::ZERO)).await.unwrap();
    let renewed = client.lookup(&id("apart")).await.unwrap();
    assert_eq!(renewed.incarnation, server.incarnation);
    server.end().await;
    // Nothing came in between.
    assert_eq!(next_of_weight(&mut watcher).await, Event::Gone { reason: GoneReason::Withdrawn });
}

#[actix::test]
async fn a_hanging_thread_costs_the_lease_until_it_goes_on() {
    let ensemble = Ensemble::with_lease(1_000);
    let _registry = ensemble.registry().await;
    let (_console, client) = ensemble.console().await;
    let server = apart(&ensemble.network, &ensemble.cookie).await;
    let mut watcher = client.watch();
    assert!(matches!(next(&mut watcher).await, WatchEvent::Snapshot(..)));
    let (release, released) = mpsc::channel();
    server.busy.do_send(Hang(released));
    assert_eq!(next_of_weight(&mut watcher).await, Event::Gone { reason: GoneReason::Expired });
    drop(release);
    let Event::Announced { server: again, replaced } = next_of_weight(&mut watcher).await else {
        panic!("it announces itself anew")
    };
    assert_eq!((again.incarnation, replaced), (server.incarnation, None));
    server.end().await;
}
