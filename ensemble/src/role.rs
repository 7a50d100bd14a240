//! How a program offers a service to the command line: a role is a name, the options that it takes, and a function
//! that exports actors from a node.

use std::{collections::BTreeMap, error::Error, future::Future, path::PathBuf, pin::Pin};

use thiserror::Error;

use crate::node::Node;

/// An option of a role, as `--option role.key=value` sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleOption {
    /// The key.
    pub key: &'static str,
    /// What it is, in a few words, with its unit and its default.
    pub help: &'static str,
}

/// What a role is started with.
#[derive(Debug)]
#[non_exhaustive]
pub struct RoleContext {
    /// The node to export from.
    pub node: Node,
    /// The server's own directory, where the role keeps what it has to keep. It exists.
    pub dir: PathBuf,
    /// The values of the options that were given. Their keys are among [`Role::options`].
    pub options: BTreeMap<String, String>,
}

impl RoleContext {
    /// A context for starting a role in `node`, with its files in `dir`.
    pub fn new(node: Node, dir: PathBuf, options: BTreeMap<String, String>) -> Self {
        Self { node, dir, options }
    }
}

/// Why a role does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RoleError {
    /// The value of an option is none that it can have: wrong usage.
    #[error("the option {key} cannot be {value:?}: {expected}")]
    BadOption {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// Anything else.
    #[error("the role could not be started")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

impl RoleError {
    /// Wraps any error.
    pub fn failed(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(cause.into())
    }
}

/// What [`Role::start`] returns.
pub type Starting<'a> = Pin<Box<dyn Future<Output = Result<(), RoleError>> + 'a>>;

/// A service that a server can offer.
pub trait Role: Send + Sync + 'static {
    /// Its name, which is also that of the actor that it exports if there is only one.
    fn name(&self) -> &'static str;

    /// What it is, in a few words.
    fn about(&self) -> &'static str;

    /// The options that it takes.
    fn options(&self) -> &'static [RoleOption] {
        &[]
    }

    /// Checks the values of the options before anything is started or touched, with the keys among
    /// [`options`](Self::options).
    ///
    /// # Errors
    /// [`RoleError::BadOption`] for a value that an option cannot have.
    fn check(&self, options: &BTreeMap<String, String>) -> Result<(), RoleError> {
        let _ = options;
        Ok(())
    }

    /// Exports its actors from the node, on the node's thread. What must be closed at the end it hands over to
    /// [`Node::at_stop`].
    ///
    /// # Errors
    /// When it cannot be started.
    fn start(&self, context: RoleContext) -> Starting<'_>;
}
