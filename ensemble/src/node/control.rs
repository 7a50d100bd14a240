//! The actor that every node exports as `node`: it says what the node is and what it has.

use std::sync::{Arc, Weak};

use actix::{Actor, Context, Handler, Message};
use serde::{Deserialize, Serialize};

use super::{core::Core, exports::Exports};
use crate::{
    address::Address,
    id::{ActorName, Incarnation, RoleName, ServerId},
    message::RemoteMessage,
};

/// The name of the actor that every node exports.
pub const NODE_ACTOR: &str = "node";

/// Asks a node what it is.
#[derive(Debug, Clone, Copy, Message, Serialize, Deserialize)]
#[rtype(result = "NodeStatus")]
pub struct NodeInfo;

impl RemoteMessage for NodeInfo {
    const NAME: &'static str = "node.info";
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its id.
    pub server: ServerId,
    /// Which of its starts this is.
    pub incarnation: Incarnation,
    /// What it is for.
    pub roles: Vec<RoleName>,
    /// Where it is reached.
    pub addresses: Vec<Address>,
    /// Its process.
    pub process_id: u32,
}

/// Asks a node for the actors that it exports.
#[derive(Debug, Clone, Copy, Message, Serialize, Deserialize)]
#[rtype(result = "Vec<ActorInfo>")]
pub struct ListActors;

impl RemoteMessage for ListActors {
    const NAME: &'static str = "node.actors";
}

/// An exported actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorInfo {
    /// The name it is exported under.
    pub name: ActorName,
    /// The messages that it takes, in alphabetical order.
    pub messages: Vec<String>,
    /// Messages that it has not answered.
    pub unanswered: u64,
    /// Whether it has not stopped.
    pub is_alive: bool,
}

/// Asks a node for the actors that it supervises.
#[derive(Debug, Clone, Copy, Message, Serialize, Deserialize)]
#[rtype(result = "Vec<SupervisedInfo>")]
pub struct ListSupervised;

impl RemoteMessage for ListSupervised {
    const NAME: &'static str = "node.supervised";
}

/// A supervised actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisedInfo {
    /// The name it is exported under.
    pub name: ActorName,
    /// How often it was started again.
    pub restarts: u64,
    /// Whether it is there.
    pub state: ActorState,
}

/// Whether a supervised actor is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActorState {
    /// It runs.
    Running,
    /// It has ended, and will be started again.
    Restarting,
    /// It has ended, and will not: its policy does not want it, or it was given up.
    Ended,
}

/// Asks a node for its connections.
#[derive(Debug, Clone, Copy, Message, Serialize, Deserialize)]
#[rtype(result = "Vec<ConnectionInfo>")]
pub struct ListConnections;

impl RemoteMessage for ListConnections {
    const NAME: &'static str = "node.connections";
}

/// A connection of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionInfo {
    /// The server at the other end.
    pub peer: ServerId,
    /// Which of its starts.
    pub incarnation: Incarnation,
    /// The address over which it came about.
    pub address: Address,
    /// Whether the node that was asked has opened it.
    pub is_outgoing: bool,
    /// Calls of the node that the peer has not answered.
    pub calls_out: u64,
    /// Calls of the peer that the node has not answered.
    pub calls_in: u64,
    /// Bytes that have come in.
    pub received_bytes: u64,
    /// Bytes that have gone out.
    pub sent_bytes: u64,
}

struct NodeActor {
    /// Gone when the node has been dropped. A message that still comes then is answered as by a node without anything.
    core: Weak<Core>,
    server: ServerId,
    incarnation: Incarnation,
}

impl Actor for NodeActor {
    type Context = Context<Self>;
}

impl Handler<NodeInfo> for NodeActor {
    type Result = actix::MessageResult<NodeInfo>;

    fn handle(&mut self, _: NodeInfo, _: &mut Context<Self>) -> Self::Result {
        let core = self.core.upgrade();
        actix::MessageResult(NodeStatus {
            server: self.server.clone(),
            incarnation: self.incarnation,
            roles: core.as_ref().map_or_else(Vec::new, |core| core.roles().to_vec()),
            addresses: core.map_or_else(Vec::new, |core| core.addresses()),
            process_id: std::process::id(),
        })
    }
}

impl Handler<ListActors> for NodeActor {
    type Result = Vec<ActorInfo>;

    fn handle(&mut self, _: ListActors, _: &mut Context<Self>) -> Self::Result {
        let describe = |exported: &Arc<super::exports::Exported>| {
            let mut messages: Vec<String> =
                exported.messages.values().map(|(name, _)| (*name).to_owned()).collect();
            messages.sort();
            ActorInfo {
                name: exported.name.clone(),
                messages,
                unanswered: exported.load.count() as u64,
                is_alive: exported.manager.is_alive(),
            }
        };
        let exported = self.core.upgrade().map_or_else(Vec::new, |core| core.exports.all());
        exported.iter().map(describe).collect()
    }
}

impl Handler<ListSupervised> for NodeActor {
    type Result = Vec<SupervisedInfo>;

    fn handle(&mut self, _: ListSupervised, _: &mut Context<Self>) -> Self::Result {
        let exported = self.core.upgrade().map_or_else(Vec::new, |core| core.exports.all());
        exported.iter().filter_map(|exported| exported.supervised_info()).collect()
    }
}

impl Handler<ListConnections> for NodeActor {
    type Result = Vec<ConnectionInfo>;

    fn handle(&mut self, _: ListConnections, _: &mut Context<Self>) -> Self::Result {
        let infos = self.core.upgrade().map_or_else(Vec::new, |core| core.peers.infos());
        let describe = |info: crate::connection::LinkInfo| ConnectionInfo {
            peer: info.peer.server,
            incarnation: info.peer.incarnation,
            address: info.address,
            is_outgoing: info.is_initiator,
            calls_out: info.calls_out as u64,
            calls_in: info.calls_in as u64,
            received_bytes: info.received_bytes,
            sent_bytes: info.sent_bytes,
        };
        infos.into_iter().map(describe).collect()
    }
}

/// Makes it, and starts it on this thread.
pub(super) fn exports(core: &Core) -> Exports<impl Actor + use<>> {
    let actor =
        NodeActor { core: core.weak.clone(), server: core.server.clone(), incarnation: core.incarnation };
    Exports::start(actor)
        .message::<NodeInfo>()
        .message::<ListActors>()
        .message::<ListSupervised>()
        .message::<ListConnections>()
}
