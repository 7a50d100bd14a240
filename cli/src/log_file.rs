//! A log in a file that is opened anew when somebody has moved it away. What is logged is the business of others.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    mem,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing_subscriber::fmt::MakeWriter;

/// Others of the same machine need not read what a server logs.
const MODE: u32 = 0o600;

/// The file. Its clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct LogFile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    file: Mutex<File>,
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(MODE).open(path)
}

impl LogFile {
    /// Opens the file at `path`, or makes it; what is in it stays.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // The directory in which the process is may be another one later.
        let path = std::path::absolute(path)?;
        let file = Mutex::new(open(&path)?);
        Ok(Self(Arc::new(Shared { path, file })))
    }

    fn file(&self) -> MutexGuard<'_, File> {
        // A line that was cut off by a panic is all that can be wrong.
        self.0.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the path anew: each line from now on goes to the file that is there, which is made if there is none. When
    /// that cannot be done, the old file is kept.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let fresh = open(&self.0.path)?;
        let old = mem::replace(&mut *self.file(), fresh);
        drop(old);
        Ok(())
    }
}

/// What one event is written to; it holds the file until the event is written.
pub(crate) struct Line<'a>(MutexGuard<'a, File>);

impl Write for Line<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self.file())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::PermissionsExt,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn no_line_is_lost_or_cut_while_it_is_moved_away() {
        const LINES: usize = 2000;
        const WRITERS: usize = 3;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = LogFile::open(&path).unwrap();
        let is_done = AtomicBool::new(false);
        let mut moved = 0;
        thread::scope(|scope| {
            let write = |writer: usize| {
                let log = &log;
                move || {
                    for number in 0..LINES {
                        writeln!(log.make_writer(), "{writer} {number}").unwrap();
                    }
                }
            };
            let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(write(writer))).collect();
            let rotate = scope.spawn(|| {
                let mut moved = 0;
                while !is_done.load(Ordering::Relaxed) {
                    fs::rename(&path, dir.path().join(format!("log.{moved:06}"))).unwrap();
                    log.reopen().unwrap();
                    moved += 1;
                }
                moved
            });
            for writer in writers {
                writer.join().unwrap();
            }
            is_done.store(true, Ordering::Relaxed);
            moved = rotate.join().unwrap();
        });
        let mut files: Vec<PathBuf> =
            (0..moved).map(|number| dir.path().join(format!("log.{number:06}"))).collect();
        files.push(path);
        let all: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        for writer in 0..WRITERS {
            let prefix = format!("{writer} ");
            let numbers: Vec<usize> =
                all.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).collect();
            assert_eq!(numbers, (0..LINES).collect::<Vec<_>>(), "of writer {writer}, in {moved} files");
        }
    }

    #[test]
    fn the_old_file_is_kept_when_there_can_be_no_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/log");
        fs::create_dir(dir.path().join("logs")).unwrap();
        let log = LogFile::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        fs::rename(dir.path().join("logs"), dir.path().join("moved")).unwrap();
        assert_eq!(log.reopen().unwrap_err().kind(), io::ErrorKind::NotFound);
        writeln!(log.make_writer(), "still").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("moved/log")).unwrap(), "still\n");
    }
}
