//! The cookie: the secret that the nodes of an ensemble share, its file, and the one thing it is used for, which
//! is to authenticate bytes. What is authenticated is the business of [`handshake`](crate::handshake).

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

/// Length of a cookie, in bytes. In its file it is twice as many hexadecimal digits, and a newline.
pub const COOKIE_BYTES: usize = 32;

/// Length of an authentication code made with a cookie, in bytes.
pub(crate) const MAC_BYTES: usize = 32;

const HEX_DIGITS: usize = 2 * COOKIE_BYTES;
const FILE_BYTES: usize = HEX_DIGITS + 1;
const FILE_MODE: u32 = 0o600;
const PERMISSION_BITS: u32 = 0o7777;
const GROUP_AND_OTHERS: u32 = 0o077;

/// Why there is no cookie.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CookieError {
    /// There is no such file.
    #[error("there is no cookie at {}; `ensemble admin cookie` makes one", path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is one already, and it was not to be overwritten.
    #[error("there is already a cookie at {}", path.display())]
    AlreadyExists {
        /// Where it is.
        path: PathBuf,
    },
    /// Others than its owner may read or write it.
    #[error("the cookie {} is open to others (mode {mode:04o}); `chmod 600` closes it", path.display())]
    Permissions {
        /// Where it is.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to another user, who could replace it.
    #[error("the cookie {} belongs to the user with the number {uid}, not to this one or root", path.display())]
    Owner {
        /// Where it is.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// It is no file of 64 hexadecimal digits.
    #[error("the cookie {} is damaged: it must be a file of {HEX_DIGITS} hexadecimal digits", path.display())]
    Malformed {
        /// Where it is.
        path: PathBuf,
    },
    /// The file system did not do what was asked.
    #[error("cannot {action} the cookie {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random(#[source] getrandom::Error),
}

/// The secret that the nodes of an ensemble share. It never leaves the process, except into its own file and
/// through [`reveal_hex`](Self::reveal_hex). Clones share one place in memory, which is wiped with the last of
/// them; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Cookie(Arc<Zeroizing<[u8; COOKIE_BYTES]>>);

impl Cookie {
    /// A new one, from the system's random numbers.
    ///
    /// # Errors
    /// [`CookieError::Random`] when the system has none.
    pub fn generate() -> Result<Self, CookieError> {
        let mut bytes = Zeroizing::new([0; COOKIE_BYTES]);
        getrandom::fill(&mut *bytes).map_err(CookieError::Random)?;
        Ok(Self(Arc::new(bytes)))
    }

    /// The one with these bytes. The caller's copy is the caller's to wipe.
    pub fn from_bytes(bytes: [u8; COOKIE_BYTES]) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// Reads the cookie in the file `path`.
    ///
    /// # Errors
    /// When there is none, when anyone but its owner has rights on it, when its owner is neither the effective
    /// user nor root, and when it is not what [`create`](Self::create) writes (a missing newline is forgiven).
    pub fn load(path: &Path) -> Result<Self, CookieError> {
        let read_error = |source| CookieError::Io { action: "read", path: path.into(), source };
        // A pipe put in its place must not hold up the start.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CookieError::NotFound { path: path.into() });
            }
            Err(error) => return Err(read_error(error)),
        };
        // Asked of the open file, so that what was checked is what is read.
        let metadata = file.metadata().map_err(read_error)?;
        if !metadata.is_file() {
            return Err(CookieError::Malformed { path: path.into() });
        }
        check_access(path, metadata.mode(), metadata.uid(), rustix::process::geteuid().as_raw())?;
        let mut content = Zeroizing::new([0; FILE_BYTES + 1]);
        let length = read_up_to(&mut file, &mut *content).map_err(read_error)?;
        parse(&content[..length]).ok_or_else(|| CookieError::Malformed { path: path.into() })
    }

    /// Makes a new cookie in the file `path`, mode 0600, in a directory that exists. The file appears whole or not
    /// at all, and is on disk when this returns. Of several that create it at once without `overwrite`, one
    /// succeeds.
    ///
    /// # Errors
    /// [`CookieError::AlreadyExists`] when there is one and `overwrite` is false; what the file system refuses.
    pub fn create(path: &Path, overwrite: bool) -> Result<Self, CookieError> {
        let write_error = |source| CookieError::Io { action: "write", path: path.into(), source };
        let cookie = Self::generate()?;
        let temporary = Temporary::beside(path)?;
        cookie.write_to(&temporary.0).map_err(write_error)?;
        if overwrite {
            fs::rename(&temporary.0, path).map_err(write_error)?;
        } else {
            // Unlike a rename, a link never replaces what is there.
            fs::hard_link(&temporary.0, path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => CookieError::AlreadyExists { path: path.into() },
                _ => write_error(error),
            })?;
        }
        File::open(directory_of(path)).and_then(|directory| directory.sync_all()).map_err(write_error)?;
        Ok(cookie)
    }

    /// The secret as 64 hexadecimal digits, to show it to an operator who asked for it. The text is wiped when it
    /// is dropped; nothing else may keep it.
    pub fn reveal_hex(&self) -> Zeroizing<String> {
        // Room for all of it from the start: a string that grows leaves its old bytes behind.
        let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES));
        for byte in self.0.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).expect("four bits are one hexadecimal digit"));
            }
        }
        text
    }

    /// The HMAC-SHA-256 of all `parts` in a row.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
        self.keyed(parts).finalize().into_bytes().into()
    }

    /// Whether `code` is the HMAC-SHA-256 of all `parts` in a row; takes the same time for every wrong one.
    pub(crate) fn verifies(&self, parts: &[&[u8]], code: &[u8; MAC_BYTES]) -> bool {
        self.keyed(parts).verify_slice(code).is_ok()
    }

    fn keyed(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0[..]).expect("HMAC takes keys of every length");
        for part in parts {
            mac.update(part);
        }
        mac
    }

    fn write_to(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        // The creation mode passes through the umask, which may take away even the owner's rights.
        file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
        let mut text = self.reveal_hex();
        text.push('\n');
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(..)")
    }
}

