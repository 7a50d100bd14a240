//! The role `echo`: an actor that gives back what it gets, to try an ensemble with.

use actix::{Actor, Context, Handler, Message};
use ensemble::{Exports, RemoteMessage, Role, RoleContext, RoleError, Starting};
use serde::{Deserialize, Serialize};

/// Asks the actor `echo` to give back a text.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "String")]
pub struct Echo(pub String);

impl RemoteMessage for Echo {
    const NAME: &'static str = "echo.echo";
}

struct EchoActor;

impl Actor for EchoActor {
    type Context = Context<Self>;
}

impl Handler<Echo> for EchoActor {
    type Result = String;

    fn handle(&mut self, Echo(text): Echo, _: &mut Context<Self>) -> String {
        text
    }
}

/// The role `echo`: exports the actor `echo`, which answers [`Echo`] with its text.
#[derive(Debug, Clone, Copy, Default)]
pub struct EchoRole;

impl Role for EchoRole {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn about(&self) -> &'static str {
        "gives back what it gets, to try an ensemble with"
    }

    fn start(&self, context: RoleContext) -> Starting<'_> {
        Box::pin(async move {
            let exports = Exports::start(EchoActor).message::<Echo>();
            context.node.export(self.name(), exports).map_err(RoleError::failed)
        })
    }
}
