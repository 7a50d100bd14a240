//! Following what changes, through the client and over real connections.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{pin::pin, task::Poll, time::Duration};

use actix::System;
use common::{KVSTORE, World, on_each_path, stop};
use ensemble::{CallError, Node};
use kvstore::{
    ACTOR, Client, ClientError, History, Position, PutOptions, WatchError, WatchFrom, Watching,
    messages::{
        Attached, Change, ChangeKind, Changes, Condition, MAX_WATCHES_OF_ONE, Op, Watch, WatchRefused,
    },
};

fn put(revision: u64, key: &str, value: &str) -> Change {
    let kind = ChangeKind::Put { value_bytes: value.len() as u64 };
    let value = Attached::Value(value.to_owned().into());
    Change { revision, key: key.to_owned().into(), kind, value }
}

fn removed(revision: u64, key: &str) -> Change {
    Change { kind: ChangeKind::Removed, value: Attached::Nothing, ..put(revision, key, "") }
}

async fn is_waiting(watching: &mut Watching) -> bool {
    let mut next = pin!(watching.next());
    std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_pending())).await
}

#[test]
fn each_change_of_a_prefix_comes_once_and_in_order() {
    on_each_path(&[], |store| async move {
        store.put("a/0", "before").await.unwrap();
        let mut now = store.watch("a/", WatchFrom::Now).await.unwrap().with_values();
        let mut all = store.watch("", WatchFrom::Revision(0)).await.unwrap();
        assert!(is_waiting(&mut now).await);
        store.put("b/1", "other").await.unwrap();
        store.put("a/1", "one").await.unwrap();
        assert_eq!(now.next().await.unwrap(), put(3, "a/1", "one"));
        assert!(is_waiting(&mut now).await, "it waits where it is");
        store.remove("a/0").await.unwrap();
        store.remove("a/0").await.unwrap();
        let put_op = |key: &'static str, value: &'static str| Op::Put {
            key: key.into(),
            value: value.into(),
            condition: Condition::Always,
            ttl_ms: None,
        };
        let remove_op = Op::Remove { key: "b/1".into(), condition: Condition::Always };
        let writes = vec![put_op("a/2", "two"), remove_op, put_op("a/3", "")];
        store.apply(writes).await.unwrap();
        assert_eq!(now.next().await.unwrap(), removed(4, "a/0"));
        assert_eq!(now.next().await.unwrap(), put(5, "a/2", "two"));
        assert_eq!(now.next().await.unwrap(), put(7, "a/3", ""));
        let mut revisions = Vec::new();
        for _ in 0..7 {
            let change = all.next().await.unwrap();
            assert_eq!(change.value, Attached::Nothing, "it was not asked for");
            revisions.push(change.revision);
        }
        assert_eq!(revisions, [1, 2, 3, 4, 5, 6, 7]);
        assert!(is_waiting(&mut all).await);
    });
}

#[test]
fn an_end_by_itself_is_told_when_it_is_collected() {
    on_each_path(&[], |store| async move {
        let mut watching = store.watch("", WatchFrom::Now).await.unwrap().with_values();
        store.put_with("k", "v", PutOptions::new().expires_in(Duration::from_millis(1))).await.unwrap();
        let change = watching.next().await.unwrap();
        assert_eq!((change.revision, change.kind), (1, ChangeKind::Put { value_bytes: 1 }));
        let change = watching.next().await.unwrap();
        assert_eq!((change.revision, &change.key[..], change.kind), (2, &b"k"[..], ChangeKind::Expired));
    });
}

#[test]
fn long_values_come_too_and_replaced_ones_do_not() {
    on_each_path(&[], |store| async move {
        let long = common::noise(3 << 20, 1);
        store.put("k", "first").await.unwrap();
        store.put("long", long.clone()).await.unwrap();
        store.put("k", "second").await.unwrap();
        store.put("other long", long.clone()).await.unwrap();
        let mut watching = store.watch("", WatchFrom::Revision(0)).await.unwrap().with_values();
        let mut values = Vec::new();
        for _ in 0..4 {
            values.push(watching.next().await.unwrap().value);
        }
        let long = Attached::Value(long.into());
        assert_eq!(values[0], Attached::Replaced);
        assert!(values[1] == long && values[3] == long);
        assert_eq!(values[2], Attached::Value("second".into()));
        assert_eq!(watching.position().revision, 4);
    });
}

