//! Precedence, in one place: an argument, a variable, the file (what it says for one server before what it says for
//! all), the default.

use std::{env, ffi::OsString, path::PathBuf, time::Duration};

use ensemble::{Address, Home, ServerId};

use super::{
    file::ConfigFile,
    keys::{self, Key},
    sourced::{Origin, Sourced},
};
use crate::{
    console,
    exit::{Code, Failure, Outcome},
    options::{
        Color, GlobalOptions, LogFormat, LogOptions, ServerOptions, parse_duration, parse_flag, parse_value,
    },
    printer::Printer,
};

/// How long a call may take unless something else was said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the registry of `up` listens. It has no key in the file, which has `[server.registry]`.
const LISTEN_REGISTRY: &str = "listen-registry";

/// What a command was told, by whichever of the ways.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    home: Sourced<Home>,
    file: ConfigFile,
    globals: GlobalOptions,
    environment: fn(&str) -> Option<OsString>,
    timeout: Sourced<Duration>,
    color: Sourced<Color>,
}

/// What a server that is to run was told.
#[derive(Debug, PartialEq)]
pub(crate) struct ServerSetup {
    pub(crate) listen: Vec<Address>,
    pub(crate) announce: Vec<Address>,
    pub(crate) insecure_tcp: bool,
    pub(crate) log: LogSetup,
}

/// What it is to log, how and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LogSetup {
    pub(crate) level: String,
    pub(crate) format: LogFormat,
    pub(crate) file: Option<PathBuf>,
    pub(crate) color: Color,
}

impl Settings {
    /// Finds the home, and reads its file.
    pub(crate) fn load(globals: &GlobalOptions) -> Outcome<Self> {
        Self::load_with(globals, |name| env::var_os(name))
    }

    fn load_with(globals: &GlobalOptions, environment: fn(&str) -> Option<OsString>) -> Outcome<Self> {
        let home = Home::resolve(globals.home.as_deref())?;
        let is_set = |name: &str| environment(name).is_some_and(|value| !value.is_empty());
        let origin = if globals.home.is_some() {
            Origin::Flag("--home")
        } else {
            let variable = ["ENSEMBLE_HOME", "XDG_DATA_HOME"].into_iter().find(|name| is_set(name));
            variable.map_or(Origin::Default, |name| Origin::Variable(name.to_owned()))
        };
        let file = ConfigFile::load(&home.config())?;
        let mut settings = Self {
            home: Sourced { value: home, origin },
            file,
            globals: globals.clone(),
            environment,
            timeout: Sourced::default(DEFAULT_TIMEOUT),
            color: Sourced::default(Color::Auto),
        };
        let timeout = settings.one(&keys::TIMEOUT, None, globals.timeout, parse_duration)?;
        let color = settings.one(&keys::COLOR, None, globals.color, parse_value)?;
        settings.timeout = timeout.unwrap_or(settings.timeout);
        settings.color = color.unwrap_or(settings.color);
        Ok(settings)
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home.value
    }

    /// Where the home comes from.
    pub(crate) fn home_origin(&self) -> &Origin {
        &self.home.origin
    }

    pub(crate) fn file(&self) -> &ConfigFile {
        &self.file
    }

    pub(crate) fn printer(&self) -> Printer {
        Printer::new(self.globals.json, self.color.value)
    }

    /// When there is color.
    pub(crate) fn color(&self) -> &Sourced<Color> {
        &self.color
    }

