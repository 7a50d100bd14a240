//! The file `config.toml`: its keys and values with their lines, checked. What they mean for a command is decided in
//! [`Settings`](super::Settings).

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use ensemble::ServerId;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    keys::{KEYS, Key},
    sourced::{Origin, Sourced},
};
use crate::exit::{Code, Failure, Outcome};

/// The table of the options of roles: `[roles.kvstore]`.
const ROLES: &str = "roles";
/// The table of what is for one server only: `[server.kvstore]`.
const SERVER: &str = "server";

/// The texts of a setting, one unless it is a list, and the line of each.
type Texts = Vec<Sourced<String>>;

/// What the file says. A file that is not there says nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    of_all: BTreeMap<&'static str, Texts>,
    of_servers: BTreeMap<String, BTreeMap<&'static str, Texts>>,
    of_roles: BTreeMap<String, BTreeMap<String, Sourced<String>>>,
}

impl ConfigFile {
    /// Reads the file at `path`.
    pub(crate) fn load(path: &Path) -> Outcome<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            // What is wrong with a home that cannot be one is said where it is made or used.
            Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Self { path: path.to_owned(), ..Self::default() })
            }
            Err(cause) => {
                let what = format_args!("cannot read the configuration {}: {cause}", path.display());
                Err(Failure::new(Code::Failed, what)
                    .advise("see who may read it, or choose another home with --home"))
            }
        }
    }

    /// Reads `text`, which stands in the file at `path`.
    pub(crate) fn parse(path: &Path, text: &str) -> Outcome<Self> {
        let reader = Reader { path, text };
        let table = DeTable::parse(text).map_err(|cause| {
            let start = cause.span().map_or(0, |span| span.start);
            let what = match cause.message() {
                "duplicate key" => "the key has come before",
                _ => "this is no TOML: a line is KEY = VALUE, with text in quotes, as in log = \"info\"",
            };
            reader.failure(start, what, "see https://toml.io for its form")
        })?;
        let mut file = Self { path: path.to_owned(), ..Self::default() };
        for (key, value) in table.get_ref() {
            match &**key.get_ref() {
                ROLES => file.of_roles = reader.roles(key, value)?,
                SERVER => file.of_servers = reader.servers(key, value)?,
                _ => {
                    let (known, texts) = reader.setting(key, value, |_| true)?;
                    file.of_all.insert(known.name, texts);
                }
            }
        }
        Ok(file)
    }

    /// What it says of a setting: for one server, or else for all.
    pub(crate) fn texts(&self, key: &Key, server: Option<&ServerId>) -> Option<&Texts> {
        let of_server = server.and_then(|server| self.of_servers.get(server.as_str()));
        of_server.and_then(|keys| keys.get(key.name)).or_else(|| self.of_all.get(key.name))
    }

    /// As [`texts`](Self::texts), but only what is for that server.
    pub(crate) fn texts_of_server(&self, key: &Key, server: &ServerId) -> Option<&Texts> {
        self.of_servers.get(server.as_str()).and_then(|keys| keys.get(key.name))
    }

    /// What it says of single servers, each by its whole key.
    pub(crate) fn all_of_servers(&self) -> impl Iterator<Item = (String, &Texts)> {
        self.of_servers.iter().flat_map(|(server, keys)| {
            keys.iter().map(move |(key, texts)| (format!("{SERVER}.{server}.{key}"), texts))
        })
    }

    /// What it says of the options of a role.
    pub(crate) fn role(&self, role: &str) -> impl Iterator<Item = (&str, &Sourced<String>)> {
        let options = self.of_roles.get(role).into_iter().flatten();
        options.map(|(key, value)| (key.as_str(), value))
    }

    /// The roles that it has options for.
    pub(crate) fn roles(&self) -> impl Iterator<Item = &str> {
        self.of_roles.keys().map(String::as_str)
    }

    /// A complaint about one of its lines.
    pub(crate) fn failure(&self, line: usize, what: &str, advice: &str) -> Failure {
        failure(&self.path, line, what, advice)
    }
}