#[test]
fn where_one_was_another_goes_on() {
    on_each_path(&[("durability", "none")], |store| async move {
        for number in 1..=600 {
            store.put(format!("{}/{number}", number % 3), "").await.unwrap();
        }
        let mut seen = Vec::new();
        let mut from = WatchFrom::Revision(0);
        while seen.len() < 200 {
            let mut watching = store.watch("1/", from).await.unwrap();
            for _ in 0..7.min(200 - seen.len()) {
                seen.push(watching.next().await.unwrap().revision);
            }
            assert!(watching.position().revision >= seen[seen.len() - 1]);
            from = WatchFrom::Position(watching.position());
        }
        assert_eq!(seen, (0..200).map(|number| 3 * number + 1).collect::<Vec<u64>>());
        let WatchFrom::Position(last) = from else { panic!("it was somewhere") };
        assert_eq!(last.revision, 600, "with nothing more to come it is at the end");
    });
}

#[test]
fn what_cannot_be_followed_is_told() {
    on_each_path(&[("changes", "10"), ("durability", "none")], |store| async move {
        for number in 0..500 {
            store.put(number.to_string(), "").await.unwrap();
        }
        let refused = store.watch("", WatchFrom::Revision(7)).await.unwrap_err();
        let WatchError::Compacted { asked: 7, first } = refused else { panic!("{refused:?}") };
        assert!((363..=491).contains(&first), "{first}");
        let mut watching = store.watch("", WatchFrom::Revision(first - 1)).await.unwrap();
        assert_eq!(watching.next().await.unwrap().revision, first);
        let last = 500;
        let refused = store.watch("", WatchFrom::Revision(last + 1)).await.unwrap_err();
        assert_eq!(refused, WatchError::Ahead { asked: last + 1, last });
        let Position { history, .. } = watching.position();
        let asked = Position { revision: last, history: History::fresh() };
        let refused = store.watch("", WatchFrom::Position(asked)).await.unwrap_err();
        assert_eq!(refused, WatchError::HistoryChanged { asked, history });

        // One that is too slow.
        let mut slow = store.watch("", WatchFrom::Now).await.unwrap();
        for number in 0..500 {
            store.put(number.to_string(), "").await.unwrap();
        }
        for _ in 0..2 {
            let told = slow.next().await.unwrap_err();
            assert!(matches!(told, WatchError::Compacted { asked: 500, first } if first > 800), "{told:?}");
        }
    });
}

/// One question.
async fn ask(node: &Node, watch: Watch) -> Result<Result<Changes, WatchRefused>, CallError> {
    node.remote(KVSTORE, ACTOR).with_timeout(Duration::from_secs(60)).send(watch).await
}

fn question(prefix: &'static str, after: u64, wait_ms: u32) -> Watch {
    let mut watch = Watch::from_now(prefix);
    (watch.after, watch.wait_ms) = (Some(after), wait_ms);
    watch
}

#[test]
fn a_busy_store_leaves_nobody_behind_who_waits_for_a_quiet_key() {
    System::new().block_on(async {
        let world = World::unix();
        let server = world.server(&[("changes", "400"), ("durability", "none")]).await;
        let user = world.user("user").await;
        let store = Client::new(&user, KVSTORE);
        let mut watching = store.watch("quiet", WatchFrom::Now).await.unwrap();
        let other = store.watch("quiet too", WatchFrom::Now).await.unwrap();
        let mut next = Box::pin(watching.next());
        for number in 0..1600 {
            let put = store.put(format!("busy {}", number % 10), "");
            tokio::select! {
                biased;
                change = &mut next => panic!("{change:?}"),
                done = put => drop(done.unwrap()),
            }
        }
        // With nothing to be told the position has moved on.
        let moved = ask(&user, question("none", 1599, 10)).await.unwrap().unwrap();
        assert!(moved.is_empty() && moved.next == 1600, "{moved:?}");
        store.put("quiet", "!").await.unwrap();
        assert_eq!(next.await.unwrap().revision, 1601);
        assert_eq!(watching.position().revision, 1601);
        // Which is not so for one that did not ask.
        let told = { other }.next().await.unwrap_err();
        assert!(matches!(told, WatchError::Compacted { asked: 0, .. }), "{told:?}");
        stop(&server).await;
    });
}

