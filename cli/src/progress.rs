//! What a person at a terminal sees while something takes long: one line on standard error, from the second second on,
//! that goes away again. Nothing is written where standard error is no terminal.

use std::{
    fmt,
    future::Future,
    io::{self, IsTerminal, Write},
    pin::pin,
    time::{Duration, Instant},
};

use rustix::termios::tcgetwinsize;

/// What takes less is over before it can be read.
const PATIENCE: Duration = Duration::from_secs(1);

const INTERVAL: Duration = Duration::from_millis(200);

/// Goes to the beginning of the line, and clears it.
const CLEAR: &str = "\r\u{1b}[K";

/// How many characters a bar has.
const BAR_WIDTH: usize = 20;

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

/// How much of something is done, as a bar with its share: `[########------------]  41 %`.
pub(crate) fn bar(done: u64, total: u64) -> String {
    let share = if total == 0 { 1.0 } else { done.min(total) as f64 / total as f64 };
    let filled = (share * BAR_WIDTH as f64) as usize;
    // All of it is not done before it is.
    let percent = (share * 100.0) as u64;
    format!("[{}{}] {percent:>3} %", "#".repeat(filled), "-".repeat(BAR_WIDTH - filled))
}

/// A line for standard error that comes while something is shown there.
pub(crate) fn aside(line: fmt::Arguments<'_>) {
    let begin = if io::stderr().is_terminal() { CLEAR } else { "" };
    crate::printer::complain(format_args!("{begin}{line}"));
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
        self.write(&format!("{CLEAR}{text}"));
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
            self.write(CLEAR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_when_all_is_done_and_not_before() {
        for (done, total, expected) in [
            (0, 10, "[--------------------]   0 %"),
            (1, 2, "[##########----------]  50 %"),
            (999, 1000, "[###################-]  99 %"),
            (10, 10, "[####################] 100 %"),
            (11, 10, "[####################] 100 %"),
            (0, 0, "[####################] 100 %"),
        ] {
            assert_eq!(bar(done, total), expected);
        }
    }
}
