//! Where an ensemble lives in the file system: its home directory, and the paths in and around it. What the files
//! hold is the business of others.

use std::{
    env,
    ffi::OsString,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{Address, MAX_SOCKET_PATH_BYTES, ServerId};

const DIRECTORY_MODE: u32 = 0o700;
const PERMISSION_BITS: u32 = 0o7777;
const WRITE_FOR_GROUP_AND_OTHERS: u32 = 0o022;

/// Why there is no usable home, or no path in it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HomeError {
    /// Nothing says where it is.
    #[error("no home is known: set --home, $ENSEMBLE_HOME or $HOME")]
    Unknown,
    /// The path cannot be made absolute.
    #[error("the home {} cannot be made an absolute path", path.display())]
    NotAbsolute {
        /// The path as given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A directory could not be made.
    #[error("cannot make the directory {}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What is there is no directory.
    #[error("{} is no directory", path.display())]
    NotADirectory {
        /// Its path.
        path: PathBuf,
    },
    /// Others could replace what is in it.
    #[error("others can write to the directory {} (mode {mode:04o}); `chmod go-w` closes it", path.display())]
    WritableByOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to another user, who could replace what is in it.
    #[error(
        "the directory {} belongs to the user with the number {uid}, not to this one or root",
        path.display()
    )]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// The system allows no UNIX socket with so long a path.
    #[error(
        "the socket's path {} has {bytes} bytes, and the system allows {limit}: set $XDG_RUNTIME_DIR (for the \
         default home), a shorter --home, or --listen",
        path.display()
    )]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The path of the socket cannot be written as an address, which is UTF-8.
    #[error("the socket's path {} is not UTF-8: set another --home, or --listen", path.display())]
    SocketPathNotText {
        /// The path.
        path: PathBuf,
    },
}

/// The directory of an ensemble, and the places that go with it. Finding it touches no file;
/// [`create`](Self::create) makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    path: PathBuf,
    run_dir: PathBuf,
}

impl Home {
    /// Finds the home: `explicit` (a flag), else `$ENSEMBLE_HOME`, else `$XDG_DATA_HOME/ensemble`, else
    /// `~/.local/share/ensemble`.
    ///
    /// # Errors
    /// When nothing says where it is.
    pub fn resolve(explicit: Option<&Path>) -> Result<Self, HomeError> {
        Self::resolve_with(explicit, |name| match env::var_os(name) {
            None if name == "HOME" => env::home_dir().map(PathBuf::into_os_string),
            value => value,
        })
    }

