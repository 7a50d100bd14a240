//! What the commands that follow something have in common: they end when they are told to, or when nobody reads what they
//! show, and that is no failure.

use std::{io, process, thread, time::Duration};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::exit::{Code, Failure, Outcome};

/// How long a command that was told to end may take for it. Where nobody takes what it shows, it cannot.
const GRACE: Duration = Duration::from_secs(2);

/// Runs `follow` until it ends, SIGINT or SIGTERM comes, or nobody reads standard output any more.
pub(crate) async fn until_stopped(follow: impl Future<Output = Outcome>) -> Outcome {
    let told = told_to_end()?;
    let closed = output_closed()?;
    tokio::select! {
        ended = follow => ended,
        Ok(()) = told => Ok(()),
        // Without an answer it is not known.
        Ok(()) = closed => Ok(()),
    }
}

/// Ends when SIGINT or SIGTERM comes. The command then has [`GRACE`] to end.
///
/// They are waited for on a thread of their own: the command's may be held up by its output.
fn told_to_end() -> Outcome<oneshot::Receiver<()>> {
    let failure = |cause: io::Error| {
        Failure::new(Code::Failed, format_args!("signals cannot be waited for: {cause}"))
            .advise("the system has no room for it: end other processes")
    };
    let runtime = runtime::Builder::new_current_thread().enable_io().build().map_err(failure)?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        let interrupt = signal(SignalKind::interrupt()).map_err(failure)?;
        (interrupt, signal(SignalKind::terminate()).map_err(failure)?)
    };
    let (tell, told) = oneshot::channel();
    let wait = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        if tell.send(()).is_err() {
            tracing::debug!("the command ends already");
        }
        thread::sleep(GRACE);
        process::exit(0);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(failure)?;
    Ok(told)
}

/// Ends when nobody reads standard output any more, which is else noticed only with the next line.
fn output_closed() -> Outcome<oneshot::Receiver<()>> {
    let (tell, told) = oneshot::channel();
    let wait = move || {
        let stdout = io::stdout();
        // Errors are reported without being asked for.
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        let is_closed = poll(&mut watched, None).is_ok_and(|ready| ready > 0);
        if !is_closed || tell.send(()).is_err() {
            tracing::debug!("standard output is not watched any more");
        }
    };
    // It ends with the process, if not before.
    thread::Builder::new().name("output".to_owned()).spawn(wait).map_err(|cause| {
        Failure::new(Code::Failed, format_args!("standard output cannot be watched: {cause}"))
            .advise("the system has no room for it: end other processes")
    })?;
    Ok(told)
}
