//! The counter as a role, so that a program has the whole command line of `ensemble` for it.

use std::collections::BTreeMap;

use ensemble::{Role, RoleContext, RoleError, RoleOption, Starting};

use crate::counter_from;

const BEGIN: &str = "begin";

/// The role `counter`: exports the actor `counter`.
#[derive(Debug, Clone, Copy, Default)]
pub struct CounterRole;

impl Role for CounterRole {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn about(&self) -> &'static str {
        "adds up numbers"
    }

    fn options(&self) -> &'static [RoleOption] {
        &[RoleOption { key: BEGIN, help: "the number to begin with; default: 0" }]
    }

    fn check(&self, options: &BTreeMap<String, String>) -> Result<(), RoleError> {
        begin(options).map(drop)
    }

    fn start(&self, context: RoleContext) -> Starting<'_> {
        Box::pin(async move {
            let total = begin(&context.options)?;
            context.node.export("counter", counter_from(total)).map_err(RoleError::failed)
        })
    }
}

/// Reads the option; what it cannot be is wrong usage, and is told before anything is started.
fn begin(options: &BTreeMap<String, String>) -> Result<u64, RoleError> {
    let Some(value) = options.get(BEGIN) else { return Ok(0) };
    value.parse().map_err(|_| RoleError::BadOption {
        key: BEGIN.to_owned(),
        value: value.clone(),
        expected: "a whole number from 0 on".to_owned(),
    })
}
