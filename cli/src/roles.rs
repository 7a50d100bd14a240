//! The roles that a program was built with, and the text forms in which the command line names them and their
//! options.

use std::{collections::BTreeMap, fmt, sync::Arc};

use clap::Args;
use ensemble::{Role, RoleError, RoleName, ServerId};

use crate::{
    exit::{Code, Failure, Outcome},
    settings::{ConfigFile, Origin, Settings, Sourced},
};

/// All roles of a program.
#[derive(Default, Clone)]
pub(crate) struct RoleSet(Vec<Arc<dyn Role>>);

impl fmt::Debug for RoleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl RoleSet {
    /// Adds a role.
    ///
    /// # Panics
    /// When there is one of that name: a mistake in the program.
    pub(crate) fn add(&mut self, role: impl Role) {
        assert!(self.get(role.name()).is_none(), "the role {} was added twice", role.name());
        self.0.push(Arc::new(role));
        self.0.sort_by_key(|role| role.name());
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<dyn Role>> {
        self.0.iter().find(|role| role.name() == name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Role> {
        self.0.iter().map(|role| &**role)
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|role| role.name())
    }

    /// What a server of `up` is to have unless something else is said: a store, or else all that the program has.
    pub(crate) fn default_roles(&self) -> String {
        match self.get(kvstore::ACTOR) {
            Some(role) => role.name().to_owned(),
            None => self.names().collect::<Vec<_>>().join(","),
        }
    }

    /// For the help of the commands that start roles.
    pub(crate) fn help(&self) -> String {
        let mut text = String::from("Roles:\n");
        let width = self.names().map(str::len).max().unwrap_or_default();
        for role in self.iter() {
            text.push_str(&format!("  {:width$}  {}\n", role.name(), role.about()));
            for option in role.options() {
                text.push_str(&format!(
                    "  {:width$}    -o {}.{}=...: {}\n",
                    "",
                    role.name(),
                    option.key,
                    option.help
                ));
            }
        }
        text
    }

    /// Checks what a configuration says of the roles of this program. Others may belong to another program.
    pub(crate) fn check(&self, file: &ConfigFile) -> Outcome {
        for role in self.iter() {
            for (key, value) in file.role(role.name()) {
                let Origin::Line(line) = value.origin else { continue };
                if role.options().iter().all(|option| option.key != key) {
                    let what = format!("the role {} has no option {key:?}", role.name());
                    return Err(file.failure(line, &what, &keys_of(role)));
                }
            }
        }
        Ok(())
    }

    /// Finds the roles to start, and gives each its options: those of the command, and those that are set otherwise.
    pub(crate) fn choose(&self, chosen: &RoleOptions, settings: &Settings) -> Outcome<Vec<ChosenRole>> {
        let mut roles = self.choose_given(chosen)?;
        for chosen in &mut roles {
            chosen.take_settings(settings)?;
        }
        for chosen in &roles {
            chosen.role.check(&chosen.values()).map_err(|why| chosen.failure(&why))?;
        }
        Ok(roles)
    }

    /// As [`choose`](Self::choose), of one role, for somebody else who asks for it with these options.
    pub(crate) fn choose_one(
        &self,
        name: &str,
        options: BTreeMap<String, String>,
        settings: &Settings,
    ) -> Result<ChosenRole, BadChoice> {
        let role = self
            .get(name)
            .ok_or_else(|| BadChoice::UnknownRole { known: self.names().map(str::to_owned).collect() })?;
        let mut chosen = ChosenRole { role: Arc::clone(role), options: BTreeMap::new() };
        for (key, value) in options {
            let mut known = role.options().iter().map(|option| option.key);
            if !known.any(|known| known == key) {
                let known = role.options().iter().map(|option| option.key.to_owned()).collect();
                return Err(BadChoice::UnknownOption { key, known });
            }
            chosen.options.insert(key, Sourced { value, origin: Origin::Flag("--option") });
        }
        chosen.take_settings(settings).map_err(BadChoice::Settings)?;
        chosen.role.check(&chosen.values()).map_err(|why| match why {
            RoleError::BadOption { key, value, expected } => BadChoice::BadOption { key, value, expected },
            other => BadChoice::Settings(chosen.failure(&other)),
        })?;
        Ok(chosen)
    }

    /// As [`choose`](Self::choose), with the options of the command only.
    fn choose_given(&self, chosen: &RoleOptions) -> Outcome<Vec<ChosenRole>> {
        let mut roles = Vec::new();
        for name in &chosen.roles.0 {
            let role = self.get(name.as_str()).ok_or_else(|| self.unknown(name.as_str()))?;
            roles.push(ChosenRole { role: Arc::clone(role), options: BTreeMap::new() });
        }
        for RoleSetting { role: name, key, value } in &chosen.options {
            let Some(target) = roles.iter_mut().find(|chosen| chosen.role.name() == name) else {
                let running: Vec<&str> = roles.iter().map(|chosen| chosen.role.name()).collect();
                let what = format_args!("the option {name}.{key} is for a role that is not to run");
                return Err(Failure::new(Code::Usage, what)
                    .advise(format_args!("the roles that are to run: {}", running.join(", "))));
            };
            let known = target.role.options();
            if !known.iter().any(|option| option.key == key) {
                let what = format_args!("the role {name} has no option {key:?}");
                return Err(Failure::new(Code::Usage, what).advise(keys_of(&*target.role)));
            }
            let value = Sourced { value: value.clone(), origin: Origin::Flag("--option") };
            if target.options.insert(key.clone(), value).is_some() {
                let what = format_args!("the option {name}.{key} is given twice");
                return Err(Failure::new(Code::Usage, what).advise("give it once"));
            }
        }
        Ok(roles)
    }

    fn unknown(&self, name: &str) -> Failure {
        let names: Vec<&str> = self.names().collect();
        Failure::new(Code::NotFound, format_args!("there is no role {name} in this program"))
            .advise(format_args!("it has: {}", names.join(", ")))
    }
}

/// The options that a role has, as advice.
fn keys_of(role: &dyn Role) -> String {
    let keys: Vec<String> =
        role.options().iter().map(|option| format!("{}.{}", role.name(), option.key)).collect();
    if keys.is_empty() { "it has none".to_owned() } else { format!("it has: {}", keys.join(", ")) }
}

/// A role to start, with its options.
pub(crate) struct ChosenRole {
    pub(crate) role: Arc<dyn Role>,
    options: BTreeMap<String, Sourced<String>>,
}

/// Why a role cannot be started as somebody asks for it.
#[derive(Debug)]
pub(crate) enum BadChoice {
    UnknownRole {
        known: Vec<String>,
    },
    UnknownOption {
        key: String,
        known: Vec<String>,
    },
    BadOption {
        key: String,
        value: String,
        expected: String,
    },
    /// What is set where it would run is wrong.
    Settings(Failure),
}

impl ChosenRole {
    /// Adds the options that are set in variables or in the file, where none was given.
    fn take_settings(&mut self, settings: &Settings) -> Outcome {
        let Self { role, options } = self;
        for option in role.options() {
            let given = options.get(option.key).map(|given| given.value.as_str());
            if let Some(found) = settings.role_option(role.name(), option.key, given)? {
                options.insert(option.key.to_owned(), found);
            }
        }
        Ok(())
    }

    /// The values of its options.
    pub(crate) fn values(&self) -> BTreeMap<String, String> {
        self.options.iter().map(|(key, option)| (key.clone(), option.value.clone())).collect()
    }

    /// Why it does not start; a bad value is told with where it comes from.
    pub(crate) fn failure(&self, why: &RoleError) -> Failure {
        let failure = Failure::of_role(self.role.name(), why);
        let RoleError::BadOption { key, .. } = why else { return failure };
        match self.options.get(key).map(|option| &option.origin) {
            Some(origin @ (Origin::Variable(_) | Origin::Line(_))) => {
                failure.advise(format_args!("correct it in {origin}"))
            }
            _ => failure,
        }
    }
}

/// Which roles a server is to have; options of `run` and `up`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RoleOptions {
    /// Roles that the server is to have, as in kvstore,echo; the form "(kvstore echo)" means the same
    #[arg(long, value_name = "ROLES", value_parser = parse_role_list)]
    pub(crate) roles: RoleList,

    /// Option of a role, as in kvstore.max-value=1MiB; repeatable
    #[arg(short, long = "option", value_name = "ROLE.KEY=VALUE", value_parser = parse_setting)]
    pub(crate) options: Vec<RoleSetting>,
}

/// Names of roles, at least one, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleList(pub(crate) Vec<RoleName>);

impl RoleList {
    /// The server id that a server with these roles has by default: the first of them.
    pub(crate) fn default_server(&self) -> Outcome<ServerId> {
        let first = self.0.first().map_or("", RoleName::as_str);
        ServerId::new(first).map_err(|why| Failure::of(Code::Usage, &why))
    }
}

impl fmt::Display for RoleList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(RoleName::as_str).collect();
        f.write_str(&names.join(","))
    }
}

