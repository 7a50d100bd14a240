//! Joining, step by step: the home, the node, its announcement, and leaving.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ensemble::{Address, HomeError, Incarnation, Node, NodeBuilder, StartError};
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{error::JoinError, keeper::Keeper};
use crate::{
    Announcement, Client, ClientError,
    backoff::Backoff,
    messages::{Denied, Lease},
    server_id,
};

/// Time for the withdrawal when a node leaves. A registry that is away must not hold it up.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two attempts at it.
const LEAVE_PAUSE: Duration = Duration::from_millis(20);
/// Attempts to announce while the registry is too busy.
const MAX_ATTEMPTS: u32 = 5;
/// What a node says of its program, unless told otherwise.
const AGENT: &str = concat!("ensemble/", env!("CARGO_PKG_VERSION"));

/// Joins nodes to their ensemble.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use ensemble::Node;
/// use registry::Join;
///
/// let node = Node::builder("counter-1").role("counter").join().await?;
/// // node.export("counter", ...)?;
/// node.run().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Exporting before others know of the node
/// A node that has joined can be found before the program has exported its actors: who calls one in between is answered
/// [`NoSuchActor`](ensemble::Refusal::NoSuchActor), which is the same as before the start. Where that matters, start
/// the node, export, and announce it then with [`enter`]:
///
/// ```no_run
/// # use actix::{Actor, Context, Handler, Message};
/// # use ensemble::RemoteMessage;
/// # #[derive(Message, serde::Serialize, serde::Deserialize)]
/// # #[rtype(result = "u64")]
/// # struct Add(u64);
/// # impl RemoteMessage for Add { const NAME: &'static str = "counter.add"; }
/// # struct Counter(u64);
/// # impl Actor for Counter { type Context = Context<Self>; }
/// # impl Handler<Add> for Counter {
/// #     type Result = u64;
/// #     fn handle(&mut self, add: Add, _: &mut Context<Self>) -> u64 { self.0 += add.0; self.0 }
/// # }
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use ensemble::{Exports, Home, Node};
///
/// let home = Home::resolve(None)?;
/// home.ensure_run_dir()?;
/// let socket = home.socket(&"counter-1".parse()?)?;
/// let registry = home.socket(&registry::SERVER.parse()?)?;
///
/// let node = Node::builder("counter-1").role("counter").home(home).listen(socket).start().await?;
/// node.export("counter", Exports::start(Counter(0)).message::<Add>())?;
/// registry::enter(&node, registry).await?;
/// node.run().await?;
/// # Ok(())
/// # }
/// ```
pub trait Join {
    /// Starts the node and announces it to the registry of its home. From then on others find it, though it exports
    /// nothing yet: see [above](Self#exporting-before-others-know-of-the-node).
    fn join(self) -> Joining;

    /// As [`join`](Self::join), but to the registry at that address.
    fn join_at(self, registry: Address) -> Joining;
}

impl Join for NodeBuilder {
    fn join(self) -> Joining {
        Joining { builder: self, registry: None, agent: None }
    }

    fn join_at(self, registry: Address) -> Joining {
        Joining { builder: self, registry: Some(registry), agent: None }
    }
}

/// A node that is about to join: await it.
///
/// - Without an address to listen at, the node listens at the UNIX socket of its id in the home.
/// - The registry is the one at the UNIX socket of [`SERVER`](crate::SERVER) in the home, unless another was named.
/// - From then on the node keeps its lease by itself, also when the registry goes away and comes back, and resolves
///   other servers through it. Roles that are added to it are announced at once. When it shuts down, it withdraws first.
/// - The lease is kept also while the thread of the node's connections is held up, by an actor that blocks or a flood of
///   messages: for half a lease a thread of its own sends the heartbeats. A server whose thread is held up for longer does
///   nothing for anybody: it is suspect after a lease at most, and loses its lease after one and a half. When its thread
///   goes on, it announces itself anew.
/// - When another server takes over its id (possible only once nothing answered at this node's addresses, or its
///   lease had ended), the node logs an error and shuts down: others already reach the new one, and two servers that
///   work under one id are what an id is there to prevent.
#[derive(Debug)]
#[must_use = "a node joins when this is awaited"]
pub struct Joining {
    builder: NodeBuilder,
    registry: Option<Address>,
    agent: Option<String>,
}

impl Joining {
    /// Names the program and its version, for people who look at the registry: at most
    /// [`MAX_AGENT_BYTES`](crate::MAX_AGENT_BYTES).
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// Joins; the same as awaiting it.
    ///
    /// # Errors
    /// When the node does not start, the registry cannot be reached, or it refuses.
    pub async fn join(self) -> Result<Node, JoinError> {
        let Self { mut builder, registry, agent } = self;
        let server = builder.server().map_err(StartError::Name)?;
        let must_listen = !builder.has_listen();
        let registry = find_registry(&mut builder, registry)?;
        if must_listen {
            let home = builder.resolve_home()?;
            home.ensure_run_dir()?;
            builder = builder.listen(home.socket(&server)?).home(home);
        }
        let node = builder.start().await?;
        enter_as(&node, registry, agent).await?;
        Ok(node)
    }
}

impl IntoFuture for Joining {
    type Output = Result<Node, JoinError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.join())
    }
}

/// Announces a node that runs already, as [`Join::join`] does, to the registry at that address: for a program that
/// wants to export its actors first.
///
/// # Errors
/// When the registry cannot be reached, or refuses.
pub async fn enter(node: &Node, registry: Address) -> Result<Client, JoinError> {
    enter_as(node, registry, None).await
}

