//! Two starts of one server: who gets the id.

use std::{cell::RefCell, future::pending, rc::Rc};

use ensemble::NODE_ACTOR;
use registry::{
    Client, Join, JoinError, Liveness, Refusal, SERVER,
    messages::{Announce, Denied},
};
use tokio::task::JoinSet;

use crate::common::{Ensemble, address, announce, announcement, end, id, silent, until};

#[actix::test]
async fn a_second_start_of_a_running_server_is_refused_and_does_it_no_harm() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let server = ensemble.join("a").await.unwrap();
    let own = Client::of(&server);
    let disconnected = own.remote().disconnected();
    tokio::pin!(disconnected);
    for n in 0..3 {
        let second = format!("elsewhere-{n}");
        let refused = tokio::select! {
            biased;
            () = &mut disconnected => panic!("the connection of the running server was cut"),
            refused = ensemble.join_listening("a", &second) => refused,
        };
        match refused {
            Err(JoinError::Held { id: held, incarnation, addresses }) => {
                assert_eq!((held, incarnation), (id("a"), server.incarnation()));
                assert_eq!(addresses, [address("a")]);
            }
            other => panic!("{other:?}"),
        }
    }
    let name = id("a");
    let info = tokio::select! {
        biased;
        () = &mut disconnected => panic!("the connection of the running server was cut"),
        info = own.lookup(&name) => info.unwrap(),
    };
    assert_eq!((info.incarnation, info.liveness), (server.incarnation(), Liveness::Reachable));
}

#[actix::test]
async fn a_server_that_died_can_start_again_at_once() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let (console, client) = ensemble.console().await;
    let first = ensemble.join("a").await.unwrap();
    let incarnation = first.incarnation();
    console.remote("a", NODE_ACTOR).ping().await.unwrap();
    // No withdrawal: its connections are just closed.
    drop(first);
    let info = until(async || {
        Some(client.lookup(&id("a")).await.unwrap()).filter(|info| info.liveness == Liveness::Suspect)
    })
    .await;
    assert_eq!(info.incarnation, incarnation);
    let second = ensemble.join_listening("a", "a2").await.unwrap();
    let info = client.lookup(&id("a")).await.unwrap();
    assert_eq!((info.incarnation, info.liveness), (second.incarnation(), Liveness::Reachable));
    assert_eq!(info.addresses, [address("a2")]);
    // The console still has the old address in its cache.
    console.remote("a", NODE_ACTOR).ping().await.unwrap();
}

#[actix::test]
async fn a_server_that_died_can_start_again_at_the_same_address() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    drop(ensemble.join("a").await.unwrap());
    // The address is free once the tasks of the dead node have run.
    let second = until(async || ensemble.join("a").await.ok()).await;
    let info = Client::of(&second).lookup(&id("a")).await.unwrap();
    assert_eq!((info.incarnation, info.liveness), (second.incarnation(), Liveness::Reachable));
}

#[actix::test]
async fn another_server_at_the_address_of_a_dead_one_does_not_stand_for_it() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let dead = ensemble.builder("a").start().await.unwrap();
    announce(&dead, announcement("a", dead.incarnation(), &["b"])).await.unwrap();
    let _other = ensemble.join("b").await.unwrap();
    let second = ensemble.join("a").await.unwrap();
    let info = Client::of(&second).lookup(&id("a")).await.unwrap();
    assert_eq!(info.incarnation, second.incarnation());
}

#[actix::test]
async fn a_holder_that_hangs_counts_as_dead_and_one_good_address_as_alive() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let (_listener, hanging) = silent();

    let hung = ensemble.builder("a").start().await.unwrap();
    let mut said = announcement("a", hung.incarnation(), &[]);
    said.addresses = vec![hanging.clone()];
    announce(&hung, said).await.unwrap();
    let second = ensemble.join("a").await.unwrap();
    let info = Client::of(&second).lookup(&id("a")).await.unwrap();
    assert_eq!(info.incarnation, second.incarnation());

    let builder = ensemble.builder("b").listen(address("b")).announce(hanging).announce(address("b"));
    let _living = builder.join_at(address(SERVER)).await.unwrap();
    let refused = ensemble.join_listening("b", "elsewhere").await;
    assert!(
        matches!(&refused, Err(JoinError::Held { addresses, .. }) if addresses.len() == 2),
        "{refused:?}"
    );
}

