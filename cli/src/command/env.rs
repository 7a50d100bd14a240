//! `ensemble env`: where things are, what is set, and where that comes from.
//!
//! JSON: `{"home": PATH, "config": PATH, "cookie": PATH, "servers": PATH, "sockets": PATH, "registry": ADDRESS,
//! "settings": {KEY: {"value": TEXT, "from": TEXT}, ..}}`. `registry` is null when it could not listen there; a setting
//! without a value has null. `from` is a flag, `$VARIABLE`, `config.toml:LINE` or `default`.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use crate::{
    app::Context,
    exit::Outcome,
    settings::{KEYS, Origin, Sourced},
    table::Cell,
};

/// Shows the paths and the settings that the commands use, and where they come from
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A setting is taken from the command's options, else from a variable of the environment, else from
config.toml in the home, else it has its default. The variable of log-format is
ENSEMBLE_LOG_FORMAT, that of roles.kvstore.level ENSEMBLE_ROLES_KVSTORE_LEVEL, and so on.

Examples:
  $ ensemble env
  $ ensemble --home /srv/ensemble env --json")]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Shown {
    home: String,
    config: String,
    cookie: String,
    servers: String,
    sockets: String,
    registry: Option<String>,
    settings: BTreeMap<String, Setting>,
    #[serde(skip)]
    rows: Vec<[String; 3]>,
}

#[derive(Serialize)]
struct Setting {
    value: Option<String>,
    from: String,
}

/// What a setting is when nobody has said anything, and it is not the same for every command.
fn default_of(key: &str) -> Option<&'static str> {
    match key {
        "timeout" => Some("5"),
        "insecure-tcp" => Some("false"),
        "log" => Some("info, or warn for up"),
        "log-format" => Some("text"),
        _ => None,
    }
}

pub(crate) fn execute(_: Args, context: Context<'_>) -> Outcome {
    let settings = context.settings;
    let home = settings.home();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let registry = settings.registry(None).ok();
    let mut shown = Shown {
        home: text(home.path()),
        config: text(&home.config()),
        cookie: text(&home.cookie()),
        servers: text(&home.path().join("server")),
        sockets: text(home.run_dir()),
        registry: registry.as_ref().map(|found| found.value.to_string()),
        settings: BTreeMap::new(),
        rows: Vec::new(),
    };
    let is_there = if home.config().is_file() { "" } else { "not there" };
    shown.rows = vec![
        ["home".into(), shown.home.clone(), settings.home_origin().to_string()],
        ["config".into(), shown.config.clone(), is_there.into()],
        ["cookie".into(), shown.cookie.clone(), String::new()],
        ["servers".into(), shown.servers.clone(), String::new()],
        ["sockets".into(), shown.sockets.clone(), String::new()],
    ];
    for key in KEYS {
        let mut found = settings.text(key)?;
        match (key.name, settings.given_timeout(), &registry) {
            ("timeout", Some(given), _) => {
                let origin = Origin::Flag("--timeout");
                found = Some(Sourced { value: given.as_secs_f64().to_string(), origin });
            }
            ("registry", _, Some(address)) => {
                found = Some(Sourced { value: address.value.to_string(), origin: address.origin.clone() });
            }
            ("color", _, _) => {
                let Sourced { value, origin } = settings.color().clone();
                found = Some(Sourced { value: value.name(), origin });
            }
            _ => {}
        }
        shown.add(key.name, found, default_of(key.name));
    }
    for role in context.roles.iter() {
        for option in role.options() {
            if let Some(found) = settings.role_option(role.name(), option.key, None)? {
                shown.add(&format!("roles.{}.{}", role.name(), option.key), Some(found), None);
            }
        }
    }
    let others: Vec<&str> =
        settings.file().roles().filter(|role| context.roles.get(role).is_none()).collect();
    for role in others {
        for (key, value) in settings.file().role(role) {
            shown.add(&format!("roles.{role}.{key}"), Some(value.clone()), None);
        }
    }
    for (key, texts) in settings.file().all_of_servers() {
        shown.add(&key, crate::settings::joined(texts), None);
    }
    let printer = settings.printer();
    printer.result(&shown, |shown| {
        let rows: Vec<[Cell; 3]> = shown.rows.iter().map(|row| row.clone().map(Cell::from)).collect();
        printer.columns(["NAME", "VALUE", "FROM"], &rows)
    })
}

impl Shown {
    fn add(&mut self, key: &str, found: Option<Sourced<String>>, default: Option<&str>) {
        let (value, from) = match found {
            Some(Sourced { value, origin }) => (Some(value), origin.to_string()),
            None => (default.map(str::to_owned), Origin::Default.to_string()),
        };
        let cell = value.clone().unwrap_or_else(|| "(none)".to_owned());
        self.rows.push([key.to_owned(), cell, from.clone()]);
        self.settings.insert(key.to_owned(), Setting { value, from });
    }
}