    /// How long a call may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.value
    }

    /// What `--timeout` says.
    pub(crate) fn given_timeout(&self) -> Option<Duration> {
        self.globals.timeout
    }

    /// The time for what takes longer than a call. What is set for calls does not count.
    pub(crate) fn timeout_or(&self, default: Duration) -> Duration {
        self.globals.timeout.unwrap_or(default)
    }

    /// Where the registry is: where it was said, or else in the home.
    pub(crate) fn registry(&self, given: Option<&Address>) -> Outcome<Sourced<Address>> {
        let said = self.one(&keys::REGISTRY, None, given.cloned(), parse_address)?;
        match said {
            Some(address) => Ok(address),
            None => Ok(Sourced::default(self.home().socket(&console::registry_id())?)),
        }
    }

    /// Whether plain TCP to other machines is allowed.
    pub(crate) fn insecure_tcp(&self, given: bool) -> Outcome<bool> {
        let said = self.one(&keys::INSECURE_TCP, None, given.then_some(true), parse_flag)?;
        Ok(said.is_some_and(|said| said.value))
    }

    /// What the server `id` was told.
    pub(crate) fn server(
        &self,
        id: &ServerId,
        options: &ServerOptions,
        default_level: &str,
    ) -> Outcome<ServerSetup> {
        Ok(ServerSetup {
            listen: self.addresses(&keys::LISTEN, id, &options.listen)?,
            announce: self.addresses(&keys::ANNOUNCE, id, &options.announce)?,
            insecure_tcp: self.insecure_tcp(options.insecure_tcp)?,
            log: self.log(id, &options.log, default_level)?,
        })
    }

    /// What the registry in the process of `up` was told; the rest it has in common with the server.
    pub(crate) fn registry_of_up(&self, given: &[Address], server: &ServerSetup) -> Outcome<ServerSetup> {
        let id = console::registry_id();
        let from_file = |key| Self::read_all(self.file.texts_of_server(key, &id).into_iter().flatten());
        let variable = keys::variable(LISTEN_REGISTRY);
        let listen = match self.variable(&variable)? {
            _ if !given.is_empty() => given.to_vec(),
            Some(text) => parse_addresses(&text).map_err(|why| bad_variable(&variable, &text, &why))?,
            None => from_file(&keys::LISTEN)?,
        };
        Ok(ServerSetup {
            listen,
            announce: from_file(&keys::ANNOUNCE)?,
            insecure_tcp: server.insecure_tcp,
            log: server.log.clone(),
        })
    }

    fn log(&self, id: &ServerId, options: &LogOptions, default_level: &str) -> Outcome<LogSetup> {
        let level = self.one(&keys::LOG, Some(id), options.level.clone(), parse_text)?;
        let format = self.one(&keys::LOG_FORMAT, Some(id), options.format, parse_value)?;
        let file = self.one(&keys::LOG_FILE, Some(id), options.file.clone(), |text| Ok(text.into()))?;
        Ok(LogSetup {
            level: level.map_or_else(|| default_level.to_owned(), |level| level.value),
            format: format.map_or(LogFormat::Text, |format| format.value),
            file: file.map(|file| file.value),
            color: self.color.value,
        })
    }

    /// The value of an option of a role.
    pub(crate) fn role_option(
        &self,
        role: &str,
        key: &str,
        given: Option<&str>,
    ) -> Outcome<Option<Sourced<String>>> {
        if let Some(value) = given {
            return Ok(Some(Sourced { value: value.to_owned(), origin: Origin::Flag("--option") }));
        }
        let variable = keys::variable(&format!("roles.{role}.{key}"));
        if let Some(value) = self.variable(&variable)? {
            return Ok(Some(Sourced { value, origin: Origin::Variable(variable) }));
        }
        let found = self.file.role(role).find(|(name, _)| *name == key);
        Ok(found.map(|(_, value)| value.clone()))
    }

    /// The text of a setting as the environment or the file has it, for a program that shows it.
    pub(crate) fn text(&self, key: &Key) -> Outcome<Option<Sourced<String>>> {
        let variable = keys::variable(key.name);
        if let Some(value) = self.variable(&variable)? {
            for part in key.parts(&value) {
                (key.check)(part).map_err(|why| bad_variable(&variable, part, &why))?;
            }
            return Ok(Some(Sourced { value, origin: Origin::Variable(variable) }));
        }
        let Some(texts) = self.file.texts(key, None) else { return Ok(None) };
        Ok(joined(texts))
    }

    fn one<T>(
        &self,
        key: &Key,
        server: Option<&ServerId>,
        given: Option<T>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Outcome<Option<Sourced<T>>> {
        if let Some(value) = given {
            return Ok(Some(Sourced { value, origin: Origin::Flag(key.flag) }));
        }
        let variable = keys::variable(key.name);
        if let Some(text) = self.variable(&variable)? {
            let checked = (key.check)(&text).and_then(|()| parse(&text));
            let value = checked.map_err(|why| bad_variable(&variable, &text, &why))?;
            return Ok(Some(Sourced { value, origin: Origin::Variable(variable) }));
        }
        let Some(text) = self.file.texts(key, server).and_then(|texts| texts.first()) else {
            return Ok(None);
        };
        let value = parse(&text.value).map_err(|why| Failure::new(Code::Usage, why))?;
        Ok(Some(Sourced { value, origin: text.origin.clone() }))
    }

    fn addresses(&self, key: &Key, server: &ServerId, given: &[Address]) -> Outcome<Vec<Address>> {
        if !given.is_empty() {
            return Ok(given.to_vec());
        }
        let variable = keys::variable(key.name);
        if let Some(text) = self.variable(&variable)? {
            return parse_addresses(&text).map_err(|why| bad_variable(&variable, &text, &why));
        }
        Self::read_all(self.file.texts(key, Some(server)).into_iter().flatten())
    }

    fn read_all<'a>(texts: impl Iterator<Item = &'a Sourced<String>>) -> Outcome<Vec<Address>> {
        let read =
            |text: &Sourced<String>| parse_address(&text.value).map_err(|why| Failure::new(Code::Usage, why));
        texts.map(read).collect()
    }

    /// The value of a variable; an empty one counts as missing.
    fn variable(&self, name: &str) -> Outcome<Option<String>> {
        match (self.environment)(name) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => match value.into_string() {
                Ok(text) => Ok(Some(text)),
                Err(value) => Err(bad_variable(name, &value.to_string_lossy(), "it is not UTF-8")),
            },
        }
    }
}

impl Key {
    /// The values in a variable, which separates those of a list by commas.
    fn parts<'a>(&self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let separator = |is_list: bool| move |c: char| is_list && c == ',';
        text.split(separator(self.is_list))
    }
}

/// The values of a list in one text, with the place of the first.
pub(crate) fn joined(texts: &[Sourced<String>]) -> Option<Sourced<String>> {
    let first = texts.first()?;
    let all: Vec<&str> = texts.iter().map(|text| text.value.as_str()).collect();
    Some(Sourced { value: all.join(","), origin: first.origin.clone() })
}

fn bad_variable(name: &str, value: &str, expected: &str) -> Failure {
    Failure::new(Code::Usage, format_args!("${name} cannot be {value:?}: {expected}"))
        .advise("correct it, or unset it")
}

fn parse_address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|why: ensemble::AddressError| why.to_string())
}

fn parse_addresses(text: &str) -> Result<Vec<Address>, String> {
    keys::LISTEN.parts(text).map(parse_address).collect()
}

fn parse_text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}
