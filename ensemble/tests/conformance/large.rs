//! Messages that are cut into chunks.

use ensemble::{CallError, Failure, Limits, NODE_ACTOR, NotSent};

use crate::common::*;

on_every_transport!(
    large_messages_come_back_whole,
    pings_pass_large_requests,
    pings_pass_large_replies,
    small_messages_wait_behind_a_large_one_of_their_address,
    large_messages_share_a_small_budget,
    a_message_over_the_limit_is_not_sent,
    a_reply_over_the_limit_is_an_error_of_its_call,
    a_large_call_that_is_dropped_frees_its_place,
    both_sides_send_much_at_once,
);

const CHUNK: usize = ensemble::CHUNK_BYTES;

async fn large_messages_come_back_whole(net: Net) {
    let (_server, _, client) = net.pair().await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    // The encoding of bytes has its length in front.
    for bytes in [CHUNK - 6, CHUNK - 5, CHUNK - 4, CHUNK, CHUNK + 1, 3 * CHUNK, 1 << 20, 5_000_001] {
        assert!(remote.send(echo(bytes)).await.unwrap() == echo(bytes).0, "{bytes} bytes");
    }
}

/// How many pings are answered while a call is under way. On TCP the system's buffers alone hold several megabytes,
/// which each ping has to follow.
async fn pings_during(net: Net, big: Echo, remote_makes: Option<u64>) -> u32 {
    let (_server, _, client) = net.pair().await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let pinged = client.remote("server", NODE_ACTOR).with_timeout(LONG);
    pinged.ping().await.unwrap();
    let transfer = async {
        match remote_makes {
            Some(bytes) => assert_eq!(remote.send(Make(bytes)).await.unwrap().len() as u64, bytes),
            None => assert!(remote.send(big).await.is_ok()),
        }
    };
    tokio::pin!(transfer);
    let mut pings = 0;
    loop {
        tokio::select! {
            biased;
            () = &mut transfer => return pings,
            pong = pinged.ping() => {
                pong.unwrap();
                pings += 1;
            }
        }
    }
}

async fn pings_pass_large_requests(net: Net) {
    let pings = pings_during(net, echo(32 << 20), None).await;
    assert!(pings >= 3, "{pings} pings passed");
}

async fn pings_pass_large_replies(net: Net) {
    let pings = pings_during(net, echo(0), Some(32 << 20)).await;
    assert!(pings >= 3, "{pings} pings passed");
}

async fn small_messages_wait_behind_a_large_one_of_their_address(net: Net) {
    let (_server, shared, client) = net.pair().await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let large = remote.send(echo(4 << 20));
    let small = remote.send(Record(1));
    let other = client.remote("server", "tester").send(Record(2)).await;
    assert_eq!(other, Ok(1), "another address has to wait");
    large.await.unwrap();
    assert_eq!(small.await, Ok(2));
    assert_eq!(shared.seen(), [2, 1]);
}

async fn large_messages_share_a_small_budget(net: Net) {
    let limits = Limits { max_in_flight_bytes: 1 << 20, ..Limits::default() };
    let (server, _) = net.serve_with("server", limits).await;
    let client = net.client("client", &[&server]).await;
    // Each from an address of its own, so that they compete.
    let calls: Vec<_> = (0..20)
        .map(|number| {
            let message = echo((number % 5 + 1) * 300_000);
            (message.clone(), client.remote("server", "tester").with_timeout(LONG).send(message))
        })
        .collect();
    for (message, call) in calls {
        assert!(call.await.unwrap() == message.0);
    }
}

async fn a_message_over_the_limit_is_not_sent(net: Net) {
    let limits = Limits { max_message_bytes: 1 << 20, ..Limits::default() };
    let (server, _) = net.serve_with("server", limits).await;
    let client = net.client("client", &[&server]).await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    // The first waits for the connection, and with it for the limit.
    let too_large = CallError::NotSent(NotSent::TooLarge { bytes: (2 << 20) + 5, limit: 1 << 20 });
    remote.try_send(echo(2 << 20)).unwrap();
    assert_eq!(remote.send(echo(2 << 20)).await, Err(too_large.clone()));
    assert_eq!(remote.send(echo(2 << 20)).await, Err(too_large.clone()));
    assert_eq!(remote.try_send(echo(2 << 20)), Err(too_large));
    assert!(remote.send(echo((1 << 20) - 5)).await.is_ok(), "exactly the limit");
}

async fn a_reply_over_the_limit_is_an_error_of_its_call(net: Net) {
    let limits = Limits { max_message_bytes: 1 << 20, ..Limits::default() };
    let (server, _) = net.serve("server").await;
    let client = net.client_with("client", &[&server], limits).await;
    let remote = client.remote("server", "tester").with_timeout(LONG);
    let too_large = Err(CallError::Failed(Failure::ReplyTooLarge));
    assert_eq!(remote.send(Make(2 << 20)).await, too_large);
    assert!(remote.send(Make((1 << 20) - 5)).await.is_ok());
}

async fn a_large_call_that_is_dropped_frees_its_place(net: Net) {
    let limits = Limits { max_in_flight_bytes: 1 << 20, max_in_flight: 16, ..Limits::default() };
    let (server, _) = net.serve_with("server", limits).await;
    let client = net.client("client", &[&server]).await;
    let pinged = client.remote("server", NODE_ACTOR);
    for _ in 0..100 {
        let remote = client.remote("server", "tester").with_timeout(LONG);
        let dropped = remote.send(echo(900_000));
        let behind = remote.send(Record(1));
        // Some of it has gone out by then.
        pinged.ping().await.unwrap();
        drop(dropped);
        behind.await.unwrap();
    }
    assert!(client.remote("server", "tester").send(echo(900_000)).await.is_ok());
}

async fn both_sides_send_much_at_once(net: Net) {
    let (one, _) = net.serve("one").await;
    let (two, _) = net.serve("two").await;
    one.set_route("two".parse().unwrap(), two.addresses());
    one.remote("two", NODE_ACTOR).ping().await.unwrap();
    let mut calls = Vec::new();
    for _ in 0..6 {
        for (from, to) in [(&one, "two"), (&two, "one")] {
            for bytes in [2 << 20, 60_000, 100, 400_000] {
                calls.push((bytes, from.remote(to, "tester").with_timeout(LONG).send(echo(bytes))));
            }
        }
    }
    for (bytes, call) in calls {
        assert_eq!(call.await.unwrap().len(), bytes);
    }
}