    /// As [`resolve`](Self::resolve), in the environment that `lookup` stands for. Empty variables count as
    /// missing, and so do relative paths in `$XDG_DATA_HOME` and `$XDG_RUNTIME_DIR`, as their specification
    /// demands.
    ///
    /// # Errors
    /// When nothing says where it is.
    pub fn resolve_with(
        explicit: Option<&Path>,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, HomeError> {
        let given = |name: &str| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = |name: &str| given(name).filter(|path| path.is_absolute());
        let default = base("XDG_DATA_HOME")
            .or_else(|| base("HOME").map(|home| home.join(".local/share")))
            .map(|data| data.join("ensemble"));
        let chosen = explicit
            .filter(|path| !path.as_os_str().is_empty())
            .map(Path::to_path_buf)
            .or_else(|| given("ENSEMBLE_HOME"))
            .or_else(|| default.clone())
            .ok_or(HomeError::Unknown)?;
        let path = std::path::absolute(&chosen)
            .map_err(|source| HomeError::NotAbsolute { path: chosen.clone(), source })?;
        let run_dir = match base("XDG_RUNTIME_DIR") {
            Some(runtime) if default.as_deref() == Some(&*path) => runtime.join("ensemble"),
            _ => path.join("run"),
        };
        Ok(Self { path, run_dir })
    }

    /// The directory itself; absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the ensemble's secret.
    pub fn cookie(&self) -> PathBuf {
        self.path.join("cookie")
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The directory of a server's data and logs.
    pub fn server_dir(&self, server: &ServerId) -> PathBuf {
        self.path.join("server").join(server.file_name())
    }

    /// The directory of keys and certificates.
    pub fn tls_dir(&self) -> PathBuf {
        self.path.join("tls")
    }

    /// The directory of the sockets: `$XDG_RUNTIME_DIR/ensemble` when that is set and the home is the default
    /// one, else `run` in the home.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// Where a server listens on this machine.
    ///
    /// # Errors
    /// When the system allows no socket with that path, or an address cannot say it.
    pub fn socket(&self, server: &ServerId) -> Result<Address, HomeError> {
        let path = self.run_dir.join(format!("{}.sock", server.file_name()));
        let bytes = path.as_os_str().len();
        if bytes > MAX_SOCKET_PATH_BYTES {
            return Err(HomeError::SocketPathTooLong { path, bytes, limit: MAX_SOCKET_PATH_BYTES });
        }
        if path.to_str().is_none() {
            return Err(HomeError::SocketPathNotText { path });
        }
        Ok(Address::Unix(path))
    }

    /// Makes the home, and the directories above it, with mode 0700 where they are missing. One that exists is
    /// left as it is: others may look into it (the cookie and the servers' directories are closed by modes of
    /// their own), but it is refused when they can write to it, for then they could replace the cookie.
    ///
    /// # Errors
    /// When it cannot be made, or is no directory of this user's own.
    pub fn create(&self) -> Result<(), HomeError> {
        ensure_directory(&self.path)
    }

    /// Makes the directory of the sockets, under the rules of [`create`](Self::create).
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn ensure_run_dir(&self) -> Result<PathBuf, HomeError> {
        ensure_directory(&self.run_dir)?;
        Ok(self.run_dir.clone())
    }

    /// Makes the directory of a server's data and logs, under the rules of [`create`](Self::create).
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn ensure_server_dir(&self, server: &ServerId) -> Result<PathBuf, HomeError> {
        let path = self.server_dir(server);
        ensure_directory(&path)?;
        Ok(path)
    }
}

fn ensure_directory(path: &Path) -> Result<(), HomeError> {
    let create_error = |source| HomeError::Create { path: path.into(), source };
    if let Err(error) = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path) {
        // Something else is there; the check below says what.
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(create_error(error));
        }
    }
    let metadata = fs::metadata(path).map_err(create_error)?;
    if !metadata.is_dir() {
        return Err(HomeError::NotADirectory { path: path.into() });
    }
    check_access(path, metadata.mode(), metadata.uid(), rustix::process::geteuid().as_raw())
}

