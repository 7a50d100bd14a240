//! A client of the registry that lives in the test's process, for tests that look often and at once.

use std::{
    future::Future,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ensemble::{Address, Home, Node, ServerId};
use ensemble_tests::{DEADLINE, Sandbox};
use registry::{Client, ClientError, Liveness, ServerInfo};
use tokio::{runtime, sync::oneshot};

/// Between two looks at what is awaited: short against every bound.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// A console in a thread of its own; asked from the test's thread.
pub(crate) struct Observer {
    pub(crate) node: Node,
    pub(crate) client: Client,
    runtime: runtime::Runtime,
    /// Ends the thread when it is dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Asks the registry at its socket in the sandbox's home.
    pub(crate) fn new(sandbox: &Sandbox) -> Self {
        let home = Home::resolve(Some(&sandbox.home())).unwrap();
        let registry = home.socket(&ServerId::new(registry::SERVER).unwrap()).unwrap();
        Self::at(home, registry)
    }

    /// Asks the registry at that address.
    pub(crate) fn at(home: Home, registry: Address) -> Self {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            actix::System::new().block_on(async move {
                let builder = registry::console().home(home);
                let connected = registry::connect(builder, Some(registry)).await.unwrap();
                tell.send(connected).unwrap();
                drop(stopped.await);
            });
        });
        let (node, client) = told.recv_timeout(DEADLINE).expect("the registry answers");
        let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { node, client, runtime, stop: Some(stop), thread: Some(thread) }
    }

    /// Waits on this thread for what happens on the node's.
    pub(crate) fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// What the registry says of a server; `None` when it knows none.
    pub(crate) fn lookup(&self, id: &str) -> Result<Option<ServerInfo>, ClientError> {
        match self.wait_for(self.client.lookup(&ServerId::new(id).unwrap())) {
            Ok(info) => Ok(Some(info)),
            Err(ClientError::UnknownServer(_)) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Looks at a server again and again, until the registry says of it what is awaited; returns when that was.
    #[track_caller]
    pub(crate) fn sees(
        &self,
        id: &str,
        what: &str,
        is_awaited: impl Fn(Option<&ServerInfo>) -> bool,
    ) -> Instant {
        let begin = Instant::now();
        loop {
            let found = self.lookup(id);
            if found.as_ref().is_ok_and(|info| is_awaited(info.as_ref())) {
                return Instant::now();
            }
            assert!(begin.elapsed() < DEADLINE, "{id} should be {what} and is {found:?}");
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Waits until it is listed with that liveness.
    #[track_caller]
    pub(crate) fn sees_it(&self, id: &str, liveness: Liveness) -> Instant {
        self.sees(id, &liveness.to_string(), |info| info.is_some_and(|info| info.liveness == liveness))
    }

    /// Waits until it is not listed.
    #[track_caller]
    pub(crate) fn sees_it_gone(&self, id: &str) -> Instant {
        self.sees(id, "gone", |info| info.is_none())
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the thread of an observer has panicked");
        }
    }
}
