//! Sending to servers by what they are for. Who they are, and whose turn it is, is in `members`; which of them a key
//! belongs to, in `rendezvous`.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use ensemble::{
    ActorName, CallError, CallFuture, NameError, Node, NotSent, Reference, Refusal, RemoteAddr,
    RemoteMessage, RoleName, ServerId, WeakNode,
};
use tokio::time::{Instant, timeout_at};

use super::{
    members::{Chooser, Follower, Member, members_of},
    rendezvous,
};
use crate::{Liveness, Revision, View};

/// Calls of one broadcast that are under way at the same time.
pub const MAX_BROADCAST_CALLS: usize = 32;

#[derive(Debug, Default)]
struct Known {
    at: Option<Revision>,
    members: Arc<[Member]>,
}

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Known>,
    chooser: Chooser,
}

/// The servers with a role, whoever they are at the moment. Made by [`Client::role`](super::Client::role).
///
/// Sends to the actor that is named as the role, unless [`actor`](Self::actor) says otherwise. The clones share what
/// they know.
///
/// # How fresh it is
/// It follows the registry through a [`Watcher`](super::Watcher): servers come, become suspect and go as soon as the
/// registry has told so, usually within a millisecond. While the registry is away it goes by what was known last. A
/// registry that hangs is noticed after 15 seconds. So a server that is named may have gone already, and a call says so.
///
/// ```
/// # use std::sync::Arc;
/// # use actix::{Actor, Context, Handler, Message};
/// # use ensemble::{Cookie, Exports, MemoryNetwork, Node, RemoteMessage};
/// # use registry::{Client, Join, SERVER, serve};
/// # #[derive(Clone, Message, serde::Serialize, serde::Deserialize)]
/// # #[rtype(result = "u64")]
/// # struct Add(u64);
/// # impl RemoteMessage for Add { const NAME: &'static str = "counter.add"; }
/// # struct Counter(u64);
/// # impl Actor for Counter { type Context = Context<Self>; }
/// # impl Handler<Add> for Counter {
/// #     type Result = u64;
/// #     fn handle(&mut self, add: Add, _: &mut Context<Self>) -> u64 { self.0 += add.0; self.0 }
/// # }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # actix::System::new().block_on(async {
/// # let (network, cookie) = (MemoryNetwork::new(), Cookie::generate()?);
/// # let builder = |id: &str| Node::builder(id).cookie(cookie.clone()).memory(Arc::clone(&network));
/// # let registry = builder(SERVER).listen("mem:registry".parse()?).start().await?;
/// # serve(&registry, dir.path()).await?;
/// # let server = builder("a").role("counter").listen("mem:a".parse()?).join_at("mem:registry".parse()?).await?;
/// # server.export("counter", Exports::start(Counter(0)).message::<Add>())?;
/// # let node = builder("console").start().await?;
/// # let client = Client::new(&node, "mem:registry".parse()?);
/// # node.set_resolver(Arc::new(client.clone()));
/// let counters = client.role("counter");
/// counters.any().send(Add(1)).await?;
/// counters.by_key("some key").await?.send(Add(1)).await?;
/// for (server, total) in counters.broadcast(Add(1)).await? {
///     println!("{server} is at {}", total?);
/// }
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone)]
pub struct RoleAddr {
    node: WeakNode,
    role: Result<RoleName, NameError>,
    actor: Result<ActorName, NameError>,
    timeout: Option<Duration>,
    follower: Arc<Follower>,
    shared: Arc<Shared>,
}

impl RoleAddr {
    pub(super) fn new(node: WeakNode, role: &str, follower: Arc<Follower>) -> Self {
        let (role, actor) = (RoleName::new(role), ActorName::new(role));
        Self { node, role, actor, timeout: None, follower, shared: Arc::default() }
    }

    /// The same role, but the actor of that name. Text that is no name is an error of each send.
    #[must_use]
    pub fn actor(mut self, actor: impl AsRef<str>) -> Self {
        self.actor = ActorName::new(actor);
        self
    }

