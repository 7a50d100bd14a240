//! What makes an actor reachable: the messages it takes from other nodes, and the table of all that are exported.

use std::sync::{Arc, PoisonError, RwLock};

use actix::{Actor, Addr, AsyncContext, Context, Handler, dev::ToEnvelope};
use rustc_hash::FxHashMap;
use thiserror::Error;

use super::{
    control::{ActorState, SupervisedInfo},
    invoke::{Invoke, Load, Typed},
    manage::{Manager, manage},
    supervise::{Supervised, Supervision},
};
use crate::{
    error::Refusal,
    id::{ActorName, MAX_NAME_BYTES, NameError},
    message::{RESERVED_PREFIX, RemoteMessage},
};

/// Capacity of the mailbox of an actor that its export starts: the windows of sixteen busy connections.
pub(super) const MAILBOX_CAPACITY: usize = 16 * 1024;

/// Why an actor cannot be exported.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The name is none.
    #[error("an actor cannot be exported under that name")]
    Name(#[from] NameError),
    /// There is an actor of that name.
    #[error("an actor is exported as {name} already")]
    InUse {
        /// The name.
        name: ActorName,
    },
    /// A message's wire name is too long, or is reserved.
    #[error("the message name {name:?} is reserved, empty or longer than {MAX_NAME_BYTES} bytes")]
    MessageName {
        /// The name.
        name: &'static str,
    },
    /// Two messages have the same wire name.
    #[error("two messages are named {name:?}")]
    MessageNameInUse {
        /// The name.
        name: &'static str,
    },
    /// The node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The function that makes a supervised actor panicked.
    #[error("the function that makes the actor panicked")]
    FactoryPanicked,
    /// An actor that ran before it was exported ([`Exports::of`]) cannot be supervised.
    #[error("only an actor that its export starts can be supervised")]
    NotSupervisable,
}

/// An actor, and the messages that it takes from other nodes.
///
/// ```
/// # use actix::{Actor, Context, Handler, Message};
/// # use ensemble::{Exports, RemoteMessage};
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
/// # actix::System::new().block_on(async {
/// let exports = Exports::start(Counter(0)).message::<Add>();
/// # drop(exports);
/// # });
/// ```
pub struct Exports<A: Actor> {
    addr: Addr<A>,
    messages: Messages,
    manager: Manager,
    error: Option<ExportError>,
}

impl<A: Actor> Exports<A> {
    /// Exports an actor that runs already.
    ///
    /// A ping then tells whether its mailbox is open; a shutdown takes back the export and drops this address, and
    /// stops the actor if nobody else has one. [`start`](Self::start) gives more: prefer it.
    pub fn of(addr: Addr<A>) -> Self {
        let manager = Manager::unmanaged(&addr);
        Self { addr, messages: Messages::default(), manager, error: None }
    }

    /// Starts an actor on this thread and exports it. It lives until it is shut down, also when nobody has its address.
    pub fn start(actor: A) -> Self
    where
        A: Actor<Context = Context<A>>,
    {
        Self::create(|_| actor)
    }

    /// As [`start`](Self::start), for an actor that needs its context to be made.
    pub fn create(make: impl FnOnce(&mut Context<A>) -> A) -> Self
    where
        A: Actor<Context = Context<A>>,
    {
        let (manager, managing) = manage();
        let addr = A::create(|ctx| {
            // The connections' windows bound what other nodes send. Beyond its capacity a mailbox keeps a list of who
            // waits for room, which costs each message more than the actor's own work often does.
            ctx.set_mailbox_capacity(MAILBOX_CAPACITY);
            ctx.spawn(managing);
            make(ctx)
        });
        Self { addr, messages: Messages::default(), manager, error: None }
    }

    /// Lets other nodes send messages of type `M`.
    #[must_use]
    pub fn message<M>(mut self) -> Self
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: RemoteMessage,
    {
        if M::NAME.starts_with(RESERVED_PREFIX) || M::NAME.is_empty() || M::NAME.len() > MAX_NAME_BYTES {
            self.error = Some(ExportError::MessageName { name: M::NAME });
        }
        let invoke = Box::new(Typed::<A, M>::new(self.addr.clone()));
        if self.messages.insert(M::NAME.as_bytes(), (M::NAME, invoke)).is_some() {
            self.error = Some(ExportError::MessageNameInUse { name: M::NAME });
        }
        self
    }

    /// The actor's address, for use in this process.
    pub fn addr(&self) -> &Addr<A> {
        &self.addr
    }

    pub(super) fn into_exported(self, name: ActorName) -> Result<Exported, ExportError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Exported {
                name,
                messages: self.messages,
                manager: self.manager,
                load: Arc::new(Load::default()),
                supervised: None,
            }),
        }
    }
}

// Only our own names are ever inserted, so the quickest hash does.
type Messages = FxHashMap<&'static [u8], (&'static str, Box<dyn Invoke>)>;

