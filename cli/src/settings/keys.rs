//! The settings there are: a key in the file, from which the variable's name follows, and what it can be.
//!
//! Options of roles have keys of their own, `roles.ROLE.KEY`, which the roles know.

use ensemble::Address;

use crate::options::{Color, LogFormat, parse_duration, parse_flag, parse_log_level, parse_value};

/// A setting that the file and the environment can have.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in the file.
    pub(crate) name: &'static str,
    /// The argument that comes before both.
    pub(crate) flag: &'static str,
    /// Whether it can have several values.
    pub(crate) is_list: bool,
    /// Whether it can be set for one server, in the table `[server.ID]`.
    pub(crate) is_of_server: bool,
    /// Whether a text can be its value; the error says what can.
    pub(crate) check: fn(&str) -> Result<(), String>,
}

/// The first part of the name of every variable.
const PREFIX: &str = "ENSEMBLE_";

/// The variable that stands for a key of the file, such as `roles.kvstore.max-value`.
pub(crate) fn variable(key: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    PREFIX.chars().chain(key.chars().map(letter)).collect()
}

fn address(text: &str) -> Result<(), String> {
    text.parse::<Address>().map(drop).map_err(|why| why.to_string())
}

fn path(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("it must be a file, or - for the server's own log".to_owned()) } else { Ok(()) }
}

pub(crate) const TIMEOUT: Key = Key {
    name: "timeout",
    flag: "--timeout",
    is_list: false,
    is_of_server: false,
    check: |text| parse_duration(text).map(drop),
};

pub(crate) const COLOR: Key = Key {
    name: "color",
    flag: "--color",
    is_list: false,
    is_of_server: false,
    check: |text| parse_value::<Color>(text).map(drop),
};

pub(crate) const REGISTRY: Key =
    Key { name: "registry", flag: "--registry", is_list: false, is_of_server: false, check: address };

pub(crate) const INSECURE_TCP: Key = Key {
    name: "insecure-tcp",
    flag: "--insecure-tcp",
    is_list: false,
    is_of_server: false,
    check: |text| parse_flag(text).map(drop),
};

pub(crate) const LISTEN: Key =
    Key { name: "listen", flag: "--listen", is_list: true, is_of_server: true, check: address };

pub(crate) const ANNOUNCE: Key =
    Key { name: "announce", flag: "--announce", is_list: true, is_of_server: true, check: address };

pub(crate) const LOG: Key = Key {
    name: "log",
    flag: "--log",
    is_list: false,
    is_of_server: true,
    check: |text| parse_log_level(text).map(drop),
};

pub(crate) const LOG_FORMAT: Key = Key {
    name: "log-format",
    flag: "--log-format",
    is_list: false,
    is_of_server: true,
    check: |text| parse_value::<LogFormat>(text).map(drop),
};

pub(crate) const LOG_FILE: Key =
    Key { name: "log-file", flag: "--log-file", is_list: false, is_of_server: true, check: path };

/// All of them, in the order in which they are shown.
pub(crate) const KEYS: [&Key; 9] =
    [&REGISTRY, &TIMEOUT, &INSECURE_TCP, &LISTEN, &ANNOUNCE, &LOG, &LOG_FORMAT, &LOG_FILE, &COLOR];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_named_after_keys() {
        assert_eq!(variable("log-format"), "ENSEMBLE_LOG_FORMAT");
        assert_eq!(variable("roles.kvstore.max-value"), "ENSEMBLE_ROLES_KVSTORE_MAX_VALUE");
    }
}
