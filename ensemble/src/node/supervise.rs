//! Actors that are started again when they end. When that is done is decided in [`restart`](super::restart).
//!
//! The supervisor of an actor is a task on the thread of its starts. It holds neither the node nor the export: when the
//! export is taken out of the node's table (a shutdown, the node's end), it has nothing to do any more.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use actix::Actor;
use tokio::sync::oneshot;

use super::{
    core::{Core, stop_actor},
    exports::{ExportError, Exported, Exports},
    manage::Gone,
    peers::error_chain,
    restart::{Decision, Ending, Restart, RestartPolicy, Restarts},
};
use crate::{connection::now, id::ActorName};

/// What is known of a supervised actor over all its starts.
pub(super) struct Supervision {
    restart: Restart,
    restarts: AtomicU64,
    /// It will not be started again.
    is_over: AtomicBool,
}

/// A start of a supervised actor, as its export holds it.
pub(super) struct Supervised {
    supervision: Arc<Supervision>,
    /// Dropped with the export, which ends its supervisor's pause.
    _held: oneshot::Sender<()>,
}

impl Supervised {
    pub(super) fn is_by(&self, supervision: &Arc<Supervision>) -> bool {
        Arc::ptr_eq(&self.supervision, supervision)
    }

    pub(super) fn restarts(&self) -> u64 {
        self.supervision.restarts.load(Ordering::Relaxed)
    }

    /// Whether an actor that has ended so will be started again. Nobody may have noticed yet how it did.
    pub(super) fn is_coming_back(&self, ending: Option<Ending>) -> bool {
        let is_wanted = ending.is_none_or(|ending| self.supervision.restart.applies_to(ending));
        is_wanted && !self.supervision.is_over.load(Ordering::Acquire)
    }
}

/// A start of a supervised actor, as its supervisor sees it.
struct Start {
    gone: Gone,
    /// Ends when nobody holds the export any more.
    released: oneshot::Receiver<()>,
}

struct Supervisor<F> {
    core: Weak<Core>,
    name: ActorName,
    supervision: Arc<Supervision>,
    make: F,
}

/// Also when its thread stops.
impl<F> Drop for Supervisor<F> {
    fn drop(&mut self) {
        self.supervision.is_over.store(true, Ordering::Release);
    }
}

/// Exports what `make` makes, and has it started again when it ends.
pub(super) fn start<A: Actor>(
    core: &Arc<Core>,
    name: &ActorName,
    policy: RestartPolicy,
    make: impl FnMut() -> Exports<A> + 'static,
) -> Result<(), ExportError> {
    let supervision = Arc::new(Supervision {
        restart: policy.restart,
        restarts: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    let mut supervisor = Supervisor { core: core.weak.clone(), name: name.clone(), supervision, make };
    let (exported, first) = supervisor.start()?;
    core.exports.insert(exported)?;
    tokio::task::spawn_local(supervisor.run(Restarts::new(policy), first));
    Ok(())
}

impl<A: Actor, F: FnMut() -> Exports<A>> Supervisor<F> {
    fn start(&mut self) -> Result<(Exported, Start), ExportError> {
        let made = catch_unwind(AssertUnwindSafe(&mut self.make));
        let exports = made.map_err(|_| ExportError::FactoryPanicked)?;
        let mut exported = exports.into_exported(self.name.clone())?;
        let gone = exported.manager.gone().ok_or(ExportError::NotSupervisable)?.clone();
        let (held, released) = oneshot::channel();
        exported.supervised = Some(Supervised { supervision: Arc::clone(&self.supervision), _held: held });
        Ok((exported, Start { gone, released }))
    }

    async fn run(mut self, mut restarts: Restarts, first: Start) {
        let mut next = Some(first);
        while let Some(start) = next {
            let ending = start.gone.wait().await;
            next = self.start_again(&mut restarts, ending, start.released).await;
        }
    }

    /// `None` when the supervisor is not needed any more.
    async fn start_again(
        &mut self,
        restarts: &mut Restarts,
        mut ending: Ending,
        mut released: oneshot::Receiver<()>,
    ) -> Option<Start> {
        loop {
            if !self.core.upgrade()?.exports.is_supervised_by(&self.name, &self.supervision) {
                return None;
            }
            let actor = &self.name;
            let pause = match restarts.decide(ending, now()) {
                Decision::RestartAfter(pause) => pause,
                Decision::LeaveIt => {
                    tracing::info!(%actor, ?ending, "a supervised actor has ended and is not started again");
                    return None;
                }
                Decision::GiveUp => {
                    let restarts = self.supervision.restarts.load(Ordering::Relaxed);
                    tracing::error!(%actor, ?ending, restarts, "gave up an actor that ends too often");
                    return None;
                }
            };
            tracing::warn!(%actor, ?ending, pause_ms = pause.as_millis(), "an actor has ended and is started again");
            tokio::select! {
                biased;
                _ = &mut released => return None,
                () = tokio::time::sleep(pause) => {}
            }
            let core = self.core.upgrade()?;
            match self.start() {
                Ok((exported, start)) => {
                    self.supervision.restarts.fetch_add(1, Ordering::Relaxed);
                    let Err(unwanted) = core.exports.replace(&self.supervision, exported) else {
                        return Some(start);
                    };
                    drop(core);
                    stop_actor(&unwanted, None).await;
                    return None;
                }
                Err(cause) => {
                    let cause = error_chain(&cause);
                    tracing::error!(actor = %self.name, %cause, "a supervised actor could not be started");
                    ending = Ending::Panicked;
                }
            }
        }
    }
}