/// Asks until the answer is of such a kind.
async fn until(
    node: &Node,
    is_such: impl Fn(&Result<Changes, WatchRefused>) -> bool,
) -> Result<Changes, WatchRefused> {
    let asking = async {
        loop {
            let answer = ask(node, question("k", 0, 1)).await.unwrap();
            if is_such(&answer) {
                return answer;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap()
}

#[test]
fn nobody_takes_all_the_places_and_who_goes_gives_its_own_back() {
    System::new().block_on(async {
        let world = World::unix();
        let server = world.server(&[]).await;
        let (greedy, other) = (world.user("greedy").await, world.user("other").await);
        // What goes through one address comes in the order in which it was sent.
        let remote = greedy.remote(KVSTORE, ACTOR).with_timeout(Duration::from_secs(60));
        remote.ping().await.unwrap();
        let mut waiting: Vec<_> = (0..MAX_WATCHES_OF_ONE)
            .map(|_| {
                let remote = remote.clone();
                actix::spawn(async move { remote.send(question("k", 0, 30_000)).await })
            })
            .collect();
        for _ in 0..MAX_WATCHES_OF_ONE {
            tokio::task::yield_now().await;
        }
        let refused = remote.send(question("k", 0, 30_000)).await.unwrap();
        assert_eq!(refused.unwrap_err(), WatchRefused::TooManyWatches);
        assert!(ask(&other, question("k", 0, 1)).await.unwrap().is_ok());
        waiting.pop().unwrap().abort();
        assert!(until(&greedy, Result::is_ok).await.unwrap().is_empty());
        // Each of them is told of one and the same change.
        Client::new(&other, KVSTORE).put("key", "").await.unwrap();
        for one in waiting {
            assert_eq!(one.await.unwrap().unwrap().unwrap().into_changes().len(), 1);
        }
        stop(&server).await;
    });
}

#[test]
fn a_server_that_shuts_down_answers_those_who_wait() {
    System::new().block_on(async {
        let world = World::unix();
        let server = world.server(&[]).await;
        let user = world.user("user").await;
        let node = user.clone();
        let waiting = actix::spawn(async move { ask(&node, question("", 0, 30_000)).await });
        // Behind it on the same connection.
        ask(&user, question("", 0, 1)).await.unwrap().unwrap();
        stop(&server).await;
        assert!(waiting.await.unwrap().unwrap().unwrap().is_empty());
    });
}

async fn next(watching: &mut Watching) -> Change {
    tokio::time::timeout(Duration::from_secs(30), watching.next()).await.unwrap().unwrap()
}

/// Waits until a server that was started again is reached. What a watch has yet to tell may have come before, so that the
/// first call is the one that finds the old connection gone.
async fn reached(store: &Client) {
    let asking = async {
        while let Err(why) = store.get("k").await {
            assert!(matches!(why, ClientError::Call(_)), "{why:?}");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap();
}

#[test]
fn over_a_restart_of_the_server_it_goes_on_where_it_was() {
    System::new().block_on(async {
        let world = World::unix();
        let user = world.user("user").await;
        let store = Client::new(&user, KVSTORE);
        let server = world.server(&[]).await;
        let mut watching = store.watch("", WatchFrom::Now).await.unwrap();
        let mut expected = 0;
        let mut server = Some(server);
        for _ in 0..4 {
            for _ in 0..10 {
                store.put("k", "").await.unwrap();
            }
            for _ in 0..5 {
                expected += 1;
                assert_eq!(next(&mut watching).await.revision, expected);
            }
            stop(&server.take().unwrap()).await;
            server = Some(world.server(&[]).await);
            for _ in 0..5 {
                expected += 1;
                assert_eq!(next(&mut watching).await.revision, expected);
            }
            reached(&store).await;
        }
        stop(&server.unwrap()).await;
    });
}
