//! How a command ends: the one place where errors become exit codes and the line that says what to do.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | done |
//! | 1 | failed |
//! | 2 | wrong usage |
//! | 3 | no such key, server, actor or role |
//! | 4 | unreachable, or timed out |
//! | 5 | not authenticated, or not authorised |
//! | 6 | a condition on the revision did not hold, or what followed on a revision is no longer known |
//!
//! The errors of the registry and of the store are translated in [`crate::translate`].

use std::{error::Error, fmt, io, process::ExitCode};

use ensemble::{Address, CookieError, HomeError, RoleError, StartError, TransportError};
use kvstore::store::OpenError;

/// An exit code that is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Unreachable = 4,
    NotAllowed = 5,
    Conflict = 6,
}

/// Why a command ends before it is done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody reads standard output any more: nothing to say, and no fault.
    OutputClosed,
    /// What went wrong, and what to do about it.
    Problem { code: Code, what: String, advice: Option<String> },
}

/// What a command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: Code, what: impl fmt::Display) -> Self {
        // One line, whatever a file name or a peer has put into it.
        let what = what.to_string().replace(['\n', '\r'], " ");
        Self::Problem { code, what, advice: None }
    }

    /// A failure whose message is the error with all its causes.
    pub(crate) fn of(code: Code, error: &dyn Error) -> Self {
        Self::new(code, chain(error))
    }

    /// Adds what to do.
    #[must_use]
    pub(crate) fn advise(self, todo: impl fmt::Display) -> Self {
        match self {
            Self::OutputClosed => self,
            Self::Problem { code, what, .. } => {
                Self::Problem { code, what, advice: Some(todo.to_string().replace(['\n', '\r'], " ")) }
            }
        }
    }

    /// Tells the user, as `program`, and gives the exit code.
    pub(crate) fn report(self, program: &str) -> ExitCode {
        match self {
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Problem { code, .. } => {
                crate::printer::complain(format_args!("{program}: {self}"));
                ExitCode::from(code as u8)
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutputClosed => f.write_str("nobody reads the output"),
            Self::Problem { what, advice: None, .. } => f.write_str(what),
            Self::Problem { what, advice: Some(todo), .. } => write!(f, "{what}; {todo}"),
        }
    }
}

/// An error and its causes in one line. A cause that the line says already is left out.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        match &error {
            HomeError::Unknown
            | HomeError::SocketPathTooLong { .. }
            | HomeError::SocketPathNotText { .. } => Self::of(Code::Usage, &error),
            HomeError::WritableByOthers { .. } => Self::of(Code::NotAllowed, &error),
            HomeError::Owner { .. } => Self::of(Code::NotAllowed, &error)
                .advise("choose a home of your own with --home or $ENSEMBLE_HOME"),
            _ => Self::of(Code::Failed, &error).advise("choose another home with --home or $ENSEMBLE_HOME"),
        }
    }
}

impl From<CookieError> for Failure {
    fn from(error: CookieError) -> Self {
        match &error {
            CookieError::NotFound { path } => {
                Self::new(Code::NotAllowed, format_args!("there is no cookie at {}", path.display()))
                    .advise("make one with `ensemble admin cookie`, or copy the ensemble's cookie there")
            }
            CookieError::AlreadyExists { .. } => {
                Self::of(Code::Failed, &error).advise("see it with --view, or replace it with --force")
            }
            CookieError::Permissions { path, mode } => Self::new(
                Code::NotAllowed,
                format_args!("the cookie {} is open to others (mode {mode:04o})", path.display()),
            )
            .advise(format_args!("close it with `chmod 600 {}`", path.display())),
            CookieError::Malformed { .. } => Self::of(Code::NotAllowed, &error)
                .advise("copy it anew from another node, or replace it with `ensemble admin cookie --force`"),
            CookieError::Owner { .. } | CookieError::Io { action: "read", .. } => {
                Self::of(Code::NotAllowed, &error).advise("use a cookie of your own that you can read")
            }
            CookieError::Io { .. } => Self::of(Code::Failed, &error)
                .advise("make room and see who may write there, or choose another home with --home"),
            _ => Self::of(Code::Failed, &error),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Home(why) => why.into(),
            StartError::Cookie(why) => why.into(),
            StartError::Listen(why) => why.into(),
            StartError::Name(why) => Self::of(Code::Usage, &why),
            StartError::Unreachable { .. } => Self::of(Code::Usage, &error),
            other => Self::of(Code::Failed, &other),
        }
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Self::of_listening(&error, "another server id or --listen address")
    }
}

