//! Actors that are started again when they end.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

use actix::Actor;
use ensemble::{
    ActorState, CallError, ExportError, Exports, Failure, ListSupervised, NODE_ACTOR, Node, Refusal,
    RemoteAddr, Restart, RestartPolicy,
};

use crate::common::*;

on_every_transport!(
    an_actor_that_panics_is_started_again,
    while_it_is_started_again_it_says_so,
    how_it_ended_decides_whether_it_comes_back,
    an_actor_that_ends_too_often_is_given_up,
    what_is_shut_down_stays_so,
);

const DIED: CallError = CallError::Failed(Failure::Died);
const NO_SUCH_ACTOR: CallError = CallError::Refused(Refusal::NoSuchActor);
const RESTARTING: CallError = CallError::Refused(Refusal::Restarting);

/// Without pauses, as often as need be.
fn at_once(restart: Restart) -> RestartPolicy {
    RestartPolicy { first_pause: Duration::ZERO, max_restarts: u32::MAX, ..RestartPolicy::new(restart) }
}

/// With a pause that does not end.
fn never_back(restart: Restart) -> RestartPolicy {
    RestartPolicy { first_pause: LONG, max_pause: LONG, ..RestartPolicy::new(restart) }
}

/// Exports a supervised tester; counts how often it was made.
fn supervise(node: &Node, shared: &Shared, policy: RestartPolicy) -> Arc<AtomicU64> {
    let made = Arc::new(AtomicU64::new(0));
    let (count, shared) = (Arc::clone(&made), shared.clone());
    let make = move || {
        count.fetch_add(1, Ordering::SeqCst);
        tester(&shared)
    };
    node.export_supervised("supervised", policy, make).unwrap();
    made
}

/// How often it was started again, and whether it is there.
async fn state(node: &Node) -> (u64, ActorState) {
    let listed = node.remote(node.server(), NODE_ACTOR).send(ListSupervised).await.unwrap();
    assert_eq!((listed.len(), listed[0].name.as_str()), (1, "supervised"));
    (listed[0].restarts, listed[0].state)
}

async fn is_back(remote: &RemoteAddr) {
    eventually("it is back", async || {
        let pinged = remote.ping().await;
        assert!([Ok(()), Err(RESTARTING), Err(DIED)].contains(&pinged), "{pinged:?}");
        pinged.is_ok()
    })
    .await;
}

async fn an_actor_that_panics_is_started_again(net: Net) {
    let (server, shared, client) = net.pair().await;
    let made = supervise(&server, &shared, at_once(Restart::OnFailure));
    let remote = client.remote("server", "supervised").with_timeout(LONG);
    for round in 0..5 {
        assert_eq!(remote.send(Record(round)).await, Ok(round + 1));
        assert_eq!(made.load(Ordering::SeqCst), round + 1);
        assert_eq!(state(&server).await, (round, ActorState::Running));
        let held = remote.send(Hold(100 + round));
        assert_eq!(remote.send(Panic()).await, Err(DIED));
        assert_eq!(held.await, Err(DIED));
        is_back(&remote).await;
        shared.seen.lock().unwrap().pop();
    }
    assert!(client.remote("server", "tester").ping().await.is_ok(), "others are left alone");
}

async fn while_it_is_started_again_it_says_so(net: Net) {
    let (server, shared, client) = net.pair().await;
    supervise(&server, &shared, never_back(Restart::OnFailure));
    let remote = client.remote("server", "supervised").with_timeout(LONG);
    let local = server.remote("server", "supervised");
    assert_eq!(remote.send(Panic()).await, Err(DIED));
    for remote in [&remote, &local] {
        assert_eq!(remote.send(Record(1)).await, Err(RESTARTING));
        assert_eq!(remote.ping().await, Err(RESTARTING));
    }
    assert_eq!(local.try_send(Record(1)), Err(RESTARTING));
    assert_eq!(state(&server).await, (0, ActorState::Restarting));
    let in_use = server.export("supervised", tester(&shared));
    assert!(matches!(in_use, Err(ExportError::InUse { .. })), "{in_use:?}");
    assert_eq!(shared.seen(), [0; 0]);
}

async fn how_it_ended_decides_whether_it_comes_back(net: Net) {
    for (number, restart, after_stop, after_panic) in [
        (0, Restart::Never, false, false),
        (1, Restart::OnFailure, false, true),
        (2, Restart::Always, true, true),
    ] {
        for (is_panic, comes_back) in [(false, after_stop), (true, after_panic)] {
            let (server, shared) = net.serve(&format!("server-{number}-{is_panic}")).await;
            let client = net.client("client", &[&server]).await;
            let made = supervise(&server, &shared, at_once(restart));
            let remote = client.remote(server.server(), "supervised").with_timeout(LONG);
            if is_panic {
                assert_eq!(remote.send(Panic()).await, Err(DIED));
            } else {
                remote.send(Stop()).await.unwrap();
            }
            if comes_back {
                eventually("it is made again", async || made.load(Ordering::SeqCst) == 2).await;
                is_back(&remote).await;
                continue;
            }
            eventually("it is gone", async || remote.ping().await == Err(NO_SUCH_ACTOR)).await;
            assert_eq!(state(&server).await, (0, ActorState::Ended));
            server.export("supervised", tester(&shared)).expect("the name is free");
            assert_eq!(made.load(Ordering::SeqCst), 1);
        }
    }
}

