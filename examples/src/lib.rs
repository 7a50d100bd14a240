//! An actor like any other, and what it takes to reach it from another process: names for its messages.
//!
//! The programs `counter-server` and `counter-client` are the two sides. With a registry running
//! (`ensemble registry`), start the server in one terminal and the client in another:
//!
//! ```text
//! $ cargo run -p ensemble-examples --bin counter-server
//! $ cargo run -p ensemble-examples --bin counter-client -- 40
//! $ cargo run -p ensemble-examples --bin counter-client -- 2
//! 42
//! ```
//!
//! [`CounterRole`] offers the same actor to the command line of `ensemble`, which the program `my-ensemble` has.

mod role;

use actix::prelude::*;
use ensemble::{Exports, RemoteMessage};
use serde::{Deserialize, Serialize};

pub use role::CounterRole;

/// Adds to the counter; the result is its new value.
#[derive(Debug, Message, Serialize, Deserialize)]
#[rtype(result = "u64")]
pub struct Add(pub u64);

impl RemoteMessage for Add {
    const NAME: &'static str = "counter.add";
}

/// Counts.
#[derive(Debug, Default)]
pub struct Counter {
    total: u64,
}

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Add> for Counter {
    type Result = u64;

    fn handle(&mut self, Add(amount): Add, _: &mut Context<Self>) -> u64 {
        self.total = self.total.saturating_add(amount);
        self.total
    }
}

/// A counter, and the messages that other nodes may send it.
pub fn counter() -> Exports<Counter> {
    counter_from(0)
}

/// A counter that begins with `total`.
pub fn counter_from(total: u64) -> Exports<Counter> {
    Exports::start(Counter { total }).message::<Add>()
}