    /// The same, with another deadline than the node's for its calls: of [`any`](Self::any) with all its attempts, and of
    /// a [`broadcast`](Self::broadcast) as a whole.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// All of them that are reachable, in the order of their ids. That there is none is no error.
    ///
    /// # Errors
    /// When the role or the actor is no name, or the registry has never been reached.
    pub async fn all(&self) -> Result<Vec<RemoteAddr>, CallError> {
        let calling = self.begin()?;
        let members = self.members(&calling).await?;
        let reachable = members.iter().filter(|member| member.liveness == Liveness::Reachable);
        Ok(reachable.map(|member| calling.remote(&member.id)).collect())
    }

    /// Any one of them.
    pub fn any(&self) -> AnyAddr {
        AnyAddr(self.clone())
    }

    /// The one that `key` belongs to, by rendezvous hashing over the ids of all servers with the role: everybody who sees
    /// the same servers chooses the same one, and when a server comes or goes, only the keys that it gains or had move.
    /// One that is suspect keeps its keys until its lease ends.
    ///
    /// The score of a server for a key is `mix(mix(h(id)) ^ mix(h(key)))`, with FNV-1a (64 bits) as `h` and the finalizer
    /// of SplitMix64 as `mix`; the highest score wins. It will not change.
    ///
    /// # Errors
    /// When nobody has the role, and as [`all`](Self::all).
    pub async fn by_key(&self, key: impl AsRef<[u8]>) -> Result<RemoteAddr, CallError> {
        let calling = self.begin()?;
        let members = self.members(&calling).await?;
        let owner = rendezvous::owner(members.iter().map(|member| &member.id), key.as_ref());
        let owner = owner.and_then(|position| members.get(position)).ok_or(NotSent::UnknownServer)?;
        Ok(calling.remote(&owner.id))
    }

    /// Sends to every server that is listed with the role, the suspect ones too, and gives a result for each, in the
    /// order of their ids. At most [`MAX_BROADCAST_CALLS`] are under way at a time. All of it has one deadline; what has
    /// not been sent by then is [`NotSent::Deadline`].
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn broadcast<M: RemoteMessage + Clone>(
        &self,
        message: M,
    ) -> Result<Vec<(ServerId, Result<M::Result, CallError>)>, CallError> {
        let calling = self.begin()?;
        let members = self.members(&calling).await?;
        let mut waiting = members.iter().enumerate();
        let mut running: Vec<(usize, CallFuture<M>)> = Vec::new();
        let mut results: Vec<Option<Result<M::Result, CallError>>> = Vec::new();
        results.resize_with(members.len(), || None);
        poll_fn(|cx| {
            loop {
                while running.len() < MAX_BROADCAST_CALLS
                    && let Some((position, member)) = waiting.next()
                {
                    if calling.is_over() {
                        results[position] = Some(Err(NotSent::Deadline.into()));
                    } else {
                        running.push((position, calling.remote_in_time(&member.id).send(message.clone())));
                    }
                }
                let before = running.len();
                running.retain_mut(|(position, call)| match Pin::new(call).poll(cx) {
                    Poll::Ready(result) => {
                        results[*position] = Some(result);
                        false
                    }
                    Poll::Pending => true,
                });
                if running.is_empty() && waiting.len() == 0 {
                    return Poll::Ready(());
                }
                if running.len() == before {
                    return Poll::Pending;
                }
            }
        })
        .await;
        let ids = members.iter().map(|member| member.id.clone());
        Ok(ids.zip(results.into_iter().flatten()).collect())
    }

    fn begin(&self) -> Result<Calling, CallError> {
        let bad = |why: &NameError| NotSent::BadName(why.clone());
        let role = self.role.as_ref().map_err(bad)?.clone();
        let actor = self.actor.as_ref().map_err(bad)?.clone();
        let node = self.node.upgrade().ok_or(NotSent::ShuttingDown)?;
        let timeout = self.timeout.unwrap_or(node.limits().call_timeout);
        let now = Instant::now();
        // One that is too far away to be told as a time is none.
        let deadline = now.checked_add(timeout).unwrap_or(now + Duration::from_secs(49 * 24 * 3600));
        Ok(Calling { node, role, actor, timeout, deadline })
    }

