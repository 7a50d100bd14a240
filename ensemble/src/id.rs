//! The names of things: servers, incarnations, actors, references. Parsing is the only way in, so a value of
//! one of these types is always valid.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// Longest server id, in bytes: it is part of a socket's path, of log lines and of every handshake.
pub const MAX_SERVER_ID_BYTES: usize = 200;
/// Longest name of an actor or a role, in bytes.
pub const MAX_NAME_BYTES: usize = 100;

/// Why a text is no server id, no actor name or no role.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is nothing.
    #[error("the name is empty")]
    Empty,
    /// It is longer than the limit.
    #[error("the name has {bytes} bytes; the limit is {limit}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// It holds a character that names may not have.
    #[error("the name has the character {found:?}; allowed are letters, digits, '-', '_' and '.'")]
    BadCharacter {
        /// The first such character.
        found: char,
    },
    /// It starts with a character that only later ones may be.
    #[error("the name starts with {found:?}; it must start with a letter, a digit or '_'")]
    BadStart {
        /// The first character.
        found: char,
    },
    /// The part after `@` is no absolute path of names.
    #[error("the domain after '@' must be a path such as /site/rack")]
    BadDomain,
}

fn check_name(text: &str, limit: usize) -> Result<(), NameError> {
    if text.len() > limit {
        return Err(NameError::TooLong { bytes: text.len(), limit });
    }
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if let Some(found) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_.".contains(*c))) {
        return Err(NameError::BadCharacter { found });
    }
    if !(first.is_ascii_alphanumeric() || first == '_') {
        return Err(NameError::BadStart { found: first });
    }
    Ok(())
}

macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                String::from(&*name.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

/// The name of a node in its ensemble: `name`, or `name@/domain/path`. Cheap to clone.
///
/// ```
/// use ensemble::ServerId;
/// let id = ServerId::new("store-1@/site/rack")?;
/// assert_eq!((id.name(), id.domain()), ("store-1", Some("/site/rack")));
/// assert!(ServerId::new("no spaces").is_err());
/// # Ok::<(), ensemble::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerId(Arc<str>);

impl ServerId {
    /// Parses a server id.
    ///
    /// # Errors
    /// When the text is empty, longer than [`MAX_SERVER_ID_BYTES`], or has characters outside letters, digits,
    /// `-`, `_` and `.` (and `/` in the domain).
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        let text = text.as_ref();
        if text.len() > MAX_SERVER_ID_BYTES {
            return Err(NameError::TooLong { bytes: text.len(), limit: MAX_SERVER_ID_BYTES });
        }
        let (name, domain) = match text.split_once('@') {
            Some((name, domain)) => (name, Some(domain)),
            None => (text, None),
        };
        check_name(name, MAX_SERVER_ID_BYTES)?;
        if let Some(domain) = domain {
            let path = domain.strip_prefix('/').ok_or(NameError::BadDomain)?;
            for part in path.split('/') {
                check_name(part, MAX_SERVER_ID_BYTES).map_err(|_| NameError::BadDomain)?;
            }
        }
        Ok(Self(text.into()))
    }

    /// The part before `@`.
    pub fn name(&self) -> &str {
        self.0.split_once('@').map_or(&*self.0, |(name, _)| name)
    }

    /// The part after `@`, with its leading `/`.
    pub fn domain(&self) -> Option<&str> {
        self.0.split_once('@').map(|(_, domain)| domain)
    }

    /// The id as one component of a path: the same text with `/` written as `+`, which no id contains.
    pub fn file_name(&self) -> String {
        self.0.replace('/', "+")
    }
}

text_type!(ServerId);

/// The name under which an actor is exported, or that of a role. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActorName(Arc<str>);

impl ActorName {
    /// Parses an actor name.
    ///
    /// # Errors
    /// When the text is empty, longer than [`MAX_NAME_BYTES`], or has characters outside letters, digits, `-`,
    /// `_` and `.`.
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        check_name(text.as_ref(), MAX_NAME_BYTES)?;
        Ok(Self(text.as_ref().into()))
    }
}

text_type!(ActorName);

/// What a server is for, such as `kvstore`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleName(Arc<str>);

impl RoleName {
    /// Parses a role.
    ///
    /// # Errors
    /// As for [`ActorName::new`].
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        check_name(text.as_ref(), MAX_NAME_BYTES)?;
        Ok(Self(text.as_ref().into()))
    }
}

text_type!(RoleName);

/// One start of a node: two starts of the same server id differ in this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(Uuid);

impl Incarnation {
    /// A fresh one, from the operating system's random numbers.
    pub fn fresh() -> Self {
        Self(Uuid::new_v4())
    }

    /// One with these bytes, as they come from the wire.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its bytes, as they go to the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names an exported actor anywhere in the ensemble; it can be stored and sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// The server that hosts it.
    pub server: ServerId,
    /// The name it is exported under.
    pub actor: ActorName,
}

impl Reference {
    /// The actor `actor` at `server`.
    pub fn new(server: ServerId, actor: ActorName) -> Self {
        Self { server, actor }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.server, self.actor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_ids_are_checked() {
        for good in ["kvstore", "a", "_x", "a.b-c_d", "kv@/site", "kv@/site/rack-1", "9"] {
            assert_eq!(ServerId::new(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", NameError::Empty),
            ("@/x", NameError::Empty),
            ("a b", NameError::BadCharacter { found: ' ' }),
            ("a/b", NameError::BadCharacter { found: '/' }),
            ("-x", NameError::BadStart { found: '-' }),
            ("..", NameError::BadStart { found: '.' }),
            ("a@", NameError::BadDomain),
            ("a@b", NameError::BadDomain),
            ("a@/", NameError::BadDomain),
            ("a@/../b", NameError::BadDomain),
            ("a@/b@/c", NameError::BadDomain),
        ] {
            assert_eq!(ServerId::new(bad), Err(why), "{bad:?}");
        }
        let long = "x".repeat(MAX_SERVER_ID_BYTES + 1);
        assert!(matches!(ServerId::new(long), Err(NameError::TooLong { bytes: 201, limit: 200 })));
    }

    #[test]
    fn a_file_name_is_one_component() {
        assert_eq!(ServerId::new("kv@/site/rack").unwrap().file_name(), "kv@+site+rack");
    }
}
