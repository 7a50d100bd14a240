//! A registry, a server and a client in one process, in a home of their own that goes away at the end:
//! `cargo run -p ensemble-registry --example join`.
//!
//! In a real ensemble each of the three is a process of its own, and the command line runs the registry.

#![expect(clippy::print_stdout, reason = "it shows its results")]

use std::error::Error;

use actix::{Actor, Context, Handler, Message};
use ensemble::{Cookie, Exports, Home, Node, RemoteMessage, RoleName, ServerId};
use registry::{Join, SERVER, connect, console};
use serde::{Deserialize, Serialize};

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "u64")]
struct Add(u64);

impl RemoteMessage for Add {
    const NAME: &'static str = "counter.add";
}

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

async fn run(home: Home) -> Result<(), Box<dyn Error>> {
    home.create()?;
    Cookie::create(&home.cookie(), false)?;
    home.ensure_run_dir()?;

    let id = ServerId::new(SERVER)?;
    let registry = Node::builder(SERVER).home(home.clone()).listen(home.socket(&id)?).start().await?;
    registry::serve(&registry, &home.ensure_server_dir(&id)?).await?;

    let server = Node::builder("counter-1").role("counter").home(home.clone()).join().await?;
    server.export("counter", Exports::start(Counter(40)).message::<Add>())?;

    let (node, client) = connect(console().home(home), None).await?;
    for found in client.by_role(&RoleName::new("counter")?).await? {
        let total = node.remote(&found.id, "counter").send(Add(2)).await?;
        let addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
        println!("{} is {} at {}: its counter is at {total}", found.id, found.liveness, addresses.join(", "));
    }

    // A server that is asked to shut down withdraws first.
    server.run_until(async {}).await;
    println!("servers that are left: {}", client.all().await?.len());
    registry.run_until(async {}).await;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let home = Home::resolve_with(Some(dir.path()), |_| None)?;
    actix::System::new().block_on(run(home))
}
