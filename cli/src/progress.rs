//! What a person at a terminal sees while something takes long: one line on standard error, from the second second on,
//! that goes away again. Nothing is written where standard error is no terminal.

use std::{
    future::Future,
    io::{self, IsTerminal, Write},
    pin::pin,
    time::{Duration, Instant},
};

use rustix::termios::tcgetwinsize;

/// What takes less is over before it can be read.
const PATIENCE: Duration = Duration::from_secs(1);

const INTERVAL: Duration = Duration::from_millis(200);

/// Where the size of a terminal is not known.
const DEFAULT_WIDTH: usize = 80;

/// Does `work`; shows `what` is waited for, and for how long already.
pub(crate) async fn waiting_for<T>(what: &str, work: impl Future<Output = T>) -> T {
    showing(async || format!("waiting for {what}"), work).await
}

/// As [`waiting_for`], with a text that changes.
pub(crate) async fn showing<T>(text: impl AsyncFn() -> String, work: impl Future<Output = T>) -> T {
    if !io::stderr().is_terminal() {
        return work.await;
    }
    let begin = Instant::now();
    let mut work = pin!(work);
    let mut line = Line { is_shown: false };
    let mut pause = PATIENCE;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(pause) => {}
        }
        pause = INTERVAL;
        // The work goes on while the text is asked for.
        let text = tokio::select! {
            biased;
            done = &mut work => return done,
            text = text() => text,
        };
        line.show(&format!("{text}, {} s", begin.elapsed().as_secs()));
    }
}

/// The line on the terminal. It is cleared when this is dropped, which is before anything else is written there.
struct Line {
    is_shown: bool,
}

impl Line {
    fn show(&mut self, text: &str) {
        let stderr = io::stderr();
        let size = tcgetwinsize(&stderr).map(|size| usize::from(size.ws_col));
        let width = size.ok().filter(|width| *width > 0).unwrap_or(DEFAULT_WIDTH);
        // A line as wide as the terminal would begin the next one.
        let text: String = text.chars().take(width.saturating_sub(1)).collect();
        self.is_shown = true;
        self.write(&format!("\r\u{1b}[K{text}"));
    }

    fn write(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        if stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).is_err() {
            tracing::debug!("the terminal has gone");
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_shown {
            self.write("\r\u{1b}[K");
        }
    }
}