/// How far the announcement of a node has come, for the hook that takes it back.
enum Entry {
    /// It may have been sent.
    Begun,
    /// The registry has it.
    Kept(JoinHandle<()>),
    /// The registry does not have it, as far as can be known.
    Failed,
}

async fn enter_as(node: &Node, registry: Address, agent: Option<String>) -> Result<Client, JoinError> {
    let client = Client::new(node, registry.clone());
    node.set_resolver(Arc::new(client.clone()));
    let changes = node.changes();
    let announcement = Announcement {
        id: node.server().clone(),
        incarnation: node.incarnation(),
        addresses: node.addresses(),
        roles: node.roles().to_vec(),
        agent: Some(agent.unwrap_or_else(|| AGENT.to_owned())),
        pid: Some(std::process::id()),
    };
    // Before the announcement: a node that shuts down in the meantime must not stay behind in the registry. The hook
    // waits for the lock, so that the withdrawal comes after whatever was announced.
    let entry = Arc::new(Mutex::new(Entry::Begun));
    let mut state = entry.lock().await;
    let is_leaving = Arc::new(AtomicBool::new(false));
    let leaving = leave(client.clone(), announcement.clone(), Arc::clone(&entry), Arc::clone(&is_leaving));
    if !node.at_leave(leaving) {
        return Err(JoinError::ShuttingDown);
    }
    let lease = match announce(&client, &announcement).await {
        Ok(lease) => lease,
        Err(cause) => {
            if let ClientError::Refused(Denied::Busy | Denied::NotStored) = cause {
                take_back(&client, &announcement).await;
            }
            *state = Entry::Failed;
            return Err(JoinError::of(registry, cause));
        }
    };
    // The hook may have waited too long to go on waiting.
    if is_leaving.load(Ordering::Acquire) {
        take_back(&client, &announcement).await;
        *state = Entry::Failed;
        return Err(JoinError::ShuttingDown);
    }
    let keeper = Keeper::new(node, client.clone(), registry, changes, announcement, lease);
    *state = Entry::Kept(actix::spawn(keeper.run()));
    Ok(client)
}

async fn leave(
    client: Client,
    announcement: Announcement,
    entry: Arc<Mutex<Entry>>,
    is_leaving: Arc<AtomicBool>,
) {
    is_leaving.store(true, Ordering::Release);
    let withdrawn = async {
        match std::mem::replace(&mut *entry.lock().await, Entry::Failed) {
            Entry::Kept(keeping) => keeping.abort(),
            Entry::Begun => {}
            Entry::Failed => return Ok(false),
        }
        loop {
            match client.withdraw(&announcement.id, Some(announcement.incarnation)).await {
                // It may have been started again just now, and this node not have noticed yet.
                Err(ClientError::Unreachable(_)) => sleep(LEAVE_PAUSE).await,
                outcome => return outcome,
            }
        }
    };
    match timeout(LEAVE_TIMEOUT, withdrawn).await {
        Ok(Ok(_)) => tracing::debug!("withdrawn from the registry"),
        Ok(Err(cause)) => tracing::info!(%cause, "left without telling the registry"),
        Err(_) => tracing::info!("left without an answer from the registry"),
    }
}

/// What the registry could not write it may list all the same, in memory: nobody is to find a server that gave up.
async fn take_back(client: &Client, announcement: &Announcement) {
    let withdrawal = client.withdraw(&announcement.id, Some(announcement.incarnation));
    match timeout(LEAVE_TIMEOUT, withdrawal).await {
        // It is out of the memory, which is all that there is.
        Ok(Ok(_) | Err(ClientError::Refused(Denied::Busy | Denied::NotStored))) => {}
        Ok(Err(cause)) => tracing::info!(%cause, "could not take back an announcement"),
        Err(_) => tracing::info!("the registry did not answer when an announcement was taken back"),
    }
}

async fn announce(client: &Client, announcement: &Announcement) -> Result<Lease, ClientError> {
    let mut backoff = Backoff::new();
    let mut attempt = 1;
    loop {
        match client.announce(announcement.clone()).await {
            Err(ClientError::Refused(Denied::Busy)) if attempt < MAX_ATTEMPTS => {
                attempt += 1;
                sleep(backoff.next()).await;
            }
            other => return other,
        }
    }
}

fn find_registry(builder: &mut NodeBuilder, given: Option<Address>) -> Result<Address, HomeError> {
    if let Some(registry) = given {
        return Ok(registry);
    }
    let home = builder.resolve_home()?;
    let registry = home.socket(&server_id())?;
    *builder = builder.clone().home(home);
    Ok(registry)
}

/// Begins to make a node for a command or another short-lived client, with an id of its own that no other has.
pub fn console() -> NodeBuilder {
    Node::builder(format!("console-{}", Incarnation::fresh()))
}

/// Starts a node that is not announced: it calls, and is not called by those that it has not called. It resolves
/// servers through the registry at that address, or else the one of its home. See [`console`] for the builder.
///
/// # Errors
/// When the node does not start, or the registry does not answer.
pub async fn connect(
    mut builder: NodeBuilder,
    registry: Option<Address>,
) -> Result<(Node, Client), JoinError> {
    let registry = find_registry(&mut builder, registry)?;
    let node = builder.start().await?;
    let client = Client::new(&node, registry.clone());
    node.set_resolver(Arc::new(client.clone()));
    let answered = client.remote().ping().await;
    answered.map_err(|cause| JoinError::of(registry, cause.into()))?;
    Ok((node, client))
}