async fn an_actor_that_ends_too_often_is_given_up(net: Net) {
    let (server, shared, client) = net.pair().await;
    let policy = RestartPolicy { max_restarts: 2, window: LONG, ..at_once(Restart::OnFailure) };
    let made = supervise(&server, &shared, policy);
    let remote = client.remote("server", "supervised").with_timeout(LONG);
    for _ in 0..2 {
        assert_eq!(remote.send(Panic()).await, Err(DIED));
        is_back(&remote).await;
    }
    assert_eq!(remote.send(Panic()).await, Err(DIED));
    eventually("it is given up", async || remote.send(Record(1)).await == Err(NO_SUCH_ACTOR)).await;
    assert_eq!(state(&server).await, (2, ActorState::Ended));
    assert_eq!(made.load(Ordering::SeqCst), 3);
    supervise(&server, &shared, at_once(Restart::OnFailure));
    assert_eq!(remote.send(Record(1)).await, Ok(1));
}

async fn what_is_shut_down_stays_so(net: Net) {
    let (server, shared, client) = net.pair().await;
    let remote = client.remote("server", "supervised");
    for policy in [at_once(Restart::Always), never_back(Restart::Always)] {
        for is_dead in [false, true] {
            let is_over = |made: &AtomicU64| made.load(Ordering::SeqCst) == 1;
            let made = supervise(&server, &shared, policy.clone());
            if is_dead && policy.first_pause == LONG {
                remote.send(Stop()).await.unwrap();
                assert_eq!(remote.ping().await, Err(RESTARTING));
            }
            remote.shutdown().await.unwrap();
            assert_eq!(remote.ping().await, Err(NO_SUCH_ACTOR));
            let taken_back = supervise(&server, &shared, policy.clone());
            assert!(server.unexport("supervised"));
            assert_eq!(remote.ping().await, Err(NO_SUCH_ACTOR));
            // Whoever would start it again has had its turn.
            client.remote("server", NODE_ACTOR).ping().await.unwrap();
            assert!(is_over(&made) && is_over(&taken_back));
        }
    }
    let last = supervise(&server, &shared, at_once(Restart::Always));
    server.shutdown();
    server.run_until(std::future::pending()).await;
    assert_eq!(last.load(Ordering::SeqCst), 1);
}

#[actix::test]
async fn a_panic_of_what_makes_an_actor_is_a_failure_like_others() {
    let net = Net::new(Transport::Memory);
    let (server, shared) = net.serve("server").await;
    let at_first = server.export_supervised("bad", RestartPolicy::default(), || -> Exports<Tester> {
        panic!("as the test wants")
    });
    assert_eq!(at_first, Err(ExportError::FactoryPanicked));
    let made = Rc::new(Cell::new(0));
    let (count, kept) = (Rc::clone(&made), shared.clone());
    let make = move || {
        count.set(count.get() + 1);
        assert!(![2, 3, 5, 6].contains(&count.get()), "as the test wants");
        tester(&kept)
    };
    let policy = RestartPolicy { max_restarts: 5, window: LONG, ..at_once(Restart::OnFailure) };
    server.export_supervised("supervised", policy, make).unwrap();
    let remote = server.remote("server", "supervised").with_timeout(LONG);
    assert_eq!(remote.send(Panic()).await, Err(DIED));
    within(is_back(&remote)).await;
    assert_eq!((made.get(), state(&server).await), (4, (1, ActorState::Running)));
    assert_eq!(remote.send(Panic()).await, Err(DIED));
    eventually("it is given up", async || remote.ping().await == Err(NO_SUCH_ACTOR)).await;
    assert_eq!((made.get(), state(&server).await), (6, (1, ActorState::Ended)));
}

#[actix::test]
async fn only_what_its_export_starts_is_supervised() {
    let (server, shared) = Net::new(Transport::Memory).serve("server").await;
    let make = move || with_messages(Exports::of(Tester { shared: shared.clone(), node: None }.start()));
    let refused = server.export_supervised("other", RestartPolicy::default(), make);
    assert_eq!(refused, Err(ExportError::NotSupervisable));
}

#[actix::test]
async fn an_actor_on_another_thread_is_started_again_there() {
    let (server, shared) = Net::new(Transport::Memory).serve("server").await;
    let arbiter = actix::Arbiter::new();
    let remote = server.remote("server", "supervised").with_timeout(LONG);
    let (node, kept) = (server.clone(), shared.clone());
    arbiter.spawn_fn(move || drop(supervise(&node, &kept, at_once(Restart::Always))));
    eventually("it is exported", async || remote.ping().await.is_ok()).await;
    for _ in 0..20 {
        assert_eq!(remote.send(Panic()).await, Err(DIED));
        within(is_back(&remote)).await;
    }
    arbiter.stop();
    eventually("nobody is left to start it", async || remote.ping().await == Err(NO_SUCH_ACTOR)).await;
    server.export("supervised", tester(&shared)).expect("the name is free");
}
