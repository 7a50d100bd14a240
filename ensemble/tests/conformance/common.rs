//! Nodes on each transport, and an actor that does what the tests need.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::prelude::*;
use ensemble::{
    Address, Caller, Cookie, Exports, Limits, MemoryNetwork, Node, NodeBuilder, RemoteMessage, TraceContext,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tempfile::TempDir;
use tokio::sync::Semaphore;

/// No test takes so long, unless something hangs.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// A deadline that is not what ends a call in these tests.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, future).await.expect("it hangs")
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(HANG, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Memory,
    Unix,
    Tcp,
}

/// Where the nodes of one test meet.
pub(crate) struct Net {
    transport: Transport,
    dir: TempDir,
    network: Arc<MemoryNetwork>,
    pub(crate) cookie: Cookie,
}

impl Net {
    pub(crate) fn new(transport: Transport) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { transport, dir, network: MemoryNetwork::new(), cookie: Cookie::generate().unwrap() }
    }

    pub(crate) fn address(&self, name: &str) -> Address {
        match self.transport {
            Transport::Memory => format!("mem:{name}").parse().unwrap(),
            Transport::Unix => Address::Unix(self.dir.path().join(name)),
            Transport::Tcp => "tcp:127.0.0.1:0".parse().unwrap(),
        }
    }

    pub(crate) fn network(&self) -> Arc<MemoryNetwork> {
        Arc::clone(&self.network)
    }

    /// A node that does not listen yet.
    pub(crate) fn builder(&self, name: &str) -> NodeBuilder {
        Node::builder(name).cookie(self.cookie.clone()).memory(Arc::clone(&self.network))
    }

    pub(crate) async fn serve_with(&self, name: &str, limits: Limits) -> (Node, Shared) {
        self.serve_at(name, self.address(name), limits).await
    }

    pub(crate) async fn serve_at(&self, name: &str, address: Address, limits: Limits) -> (Node, Shared) {
        let node = self.builder(name).listen(address).limits(limits).start().await.unwrap();
        let shared = Shared::default();
        node.export("tester", tester(&shared)).unwrap();
        (node, shared)
    }

    /// A node that listens, and exports a [`Tester`] as `tester`.
    pub(crate) async fn serve(&self, name: &str) -> (Node, Shared) {
        self.serve_with(name, Limits::default()).await
    }

    /// A node that knows where others are.
    pub(crate) async fn client_with(&self, name: &str, servers: &[&Node], limits: Limits) -> Node {
        let node = self.builder(name).limits(limits).start().await.unwrap();
        for server in servers {
            node.set_route(server.server().clone(), server.addresses());
        }
        node
    }

    pub(crate) async fn client(&self, name: &str, servers: &[&Node]) -> Node {
        self.client_with(name, servers, Limits::default()).await
    }

    /// A server and a client.
    pub(crate) async fn pair(&self) -> (Node, Shared, Node) {
        let (server, shared) = self.serve("server").await;
        let client = self.client("client", &[&server]).await;
        (server, shared, client)
    }
}