/// The value of one option of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleSetting {
    pub(crate) role: String,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Reads `a,b`, or a list as Scheme writes it, `(a b)`.
pub(crate) fn parse_role_list(text: &str) -> Result<RoleList, String> {
    let trimmed = text.trim();
    let inner = match (trimmed.strip_prefix('('), trimmed.ends_with(')')) {
        (Some(rest), true) => &rest[..rest.len() - 1],
        (None, false) => trimmed,
        _ => return Err("the parentheses do not match".to_owned()),
    };
    let mut roles = Vec::new();
    for name in inner.split([',', ' ', '\t']).filter(|name| !name.is_empty()) {
        let role = RoleName::new(name).map_err(|why| format!("{name:?}: {why}"))?;
        if roles.contains(&role) {
            return Err(format!("{name} is named twice"));
        }
        roles.push(role);
    }
    if roles.is_empty() {
        return Err("name at least one role, as in kvstore".to_owned());
    }
    Ok(RoleList(roles))
}

pub(crate) fn parse_setting(text: &str) -> Result<RoleSetting, String> {
    let form = || "it must have the form role.key=value".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(form)?;
    let (role, key) = name.split_once('.').ok_or_else(form)?;
    if role.is_empty() || key.is_empty() {
        return Err(form());
    }
    Ok(RoleSetting { role: role.into(), key: key.into(), value: value.into() })
}

