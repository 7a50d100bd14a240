//! What watchers see of a registry, also when they are slow and when it goes away.

use std::{collections::BTreeMap, time::Duration};

use actix::{Actor, Context};
use ensemble::{Exports, Node};
use registry::{
    ACTOR, Change, Client, ClientError, Event, GoneReason, Options, Revision, SERVER, ServerInfo, View,
    WatchEvent, Watcher,
    messages::{Follow, MAX_WAITING_POLLS_OF_ONE, NotFollowed},
};
use tokio::time::{Instant, pause, timeout};

use crate::common::{Ensemble, PATIENCE, address, announce, announcement, end, id, until};

/// The next event, but for the registry's going and coming.
async fn next(watcher: &mut Watcher) -> WatchEvent {
    loop {
        let event = timeout(PATIENCE, watcher.next()).await.expect("there is an event").unwrap();
        if !matches!(event, WatchEvent::Away | WatchEvent::Back) {
            return event;
        }
    }
}

async fn snapshot(watcher: &mut Watcher) -> (Vec<ServerInfo>, Revision) {
    match next(watcher).await {
        WatchEvent::Snapshot(servers, revision) => (servers, revision),
        other => panic!("{other:?}"),
    }
}

async fn change(watcher: &mut Watcher) -> Change {
    match next(watcher).await {
        WatchEvent::Change(change) => change,
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn a_watcher_gets_a_snapshot_and_then_each_change() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let a = ensemble.join("a").await.unwrap();
    let (_console, client) = ensemble.console().await;
    let mut watcher = client.watch();
    let (servers, revision) = snapshot(&mut watcher).await;
    assert_eq!(servers.iter().map(|info| info.id.as_str()).collect::<Vec<_>>(), ["a"]);

    let b = ensemble.join("b").await.unwrap();
    let announced = change(&mut watcher).await;
    assert!(matches!(&announced.event, Event::Announced { server, replaced: None } if server.id == id("b")));
    assert_eq!(announced.incarnation, b.incarnation());
    end(a).await;
    let gone = change(&mut watcher).await;
    assert_eq!((gone.id, gone.event), (id("a"), Event::Gone { reason: GoneReason::Withdrawn }));
    assert_eq!(gone.revision.number, revision.number + 2);

    // From a revision that is known there is no snapshot.
    let mut later = client.watch_from(revision);
    assert_eq!(change(&mut later).await, announced);
}

#[actix::test]
async fn a_watch_that_is_given_up_in_between_loses_nothing() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let (_console, client) = ensemble.console().await;
    let mut watcher = client.watch();
    let mut names = Vec::new();
    let mut servers = Vec::new();
    while names.len() < 3 {
        let name = format!("s{}", servers.len());
        servers.push(ensemble.join(&name).await.unwrap());
        // It gets to wait at least once, is dropped at any point, and is asked anew.
        let found = tokio::select! {
            biased;
            event = watcher.next() => Some(event.unwrap()),
            () = tokio::task::yield_now() => None,
        };
        match found {
            Some(WatchEvent::Change(change)) => names.push(change.id.to_string()),
            Some(WatchEvent::Snapshot(found, _)) => {
                names.extend(found.into_iter().map(|info| info.id.to_string()));
            }
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
    let expected: Vec<String> = (0..names.len()).map(|n| format!("s{n}")).collect();
    assert_eq!(names, expected);
}

#[actix::test]
async fn a_slow_watcher_is_told_that_it_fell_behind() {
    let options = Options { max_servers: 2, max_changes: 4, ..Options::default() };
    let ensemble = Ensemble { options, ..Ensemble::new() };
    let _registry = ensemble.registry().await;
    let (_console, client) = ensemble.console().await;
    let mut watcher = client.watch();
    let (_, first) = snapshot(&mut watcher).await;
    for _ in 0..3 {
        end(ensemble.join("a").await.unwrap()).await;
    }
    let last = ensemble.join("a").await.unwrap();
    assert_eq!(next(&mut watcher).await, WatchEvent::FellBehind);
    let (servers, revision) = snapshot(&mut watcher).await;
    assert_eq!(servers.iter().map(|info| info.incarnation).collect::<Vec<_>>(), [last.incarnation()]);
    assert_eq!(revision, Revision { number: first.number + 7, ..first });
    end(last).await;
    assert_eq!(change(&mut watcher).await.revision.number, first.number + 8);
}

#[actix::test]
async fn an_empty_answer_ends_a_wait_without_a_change() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let (_console, client) = ensemble.console().await;
    let (_, revision) = client.snapshot().await.unwrap();
    pause();
    let start = Instant::now();
    let answer = client.remote().send(Follow::new(revision, 10, 2_000)).await.unwrap().unwrap();
    assert!(answer.changes.is_empty() && !answer.more && answer.revision == revision);
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[actix::test]
async fn no_peer_waits_with_too_many_polls() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let (_console, client) = ensemble.console().await;
    let (_, revision) = client.snapshot().await.unwrap();
    let poll = || client.remote().send(Follow::new(revision, 10, 4_000));
    let waiting: Vec<_> = (0..MAX_WAITING_POLLS_OF_ONE).map(|_| poll()).collect();
    assert_eq!(poll().await.unwrap(), Err(NotFollowed::TooManyWaiting));
    // Another has its own share, and what is given up is free.
    let (_other, others) = ensemble.console().await;
    let mut watcher = others.watch_from(revision);
    drop(waiting);
    until(async || {
        tokio::select! {
            biased;
            answer = poll() => (answer.unwrap() != Err(NotFollowed::TooManyWaiting)).then_some(()),
            () = tokio::time::sleep(Duration::from_millis(50)) => Some(()),
        }
    })
    .await;
    let _server = ensemble.join("a").await.unwrap();
    assert_eq!(change(&mut watcher).await.id, id("a"));
}

#[actix::test]
async fn who_waits_does_not_hold_up_a_registry_that_shuts_down() {
    let ensemble = Ensemble::new();
    let registry = ensemble.registry().await;
    let (_console, client) = ensemble.console().await;
    let (_, revision) = client.snapshot().await.unwrap();
    let waiting = client.remote().clone().with_timeout(PATIENCE).send(Follow::new(revision, 10, 30_000));
    // It has arrived before this is answered.
    client.all().await.unwrap();
    end(registry).await;
    // The node would have waited for ten seconds, and then stopped the actor with the question still open.
    let answer = waiting.await.unwrap().unwrap();
    assert!(answer.changes.is_empty());
}

/// One watcher with all that it has seen.
struct Witness {
    watcher: Watcher,
    /// How many operations it lets pass before it looks.
    pace: usize,
    view: Option<View>,
    seen: Vec<Change>,
    snapshots: usize,
}

impl Witness {
    fn new(client: &Client, pace: usize) -> Self {
        Self { watcher: client.watch(), pace, view: None, seen: Vec::new(), snapshots: 0 }
    }

    async fn take_one(&mut self) {
        match next(&mut self.watcher).await {
            WatchEvent::Snapshot(servers, revision) => {
                self.snapshots += 1;
                self.view = Some(View::new(&servers, revision));
            }
            WatchEvent::Change(change) => {
                let view = self.view.as_mut().expect("a snapshot comes first");
                // The view would take a change twice; a watcher must not.
                assert_eq!(change.revision.number, view.revision().number + 1);
                view.apply(&change).unwrap();
                self.seen.push(change);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Until it has seen what the registry has seen.
    async fn catch_up(&mut self, now: Revision) {
        while self.view.as_ref().is_none_or(|view| view.revision() != now) {
            self.take_one().await;
        }
    }
}

/// Starts and ends servers; says which ends the registry learned of.
async fn operate(
    ensemble: &Ensemble,
    round: usize,
    living: &mut BTreeMap<String, Node>,
    announced: &mut Vec<ensemble::Incarnation>,
) {
    let name = format!("s{}", round % 5);
    match living.remove(&name) {
        Some(server) if round.is_multiple_of(3) => drop(server),
        Some(server) => end(server).await,
        None => {
            let server = ensemble.join_listening(&name, &format!("{name}-{round}")).await.unwrap();
            announced.push(server.incarnation());
            living.insert(name, server);
        }
    }
}

#[actix::test]
async fn ten_watchers_see_the_same_history_over_a_restart() {
    const ROUNDS: usize = 60;
    const PACES: [usize; 10] = [1, 1, 1, 2, 3, 5, 8, 13, 21, 34];
    // Nothing happens only because time passes.
    let ensemble = Ensemble::with_lease(600_000);
    let mut registry = ensemble.registry().await;
    let mut consoles = Vec::new();
    let mut witnesses = Vec::new();
    for pace in PACES {
        let (console, client) = ensemble.console().await;
        let mut witness = Witness::new(&client, pace);
        witness.take_one().await;
        consoles.push((console, client));
        witnesses.push(witness);
    }
    let mut living = BTreeMap::new();
    let mut announced = Vec::new();
    for round in 0..ROUNDS {
        if round == ROUNDS / 2 {
            // All servers that live are known to the next one too, and nothing is announced anew.
            // As in a crash.
            drop(registry);
            registry = ensemble.registry_again(ensemble.dir.path()).await;
            until(async || {
                let (servers, _) = consoles[0].1.snapshot().await.ok()?;
                let is_there = |node: &Node| {
                    servers.iter().any(|info| {
                        info.incarnation == node.incarnation()
                            && info.liveness == registry::Liveness::Reachable
                    })
                };
                living.values().all(is_there).then_some(())
            })
            .await;
            for witness in witnesses.iter_mut().filter(|witness| witness.pace == 1) {
                while witness.snapshots == 1 {
                    witness.take_one().await;
                }
            }
        }
        operate(&ensemble, round, &mut living, &mut announced).await;
        let (_, now) = consoles[0].1.snapshot().await.unwrap();
        for witness in witnesses.iter_mut().filter(|witness| round.is_multiple_of(witness.pace)) {
            // A broken connection may make another change meanwhile: no witness waits for that.
            while witness.view.as_ref().is_none_or(|view| {
                view.revision().history != now.history || view.revision().number < now.number
            }) {
                witness.take_one().await;
            }
        }
    }
    // Until nothing more comes, nobody has a doubt about the end.
    let (servers, now) = until(async || {
        let (servers, now) = consoles[0].1.snapshot().await.ok()?;
        let is_settled = |info: &ServerInfo| {
            living.values().any(|node| node.incarnation() == info.incarnation)
                || info.liveness == registry::Liveness::Suspect
        };
        servers.iter().all(is_settled).then_some((servers, now))
    })
    .await;
    let mut history: BTreeMap<(ensemble::Incarnation, u64), Change> = BTreeMap::new();
    for witness in &mut witnesses {
        witness.catch_up(now).await;
        let view = witness.view.as_ref().unwrap();
        assert_eq!(*view, View::new(&servers, now), "a witness with pace {}", witness.pace);
        assert_eq!(witness.snapshots, 2, "one of each registry");
        for change in &witness.seen {
            let key = (change.revision.history, change.revision.number);
            let known = history.entry(key).or_insert_with(|| change.clone());
            assert_eq!(known, change);
        }
    }
    // Who kept up saw every announcement, in its order, and each once.
    for witness in witnesses.iter().filter(|witness| witness.pace == 1) {
        let seen = witness.seen.iter().filter(|change| matches!(change.event, Event::Announced { .. }));
        assert_eq!(seen.map(|change| change.incarnation).collect::<Vec<_>>(), announced);
    }
    drop(registry);
}

#[actix::test]
async fn pages_of_a_snapshot_that_changes_between_them_fit_together() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let (_console, client) = ensemble.console().await;
    // One more than a page has. At once, so that they share what the disk costs.
    let mut starting = tokio::task::JoinSet::new();
    let mut nodes = Vec::new();
    for n in 0..=registry::messages::MAX_PAGE {
        let name = format!("s{n:04}");
        let node = ensemble.builder(&name).start().await.unwrap();
        let announcing = node.clone();
        starting.spawn_local(async move {
            announce(&announcing, announcement(&name, announcing.incarnation(), &[])).await.unwrap();
        });
        nodes.push(node);
    }
    starting.join_all().await;
    let mut watcher = client.watch();
    let (servers, revision) = {
        let mut watching = std::pin::pin!(snapshot(&mut watcher));
        // Whenever the watcher waits, something changes at both ends of the list.
        loop {
            tokio::select! {
                biased;
                found = &mut watching => break found,
                () = async {
                    let first = &nodes[0];
                    Client::of(first).withdraw(first.server(), None).await.unwrap();
                    announce(first, announcement("s0000", first.incarnation(), &["x"])).await.unwrap();
                } => {}
            }
        }
    };
    let mut view = View::new(&servers, revision);
    let (expected, now) = client.snapshot().await.unwrap();
    while view.revision() != now {
        let next = change(&mut watcher).await;
        assert_eq!(next.revision.number, view.revision().number + 1);
        view.apply(&next).unwrap();
    }
    assert_eq!(view, View::new(&expected, now));
}

/// What answers in a registry's place, and knows none of its messages.
struct Other;

impl Actor for Other {
    type Context = Context<Self>;
}

#[actix::test]
async fn a_watcher_says_when_asking_again_does_not_help() {
    let ensemble = Ensemble::new();
    let other = ensemble.builder(SERVER).listen(address(SERVER)).start().await.unwrap();
    other.export(ACTOR, Exports::start(Other)).unwrap();
    let (_console, client) = ensemble.console().await;
    let mut watcher = client.watch();
    for _ in 0..2 {
        let failed = loop {
            match timeout(PATIENCE, watcher.next()).await.expect("there is an end to it") {
                Ok(WatchEvent::Away) => {}
                other => break other,
            }
        };
        assert!(matches!(failed, Err(ClientError::Call(_))), "{failed:?}");
    }
}
