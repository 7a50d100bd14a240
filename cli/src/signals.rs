//! The signals of a server: SIGTERM and SIGINT end it, SIGHUP has it open its log file anew.

use std::{future, io, process, thread};

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
    /// Only a server with a log file waits for it: any other ends with its terminal, or not, as it was started.
    hangup: Option<(Signal, LogFile)>,
}

impl Signals {
    fn new(log: Option<LogFile>) -> io::Result<Self> {
        let hangup = match log {
            Some(log) => Some((signal(SignalKind::hangup())?, log)),
            None => None,
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
                log = hung_up(&mut self.hangup) => reopen(log),
            }
        }
    }
}

async fn hung_up(hangup: &mut Option<(Signal, LogFile)>) -> &LogFile {
    match hangup {
        Some((signal, log)) => {
            signal.recv().await;
            log
        }
        None => future::pending().await,
    }
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