#[cfg(test)]
mod tests {
    use ensemble::{RoleContext, RoleOption, Starting};

    use super::*;

    struct Fake(&'static str, &'static [RoleOption]);

    impl Role for Fake {
        fn name(&self) -> &'static str {
            self.0
        }

        fn about(&self) -> &'static str {
            "a role of the tests"
        }

        fn options(&self) -> &'static [RoleOption] {
            self.1
        }

        fn start(&self, _: RoleContext) -> Starting<'_> {
            Box::pin(async { Ok(()) })
        }
    }

    fn set() -> RoleSet {
        let mut set = RoleSet::default();
        set.add(Fake("kvstore", &[RoleOption { key: "dir", help: "where" }]));
        set.add(Fake("echo", &[]));
        set
    }

    fn choose(roles: &str, settings: &[&str]) -> Result<Vec<(String, Vec<String>)>, String> {
        let options = settings.iter().map(|text| parse_setting(text)).collect::<Result<_, _>>()?;
        let chosen = RoleOptions { roles: parse_role_list(roles)?, options };
        let set = set();
        let roles = set.choose_given(&chosen).map_err(|failure| failure.to_string())?;
        Ok(roles
            .into_iter()
            .map(|chosen| (chosen.role.name().to_owned(), chosen.values().into_values().collect()))
            .collect())
    }

    #[test]
    fn both_forms_of_a_list_are_read() {
        for (text, names) in [
            ("kvstore", vec!["kvstore"]),
            ("(kvstore)", vec!["kvstore"]),
            ("a,b", vec!["a", "b"]),
            ("(a b)", vec!["a", "b"]),
            (" ( a  b, c ) ", vec!["a", "b", "c"]),
        ] {
            let list = parse_role_list(text).unwrap();
            assert_eq!(list.0.iter().map(RoleName::as_str).collect::<Vec<_>>(), names, "{text}");
        }
        for text in ["", "()", "(a", "a)", "a,a", "a/b", "(a)(b)"] {
            assert!(parse_role_list(text).is_err(), "{text}");
        }
    }

    #[test]
    fn options_reach_their_role_only() {
        let chosen = choose("echo,kvstore", &["kvstore.dir=/x=y"]).unwrap();
        assert_eq!(chosen, [("echo".to_owned(), vec![]), ("kvstore".to_owned(), vec!["/x=y".to_owned()])]);
    }

    #[test]
    fn wrong_options_are_told_with_the_right_ones() {
        for (roles, setting, parts) in [
            ("kvstore", "kvstore.dri=x", vec!["no option \"dri\"", "it has: kvstore.dir"]),
            ("echo", "echo.x=1", vec!["no option \"x\"", "it has none"]),
            ("echo", "kvstore.dir=x", vec!["not to run", "echo"]),
            ("nope", "kvstore.dir=x", vec!["no role nope", "echo, kvstore"]),
            ("kvstore", "dir=x", vec!["role.key=value"]),
            ("kvstore", "kvstore.dir", vec!["role.key=value"]),
        ] {
            let why = choose(roles, &[setting]).unwrap_err();
            assert!(parts.iter().all(|part| why.contains(part)), "{why}");
        }
        assert!(choose("kvstore", &["kvstore.dir=a", "kvstore.dir=b"]).unwrap_err().contains("twice"));
    }
}
