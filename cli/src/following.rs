//! What the commands that follow something have in common: they end when they are told to, or when nobody reads what they
//! show, and that is no failure.

use std::{io, thread};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::exit::{Code, Failure, Outcome};

/// Runs `follow` until it ends, SIGINT or SIGTERM comes, or nobody reads standard output any more.
pub(crate) async fn until_stopped(follow: impl Future<Output = Outcome>) -> Outcome {
    let unwatched = |cause| {
        Failure::new(Code::Failed, format_args!("signals cannot be waited for: {cause}"))
            .advise("the system has no room for it: end other processes")
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unwatched)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(unwatched)?;
    let closed = output_closed()?;
    tokio::select! {
        ended = follow => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = closed => Ok(()),
    }
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
