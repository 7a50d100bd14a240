//! Starting roles in a server that runs: the actor `roles` of every server that `run` and `up` make, and what it can be
//! asked. How the command asks it is in [`crate::command`].

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use ensemble::{
    ActorName, Exports, Node, Reference, RemoteMessage, RoleContext, RoleError, RoleName, TerminationReason,
    WeakNode,
};
use registry::Client;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::{
    exit::{Failure, Outcome},
    roles::{BadChoice, RoleSet},
    settings::Settings,
};

/// The name of the actor.
pub const ROLES_ACTOR: &str = "roles";

/// How long a new role waits until it is in the registry. It is announced later too, when the registry is back.
const ANNOUNCE_TIME: Duration = Duration::from_secs(5);
const ANNOUNCE_POLL: Duration = Duration::from_millis(10);

/// How often it is looked whether an actor that is to be started again is there again.
const RESTART_POLL: Duration = Duration::from_millis(100);

/// Asks a server to start a role of its program.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<Spawned, SpawnError>")]
pub struct SpawnRole {
    /// The role.
    pub role: RoleName,
    /// Values of its options, by their keys.
    pub options: BTreeMap<String, String>,
}

impl RemoteMessage for SpawnRole {
    const NAME: &'static str = "roles.spawn";
}

/// The role has been started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawned {
    /// Whether the registry has it already. If not, it will when it can be reached.
    pub is_announced: bool,
}

