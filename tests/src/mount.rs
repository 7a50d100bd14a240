//! File systems of a test's own: small ones, and one whose disk fails.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::geteuid;

use crate::{process::Proc, skip::skip};

/// What a file system needs at least to be one.
const LEAST_EXT4_BYTES: u64 = 8 << 20;

const DISK_OPTIONS: &str = "loop,errors=remount-ro";

/// A file system that is mounted until this is dropped; what uses it must be dropped before.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
}

fn run(program: &str, args: &[&Path]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(args);
    let done = match command.output() {
        Ok(done) => done,
        Err(cause) => return Err(format!("{program}: {cause}")),
    };
    if done.status.success() {
        Ok(())
    } else {
        Err(format!("{program}: {}", String::from_utf8_lossy(&done.stderr).trim()))
    }
}

impl Mount {
    /// One of so many bytes in memory, at a directory that is made for it. `None` where that is not possible, which needs root; then
    /// [`skip`] has said why.
    ///
    /// # Panics
    /// Instead of skipping, where everything is to be possible.
    #[track_caller]
    pub fn in_memory(at: PathBuf, bytes: u64) -> Option<Self> {
        let options = format!("size={bytes}");
        let args = ["-t", "tmpfs", "-o", &options, "tmpfs"].map(Path::new);
        Self::mounted(at, &args)
    }

    /// An ext4 in a file beside the directory, of at least 8 MiB, which becomes read-only when its disk [`fails`](Self::fail). `None` as
    /// for [`in_memory`](Self::in_memory).
    ///
    /// # Panics
    /// As [`in_memory`](Self::in_memory), or when there is no place for the file.
    #[track_caller]
    pub fn on_disk(at: PathBuf, bytes: u64) -> Option<Self> {
        let image = at.with_extension("image");
        let sized = File::create(&image).and_then(|file| file.set_len(bytes.max(LEAST_EXT4_BYTES)));
        sized.expect("there is a place for temporary files");
        if let Err(cause) = run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), &image]) {
            skip(&format!("no file system can be made: {cause}; Debian has it in e2fsprogs"));
            return None;
        }
        Self::mounted(at, &["-o".as_ref(), DISK_OPTIONS.as_ref(), &image])
    }

    /// Unmounts one [on a disk](Self::on_disk) and mounts it anew, which is what gives it back after an error.
    ///
    /// # Panics
    /// When that is not possible: something uses it.
    #[track_caller]
    pub fn mount_anew(&self) {
        run("umount", &[&self.at]).expect("nobody uses it");
        let image = self.at.with_extension("image");
        let args = ["-o".as_ref(), DISK_OPTIONS.as_ref(), image.as_path(), &self.at];
        run("mount", &args).expect("it was mounted before");
    }

    #[track_caller]
    fn mounted(at: PathBuf, args: &[&Path]) -> Option<Self> {
        if !geteuid().is_root() {
            skip("to mount a file system needs root");
            return None;
        }
        fs::create_dir(&at).expect("there is a place for temporary files");
        match run("mount", &[args, &[&at]].concat()) {
            Ok(()) => Some(Self { at }),
            Err(cause) => {
                skip(&format!("no file system can be mounted: {cause}"));
                None
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Takes all the room that is left, to the last byte; it is given back by removing the file.
    ///
    /// # Panics
    /// When the file cannot be written for another reason.
    #[track_caller]
    pub fn fill(&self, name: &str) -> PathBuf {
        let path = self.at.join(name);
        let mut file = File::create(&path).expect("a name takes no room");
        for bytes in [1 << 16, 512] {
            let zeros = vec![0; bytes];
            loop {
                match file.write(&zeros) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(cause) if cause.kind() == io::ErrorKind::StorageFull => break,
                    Err(cause) => panic!("{}: {cause}", path.display()),
                }
            }
        }
        path
    }

    /// Mounts it for reading only, when no file is open for writing; or for writing again.
    ///
    /// # Panics
    /// When that is not possible.
    #[track_caller]
    pub fn set_read_only(&self, is_read_only: bool) {
        let options = if is_read_only { "remount,ro" } else { "remount,rw" };
        run("mount", &["-o".as_ref(), options.as_ref(), &self.at]).expect("nothing is open for writing");
    }

    /// Has the kernel find an error on the disk, as it does when that fails; from then on the file system is read-only, with whatever is open
    /// in it.
    ///
    /// # Panics
    /// When it is none [on a disk](Self::on_disk).
    #[track_caller]
    pub fn fail(&self) {
        let mut find = Command::new("findmnt");
        find.args(["-n", "-o", "SOURCE"]).arg(&self.at);
        let device = Proc::start(find, Vec::new()).finish().exits(0);
        let device = Path::new(device.out().trim()).file_name().expect("it is a device").to_owned();
        let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        fs::write(trigger, "a test").expect("an ext4 on a device has this file");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily where something still uses it, so that nothing stays behind.
        let done = run("umount", &[&self.at]).or_else(|_| run("umount", &["-l".as_ref(), &self.at]));
        if let Err(cause) = done {
            eprintln!("a file system of a test is still mounted: {cause}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_system_gets_full_and_has_room_again() {
        let directory = tempfile::tempdir().unwrap();
        let Some(mount) = Mount::in_memory(directory.path().join("m"), 1 << 20) else { return };
        let filler = mount.fill("filler");
        let write = || fs::write(mount.path().join("more"), [1; 10_000]);
        assert_eq!(write().unwrap_err().kind(), io::ErrorKind::StorageFull);
        fs::remove_file(filler).unwrap();
        write().unwrap();
        mount.set_read_only(true);
        assert_eq!(write().unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        let path = mount.path().to_owned();
        drop(mount);
        assert_eq!(fs::read_dir(path).unwrap().count(), 0, "it is unmounted");
    }

    #[test]
    fn a_file_system_whose_disk_fails_takes_no_more_writes() {
        let directory = tempfile::tempdir().unwrap();
        let Some(mount) = Mount::on_disk(directory.path().join("m"), 16 << 20) else { return };
        let mut open = File::create(mount.path().join("open")).unwrap();
        open.write_all(b"before").unwrap();
        mount.fail();
        assert_eq!(open.write_all(b"after").unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        assert_eq!(fs::read(mount.path().join("open")).unwrap(), b"before");
        drop(open);
        mount.mount_anew();
        fs::write(mount.path().join("open"), "anew").unwrap();
    }
}
