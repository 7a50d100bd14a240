//! How servers are shown: shared by `list servers` and `lookup`.
//!
//! The registry does not announce itself to itself, so it is asked what it is, and shown with the others: how long it
//! runs it does not say, and its age is null.

use ensemble::{NODE_ACTOR, NodeInfo};
use registry::{Liveness, ServerInfo};
use serde::Serialize;

use crate::{
    console::{self, Console},
    exit::Outcome,
    human,
    printer::Printer,
    table::{Cell, Tone},
};

/// Digits of an incarnation that are shown to people: enough to see whether it is another one.
const INCARNATION_DIGITS: usize = 8;

/// A server, in the JSON of `list servers` and `lookup`.
#[derive(Serialize)]
pub(super) struct Row {
    server: String,
    roles: Vec<String>,
    addresses: Vec<String>,
    state: String,
    incarnation: String,
    process_id: Option<u32>,
    age_ms: Option<u64>,
    unheard_ms: u64,
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

impl From<&ServerInfo> for Row {
    fn from(info: &ServerInfo) -> Self {
        Self {
            server: info.id.to_string(),
            roles: texts(&info.roles),
            addresses: texts(&info.addresses),
            state: info.liveness.to_string(),
            incarnation: info.incarnation.to_string(),
            process_id: info.pid,
            age_ms: Some(info.age_ms),
            unheard_ms: info.unheard_ms,
        }
    }
}

impl Row {
    /// The registry, which has just answered.
    pub(super) async fn of_registry(console: &Console) -> Outcome<Self> {
        let id = console::registry_id();
        let asked = console.remote(&id, NODE_ACTOR).send(NodeInfo).await;
        let status = asked.map_err(|why| console.registry_call_failure(&why))?;
        Ok(Self {
            server: status.server.to_string(),
            roles: texts(&status.roles),
            addresses: texts(&status.addresses),
            state: Liveness::Reachable.to_string(),
            incarnation: status.incarnation.to_string(),
            process_id: Some(status.process_id),
            age_ms: None,
            unheard_ms: 0,
        })
    }

    fn cells(&self) -> [Cell; 8] {
        let tone = if self.state == Liveness::Reachable.to_string() { Tone::Good } else { Tone::Doubtful };
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        [
            self.server.clone().into(),
            or_none(self.roles.join(",")).into(),
            Cell::toned(self.state.clone(), tone),
            self.age_ms.map_or_else(|| "-".to_owned(), human::duration_ms).into(),
            human::duration_ms(self.unheard_ms).into(),
            short(&self.incarnation).into(),
            self.process_id.map_or_else(|| "-".to_owned(), |id| id.to_string()).into(),
            or_none(self.addresses.join(" ")).into(),
        ]
    }
}

/// An incarnation as people see it.
pub(super) fn short(incarnation: &str) -> String {
    incarnation.chars().take(INCARNATION_DIGITS).collect()
}

/// Shows servers as a table, or as an array.
pub(super) fn show(rows: &Vec<Row>, printer: Printer) -> Outcome {
    printer.result(rows, |rows| {
        let cells: Vec<_> = rows.iter().map(Row::cells).collect();
        let header = ["SERVER", "ROLES", "STATE", "AGE", "HEARD", "INCARNATION", "PID", "ADDRESSES"];
        printer.columns(header, &cells)
    })
}
