//! Processes of a test: they are waited for with a deadline, and killed and reaped when the test is done with them.

use std::{
    io::{self, Read, Write},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{DEADLINE, eventually};

/// How a program has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// The exit code.
    ///
    /// # Panics
    /// When a signal ended it.
    #[track_caller]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("it was ended by a signal: {self:?}"))
    }

    /// Standard output as text.
    ///
    /// # Panics
    /// When it is no UTF-8.
    #[track_caller]
    pub fn out(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("standard output is text")
    }

    /// Standard error as text.
    ///
    /// # Panics
    /// When it is no UTF-8.
    #[track_caller]
    pub fn err(&self) -> &str {
        std::str::from_utf8(&self.stderr).expect("standard error is text")
    }

    /// Asserts that it exited with `code`, and returns it.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "stdout: {}\nstderr: {}",
            String::from_utf8_lossy(&self.stdout),
            String::from_utf8_lossy(&self.stderr)
        );
        self
    }

    /// Asserts that it succeeded in silence on standard error, and returns what it wrote to standard output.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn succeeds(self) -> Vec<u8> {
        let done = self.exits(0);
        assert_eq!(String::from_utf8_lossy(&done.stderr), "");
        done.stdout
    }

    /// Asserts that it failed with `code`, one line on standard error that has all of `parts`, and nothing on
    /// standard output.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn fails(self, code: i32, parts: &[&str]) {
        let done = self.exits(code);
        assert_eq!(String::from_utf8_lossy(&done.stdout), "");
        let message = done.err();
        assert_eq!(message.lines().count(), 1, "one line is due: {message}");
        for part in parts {
            assert!(message.contains(part), "{part:?} is missing in: {message}");
        }
    }
}

type Captured = Arc<Mutex<Vec<u8>>>;

/// A program that runs. Its output is captured as it comes; it is killed and reaped when this is dropped.
#[derive(Debug)]
pub struct Proc {
    child: Child,
    stdout: Captured,
    stderr: Captured,
    readers: Vec<JoinHandle<()>>,
}

fn capture(mut from: impl Read + Send + 'static) -> (Captured, JoinHandle<()>) {
    let captured = Captured::default();
    let into = Arc::clone(&captured);
    let reader = thread::spawn(move || {
        let mut buffer = [0; 8192];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(bytes) => {
                    let read = &buffer[..bytes];
                    into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(read);
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    (captured, reader)
}

fn text(captured: &Captured) -> String {
    String::from_utf8_lossy(&captured.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

impl Proc {
    /// Starts `command` with `stdin` as its input, which then ends.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(mut command: Command, stdin: Vec<u8>) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|cause| panic!("cannot start {command:?}: {cause}"));
        let mut input = child.stdin.take().expect("it is piped");
        let (stdout, out_reader) = capture(child.stdout.take().expect("it is piped"));
        let (stderr, err_reader) = capture(child.stderr.take().expect("it is piped"));
        let writer = thread::spawn(move || {
            // A program that ends early does not read all of it.
            if let Err(cause) = input.write_all(&stdin) {
                assert_eq!(cause.kind(), io::ErrorKind::BrokenPipe, "{cause}");
            }
        });
        Self { child, stdout, stderr, readers: vec![out_reader, err_reader, writer] }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its standard output so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// What it has written to its standard error so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Waits until a line of its standard output has `part`; returns the line.
    ///
    /// # Panics
    /// When the line does not come in time, or the program ends without it.
    #[track_caller]
    pub fn says(&mut self, part: &str) -> String {
        self.await_line(part, Self::stdout)
    }

    /// As [`says`](Self::says), of its standard error.
    ///
    /// # Panics
    /// As [`says`](Self::says).
    #[track_caller]
    pub fn logs(&mut self, part: &str) -> String {
        self.await_line(part, Self::stderr)
    }

    #[track_caller]
    fn await_line(&mut self, part: &str, of: fn(&Self) -> String) -> String {
        let find = |whole: String| whole.lines().find(|line| line.contains(part)).map(str::to_owned);
        let (found, ended) = eventually(part, || {
            let ended = self.child.try_wait().expect("it can be waited for").is_some();
            match find(of(self)) {
                Some(line) => Some((Some(line), ended)),
                None => ended.then_some((None, ended)),
            }
        });
        if found.is_none() && ended {
            // The last of its output may still be on its way through the pipe.
            self.join_readers();
        }
        found.or_else(|| find(of(self))).unwrap_or_else(|| {
            panic!("it ended without {part:?}\nstdout: {}\nstderr: {}", self.stdout(), self.stderr())
        })
    }

    fn join_readers(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().expect("the threads of a fixture do not panic");
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it cannot be sent.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a child that has not been waited for can be signalled");
    }

    /// Kills it, as a crash would, and waits until it is gone.
    ///
    /// # Panics
    /// When it cannot be killed, and when it had ended before that.
    #[track_caller]
    pub fn crash(self) -> Finished {
        let finished = self.kill();
        assert_eq!(
            finished.status.signal(),
            Some(Signal::KILL.as_raw()),
            "it had ended already\nstdout: {}\nstderr: {}",
            String::from_utf8_lossy(&finished.stdout),
            String::from_utf8_lossy(&finished.stderr)
        );
        finished
    }

    /// As [`crash`](Self::crash), of a program that may have ended by itself.
    ///
    /// # Panics
    /// When it cannot be killed.
    #[track_caller]
    pub fn kill(mut self) -> Finished {
        self.child.kill().expect("a child can be killed");
        self.finish()
    }

    /// Asks it to end with SIGTERM, and waits until it has.
    ///
    /// # Panics
    /// When it does not within [`DEADLINE`].
    #[track_caller]
    pub fn terminate(self) -> Finished {
        self.signal(Signal::TERM);
        self.finish()
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not within [`DEADLINE`].
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let begin = std::time::Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            assert!(
                begin.elapsed() < DEADLINE,
                "it does not end\nstdout: {}\nstderr: {}",
                self.stdout(),
                self.stderr()
            );
            thread::sleep(std::time::Duration::from_millis(2));
        };
        self.join_readers();
        let take = |captured: &Captured| {
            std::mem::take(&mut *captured.lock().unwrap_or_else(PoisonError::into_inner))
        };
        Finished { status, stdout: take(&self.stdout), stderr: take(&self.stderr) }
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        // Both fail only for a child that has been waited for already.
        if self.child.kill().is_ok() && self.child.wait().is_err() {
            eprintln!("a child could not be waited for");
        }
    }
}
