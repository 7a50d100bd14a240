//! An actor that is reached from another node. Here both nodes live in one process and meet at a UNIX socket; in two
//! processes nothing else would change.
//!
//! ```sh
//! cargo run -p ensemble --example counter
//! ```

use actix::prelude::*;
use ensemble::{Address, CallError, Cookie, Exports, Node, Refusal, RemoteMessage};
use serde::{Deserialize, Serialize};

/// Adds to the counter; the result is the sum.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "u64")]
struct Add(u64);

impl RemoteMessage for Add {
    const NAME: &'static str = "counter.add";
}

#[derive(Default)]
struct Counter(u64);

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Add> for Counter {
    type Result = u64;

    fn handle(&mut self, add: Add, _: &mut Context<Self>) -> u64 {
        self.0 += add.0;
        self.0
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("counter-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let cookie = Cookie::generate()?;
    let address = Address::Unix(dir.join("counter.sock"));

    // The server: an actor, exported under a name.
    let server =
        Node::builder("counter-1").role("counter").cookie(cookie.clone()).listen(address).start().await?;
    server.export("counter", Exports::start(Counter::default()).message::<Add>())?;

    // The client: it only has to know where the server is. In an ensemble the registry tells it.
    let client = Node::builder("client").cookie(cookie).start().await?;
    client.set_route("counter-1".parse()?, server.addresses());

    let counter = client.remote("counter-1", "counter");
    counter.do_send(Add(40));
    let sum = counter.send(Add(2)).await?;
    report(format_args!("the sum is {sum}"));
    counter.ping().await?;

    // What cannot be done has its reason, and it is no string.
    let nobody = client.remote("counter-1", "nobody").send(Add(1)).await;
    assert_eq!(nobody, Err(CallError::Refused(Refusal::NoSuchActor)));

    counter.shutdown().await?;
    report(format_args!("the counter has stopped"));
    drop((client, server));
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn report(what: std::fmt::Arguments<'_>) {
    println!("{what}");
}
