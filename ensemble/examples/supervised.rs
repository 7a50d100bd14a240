//! An actor that panics, is started again by its node, and is watched from another one. Both nodes live in one process
//! here; in two nothing else would change.
//!
//! ```sh
//! cargo run -p ensemble --example supervised
//! ```

use std::time::Duration;

use actix::prelude::*;
use ensemble::{
    CallError, Cookie, Exports, MemoryNetwork, Node, Refusal, RemoteMessage, Restart, RestartPolicy,
    TerminationReason,
};
use serde::{Deserialize, Serialize};

/// Divides a hundred by this.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "u64")]
struct Share(u64);

impl RemoteMessage for Share {
    const NAME: &'static str = "divider.share";
}

struct Divider;

impl Actor for Divider {
    type Context = Context<Self>;
}

impl Handler<Share> for Divider {
    type Result = u64;

    fn handle(&mut self, share: Share, _: &mut Context<Self>) -> u64 {
        100 / share.0
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (network, cookie) = (MemoryNetwork::new(), Cookie::generate()?);

    // The server: what it hands over makes the actor, now and after each panic.
    let server = Node::builder("server").cookie(cookie.clone()).memory(network.clone());
    let server = server.listen("mem:server".parse()?).start().await?;
    let policy = RestartPolicy { max_restarts: 3, ..RestartPolicy::new(Restart::OnFailure) };
    server.export_supervised("divider", policy, || Exports::start(Divider).message::<Share>())?;

    let client = Node::builder("client").cookie(cookie).memory(network).start().await?;
    client.set_route("server".parse()?, server.addresses());
    let divider = client.remote("server", "divider");
    report(format_args!("a fifth of it is {}", divider.send(Share(5)).await?));

    // The caller of what cannot be done is told at once, and so is who watches the actor.
    let end = divider.terminated()?;
    report(format_args!("{}", divider.send(Share(0)).await.expect_err("nothing is divided by zero")));
    let end = end.await;
    report(format_args!("{}: {}", end.reference, end.reason));
    assert_eq!(end.reason, TerminationReason::Panicked);

    // The same address reaches the next start. Until that is there, calls are refused, and can be made again.
    let half = loop {
        match divider.send(Share(2)).await {
            Err(CallError::Refused(Refusal::Restarting)) => {
                tokio::time::sleep(Duration::from_millis(10)).await
            }
            ended => break ended?,
        }
    };
    report(format_args!("a half of it is {half}"));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn report(what: std::fmt::Arguments<'_>) {
    println!("{what}");
}