/// A name for a file that is gone when this is dropped, unless it was renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(path: &Path) -> Result<Self, CookieError> {
        let mut suffix = [0; 8];
        getrandom::fill(&mut suffix).map_err(CookieError::Random)?;
        Ok(Self(directory_of(path).join(format!(".cookie-{}", hex::encode(suffix)))))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename, or when it was never made, there is nothing to remove.
        drop(fs::remove_file(&self.0));
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

fn check_access(path: &Path, mode: u32, owner: u32, own_uid: u32) -> Result<(), CookieError> {
    if mode & GROUP_AND_OTHERS != 0 {
        return Err(CookieError::Permissions { path: path.into(), mode: mode & PERMISSION_BITS });
    }
    if owner != own_uid && owner != 0 {
        return Err(CookieError::Owner { path: path.into(), uid: owner });
    }
    Ok(())
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn parse(content: &[u8]) -> Option<Cookie> {
    let digits = content.strip_suffix(b"\n").unwrap_or(content);
    let mut bytes = Zeroizing::new([0; COOKIE_BYTES]);
    // The error of the decoder names a character of the secret, so it goes no further.
    hex::decode_to_slice(digits, &mut *bytes).ok()?;
    Some(Cookie(Arc::new(bytes)))
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn write(path: &Path, content: &[u8], mode: u32) {
        fs::write(path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_created_cookie_is_loaded_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cookie");
        let made = Cookie::create(&path, false).unwrap();
        assert_eq!(*Cookie::load(&path).unwrap().reveal_hex(), *made.reveal_hex());
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", *made.reveal_hex()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & PERMISSION_BITS, 0o600);
        assert_eq!(fs::metadata(&path).unwrap().nlink(), 1);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn only_overwriting_replaces_a_cookie() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cookie");
        let first = Cookie::create(&path, false).unwrap();
        assert!(
            matches!(Cookie::create(&path, false), Err(CookieError::AlreadyExists { path: p }) if p == path)
        );
        assert_eq!(*Cookie::load(&path).unwrap().reveal_hex(), *first.reveal_hex());
        let second = Cookie::create(&path, true).unwrap();
        assert_ne!(*second.reveal_hex(), *first.reveal_hex());
        assert_eq!(*Cookie::load(&path).unwrap().reveal_hex(), *second.reveal_hex());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn of_simultaneous_creators_one_wins() {
        const CREATORS: usize = 8;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cookie");
        let barrier = Barrier::new(CREATORS);
        let made: Vec<_> = std::thread::scope(|scope| {
            let create = || {
                barrier.wait();
                Cookie::create(&path, false)
            };
            let threads: Vec<_> = (0..CREATORS).map(|_| scope.spawn(create)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        assert!(lost.iter().all(|result| matches!(result, Err(CookieError::AlreadyExists { .. }))));
        let winner = won.into_iter().next().unwrap().unwrap();
        assert_eq!(*Cookie::load(&path).unwrap().reveal_hex(), *winner.reveal_hex());
    }

    #[test]
    fn a_missing_cookie_is_told_with_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cookie");
        let error = Cookie::load(&path).unwrap_err();
        assert!(matches!(&error, CookieError::NotFound { path: p } if *p == path));
        assert!(error.to_string().contains(path.to_str().unwrap()));
        let unwritable = directory.path().join("none/cookie");
        assert!(matches!(Cookie::create(&unwritable, false), Err(CookieError::Io { action: "write", .. })));
    }

    #[test]
    fn a_cookie_open_to_others_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cookie");
        Cookie::create(&path, false).unwrap();
        for open in [0o640, 0o604, 0o660, 0o620, 0o610, 0o601, 0o644, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
            let error = Cookie::load(&path).unwrap_err();
            assert!(matches!(error, CookieError::Permissions { mode, .. } if mode == open), "{error:?}");
            assert!(error.to_string().contains(&format!("{open:04o}")));
        }
        for closed in [0o600, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(closed)).unwrap();
            Cookie::load(&path).unwrap();
        }
    }

    #[test]
    fn the_owner_must_be_this_user_or_root() {
        let path = Path::new("cookie");
        assert!(check_access(path, 0o100_600, 1000, 1000).is_ok());
        assert!(check_access(path, 0o100_600, 0, 1000).is_ok());
        assert!(matches!(check_access(path, 0o100_600, 1000, 0), Err(CookieError::Owner { uid: 1000, .. })));
        assert!(matches!(check_access(path, 0o100_600, 7, 1000), Err(CookieError::Owner { uid: 7, .. })));
    }

    #[test]
    fn malformed_cookies_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cookie");
        let digits = "5a".repeat(COOKIE_BYTES);
        for good in [format!("{digits}\n"), digits.clone(), digits.to_uppercase()] {
            write(&path, good.as_bytes(), 0o600);
            assert_eq!(*Cookie::load(&path).unwrap().reveal_hex(), digits);
        }
        for bad in [
            String::new(),
            "\n".into(),
            digits[1..].into(),
            format!("{digits}\n\n"),
            format!("{digits}0"),
            format!("{digits}00"),
            format!(" {digits}"),
            format!("{digits}\r\n"),
            digits.replace("5a", "5g"),
            digits.repeat(100),
        ] {
            write(&path, bad.as_bytes(), 0o600);
            assert!(matches!(Cookie::load(&path), Err(CookieError::Malformed { .. })), "{bad:?}");
        }
        assert!(matches!(Cookie::load(directory.path()), Err(CookieError::Malformed { .. })));
    }

    #[test]
    fn a_pipe_in_its_place_does_not_block() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cookie");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(matches!(Cookie::load(&path), Err(CookieError::Malformed { .. })));
    }

    #[test]
    fn debug_and_errors_show_nothing() {
        let cookie = Cookie::from_bytes([0xab; COOKIE_BYTES]);
        assert_eq!(format!("{cookie:?}"), "Cookie(..)");
        assert_eq!(*cookie.reveal_hex(), "ab".repeat(COOKIE_BYTES));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cookie");
        write(&path, format!("{}zz", "7f".repeat(COOKIE_BYTES - 1)).as_bytes(), 0o600);
        let error = with_causes(&Cookie::load(&path).unwrap_err());
        assert!(!error.contains("7f7f") && !error.contains("'z'"), "{error}");
    }

    fn with_causes(error: &dyn std::error::Error) -> String {
        let mut text = format!("{error} {error:?}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text += &format!(" {error} {error:?}");
            cause = error.source();
        }
        text
    }

    /// RFC 4231, test case 2, with the key padded by zeros as HMAC itself pads it.
    #[test]
    fn the_code_is_hmac_sha_256() {
        let mut key = [0; COOKIE_BYTES];
        key[..4].copy_from_slice(b"Jefe");
        let cookie = Cookie::from_bytes(key);
        let code = cookie.mac(&[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex::encode(code), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(cookie.verifies(&[b"what do ya want for ", b"nothing?"], &code));
        let mut other = code;
        other[31] ^= 1;
        assert!(!cookie.verifies(&[b"what do ya want for nothing?"], &other));
        assert!(!Cookie::from_bytes([0; COOKIE_BYTES]).verifies(&[b"what do ya want for nothing?"], &code));
    }
}
