//! The files that are named on the command line: read whole, and written whole or not at all. `-` is standard input
//! or output.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use crate::{
    exit::{Code, Failure, Outcome},
    input,
    printer::Printer,
};

pub(crate) fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// What an input is called.
pub(crate) fn name_of_input(path: &Path) -> String {
    if is_standard(path) { "standard input".to_owned() } else { path.display().to_string() }
}

/// Reads a file, of which more than `limit` bytes would be more than anyone takes.
pub(crate) fn read(path: &Path, limit: u64) -> Outcome<Vec<u8>> {
    let name = name_of_input(path);
    let content = if is_standard(path) {
        read_up_to(io::stdin().lock(), limit)
    } else {
        File::open(path).and_then(|file| read_up_to(file, limit))
    };
    let content = content.map_err(|cause| input::unreadable(&name, &cause.to_string()))?;
    if content.len() as u64 > limit {
        return Err(Failure::new(Code::Usage, format_args!("{name} has more than {limit} bytes"))
            .advise("no value can be so long: cut it in pieces"));
    }
    Ok(content)
}

fn read_up_to(from: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    from.take(limit + 1).read_to_end(&mut content)?;
    Ok(content)
}

/// Writes `content`. A file appears whole or not at all: it is written beside its place and then moved there. What
/// is no ordinary file, such as a device or a pipe, is written to directly.
pub(crate) fn write(path: &Path, content: &[u8], printer: Printer) -> Outcome {
    if is_standard(path) {
        return printer.bytes(content);
    }
    write_file(path, content).map_err(|cause| {
        Failure::new(Code::Failed, format_args!("cannot write {}: {cause}", path.display()))
            .advise("nothing is left half-written; choose another --output")
    })
}

fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    // Through a symbolic link, so that what it points to is replaced and not the link.
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(cause) => return Err(cause),
    };
    match fs::metadata(&target) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => OpenOptions::new().write(true).open(&target)?.write_all(content),
        Ok(found) => replace(&target, content, Some(found.permissions())),
        Err(_) => replace(&target, content, None),
    }
}

fn replace(target: &Path, content: &[u8], permissions: Option<fs::Permissions>) -> io::Result<()> {
    let temporary = Temporary::beside(target);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary.0)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.write_all(content)?;
    // A disk that is full may say so only now.
    file.sync_all()?;
    fs::rename(&temporary.0, target)
}

/// The path of a file that is removed again, unless it has been moved to its place.
pub(crate) struct Temporary(pub(crate) PathBuf);

impl Temporary {
    pub(crate) fn beside(target: &Path) -> Self {
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        Self(target.with_file_name(name))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        match fs::remove_file(&self.0) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.0.display(), %cause, "a temporary file could not be removed");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn entries(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        write_file(&path, b"one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(entries(dir.path()), ["out"]);
    }

    #[test]
    fn a_link_stays_and_a_device_too() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("out"), dir.path().join("link"));
        fs::write(&path, b"old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write_file(&link, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let full = write_file(Path::new("/dev/full"), b"x").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert!(!fs::metadata("/dev/full").unwrap().is_file());
        assert!(write_file(dir.path(), b"x").is_err());
    }

    #[test]
    fn what_is_too_long_is_not_read_to_its_end() {
        assert_eq!(read_up_to(&b"abc"[..], 3).unwrap(), b"abc");
        assert_eq!(read_up_to(io::repeat(0), 1000).unwrap().len(), 1001);
    }
}