impl Failure {
    /// A registry that does not start; `option` says where it listens.
    pub(crate) fn of_registry(error: StartError, option: &str) -> Self {
        match error {
            StartError::Listen(why) => {
                Self::of_listening(&why, &format!("another --home or {option} address"))
            }
            other => other.into(),
        }
    }

    /// An address that cannot be listened at; `choice` is what can be chosen instead.
    fn of_listening(error: &TransportError, choice: &str) -> Self {
        match error {
            TransportError::InUse { .. } => Self::of(Code::Failed, error)
                .advise(format_args!("shut that server down, or choose {choice}")),
            TransportError::PathTooLong { .. } => Self::of(Code::Usage, error),
            TransportError::PlainTcp { .. } => {
                Self::of(Code::Usage, error).advise("add --insecure-tcp if you trust the network")
            }
            TransportError::Scheme { .. } => {
                Self::of(Code::Usage, error).advise("use unix:/path or tcp:host:port")
            }
            TransportError::Io { address, source } => {
                let first = match (address, source.kind()) {
                    (Address::Unix(_), io::ErrorKind::NotFound) => "make its directory, or ",
                    (Address::Unix(_), io::ErrorKind::PermissionDenied) => {
                        "see who may write to its directory, or "
                    }
                    (_, io::ErrorKind::PermissionDenied) => "take a port from 1024 on, or ",
                    (_, io::ErrorKind::AddrInUse) => "shut down what listens there, or ",
                    (_, io::ErrorKind::AddrNotAvailable) => "name an address of this machine, or ",
                    _ => "",
                };
                Self::of(Code::Failed, error).advise(format_args!("{first}choose {choice}"))
            }
            _ => Self::of(Code::Failed, error),
        }
    }

    /// A role that does not start.
    pub(crate) fn of_role(role: &str, error: &RoleError) -> Self {
        match error {
            RoleError::BadOption { key, value, expected } => Self::new(
                Code::Usage,
                format_args!("the option {role}.{key} cannot be {value:?}: {expected}"),
            ),
            RoleError::Failed(cause) => Self::new(
                Code::Failed,
                format_args!("the role {role} does not start: {}", chain(&**cause)),
            )
            .advise(match cause.downcast_ref() {
                Some(OpenError::InUse { .. }) => {
                    "shut down the server that has it open, or choose another with -o kvstore.path=DIR"
                }
                Some(OpenError::NewerFormat { .. }) => "use the version of the program that wrote it",
                Some(OpenError::SyncedApart { .. }) => {
                    "put back the data.mdb that it belongs to, or remove `synced` to go on with this one"
                }
                Some(OpenError::NotAStore { .. }) => {
                    "restore it from a copy, or choose another with -o kvstore.path=DIR"
                }
                _ => "see the log, and change its options with -o (`--help` shows them)",
            }),
            other => Self::of(Code::Failed, other).advise("see the log"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_is_in_it() {
        let failure = Failure::new(Code::Failed, "no file a\nb").advise("look\r\nelsewhere");
        assert_eq!(failure.to_string(), "no file a b; look  elsewhere");
    }

    #[test]
    fn causes_are_said_once() {
        let cause = std::io::Error::other("disk gone");
        let error = HomeError::Create { path: PathBuf::from("/x"), source: cause };
        assert_eq!(chain(&error), "cannot make the directory /x: disk gone");
        assert_eq!(chain(&StartError::Home(error)).matches("disk gone").count(), 1);
    }
}
