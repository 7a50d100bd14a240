//! Stopping a server and knowing that it is gone: its connection ends when it has answered everything and closed its
//! stores, and on this machine its process ends after that.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use ensemble::{
    Address, CallError, ConnectFailure, ListConnections, NODE_ACTOR, NodeInfo, NodeStatus, NotSent, Refusal,
    RemoteAddr, ServerId, Unknown, handshake::RefuseReason,
};
use registry::ServerInfo;
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::{net::UnixStream, time::timeout};

use crate::{
    console::{self, Console},
    exit::{Code, Failure},
    progress,
};

/// How often it is seen whether a server has gone that somebody else has told to.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Time for a question to the system about a socket.
const ASK_TIME: Duration = Duration::from_secs(1);

/// How a server that was to be stopped has ended.
pub(super) enum Stopped {
    /// It did as it was told.
    Gone,
    /// It was dead before.
    WasDead,
}

/// A server that is to be stopped, with what is known of it.
pub(super) struct Target<'a> {
    pub(super) server: &'a ServerId,
    pub(super) addresses: &'a [Address],
    /// Its process, as it has announced it.
    pub(super) process_id: Option<u32>,
}

/// Why a server has not been stopped.
pub(super) struct Remains {
    pub(super) why: Failure,
    /// Its process, where it is known.
    pub(super) process_id: Option<u32>,
    /// Whether it does not do as it was told, or does not answer.
    is_hung: bool,
}

impl Remains {
    pub(super) fn of(why: Failure) -> Self {
        Self { why, process_id: None, is_hung: false }
    }
}

/// The process that listens at one of these addresses, if that is a socket of this machine. It is asked of the system,
/// and so known also of a process that hangs.
async fn process_at(addresses: &[Address]) -> Option<u32> {
    for address in addresses {
        let Address::Unix(path) = address else { continue };
        // Where too many wait already, a connection would wait too.
        let Ok(Ok(stream)) = timeout(ASK_TIME, UnixStream::connect(path)).await else { continue };
        let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
        if let Some(process) = process.and_then(|process| u32::try_from(process).ok()) {
            return Some(process);
        }
    }
    None
}

/// Stops servers, each within a time.
pub(super) struct Stopper<'a> {
    console: &'a Console,
    limit: Duration,
}

impl<'a> Stopper<'a> {
    pub(super) fn new(console: &'a Console, limit: Duration) -> Self {
        Self { console, limit }
    }

    /// Stops a server, and waits until it is gone.
    pub(super) async fn stop(&self, target: &Target<'_>) -> Result<Stopped, Remains> {
        let server = target.server;
        let stopped = progress::waiting_for(&format!("{server} to go"), self.stop_it(server)).await;
        let mut remains = match stopped {
            Ok(stopped) => return Ok(stopped),
            Err(remains) => remains,
        };
        if remains.is_hung {
            if remains.process_id.is_none() {
                remains.process_id = process_at(target.addresses).await.or(target.process_id);
            }
            remains.why = self.has_not_gone(server).advise(match remains.process_id {
                Some(id) => format!("wait longer with --timeout, or kill its process {id}"),
                None => "wait longer with --timeout, or kill its process".to_owned(),
            });
        }
        Err(remains)
    }

    async fn stop_it(&self, server: &ServerId) -> Result<Stopped, Remains> {
        let begin = Instant::now();
        let remote = self.console.remote(server, NODE_ACTOR);
        let status = match remote.send(NodeInfo).await {
            Ok(status) => status,
            Err(why) if is_dead(&why) => return Ok(Stopped::WasDead),
            Err(why) if is_leaving(&why) => return self.await_end(&remote, server, begin).await,
            Err(why) => return Err(self.not_stopped(&why, server)),
        };
        let process = self.process_of(&status).await;
        match remote.shutdown().await {
            Ok(()) => {}
            // It was faster than its reply, or somebody else has told it.
            Err(CallError::Unknown(_)) => {}
            Err(why) if is_dead(&why) || is_leaving(&why) => {}
            Err(why) => return Err(self.not_stopped(&why, server)),
        }
        let left = || self.limit.saturating_sub(begin.elapsed());
        let is_disconnected = timeout(left(), remote.disconnected()).await.is_ok();
        let is_gone = match process {
            Some(process) if is_disconnected => process.ended_within(left()).await.map_err(|cause| {
                let what = format_args!("cannot wait for the end of {server}: {cause}");
                Remains::of(Failure::new(Code::Failed, what))
            })?,
            _ => is_disconnected,
        };
        if is_gone {
            return Ok(Stopped::Gone);
        }
        let process_id = Some(status.process_id);
        Err(Remains { process_id, is_hung: true, ..Remains::of(self.has_not_gone(server)) })
    }

    /// Why a server was not told to go. One that does not answer is one that hangs.
    fn not_stopped(&self, why: &CallError, server: &ServerId) -> Remains {
        let is_hung = matches!(
            why,
            CallError::Unknown(Unknown::Deadline)
                | CallError::NotSent(NotSent::Deadline | NotSent::Unreachable(ConnectFailure::TimedOut))
        );
        Remains { is_hung, ..Remains::of(self.console.failure(why, server, NODE_ACTOR)) }
    }