fn failure(path: &Path, line: usize, what: &str, advice: &str) -> Failure {
    Failure::new(Code::Usage, format_args!("{}:{line}: {what}", path.display())).advise(advice)
}

type SpannedKey<'a> = Spanned<std::borrow::Cow<'a, str>>;

/// What is needed to read the file and to say what is wrong with it.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn line(&self, position: usize) -> usize {
        let before = self.text.as_bytes().iter().take(position);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    fn failure(&self, position: usize, what: &str, advice: &str) -> Failure {
        failure(self.path, self.line(position), what, advice)
    }

    fn servers(
        &self,
        key: &SpannedKey<'_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Outcome<BTreeMap<String, BTreeMap<&'static str, Texts>>> {
        let mut servers = BTreeMap::new();
        for (server, keys) in self.table(key, value, "[server.kvstore]")? {
            let id = ServerId::new(&**server.get_ref()).map_err(|why| {
                let what = format!("{:?} is no server id: {why}", server.get_ref());
                self.failure(server.span().start, &what, "write one, as in [server.kvstore]")
            })?;
            let mut settings = BTreeMap::new();
            for (key, value) in self.table(server, keys, "[server.kvstore]")? {
                let (known, texts) = self.setting(key, value, |key| key.is_of_server)?;
                settings.insert(known.name, texts);
            }
            servers.insert(id.to_string(), settings);
        }
        Ok(servers)
    }

    fn roles(
        &self,
        key: &SpannedKey<'_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Outcome<BTreeMap<String, BTreeMap<String, Sourced<String>>>> {
        let mut roles = BTreeMap::new();
        for (role, keys) in self.table(key, value, "[roles.kvstore]")? {
            let mut options = BTreeMap::new();
            for (key, value) in self.table(role, keys, "[roles.kvstore]")? {
                options.insert(key.get_ref().to_string(), self.one(key, value)?);
            }
            roles.insert(role.get_ref().to_string(), options);
        }
        Ok(roles)
    }

    fn table<'t, 'i>(
        &self,
        key: &SpannedKey<'_>,
        value: &'t Spanned<DeValue<'i>>,
        form: &str,
    ) -> Outcome<&'t DeTable<'i>> {
        value.get_ref().as_table().ok_or_else(|| {
            let what = format!("{} must be a table", key.get_ref());
            self.failure(key.span().start, &what, &format!("write it as {form}"))
        })
    }

    fn setting(
        &self,
        key: &SpannedKey<'_>,
        value: &Spanned<DeValue<'_>>,
        is_allowed: impl Fn(&Key) -> bool,
    ) -> Outcome<(&'static Key, Texts)> {
        let position = key.span().start;
        let known = KEYS.into_iter().find(|known| known.name == key.get_ref() && is_allowed(known));
        let Some(known) = known else {
            let names = KEYS.into_iter().filter(|known| is_allowed(known)).map(|known| known.name);
            let tables = if is_allowed(&super::keys::TIMEOUT) {
                ", and the tables [roles.ROLE] and [server.SERVER]"
            } else {
                ""
            };
            let allowed = format!("allowed are {}{tables}", names.collect::<Vec<_>>().join(", "));
            return Err(self.failure(
                position,
                &format!("there is no setting {:?}", key.get_ref()),
                &allowed,
            ));
        };
        let texts = match value.get_ref().as_array() {
            Some(values) if known.is_list => {
                values.iter().map(|value| self.one(key, value)).collect::<Outcome<_>>()?
            }
            _ => vec![self.one(key, value)?],
        };
        for text in &texts {
            (known.check)(&text.value).map_err(|expected| {
                let what = format!("{} cannot be {:?}: {expected}", known.name, text.value);
                let Origin::Line(line) = text.origin else {
                    return self.failure(position, &what, "correct it");
                };
                failure(self.path, line, &what, "correct it")
            })?;
        }
        Ok((known, texts))
    }

    /// A value that is neither a list nor a table, as text.
    fn one(&self, key: &SpannedKey<'_>, value: &Spanned<DeValue<'_>>) -> Outcome<Sourced<String>> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            other => {
                let what = format!("{} cannot be of the type {}", key.get_ref(), other.type_str());
                return Err(self.failure(value.span().start, &what, "write one value"));
            }
        };
        Ok(Sourced { value: text, origin: Origin::Line(self.line(value.span().start)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::keys::{LISTEN, LOG, TIMEOUT};

    fn parse(text: &str) -> Result<ConfigFile, String> {
        ConfigFile::parse(Path::new("/h/config.toml"), text).map_err(|failure| failure.to_string())
    }

    fn values(texts: Option<&Texts>) -> Vec<(&str, Origin)> {
        let pair = |text: &'_ Sourced<String>| text.origin.clone();
        texts.into_iter().flatten().map(|text| (text.value.as_str(), pair(text))).collect()
    }

    #[test]
    fn values_are_read_with_their_lines() {
        let file = parse(
            "timeout = 2.5\nlog = \"warn\"\nlisten = [\n  \"tcp:127.0.0.1:0\",\n]\n\n[roles.kvstore]\nlevel = 5\n\
             max-value = \"1MiB\"\n[server.a]\nlog = \"debug\"\n[server.\"kv@/x\"]\nlisten = \"unix:/s\"\n",
        )
        .unwrap();
        let a = ServerId::new("a").unwrap();
        assert_eq!(values(file.texts(&TIMEOUT, None)), [("2.5", Origin::Line(1))]);
        assert_eq!(values(file.texts(&LOG, None)), [("warn", Origin::Line(2))]);
        assert_eq!(values(file.texts(&LOG, Some(&a))), [("debug", Origin::Line(11))]);
        assert_eq!(values(file.texts(&LISTEN, Some(&a))), [("tcp:127.0.0.1:0", Origin::Line(4))]);
        assert_eq!(values(file.texts_of_server(&LISTEN, &a)), []);
        let options: Vec<_> = file.role("kvstore").map(|(key, value)| (key, value.value.as_str())).collect();
        assert_eq!(options, [("level", "5"), ("max-value", "1MiB")]);
        let of_servers: Vec<String> = file.all_of_servers().map(|(key, _)| key).collect();
        assert_eq!(of_servers, ["server.a.log", "server.kv@/x.listen"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, parts) in [
            ("log = \"warn\"\ntimeot = 1", ["config.toml:2: there is no setting \"timeot\"", "timeout, "]),
            ("timeout = \"soon\"", [":1: timeout cannot be \"soon\": it must be a number", "correct it"]),
            ("timeout = [1, 2]", [":1: timeout cannot be of the type array", "one value"]),
            ("\n\nlisten = [\"x\"]", [":3: listen cannot be \"x\"", "unix:, tcp: or tls:"]),
            ("insecure-tcp = 1", [":1: insecure-tcp cannot be \"1\"", "true or false"]),
            ("color = \"red\"", [":1: color cannot be \"red\"", "auto, always, never"]),
            ("roles = 1", [":1: roles must be a table", "[roles.kvstore]"]),
            ("[roles]\nkvstore = 1", [":2: kvstore must be a table", "[roles.kvstore]"]),
            ("[roles.kvstore]\nlevel = {}", [":2: level cannot be of the type table", "one value"]),
            ("[server.\"a b\"]", [":1: \"a b\" is no server id", "[server.kvstore]"]),
            (
                "[server.a]\ntimeout = 1",
                [":2: there is no setting \"timeout\"", "allowed are listen, announce, log"],
            ),
            ("log = ", [":1: ", "toml.io"]),
            ("a = 1\na = 2", [":2: the key has come before", "toml.io"]),
        ] {
            let why = parse(text).unwrap_err();
            assert!(parts.iter().all(|part| why.contains(part)) && why.starts_with("/h/"), "{why}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_says_nothing() {
        let file = ConfigFile::load(Path::new("/nowhere/config.toml")).unwrap();
        assert!(file.texts(&TIMEOUT, None).is_none() && file.roles().next().is_none());
    }
}
