//! A terminal of so many columns, on which a command runs.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use ensemble_tests::eventually;
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// A command on a terminal. What it shows is captured as it comes.
pub(crate) struct OnTerminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl OnTerminal {
    /// Starts `command` with the terminal as its input, output and errors.
    pub(crate) fn start(mut command: Command, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let open = || OpenOptions::new().read(true).write(true).open(path.to_str().unwrap()).unwrap();
        command.env("TERM", "xterm").stdin(open()).stdout(open()).stderr(open());
        let child = command.spawn().unwrap();
        // It holds the other end, which must close with the child.
        drop(command);
        let keyboard = File::from(master);
        let mut from = keyboard.try_clone().unwrap();
        let screen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let into = Arc::clone(&screen);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal that nobody has any more gives an error.
            while let Ok(bytes @ 1..) = from.read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..bytes]);
            }
        });
        Self { child, keyboard, screen, reader }
    }

    /// Waits until it has shown `part`.
    pub(crate) fn shows(&self, part: &str) {
        eventually(part, || {
            let shown = self.screen.lock().unwrap();
            String::from_utf8_lossy(&shown).contains(part).then_some(())
        });
    }

    /// Types on the keyboard.
    pub(crate) fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for its end; gives all that it has shown, with the line ends of a file.
    pub(crate) fn finish(mut self) -> (ExitStatus, String) {
        let status = eventually("it ends", || self.child.try_wait().unwrap());
        self.reader.join().unwrap();
        let shown = String::from_utf8(self.screen.lock().unwrap().clone()).unwrap();
        (status, shown.replace("\r\n", "\n"))
    }
}
