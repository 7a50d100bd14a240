//! Servers that come while the registry cannot write.

use std::sync::{Arc, Mutex};

use actix::{Actor, Context, Handler};
use ensemble::{Exports, Incarnation, ServerId};
use registry::{
    ACTOR, JoinError, SERVER,
    messages::{Announce, Denied, Lease, Withdraw},
};

use crate::common::{Ensemble, address, id};

type Withdrawn = Arc<Mutex<Vec<(ServerId, Option<Incarnation>)>>>;

/// A registry whose disk is full.
struct Full(Withdrawn);

impl Actor for Full {
    type Context = Context<Self>;
}

impl Handler<Announce> for Full {
    type Result = Result<Lease, Denied>;

    fn handle(&mut self, _: Announce, _: &mut Context<Self>) -> Self::Result {
        Err(Denied::NotStored)
    }
}

impl Handler<Withdraw> for Full {
    type Result = Result<bool, Denied>;

    fn handle(&mut self, message: Withdraw, _: &mut Context<Self>) -> Self::Result {
        self.0.lock().unwrap().push((message.id, message.incarnation));
        Err(Denied::NotStored)
    }
}

#[actix::test]
async fn a_server_that_gives_up_takes_back_its_announcement() {
    let ensemble = Ensemble::new();
    let registry = ensemble.builder(SERVER).listen(address(SERVER)).start().await.unwrap();
    let withdrawn = Withdrawn::default();
    let full = Exports::start(Full(Arc::clone(&withdrawn))).message::<Announce>().message::<Withdraw>();
    registry.export(ACTOR, full).unwrap();
    let node = ensemble.builder("a").listen(address("a")).start().await.unwrap();
    let refused = registry::enter(&node, address(SERVER)).await;
    assert!(matches!(refused, Err(JoinError::Refused { source: Denied::NotStored, .. })));
    assert_eq!(*withdrawn.lock().unwrap(), [(id("a"), Some(node.incarnation()))]);
}