    fn has_not_gone(&self, server: &ServerId) -> Failure {
        let what = format_args!("{server} has not gone within {} s", self.limit.as_secs_f32());
        Failure::new(Code::Unreachable, what)
    }

    /// Waits until a server that somebody else has told to go listens no more.
    async fn await_end(
        &self,
        remote: &RemoteAddr,
        server: &ServerId,
        begin: Instant,
    ) -> Result<Stopped, Remains> {
        loop {
            match remote.send(NodeInfo).await {
                Err(why) if is_dead(&why) => return Ok(Stopped::Gone),
                _ if begin.elapsed() < self.limit => tokio::time::sleep(POLL_INTERVAL).await,
                Err(why) if !is_leaving(&why) => return Err(self.not_stopped(&why, server)),
                _ => return Err(Remains { is_hung: true, ..Remains::of(self.has_not_gone(server)) }),
            }
        }
    }

    /// The server's process, when it is on this machine and its end is to be expected: one that the server shares
    /// with the registry or with another server goes on without it.
    async fn process_of(&self, status: &NodeStatus) -> Option<Process> {
        if !self.is_on_this_machine(&status.server).await {
            return None;
        }
        let registry = console::registry_id();
        if status.server != registry {
            let host = self.console.remote(&registry, NODE_ACTOR).send(NodeInfo).await.ok()?;
            if host.process_id == status.process_id {
                return None;
            }
        }
        let all = self.console.registry.all().await.ok()?;
        let shares = |info: &ServerInfo| info.id != status.server && info.pid == Some(status.process_id);
        if all.iter().any(shares) {
            return None;
        }
        Process::open(status.process_id)
    }

    /// The servers that run in the same process as the registry.
    pub(super) async fn servers_in_registry_process(&self) -> Vec<ServerInfo> {
        let registry = console::registry_id();
        let Ok(host) = self.console.remote(&registry, NODE_ACTOR).send(NodeInfo).await else {
            return Vec::new();
        };
        let all = self.console.registry.all().await.unwrap_or_default();
        // On another machine, another process can have the same number.
        let is_near = |info: &ServerInfo| {
            info.addresses
                .iter()
                .any(|address| host.addresses.iter().any(|of_host| is_same_host(address, of_host)))
        };
        let is_there =
            |info: &ServerInfo| info.id != registry && info.pid == Some(host.process_id) && is_near(info);
        all.into_iter().filter(is_there).collect()
    }

    /// Whether the connection to a server is a UNIX socket. One over TCP may have been forwarded, even from an address
    /// of this machine, and the number of the process would be another one's here.
    async fn is_on_this_machine(&self, server: &ServerId) -> bool {
        let own = self.console.remote(self.console.node.server(), NODE_ACTOR);
        let connections = own.send(ListConnections).await.unwrap_or_default();
        let mut to_server = connections.iter().filter(|info| info.peer == *server);
        to_server.next().is_some_and(|info| matches!(info.address, Address::Unix(_)))
            && to_server.all(|info| matches!(info.address, Address::Unix(_)))
    }
}

/// Whether two addresses are of one machine, as far as they say.
fn is_same_host(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Unix(_), Address::Unix(_)) => true,
        (Address::Tcp(one) | Address::Tls(one), Address::Tcp(other) | Address::Tls(other)) => {
            one.host() == other.host()
        }
        _ => false,
    }
}

/// It has been told to go already, or has gone in this moment.
fn is_leaving(why: &CallError) -> bool {
    if let CallError::NotSent(NotSent::Unreachable(ConnectFailure::Io(kind))) = why {
        return matches!(
            kind,
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        );
    }
    matches!(
        why,
        CallError::NotSent(NotSent::Rejected(RefuseReason::Draining) | NotSent::ConnectionLost)
            | CallError::Unknown(Unknown::ConnectionLost)
            | CallError::Refused(Refusal::ShuttingDown)
    )
}

/// Nothing listens where the registry has it, or something else does.
fn is_dead(why: &CallError) -> bool {
    let CallError::NotSent(NotSent::Unreachable(failure)) = why else { return false };
    match failure {
        ConnectFailure::Io(kind) => {
            matches!(kind, io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
        }
        ConnectFailure::NoAddress | ConnectFailure::WrongServer => true,
        _ => false,
    }
}

/// A process that runs, held so that no other can take its number.
struct Process(OwnedFd);

impl Process {
    fn open(id: u32) -> Option<Self> {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw)?;
        pidfd_open(pid, PidfdFlags::NONBLOCK).ok().map(Self)
    }

    /// Waits for its end, at most for so long; says whether it has come.
    async fn ended_within(self, limit: Duration) -> io::Result<bool> {
        let wait = move || {
            let limit = Timespec::try_from(limit).ok();
            // The descriptor of a process becomes readable when it ends.
            let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
            rustix::event::poll(&mut watched, limit.as_ref()).map(|ready| ready > 0)
        };
        Ok(tokio::task::spawn_blocking(wait).await.map_err(io::Error::other)??)
    }
}