/// Makes one test for each transport of each function.
macro_rules! on_every_transport {
    ($($name:ident),* $(,)?) => {
        mod memory { $(#[actix::test] async fn $name() { within(super::$name(Net::new(Transport::Memory))).await })*
            use crate::common::{Net, Transport, within}; }
        mod unix { $(#[actix::test] async fn $name() { within(super::$name(Net::new(Transport::Unix))).await })*
            use crate::common::{Net, Transport, within}; }
        mod tcp { $(#[actix::test] async fn $name() { within(super::$name(Net::new(Transport::Tcp))).await })*
            use crate::common::{Net, Transport, within}; }
    };
}
pub(crate) use on_every_transport;

/// What the test sees of an actor, and how it holds it up.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) seen: Arc<Mutex<Vec<u64>>>,
    pub(crate) gate: Arc<Semaphore>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { seen: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }
}

impl Shared {
    pub(crate) fn seen(&self) -> Vec<u64> {
        self.seen.lock().unwrap().clone()
    }

    /// Lets everything pass from now on.
    pub(crate) fn open(&self) {
        self.gate.close();
    }
}

pub(crate) struct Tester {
    pub(crate) shared: Shared,
    /// For nested calls.
    pub(crate) node: Option<Node>,
}

impl Actor for Tester {
    type Context = Context<Self>;
}

pub(crate) fn exports(tester: Tester) -> Exports<Tester> {
    with_messages(Exports::start(tester))
}

pub(crate) fn with_messages(exports: Exports<Tester>) -> Exports<Tester> {
    exports
        .message::<Echo>()
        .message::<Record>()
        .message::<Seen>()
        .message::<Hold>()
        .message::<Occupy>()
        .message::<Panic>()
        .message::<Stop>()
        .message::<Traced>()
        .message::<Bounce>()
        .message::<Make>()
        .message::<PanicsWhenRead>()
        .message::<PanicsWhenWritten>()
        .message::<PanicsWhenDropped>()
}

pub(crate) fn tester(shared: &Shared) -> Exports<Tester> {
    exports(Tester { shared: shared.clone(), node: None })
}

macro_rules! message {
    ($(#[$doc:meta])* $name:ident($($field:ty),*) -> $result:tt, $wire:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Message, Serialize, Deserialize)]
        #[rtype(result = $result)]
        pub(crate) struct $name($(pub(crate) $field),*);

        impl RemoteMessage for $name {
            const NAME: &'static str = $wire;
        }
    };
}

message!(
    /// Comes back.
    Echo(ByteBuf) -> "ByteBuf", "test.echo"
);
message!(
    /// Is remembered; the result is how many were.
    Record(u64) -> "u64", "test.record"
);
message!(
    /// What was remembered.
    Seen() -> "Vec<u64>", "test.seen"
);
message!(
    /// Is remembered, and answered when the gate opens; others pass meanwhile.
    Hold(u64) -> "u64", "test.hold"
);
message!(
    /// Keeps the actor from doing anything else until the gate opens.
    Occupy() -> "()", "test.occupy"
);
message!(
    /// Kills the actor.
    Panic() -> "()", "test.panic"
);
message!(
    /// Makes the actor stop by itself.
    Stop() -> "()", "test.stop"
);
message!(
    /// Goes back and forth between two servers so many times.
    Bounce(u32, String, String) -> "Result<u32, String>", "test.bounce"
);
message!(
    /// So many bytes.
    Make(u64) -> "ByteBuf", "test.make"
);
message!(
    /// The name of a message with another content.
    NotARecord(String) -> "u64", "test.record"
);
message!(
    /// Nobody takes it.
    Unexpected() -> "()", "test.unexpected"
);

pub(crate) fn echo(bytes: usize) -> Echo {
    let pattern: Vec<u8> = (0..251).collect();
    let mut data = pattern.repeat(bytes / pattern.len() + 1);
    data.truncate(bytes);
    Echo(ByteBuf::from(data))
}

/// The trace that it belongs to comes back, as text. It can be long.
#[derive(Debug, Message, Serialize, Deserialize)]
#[rtype(result = "Option<String>")]
pub(crate) struct Traced {
    pub(crate) filler: ByteBuf,
    #[serde(skip)]
    pub(crate) trace: Option<TraceContext>,
}

impl RemoteMessage for Traced {
    const NAME: &'static str = "test.traced";

    fn received_from(&mut self, caller: &Caller) {
        self.trace = caller.trace();
    }
}

impl Handler<Traced> for Tester {
    type Result = Option<String>;

    fn handle(&mut self, message: Traced, _: &mut Context<Self>) -> Option<String> {
        message.trace.map(|trace| trace.to_string())
    }
}

/// Its reader panics.
#[derive(Debug, Message, Serialize)]
#[rtype(result = "()")]
pub(crate) struct PanicsWhenRead;

impl<'de> Deserialize<'de> for PanicsWhenRead {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("as the test wants")
    }
}

impl RemoteMessage for PanicsWhenRead {
    const NAME: &'static str = "test.panics-when-read";
}

/// The writer of its result panics.
#[derive(Debug, Message, Serialize, Deserialize)]
#[rtype(result = "Bomb")]
pub(crate) struct PanicsWhenWritten;

impl RemoteMessage for PanicsWhenWritten {
    const NAME: &'static str = "test.panics-when-written";
}

#[derive(Debug, Deserialize, MessageResponse)]
pub(crate) struct Bomb;

impl Serialize for Bomb {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("as the test wants")
    }
}

/// Its result panics when the server drops it.
#[derive(Debug, Message, Serialize, Deserialize)]
#[rtype(result = "Trap")]
pub(crate) struct PanicsWhenDropped;

impl RemoteMessage for PanicsWhenDropped {
    const NAME: &'static str = "test.panics-when-dropped";
}

#[derive(Debug, Serialize, Deserialize, MessageResponse)]
pub(crate) struct Trap {
    #[serde(skip)]
    is_armed: bool,
}

impl Drop for Trap {
    fn drop(&mut self) {
        assert!(!self.is_armed, "as the test wants");
    }
}

impl Handler<PanicsWhenDropped> for Tester {
    type Result = Trap;

    fn handle(&mut self, _: PanicsWhenDropped, _: &mut Context<Self>) -> Trap {
        Trap { is_armed: true }
    }
}

impl Handler<Echo> for Tester {
    type Result = MessageResult<Echo>;

    fn handle(&mut self, message: Echo, _: &mut Context<Self>) -> Self::Result {
        MessageResult(message.0)
    }
}

impl Handler<Record> for Tester {
    type Result = u64;

    fn handle(&mut self, message: Record, _: &mut Context<Self>) -> u64 {
        let mut seen = self.shared.seen.lock().unwrap();
        seen.push(message.0);
        seen.len() as u64
    }
}

impl Handler<Seen> for Tester {
    type Result = Vec<u64>;

    fn handle(&mut self, _: Seen, _: &mut Context<Self>) -> Vec<u64> {
        self.shared.seen()
    }
}

impl Handler<Hold> for Tester {
    type Result = ResponseActFuture<Self, u64>;

    fn handle(&mut self, message: Hold, _: &mut Context<Self>) -> Self::Result {
        self.shared.seen.lock().unwrap().push(message.0);
        let gate = Arc::clone(&self.shared.gate);
        let held = async move {
            if let Ok(permit) = gate.acquire().await {
                permit.forget();
            }
            message.0
        };
        Box::pin(held.into_actor(self))
    }
}

impl Handler<Occupy> for Tester {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: Occupy, _: &mut Context<Self>) -> Self::Result {
        let gate = Arc::clone(&self.shared.gate);
        AtomicResponse::new(Box::pin(
            async move {
                if let Ok(permit) = gate.acquire().await {
                    permit.forget();
                }
            }
            .into_actor(self),
        ))
    }
}