fn check_access(path: &Path, mode: u32, owner: u32, own_uid: u32) -> Result<(), HomeError> {
    if mode & WRITE_FOR_GROUP_AND_OTHERS != 0 {
        return Err(HomeError::WritableByOthers { path: path.into(), mode: mode & PERMISSION_BITS });
    }
    if owner != own_uid && owner != 0 {
        return Err(HomeError::Owner { path: path.into(), uid: owner });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::{ffi::OsStringExt, fs::PermissionsExt};

    use super::*;

    fn resolve(explicit: Option<&str>, environment: &[(&str, &str)]) -> Result<Home, HomeError> {
        Home::resolve_with(explicit.map(Path::new), |wanted| {
            environment.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).into())
        })
    }

    fn server(text: &str) -> ServerId {
        ServerId::new(text).unwrap()
    }

    #[test]
    fn the_flag_comes_before_the_variables() {
        let all = [
            ("ENSEMBLE_HOME", "/env"),
            ("XDG_DATA_HOME", "/data"),
            ("HOME", "/me"),
            ("XDG_RUNTIME_DIR", "/run/1"),
        ];
        for (explicit, skipped, path, run_dir) in [
            (Some("/flag"), 0, "/flag", "/flag/run"),
            (Some(""), 0, "/env", "/env/run"),
            (None, 0, "/env", "/env/run"),
            (None, 1, "/data/ensemble", "/run/1/ensemble"),
            (None, 2, "/me/.local/share/ensemble", "/run/1/ensemble"),
            (Some("/data/ensemble"), 1, "/data/ensemble", "/run/1/ensemble"),
            (Some("/data/./ensemble/"), 1, "/data/ensemble", "/run/1/ensemble"),
            (
                Some("/me/.local/share/ensemble"),
                1,
                "/me/.local/share/ensemble",
                "/me/.local/share/ensemble/run",
            ),
        ] {
            let home = resolve(explicit, &all[skipped..]).unwrap();
            assert_eq!((home.path(), home.run_dir()), (Path::new(path), Path::new(run_dir)), "{explicit:?}");
        }
        assert!(matches!(resolve(None, &all[3..]), Err(HomeError::Unknown)));
    }

    #[test]
    fn empty_and_relative_variables_count_as_missing() {
        let environment =
            [("ENSEMBLE_HOME", ""), ("XDG_DATA_HOME", "data"), ("HOME", "/me"), ("XDG_RUNTIME_DIR", "")];
        let home = resolve(None, &environment).unwrap();
        assert_eq!(home.path(), Path::new("/me/.local/share/ensemble"));
        assert_eq!(home.run_dir(), Path::new("/me/.local/share/ensemble/run"));
        assert!(matches!(resolve(None, &[("HOME", "me")]), Err(HomeError::Unknown)));
    }

    #[test]
    fn relative_paths_become_absolute() {
        let here = env::current_dir().unwrap();
        assert_eq!(resolve(Some("x/y"), &[]).unwrap().path(), here.join("x/y"));
        assert_eq!(resolve(None, &[("ENSEMBLE_HOME", "z")]).unwrap().path(), here.join("z"));
    }

    #[test]
    fn paths_are_where_they_should_be() {
        let home = resolve(Some("/h"), &[]).unwrap();
        assert_eq!(home.cookie(), Path::new("/h/cookie"));
        assert_eq!(home.config(), Path::new("/h/config.toml"));
        assert_eq!(home.tls_dir(), Path::new("/h/tls"));
        assert_eq!(home.server_dir(&server("kv@/site/rack")), Path::new("/h/server/kv@+site+rack"));
        assert_eq!(home.socket(&server("kv@/site")).unwrap().to_string(), "unix:/h/run/kv@+site.sock");
    }

    #[test]
    fn a_socket_path_may_be_as_long_as_the_system_allows() {
        let home = resolve(Some("/h"), &[]).unwrap();
        let rest = "/h/run/.sock".len();
        let longest = server(&"x".repeat(MAX_SOCKET_PATH_BYTES - rest));
        assert!(home.socket(&longest).is_ok());
        let error = home.socket(&server(&format!("{longest}x"))).unwrap_err();
        assert!(matches!(error, HomeError::SocketPathTooLong { bytes: 108, limit: 107, .. }));
        for remedy in ["$XDG_RUNTIME_DIR", "--home", "--listen"] {
            assert!(error.to_string().contains(remedy));
        }
    }

    #[test]
    fn a_socket_path_must_be_text() {
        let path = PathBuf::from(OsString::from_vec(b"/h\xff".to_vec()));
        let home = Home::resolve_with(Some(&path), |_| None).unwrap();
        assert!(matches!(home.socket(&server("a")), Err(HomeError::SocketPathNotText { .. })));
    }

    #[test]
    fn directories_are_made_closed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        let home = Home::resolve_with(Some(&path), |_| None).unwrap();
        home.create().unwrap();
        home.create().unwrap();
        let run = home.ensure_run_dir().unwrap();
        let data = home.ensure_server_dir(&server("kv@/x")).unwrap();
        assert_eq!((&*run, &*data), (home.run_dir(), &*home.server_dir(&server("kv@/x"))));
        for made in [directory.path().join("a"), path.clone(), run, path.join("server"), data] {
            assert_eq!(fs::metadata(&made).unwrap().mode() & PERMISSION_BITS, 0o700, "{made:?}");
        }
    }

    #[test]
    fn a_home_that_others_can_write_to_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::resolve_with(Some(directory.path()), |_| None).unwrap();
        for (mode, good) in [(0o700, true), (0o755, true), (0o775, false), (0o757, false), (0o1777, false)] {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
            match home.create() {
                Ok(()) => assert!(good, "{mode:o}"),
                Err(HomeError::WritableByOthers { mode: found, .. }) => assert!(!good && found == mode),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_owner_must_be_this_user_or_root() {
        let path = Path::new("/h");
        assert!(check_access(path, 0o40_700, 5, 5).is_ok());
        assert!(check_access(path, 0o40_755, 0, 5).is_ok());
        assert!(matches!(check_access(path, 0o40_700, 5, 0), Err(HomeError::Owner { uid: 5, .. })));
    }

    #[test]
    fn what_cannot_be_made_is_told_with_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let home = Home::resolve_with(Some(&file), |_| None).unwrap();
        assert!(matches!(home.create(), Err(HomeError::NotADirectory { path }) if path == file));
        let error = home.ensure_run_dir().unwrap_err();
        assert!(matches!(&error, HomeError::Create { path, .. } if *path == file.join("run")));
        assert!(error.to_string().contains("file/run") && std::error::Error::source(&error).is_some());
    }
}