    async fn members(&self, calling: &Calling) -> Result<Arc<[Member]>, CallError> {
        let mut view = self.follower.view();
        let known = timeout_at(calling.deadline, view.wait_for(Option::is_some)).await;
        match known {
            Ok(Ok(view)) => match &*view {
                Some(view) => Ok(self.members_in(view, &calling.role)),
                None => Err(NotSent::NotResolved.into()),
            },
            Ok(Err(_)) | Err(_) => Err(NotSent::NotResolved.into()),
        }
    }

    fn members_in(&self, view: &View, role: &RoleName) -> Arc<[Member]> {
        // Nothing that can panic in the middle of a change happens under the lock.
        let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.at != Some(view.revision()) {
            known.members = members_of(view, role, &known.members).into();
            known.at = Some(view.revision());
        }
        Arc::clone(&known.members)
    }
}

impl fmt::Debug for RoleAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleAddr")
            .field("role", &self.role)
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}

/// What holds for one call, or for one broadcast.
struct Calling {
    node: Node,
    role: RoleName,
    actor: ActorName,
    timeout: Duration,
    deadline: Instant,
}

impl Calling {
    fn remote(&self, server: &ServerId) -> RemoteAddr {
        let reference = Reference::new(server.clone(), self.actor.clone());
        self.node.remote_to(&reference).with_timeout(self.timeout)
    }

    /// As `remote`, with the time that is left.
    fn remote_in_time(&self, server: &ServerId) -> RemoteAddr {
        self.remote(server).with_timeout(self.deadline.saturating_duration_since(Instant::now()))
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

/// Any one of the servers with a role: see [`RoleAddr::any`].
#[derive(Debug, Clone)]
pub struct AnyAddr(RoleAddr);

impl AnyAddr {
    /// Sends a message to the server with the least calls in flight that went this way, from this [`RoleAddr`] and its
    /// clones, in turn among equals; to one that is suspect only when all are.
    ///
    /// When that server turns out to have gone, the next one gets the message, all within one deadline; but only when it
    /// has certainly not been executed: [`CallError::NotSent`], or a refusal because the server shuts down or has no such
    /// actor (yet). What may have been executed is never sent again.
    ///
    /// # Errors
    /// That of the last server that was tried; [`NotSent::UnknownServer`] when nobody has the role; and as
    /// [`RoleAddr::all`].
    pub async fn send<M: RemoteMessage + Clone>(&self, message: M) -> Result<M::Result, CallError> {
        let calling = self.0.begin()?;
        let mut tried = Vec::new();
        let mut failure = CallError::NotSent(NotSent::UnknownServer);
        loop {
            let members = self.0.members(&calling).await?;
            let Some(member) = self.0.shared.chooser.choose(&members, &tried) else { return Err(failure) };
            let _in_flight = member.load.enter();
            match calling.remote_in_time(&member.id).send(message.clone()).await {
                Err(why) if may_try_another(&why) && !calling.is_over() => {
                    tracing::debug!(server = %member.id, %why, "trying another server");
                    tried.push(member.id.clone());
                    failure = why;
                }
                result => return result,
            }
        }
    }
}

/// Whether the message was certainly not executed, for a reason that is the server's own.
fn may_try_another(why: &CallError) -> bool {
    match why {
        CallError::NotSent(why) => matches!(
            why,
            NotSent::UnknownServer
                | NotSent::NotResolved
                | NotSent::Unreachable(_)
                | NotSent::Rejected(_)
                | NotSent::QueueFull
                | NotSent::ConnectionLost
        ),
        CallError::Refused(why) => matches!(why, Refusal::ShuttingDown | Refusal::NoSuchActor),
        CallError::Unknown(_) | CallError::Failed(_) => false,
    }
}
