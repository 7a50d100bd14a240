//! How the registry's answers are shown: shared by `list servers` and `lookup`.

use registry::ServerInfo;
use serde::Serialize;

use crate::{
    exit::Outcome,
    printer::{Printer, columns},
};

/// A server, in the JSON of `list servers` and `lookup`.
#[derive(Serialize)]
struct Row {
    server: String,
    roles: Vec<String>,
    addresses: Vec<String>,
    state: String,
    incarnation: String,
    process_id: Option<u32>,
    age_ms: u64,
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// Shows servers as a table, or as an array.
pub(super) fn show(servers: &[ServerInfo], printer: Printer) -> Outcome {
    let row = |info: &ServerInfo| Row {
        server: info.id.to_string(),
        roles: texts(&info.roles),
        addresses: texts(&info.addresses),
        state: info.liveness.to_string(),
        incarnation: info.incarnation.to_string(),
        process_id: info.pid,
        age_ms: info.age_ms,
    };
    let rows: Vec<Row> = servers.iter().map(row).collect();
    printer.result(&rows, |rows| {
        let cells =
            |row: &Row| [row.server.clone(), row.roles.join(","), row.state.clone(), row.addresses.join(" ")];
        columns(["SERVER", "ROLES", "STATE", "ADDRESSES"], &rows.iter().map(cells).collect::<Vec<_>>())
    })
}