/// Why a role is not started. On the wire these are told apart by their order: new ones go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SpawnError {
    /// The server's program has no such role.
    #[error("the program has no such role")]
    UnknownRole {
        /// Those that it has.
        known: Vec<String>,
    },
    /// The server has it already, or is about to.
    #[error("the role is running there already")]
    AlreadyRunning,
    /// The role has no such option.
    #[error("the role has no option {key:?}")]
    UnknownOption {
        /// The key that was given.
        key: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The value of an option is none that it can have.
    #[error("the option {key} cannot be {value:?}: {expected}")]
    BadOption {
        /// The key.
        key: String,
        /// The value, given or set at the server.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// It was begun, and went wrong.
    #[error("{why}")]
    Failed {
        /// What the server would have said if it had been started with the role.
        why: String,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// Asks a server which roles its program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Vec<RoleInfo>")]
pub struct ListRoles;

impl RemoteMessage for ListRoles {
    const NAME: &'static str = "roles.list";
}

/// A role of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleInfo {
    /// Its name.
    pub name: String,
    /// What it is, in a few words.
    pub about: String,
    /// The keys of its options.
    pub options: Vec<String>,
    /// Whether the server has it.
    pub is_running: bool,
}

struct Roles {
    node: WeakNode,
    known: RoleSet,
    settings: Settings,
    starting: Rc<RefCell<BTreeSet<RoleName>>>,
    /// Roles with an actor of their own name: they end with it.
    named: Rc<RefCell<BTreeSet<RoleName>>>,
}

impl Roles {
    /// Whether the node has the role. One whose actor has just ended is taken back in the next moment.
    fn is_running(&self, node: &Node, role: &RoleName) -> bool {
        let is_ended = self.named.borrow().contains(role) && !node.has_actor(role.as_str());
        node.roles().contains(role) && !is_ended
    }
}

impl Actor for Roles {
    type Context = Context<Self>;
}

impl Handler<ListRoles> for Roles {
    type Result = Vec<RoleInfo>;

    fn handle(&mut self, _: ListRoles, _: &mut Context<Self>) -> Self::Result {
        let node = self.node.upgrade();
        let has = |name: &str| {
            let role = RoleName::new(name).ok().zip(node.as_ref());
            role.is_some_and(|(role, node)| self.is_running(node, &role))
        };
        let describe = |role: &dyn ensemble::Role| RoleInfo {
            name: role.name().to_owned(),
            about: role.about().to_owned(),
            options: role.options().iter().map(|option| option.key.to_owned()).collect(),
            is_running: has(role.name()),
        };
        self.known.iter().map(describe).collect()
    }
}

impl Handler<SpawnRole> for Roles {
    type Result = ResponseFuture<Result<Spawned, SpawnError>>;

    fn handle(&mut self, SpawnRole { role, options }: SpawnRole, _: &mut Context<Self>) -> Self::Result {
        let Some(node) = self.node.upgrade() else {
            return Box::pin(async { Err(SpawnError::ShuttingDown) });
        };
        let chosen = self.known.choose_one(role.as_str(), options, &self.settings);
        let is_there = self.is_running(&node, &role) || self.starting.borrow().contains(&role);
        let chosen = match chosen {
            Err(why) => return Box::pin(async { Err(why.into()) }),
            Ok(_) if is_there => return Box::pin(async { Err(SpawnError::AlreadyRunning) }),
            Ok(chosen) => chosen,
        };
        let named = Rc::clone(&self.named);
        let starting = Starting::new(&self.starting, role.clone());
        let dir = self.settings.home().ensure_server_dir(node.server());
        Box::pin(async move {
            let dir = dir.map_err(|why| SpawnError::Failed { why: crate::exit::chain(&why) })?;
            let context = RoleContext::new(node.clone(), dir, chosen.values());
            let started = chosen.role.start(context).await;
            started.map_err(|why| match why {
                RoleError::BadOption { key, value, expected } => {
                    SpawnError::BadOption { key, value, expected }
                }
                other => SpawnError::Failed { why: chosen.failure(&other).to_string() },
            })?;
            node.add_role(role.clone());
            if take_back_with_actor(&node, &role) {
                named.borrow_mut().insert(role.clone());
            }
            drop(starting);
            tracing::info!(server = %node.server(), %role, "the role has started, as it was asked for");
            Ok(Spawned { is_announced: announced(&node, &role).await })
        })
    }
}

/// A role that is being started. However that ends, it is not any more when this is dropped.
struct Starting {
    all: Rc<RefCell<BTreeSet<RoleName>>>,
    role: RoleName,
}

impl Starting {
    fn new(all: &Rc<RefCell<BTreeSet<RoleName>>>, role: RoleName) -> Self {
        all.borrow_mut().insert(role.clone());
        Self { all: Rc::clone(all), role }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.all.borrow_mut().remove(&self.role);
    }
}

/// Takes a role back when its actor has ended, the one of the role's name, if it has one: nobody who looks for the role is to
/// find it here then, and it can be started again. Says whether it has one.
fn take_back_with_actor(node: &Node, role: &RoleName) -> bool {
    let Ok(actor) = ActorName::new(role.as_str()) else { return false };
    if !node.has_actor(role.as_str()) {
        return false;
    }
    let (node, role) = (node.downgrade(), role.clone());
    actix::spawn(async move {
        loop {
            // The node itself is not kept: its end is noticed by that.
            let Some(ending) = node.upgrade().map(|node| {
                let reference = Reference::new(node.server().clone(), actor.clone());
                node.terminated(&reference)
            }) else {
                return;
            };
            let reason = ending.await.reason;
            let Some(node) = node.upgrade() else { return };
            if reason == TerminationReason::NodeShutDown {
                return;
            }
            if !node.has_actor(role.as_str()) {
                node.remove_role(&role);
                tracing::info!(server = %node.server(), %role, %reason, "the role is taken back: its actor has ended");
                return;
            }
            drop(node);
            // It is started again after a panic.
            sleep(RESTART_POLL).await;
        }
    });
    true
}

/// Waits until the registry has the role; says whether it has.
async fn announced(node: &Node, role: &RoleName) -> bool {
    let registry = Client::of(node);
    let deadline = Instant::now() + ANNOUNCE_TIME;
    while Instant::now() < deadline {
        match registry.lookup(node.server()).await {
            Ok(info) if info.roles.contains(role) => return true,
            Ok(_) => sleep(ANNOUNCE_POLL).await,
            Err(_) => return false,
        }
    }
    false
}

impl From<BadChoice> for SpawnError {
    fn from(why: BadChoice) -> Self {
        match why {
            BadChoice::UnknownRole { known } => Self::UnknownRole { known },
            BadChoice::UnknownOption { key, known } => Self::UnknownOption { key, known },
            BadChoice::BadOption { key, value, expected } => Self::BadOption { key, value, expected },
            BadChoice::Settings(failure) => Self::Failed { why: failure.to_string() },
        }
    }
}

/// Exports the actor from a server whose roles have been started.
pub(crate) fn export(node: &Node, known: &RoleSet, settings: &Settings) -> Outcome {
    let named = node.roles().iter().filter(|role| take_back_with_actor(node, role)).cloned().collect();
    let actor = Roles {
        node: node.downgrade(),
        known: known.clone(),
        settings: settings.clone(),
        starting: Rc::default(),
        named: Rc::new(RefCell::new(named)),
    };
    let exports = Exports::start(actor).message::<SpawnRole>().message::<ListRoles>();
    node.export(ROLES_ACTOR, exports).map_err(|why| Failure::of(crate::exit::Code::Failed, &why))
}
