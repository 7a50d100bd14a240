//! Three servers with one role, and a client that knows only the role: `cargo run -p ensemble-registry --example roles`.
//! All in one process, in a home of their own that goes away at the end.

#![expect(clippy::print_stdout, reason = "it shows its results")]

use std::error::Error;

use actix::{Actor, Context, Handler, Message};
use ensemble::{Cookie, Exports, Home, Node, RemoteMessage, ServerId};
use registry::{SERVER, WatchEvent, connect, console};
use serde::{Deserialize, Serialize};

#[derive(Clone, Message, Serialize, Deserialize)]
#[rtype(result = "String")]
struct Greet(String);

impl RemoteMessage for Greet {
    const NAME: &'static str = "greeter.greet";
}

struct Greeter(ServerId);

impl Actor for Greeter {
    type Context = Context<Self>;
}

impl Handler<Greet> for Greeter {
    type Result = String;

    fn handle(&mut self, Greet(whom): Greet, _: &mut Context<Self>) -> String {
        format!("{} greets {whom}", self.0)
    }
}

async fn run(home: Home) -> Result<(), Box<dyn Error>> {
    home.create()?;
    Cookie::create(&home.cookie(), false)?;
    home.ensure_run_dir()?;

    let id = ServerId::new(SERVER)?;
    let registry = Node::builder(SERVER).home(home.clone()).listen(home.socket(&id)?).start().await?;
    registry::serve(&registry, &home.ensure_server_dir(&id)?).await?;

    let (_node, client) = connect(console().home(home.clone()), None).await?;
    let mut watcher = client.watch();
    if let WatchEvent::Snapshot(servers, _) = watcher.next().await? {
        println!("there are {} servers", servers.len());
    }
    let mut servers = Vec::new();
    for name in ["one", "two", "three"] {
        let id = ServerId::new(name)?;
        let node =
            Node::builder(name).role("greeter").home(home.clone()).listen(home.socket(&id)?).start().await?;
        // Before others can find it.
        node.export("greeter", Exports::start(Greeter(id)).message::<Greet>())?;
        registry::enter(&node, home.socket(&ServerId::new(SERVER)?)?).await?;
        servers.push(node);
    }
    for _ in &servers {
        if let WatchEvent::Change(change) = watcher.next().await? {
            println!("{} came", change.id);
        }
    }

    let greeters = client.role("greeter");
    while greeters.all().await?.len() < servers.len() {
        tokio::task::yield_now().await;
    }
    for whom in ["Ada", "Grace", "Barbara"] {
        println!("any:       {}", greeters.any().send(Greet(whom.into())).await?);
    }
    for whom in ["Ada", "Grace", "Ada"] {
        println!("by key:    {}", greeters.by_key(whom).await?.send(Greet(whom.into())).await?);
    }
    for (_, greeting) in greeters.broadcast(Greet("everyone".into())).await? {
        println!("broadcast: {}", greeting?);
    }

    for server in servers {
        server.run_until(async {}).await;
    }
    registry.run_until(async {}).await;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let home = Home::resolve_with(Some(dir.path()), |_| None)?;
    actix::System::new().block_on(run(home))
}
