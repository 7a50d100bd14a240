//! The signals of a server: SIGTERM and SIGINT end it. SIGHUP has it open its log file anew, or else ends it too, unless it
//! was started to ignore that.

use std::{fs, future, io, process, thread};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use crate::{
    app::Context,
    exit::{Code, Failure, Outcome},
    log_file::LogFile,
    printer,
};

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Hangup,
}

/// What SIGHUP does.
enum Hangup {
    Reopens(Signal, LogFile),
    /// The terminal has gone: the server ends, in good order.
    Ends(Signal),
    /// `nohup` has asked for it.
    Nothing,
}

impl Signals {
    fn new(log: Option<LogFile>) -> io::Result<Self> {
        let hangup = match log {
            Some(log) => Hangup::Reopens(signal(SignalKind::hangup())?, log),
            None if ignores_hangup() => Hangup::Nothing,
            None => Hangup::Ends(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup,
        })
    }

    /// Waits for one that ends the server, and does meanwhile what the other asks for.
    async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                log = hung_up(&mut self.hangup) => match log {
                    Some(log) => reopen(log),
                    None => return "SIGHUP",
                },
            }
        }
    }
}

/// The log that is to be opened anew, or none when the server is to end.
async fn hung_up(hangup: &mut Hangup) -> Option<&LogFile> {
    match hangup {
        Hangup::Reopens(signal, log) => {
            signal.recv().await;
            Some(log)
        }
        Hangup::Ends(signal) => {
            signal.recv().await;
            None
        }
        Hangup::Nothing => future::pending().await,
    }
}

/// Whether the process was started with SIGHUP ignored: the lowest bit of the mask that the system shows.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

fn reopen(log: &LogFile) {
    match log.reopen() {
        Ok(()) => tracing::info!("opened the log file anew"),
        Err(cause) => tracing::error!(%cause, "cannot open the log file anew; going on with the old one"),
    }
}

/// Waits for SIGTERM or SIGINT. A second one ends the process at once, whatever it has left to do.
///
/// They are waited for on a thread of their own, so that a server that hangs can be ended too.
pub(crate) fn terminated(
    context: Context<'_>,
    log: Option<LogFile>,
) -> Outcome<impl Future<Output = ()> + use<>> {
    let program = context.name;
    let failure =
        |cause: io::Error| Failure::new(Code::Failed, format_args!("signals cannot be waited for: {cause}"));
    let runtime = runtime::Builder::new_current_thread().enable_io().build().map_err(failure)?;
    let mut signals = {
        let _entered = runtime.enter();
        Signals::new(log).map_err(failure)?
    };
    let (tell, told) = oneshot::channel();
    let wait = async move {
        let signal = signals.next().await;
        tracing::info!(signal, "asked to shut down");
        if tell.send(()).is_err() {
            tracing::debug!("the server ends already");
        }
        let signal = signals.next().await;
        printer::complain(format_args!("{program}: ended at once by a second signal, {signal}"));
        process::exit(Code::Failed as i32);
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(wait))
        .map_err(failure)?;
    Ok(async move { drop(told.await) })
}
