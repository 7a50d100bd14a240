//! Calls to the own node take no connection, and look the same.

use std::time::Duration;

use ensemble::{CallError, Failure, ListConnections, NODE_ACTOR, Node, Refusal, Unknown};

use crate::common::*;

async fn node() -> (Node, Shared) {
    Net::new(Transport::Memory).serve("server").await
}

#[actix::test]
async fn a_local_call_has_its_result_without_a_connection() {
    let (node, _) = node().await;
    let remote = node.remote("server", "tester");
    assert_eq!(remote.send(echo(100)).await.unwrap(), echo(100).0);
    assert_eq!(remote.send(Make(1 << 20)).await.unwrap().len(), 1 << 20);
    assert_eq!(node.remote("server", NODE_ACTOR).send(ListConnections).await, Ok(vec![]));
}

#[actix::test]
async fn local_messages_keep_their_order() {
    let (node, _) = node().await;
    let remote = node.remote("server", "tester");
    let mut calls = Vec::new();
    for number in 0..3000 {
        if number % 3 == 0 {
            calls.push(remote.send(Record(number)));
        } else {
            remote.try_send(Record(number)).unwrap();
        }
    }
    assert_eq!(remote.send(Seen()).await.unwrap(), (0..3000).collect::<Vec<_>>());
    for call in calls {
        call.await.unwrap();
    }
}

#[actix::test]
async fn local_errors_are_those_of_remote_calls() {
    let (node, _) = node().await;
    let remote = node.remote("server", "tester");
    let refused = |why: Refusal| Err(CallError::Refused(why));
    assert_eq!(node.remote("server", "nobody").send(Unexpected()).await, refused(Refusal::NoSuchActor));
    assert_eq!(node.remote("server", "nobody").try_send(Unexpected()), refused(Refusal::NoSuchActor));
    assert_eq!(remote.send(Unexpected()).await, refused(Refusal::UnknownMessage));
    let malformed = remote.send(NotARecord("text".to_owned())).await;
    assert_eq!(malformed, Err(CallError::Refused(Refusal::Malformed)));
    let brief = remote.clone().with_timeout(Duration::from_millis(10));
    assert_eq!(brief.send(Hold(1)).await, Err(CallError::Unknown(Unknown::Deadline)));
    assert_eq!(remote.send(Panic()).await, Err(CallError::Failed(Failure::Died)));
    assert_eq!(remote.send(Panic()).await, refused(Refusal::NoSuchActor));
}

#[actix::test]
async fn a_local_call_that_is_dropped_is_not_begun() {
    let (node, shared) = node().await;
    let remote = node.remote("server", "tester").with_timeout(LONG);
    let busy = remote.send(Occupy());
    let dropped = remote.send(Record(1));
    let kept = remote.send(Record(2));
    drop(dropped);
    shared.open();
    busy.await.unwrap();
    assert_eq!(kept.await, Ok(1));
    assert_eq!(shared.seen(), [2]);
}

/// It was given up at the deadline that calls have.
#[actix::test]
async fn a_local_post_has_no_deadline() {
    let (node, shared) = node().await;
    let remote = node.remote("server", "tester");
    let busy = remote.clone().with_timeout(LONG).send(Occupy());
    let brief = remote.clone().with_timeout(Duration::from_millis(5));
    brief.try_send(Record(1)).unwrap();
    assert_eq!(brief.send(Record(2)).await, Err(CallError::Unknown(Unknown::Deadline)));
    shared.open();
    busy.await.unwrap();
    assert_eq!(remote.send(Seen()).await, Ok(vec![1]));
}

#[actix::test]
async fn local_posts_are_bounded() {
    let (node, shared) = node().await;
    let remote = node.remote("server", "tester");
    remote.try_send(Occupy()).unwrap();
    let mut taken = 0;
    while remote.try_send(Record(taken)).is_ok() {
        taken += 1;
        assert!(taken < 1_000_000, "there is no bound");
    }
    assert_eq!(remote.try_send(Record(0)), Err(CallError::Refused(Refusal::Overloaded)));
    assert_eq!(remote.send(Record(0)).await, Err(CallError::Refused(Refusal::Overloaded)));
    shared.open();
    eventually("all that was taken is delivered", async || shared.seen().len() as u64 == taken).await;
}

#[actix::test]
async fn a_node_that_shuts_down_answers_local_calls() {
    let (node, shared) = node().await;
    let remote = node.remote("server", "tester").with_timeout(LONG);
    let held = remote.send(Hold(1));
    node.shutdown();
    let run = node.run_until(std::future::pending());
    let ask = async {
        eventually("new messages are refused", async || {
            remote.send(Record(9)).await == Err(CallError::Refused(Refusal::ShuttingDown))
        })
        .await;
        shared.open();
        assert_eq!(held.await, Ok(1));
    };
    within(async { tokio::join!(run, ask) }).await;
}

/// Its node actor counted on the node to be there.
#[actix::test]
async fn a_question_to_a_node_that_is_dropped_is_no_panic() {
    let (node, _) = node().await;
    let call = node.remote("server", NODE_ACTOR).send(ensemble::NodeInfo);
    let server = node.server().clone();
    drop(node);
    assert_eq!(within(call).await.unwrap().server, server);
}