#[actix::test]
async fn there_are_only_so_many_questions_at_once() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let (_listener, hanging) = silent();
    let holder = ensemble.builder("a").start().await.unwrap();
    let mut said = announcement("a", holder.incarnation(), &[]);
    said.addresses = vec![hanging];
    announce(&holder, said).await.unwrap();

    let rival = ensemble.builder("a").start().await.unwrap();
    let client = Client::new(&rival, address(SERVER));
    let mut calls = JoinSet::new();
    for _ in 0..80 {
        calls.spawn(client.remote().send(Announce::new(announcement("a", rival.incarnation(), &[]))));
    }
    let answers = calls.join_all().await;
    let count =
        |busy: bool| answers.iter().filter(|answer| (**answer == Ok(Err(Denied::Busy))) == busy).count();
    assert_eq!((count(true), count(false)), (80 - 64, 64));
    // The first to hear that the holder is dead gets the id, and the others are the same start of the server.
    assert!(
        answers
            .iter()
            .filter(|answer| **answer != Ok(Err(Denied::Busy)))
            .all(|answer| matches!(answer, Ok(Ok(_))))
    );
}

#[actix::test]
async fn a_server_whose_id_is_taken_over_shuts_down() {
    let ensemble = Ensemble::with_lease(600);
    let _registry = ensemble.registry().await;
    // It cannot be reached where it says, so it loses a contest; but it goes on.
    let builder = ensemble.builder("a").listen(address("a")).announce(address("nobody"));
    let first = builder.join_at(address(SERVER)).await.unwrap();
    let second = until(async || ensemble.join_listening("a", "a2").await.ok()).await;
    first.run_until(pending()).await;
    let client = Client::of(&second);
    assert_eq!(client.lookup(&id("a")).await.unwrap().incarnation, second.incarnation());
    end(second).await;
}

#[actix::test]
async fn a_replaced_start_never_gets_the_id_back() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let first = ensemble.builder("a").start().await.unwrap();
    let said = announcement("a", first.incarnation(), &["nobody"]);
    announce(&first, said.clone()).await.unwrap();
    let second = ensemble.join("a").await.unwrap();
    end(second).await;
    let refused = announce(&first, said).await;
    let superseded = Refusal::Superseded { id: id("a"), incarnation: first.incarnation() };
    assert_eq!(refused.map(drop), Err(Denied::Refused(superseded)));
}

#[actix::test]
async fn no_lookup_shows_an_older_start_after_a_newer_one() {
    let ensemble = Ensemble::new();
    let _registry = ensemble.registry().await;
    let (_console, client) = ensemble.console().await;
    let seen = Rc::new(RefCell::new(Vec::new()));
    let looking = actix::spawn({
        let seen = Rc::clone(&seen);
        async move {
            loop {
                if let Ok(info) = client.lookup(&id("a")).await {
                    seen.borrow_mut().push(info.incarnation);
                }
            }
        }
    });
    let mut starts = Vec::new();
    for round in 0..20 {
        let server = ensemble.join_listening("a", &format!("a-{round}")).await.unwrap();
        starts.push(server.incarnation());
        let before = seen.borrow().len();
        until(async || (seen.borrow().len() > before + 1).then_some(())).await;
        assert_eq!(seen.borrow().last(), starts.last());
        if round % 2 == 0 { drop(server) } else { end(server).await }
    }
    looking.abort();
    let position = |seen| starts.iter().position(|start| start == seen).unwrap();
    assert!(seen.borrow().is_sorted_by_key(position));
}