impl Handler<Panic> for Tester {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Context<Self>) {
        panic!("as the test wants")
    }
}

impl Handler<Stop> for Tester {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Handler<Bounce> for Tester {
    type Result = ResponseFuture<Result<u32, String>>;

    fn handle(&mut self, message: Bounce, _: &mut Context<Self>) -> Self::Result {
        let Bounce(left, next, after) = message;
        if left == 0 {
            return Box::pin(async { Ok(0) });
        }
        let node = self.node.as_ref().expect("a tester that bounces has a node");
        let call = node.remote(&next, "tester").with_timeout(LONG).send(Bounce(left - 1, after, next));
        Box::pin(async move { call.await.map_err(|why| why.to_string())?.map(|count| count + 1) })
    }
}

impl Handler<Make> for Tester {
    type Result = MessageResult<Make>;

    fn handle(&mut self, message: Make, _: &mut Context<Self>) -> Self::Result {
        MessageResult(ByteBuf::from(vec![7; message.0 as usize]))
    }
}

impl Handler<PanicsWhenRead> for Tester {
    type Result = ();

    fn handle(&mut self, _: PanicsWhenRead, _: &mut Context<Self>) {}
}

impl Handler<PanicsWhenWritten> for Tester {
    type Result = Bomb;

    fn handle(&mut self, _: PanicsWhenWritten, _: &mut Context<Self>) -> Bomb {
        Bomb
    }
}
