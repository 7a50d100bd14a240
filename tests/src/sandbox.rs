//! A home directory for one test, and the programs that run in it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::process::{Finished, Proc};

/// What the programs must not take over from whoever runs the tests.
const FOREIGN: [&str; 11] = [
    "HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "ENSEMBLE_LOG",
    "ENSEMBLE_REGISTRY",
    "NO_COLOR",
    "RUST_LOG",
    "COLUMNS",
];

/// A fresh home directory with a short path, since those of sockets are limited, and two programs that use it.
/// Removed when it is dropped; what still runs in it must be dropped before.
#[derive(Debug)]
pub struct Sandbox {
    dir: TempDir,
    ensemble: PathBuf,
    kvstorec: PathBuf,
}

impl Sandbox {
    /// Makes it, for the programs `ensemble` and `kvstorec`.
    ///
    /// # Panics
    /// When there is no place for temporary files.
    #[track_caller]
    pub fn new(ensemble: impl Into<PathBuf>, kvstorec: impl Into<PathBuf>) -> Self {
        let dir = tempfile::Builder::new().prefix("ens-").tempdir_in("/tmp").expect("/tmp can be written");
        Self { dir, ensemble: ensemble.into(), kvstorec: kvstorec.into() }
    }

    /// The directory of the test's own files; the home is one of them.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `$ENSEMBLE_HOME`, which exists once a program has made it.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The path of a file of the test's own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of the test's own, and returns its path.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, content).expect("the test's directory can be written");
        path
    }

    fn command<A: AsRef<OsStr>>(&self, program: &Path, args: &[A]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir.path()).env("ENSEMBLE_HOME", self.home());
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
    }

    /// Another program that is run as `ensemble` would be, in the same home; not started yet.
    pub fn as_ensemble(&self, program: impl AsRef<Path>) -> Command {
        self.command::<&str>(program.as_ref(), &[])
    }

    /// The command `ensemble ARGS`, not started yet.
    pub fn ensemble_command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        self.command(&self.ensemble, args)
    }

    /// The command `kvstorec ARGS`, not started yet.
    pub fn kvstorec_command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        self.command(&self.kvstorec, args)
    }

    /// A shell that runs `script`, in which the programs are known by their names; not started yet.
    pub fn shell_command(&self, script: &str) -> Command {
        let mut command = self.command(Path::new("bash"), &["-c", script]);
        let own = [&self.ensemble, &self.kvstorec].map(|program| program.parent().map(Path::to_path_buf));
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let all = own.into_iter().flatten().chain(std::env::split_paths(&inherited));
        command.env("PATH", std::env::join_paths(all).expect("the paths come from such a variable"));
        command
    }

    /// Runs `script` in a shell to its end.
    #[track_caller]
    pub fn shell(&self, script: &str) -> Finished {
        Proc::start(self.shell_command(script), Vec::new()).finish()
    }

    /// Starts `ensemble ARGS`, to run until it is dropped.
    #[track_caller]
    pub fn start<A: AsRef<OsStr>>(&self, args: &[A]) -> Proc {
        Proc::start(self.ensemble_command(args), Vec::new())
    }

    /// Runs `ensemble ARGS` to its end.
    #[track_caller]
    pub fn ensemble<A: AsRef<OsStr>>(&self, args: &[A]) -> Finished {
        Proc::start(self.ensemble_command(args), Vec::new()).finish()
    }

    /// Runs `kvstorec ARGS` to its end.
    #[track_caller]
    pub fn kvstorec<A: AsRef<OsStr>>(&self, args: &[A]) -> Finished {
        self.kvstorec_with(args, b"")
    }

    /// Runs `kvstorec ARGS` to its end, with `stdin` as its input.
    #[track_caller]
    pub fn kvstorec_with<A: AsRef<OsStr>>(&self, args: &[A], stdin: impl AsRef<[u8]>) -> Finished {
        Proc::start(self.kvstorec_command(args), stdin.as_ref().to_vec()).finish()
    }
}