/// An exported actor, its type erased.
pub(super) struct Exported {
    pub(super) name: ActorName,
    pub(super) messages: Messages,
    pub(super) manager: Manager,
    pub(super) load: Arc<Load>,
    pub(super) supervised: Option<Supervised>,
}

impl Exported {
    /// What a message is told when the actor has ended.
    pub(super) fn refusal(&self) -> Refusal {
        if self.is_coming_back() { Refusal::Restarting } else { Refusal::NoSuchActor }
    }

    fn is_coming_back(&self) -> bool {
        let ending = self.manager.gone().and_then(|gone| gone.ending());
        self.supervised.as_ref().is_some_and(|supervised| supervised.is_coming_back(ending))
    }

    /// Whether the name is taken.
    pub(super) fn is_there(&self) -> bool {
        self.manager.is_alive() || self.is_coming_back()
    }

    /// What there is to say about it, if it is supervised.
    pub(super) fn supervised_info(&self) -> Option<SupervisedInfo> {
        let supervised = self.supervised.as_ref()?;
        let state = if self.manager.is_alive() {
            ActorState::Running
        } else if self.is_coming_back() {
            ActorState::Restarting
        } else {
            ActorState::Ended
        };
        Some(SupervisedInfo { name: self.name.clone(), restarts: supervised.restarts(), state })
    }

    pub(super) fn is_supervised_by(&self, supervision: &Arc<Supervision>) -> bool {
        self.supervised.as_ref().is_some_and(|supervised| supervised.is_by(supervision))
    }

    pub(super) fn invoke(&self, message: &[u8]) -> Option<&dyn Invoke> {
        self.messages.get(message).map(|(_, invoke)| &**invoke)
    }
}

/// By the bytes of the name.
type Map = FxHashMap<Box<[u8]>, Arc<Exported>>;

#[derive(Default)]
struct Table {
    by_name: Map,
    in_order: Vec<ActorName>,
    is_closed: bool,
}

impl Table {
    fn check_free(&self, name: &ActorName) -> Result<(), ExportError> {
        if self.is_closed {
            return Err(ExportError::ShuttingDown);
        }
        // A dead actor's name is free.
        if self.by_name.get(name.as_str().as_bytes()).is_some_and(|other| other.is_there()) {
            return Err(ExportError::InUse { name: name.clone() });
        }
        Ok(())
    }
}

/// All that a node exports.
#[derive(Default)]
pub(super) struct ExportTable(RwLock<Table>);

impl ExportTable {
    pub(super) fn get(&self, name: &[u8]) -> Option<Arc<Exported>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_name.get(name).cloned()
    }

    /// Whether something could be exported under that name now.
    pub(super) fn check_free(&self, name: &ActorName) -> Result<(), ExportError> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).check_free(name)
    }

    pub(super) fn insert(&self, exported: Exported) -> Result<(), ExportError> {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let name = exported.name.clone();
        table.check_free(&name)?;
        table.in_order.retain(|other| *other != name);
        table.in_order.push(name.clone());
        table.by_name.insert(name.as_str().as_bytes().into(), Arc::new(exported));
        Ok(())
    }

    /// Whether the name is (still) that of the actor which `supervision` watches over.
    pub(super) fn is_supervised_by(&self, name: &ActorName, supervision: &Arc<Supervision>) -> bool {
        let exported = self.get(name.as_str().as_bytes());
        exported.is_some_and(|exported| exported.is_supervised_by(supervision))
    }

    /// Puts a new start of a supervised actor in the place of the last one. Gives it back when that was taken out.
    pub(super) fn replace(
        &self,
        supervision: &Arc<Supervision>,
        exported: Exported,
    ) -> Result<(), Box<Exported>> {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match table.by_name.get_mut(exported.name.as_str().as_bytes()) {
            Some(last) if last.is_supervised_by(supervision) => {
                // Dropped after the lock: what it holds is the user's.
                let last = std::mem::replace(last, Arc::new(exported));
                drop(table);
                drop(last);
                Ok(())
            }
            _ => Err(Box::new(exported)),
        }
    }

    pub(super) fn remove(&self, name: &str) -> Option<Arc<Exported>> {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.in_order.retain(|other| other.as_str() != name);
        table.by_name.remove(name.as_bytes())
    }

    /// All, in the order in which they were exported.
    pub(super) fn all(&self) -> Vec<Arc<Exported>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table
            .in_order
            .iter()
            .filter_map(|name| table.by_name.get(name.as_str().as_bytes()).cloned())
            .collect()
    }

    /// Takes all, the last exported first, and no more.
    pub(super) fn close(&self) -> Vec<Arc<Exported>> {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.is_closed = true;
        let order = std::mem::take(&mut table.in_order);
        let mut map = std::mem::take(&mut table.by_name);
        order.iter().rev().filter_map(|name| map.remove(name.as_str().as_bytes())).collect()
    }
}
