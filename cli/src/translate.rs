//! From the errors of calls, of the registry and of the store to the failures of commands. Codes and form are in
//! [`crate::exit`].

use std::{fmt, time::Duration};

use ensemble::{Address, CallError, ConnectFailure, NotSent, Refusal, Unknown};
use kvstore::messages::StoreError;
use registry::{ClientError, JoinError, ServeError, SnapshotError, messages::Denied};

use crate::exit::{Code, Failure};

/// What a call was for, to be named in its failure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) server: &'a str,
    pub(crate) actor: &'a str,
    pub(crate) registry: &'a Address,
    pub(crate) timeout: Duration,
}

/// The registry does not answer where it should be.
pub(crate) fn no_registry(address: impl fmt::Display) -> Failure {
    Failure::new(Code::Unreachable, format_args!("the registry is not running at {address}"))
        .advise("start it with `ensemble registry`, or say where it is with --registry")
}

/// A server that the registry does not know.
pub(crate) fn no_server(server: impl fmt::Display) -> Failure {
    Failure::new(Code::NotFound, format_args!("the registry knows no server {server}"))
        .advise("`ensemble list servers` shows those there are")
}

/// Why a call has no result.
pub(crate) fn call(error: &CallError, target: Target<'_>) -> Failure {
    match error {
        CallError::NotSent(why) => not_sent(why, target),
        CallError::Unknown(why) => unknown(*why, target),
        CallError::Refused(why) => refused(*why, target),
        CallError::Failed(why) => {
            let Target { server, actor, .. } = target;
            Failure::new(Code::Failed, format_args!("the actor {actor} of {server} failed: {why}"))
                .advise("see the log of the server")
        }
    }
}

fn not_sent(why: &NotSent, target: Target<'_>) -> Failure {
    let Target { server, registry, timeout, .. } = target;
    let unreachable = |what: &dyn fmt::Display| Failure::new(Code::Unreachable, what);
    match why {
        NotSent::BadName(cause) => Failure::of(Code::Usage, cause),
        NotSent::UnknownServer => no_server(server),
        NotSent::NotResolved => no_registry(registry),
        NotSent::Unreachable(failure) => cannot_connect(server, *failure, timeout),
        NotSent::Rejected(reason) => rejected(server, reason),
        NotSent::NotAuthenticated => other_cookie(server),
        NotSent::TooLarge { bytes, limit } => Failure::new(
            Code::Usage,
            format_args!("the message has {bytes} bytes; {server} takes at most {limit}"),
        )
        .advise("send less"),
        NotSent::NotEncodable => Failure::of(Code::Failed, why),
        NotSent::Deadline => no_answer(server, timeout),
        NotSent::QueueFull | NotSent::ConnectionLost | NotSent::ShuttingDown => {
            unreachable(&format_args!("{server} could not be asked: {why}")).advise("try again")
        }
        other => unreachable(&format_args!("{server} could not be asked: {other}")),
    }
}

/// A server that is there and says nothing.
pub(crate) fn no_answer(server: &str, timeout: Duration) -> Failure {
    let seconds = timeout.as_secs_f32();
    Failure::new(Code::Unreachable, format_args!("{server} did not answer within {seconds} s"))
        .advise("see whether it is overloaded, or wait longer with --timeout")
}

/// Why there is no connection to a server.
pub(crate) fn cannot_connect(server: &str, failure: ConnectFailure, timeout: Duration) -> Failure {
    match failure {
        ConnectFailure::PlainTcp => Failure::new(
            Code::Usage,
            format_args!("{server} is at a plain TCP address of another machine, which is not encrypted"),
        )
        .advise("add --insecure-tcp if you trust the network"),
        ConnectFailure::TimedOut => no_answer(server, timeout),
        ConnectFailure::Io(_) | ConnectFailure::NoAddress | ConnectFailure::WrongServer => Failure::new(
            Code::Unreachable,
            format_args!("the server {server} is not running where the registry has it: {failure}"),
        )
        .advise(format_args!("start it again, or have `ensemble shutdown {server}` withdraw it")),
        other => Failure::new(Code::Unreachable, format_args!("{server} cannot be reached: {other}"))
            .advise("see its log"),
    }
}

/// The handshake failed for want of the same secret.
pub(crate) fn other_cookie(server: &str) -> Failure {
    Failure::new(Code::NotAllowed, format_args!("{server} does not have the cookie of this home"))
        .advise("use the same cookie file on both sides")
}

/// The handshake was refused by the other side.
pub(crate) fn rejected(server: &str, reason: &ensemble::handshake::RefuseReason) -> Failure {
    use ensemble::handshake::RefuseReason;
    match reason {
        RefuseReason::Authentication => other_cookie(server),
        RefuseReason::PeerUser { .. } => Failure::new(
            Code::NotAllowed,
            format_args!("{server} runs as another user than this command, and a socket serves only its own"),
        )
        .advise("run the command as the user of the server, or reach the server over TCP"),
        other => {
            let failure =
                Failure::new(Code::Unreachable, format_args!("{server} refused the connection: {other}"));
            match other {
                RefuseReason::Version { .. } | RefuseReason::Malformed | RefuseReason::Other(_) => {
                    failure.advise("use the same version of the program on both sides")
                }
                RefuseReason::SameIdentity => failure.advise("choose another server id"),
                _ => failure.advise("try again later"),
            }
        }
    }
}

fn unknown(why: Unknown, target: Target<'_>) -> Failure {
    let Target { server, timeout, .. } = target;
    match why {
        Unknown::Deadline => no_answer(server, timeout),
        other => Failure::new(Code::Unreachable, format_args!("{server} gave no answer: {other}"))
            .advise("see whether it runs; what was asked of it may or may not have been done"),
    }
}

fn refused(why: Refusal, target: Target<'_>) -> Failure {
    let Target { server, actor, .. } = target;
    let failure = |code| Failure::new(code, format_args!("{server} refused the call of {actor}: {why}"));
    match why {
        Refusal::NoSuchActor => {
            Failure::new(Code::NotFound, format_args!("the server {server} has no actor {actor}"))
                .advise(format_args!("`ensemble list actors {server}` shows those it has"))
        }
        Refusal::NotAuthorized => failure(Code::NotAllowed),
        Refusal::Overloaded | Refusal::ShuttingDown | Refusal::Restarting => {
            failure(Code::Unreachable).advise("try again later")
        }
        _ => failure(Code::Failed).advise("see whether both sides have the same version"),
    }
}

/// Why a node has not joined, or does not reach the registry.
pub(crate) fn join(error: JoinError, timeout: Duration) -> Failure {
    match &error {
        JoinError::Start(_) | JoinError::Home(_) => {}
        _ => return not_joined(&error, timeout),
    }
    match error {
        JoinError::Start(why) => why.into(),
        JoinError::Home(why) => why.into(),
        other => Failure::of(Code::Failed, &other),
    }
}

fn not_joined(error: &JoinError, timeout: Duration) -> Failure {
    match error {
        JoinError::Unreachable { registry, source }
        | JoinError::NotAuthenticated { registry, source }
        | JoinError::Call { registry, source } => registry_call(source, registry, timeout),
        JoinError::Held { .. } => {
            Failure::of(Code::Failed, error).advise("shut that server down, or choose another server id")
        }
        JoinError::Refused { registry, source } => denied(source, registry),
        other => Failure::of(Code::Failed, other),
    }
}

/// Why the registry has not answered a question.
pub(crate) fn registry(error: &ClientError, address: &Address, timeout: Duration) -> Failure {
    match error {
        ClientError::UnknownServer(server) => no_server(server),
        ClientError::Refused(why) => denied(why, address),
        ClientError::Unreachable(why) | ClientError::NotAuthenticated(why) | ClientError::Call(why) => {
            registry_call(why, address, timeout)
        }
        other => Failure::of(Code::Failed, other),
    }
}

fn denied(why: &Denied, registry: &Address) -> Failure {
    let code = match why {
        Denied::NotAuthorized { .. } => Code::NotAllowed,
        Denied::Busy => Code::Unreachable,
        _ => Code::Failed,
    };
    let cause = std::error::Error::source(why).map_or_else(|| why.to_string(), ToString::to_string);
    let failure = Failure::new(code, format_args!("the registry at {registry} refused: {cause}"));
    match why {
        Denied::NotAuthorized { id } => {
            failure.advise(format_args!("shut it down with `ensemble shutdown {id}` instead"))
        }
        Denied::Refused(why) => failure.advise(match why {
            registry::Refusal::Held { .. } => "shut that server down, or choose another server id",
            registry::Refusal::Superseded { .. } => "start the server anew",
            registry::Refusal::TooManyServers { .. } => "shut down servers that nobody needs",
            registry::Refusal::TooManyAddresses { .. } => "give fewer --listen and --announce addresses",
            registry::Refusal::TooManyRoles { .. } => "give the server fewer roles",
            registry::Refusal::AgentTooLong { .. } => "shorten the name of the program",
            registry::Refusal::BadAddress => "give a shorter --listen or --announce address",
        }),
        // It says itself what to do.
        Denied::Alive { .. } => failure,
        Denied::Busy => failure.advise("try again later"),
        Denied::NotStored => failure.advise("make room on its disk; its log says what is wrong"),
    }
}

/// Why a call to the registry has no result.
pub(crate) fn registry_call(why: &CallError, registry: &Address, timeout: Duration) -> Failure {
    let name = format!("the registry at {registry}");
    let target = Target { server: &name, actor: registry::ACTOR, registry, timeout };
    match why {
        CallError::NotSent(NotSent::Unreachable(
            ConnectFailure::Io(_) | ConnectFailure::NoAddress | ConnectFailure::WrongServer,
        ))
        | CallError::Refused(Refusal::NoSuchActor) => no_registry(registry),
        other => call(other, target),
    }
}

/// Why a registry does not start.
pub(crate) fn serve(error: &ServeError) -> Failure {
    let failure = Failure::of(Code::Failed, error);
    match error {
        ServeError::Snapshot(SnapshotError::InUse { .. }) => {
            failure.advise("shut that registry down, or choose another home with --home")
        }
        ServeError::Snapshot(SnapshotError::Directory { .. } | SnapshotError::Lock { .. }) => {
            failure.advise("see who may write there, or choose another home with --home")
        }
        ServeError::Snapshot(SnapshotError::UnknownFormat { .. }) => failure
            .advise("use the version of the program that wrote it, or move it away: servers announce again"),
        ServeError::Snapshot(SnapshotError::Full) => failure.advise("move it away: servers announce again"),
        ServeError::Snapshot(_) => {
            failure.advise("see whether the disk is full or damaged, or move it away: servers announce again")
        }
        ServeError::Thread(_) => failure.advise("the system has no room for it: end other processes"),
        _ => failure.advise("start it anew"),
    }
}

/// Why the store has not done as it was asked.
pub(crate) fn store(error: &kvstore::ClientError, key: impl fmt::Display, target: Target<'_>) -> Failure {
    use kvstore::ClientError;
    match error {
        ClientError::Call(why) => call(why, target),
        ClientError::Store(why) => store_refusal(*why, target.server),
        ClientError::NotAnObject(_) => Failure::of(Code::Failed, error)
            .advise(format_args!("get the bytes under {key} with `kvstorec get`")),
        other => Failure::of(Code::Failed, other),
    }
}

fn store_refusal(why: StoreError, server: &str) -> Failure {
    let code = match why {
        StoreError::KeyLength { .. } | StoreError::ValueTooLarge { .. } => Code::Usage,
        StoreError::Conflict { .. } => Code::Conflict,
        StoreError::Overloaded | StoreError::Closed => Code::Unreachable,
        _ => Code::Failed,
    };
    let failure = Failure::of(code, &why);
    match why {
        StoreError::KeyLength { .. } => failure.advise("choose another key"),
        StoreError::ValueTooLarge { .. } => {
            failure.advise("store it in pieces, or raise the limit of the server")
        }
        StoreError::StoreFull { .. } | StoreError::DiskFull => failure.advise("remove something"),
        StoreError::ReadOnly => {
            failure.advise("see to the disk of the server and mount it for writing again")
        }
        StoreError::Overloaded | StoreError::Closed => failure.advise("try again later"),
        StoreError::Damaged => failure.advise("put the key anew, or remove it"),
        _ => failure.advise(format_args!("see the log of {server}")),
    }
}

#[cfg(test)]
mod tests {
    use ensemble::{Failure as Failed, handshake::RefuseReason};

    use super::*;

    fn target(registry: &Address) -> Target<'_> {
        Target { server: "store-1", actor: "kvstore", registry, timeout: Duration::from_secs(5) }
    }

    #[test]
    fn each_kind_of_failure_has_its_code() {
        let io = |kind| ConnectFailure::Io(kind);
        let cases: [(CallError, Code); 16] = [
            (NotSent::UnknownServer.into(), Code::NotFound),
            (NotSent::NotResolved.into(), Code::Unreachable),
            (NotSent::Unreachable(io(std::io::ErrorKind::ConnectionRefused)).into(), Code::Unreachable),
            (NotSent::Unreachable(ConnectFailure::TimedOut).into(), Code::Unreachable),
            (NotSent::Unreachable(ConnectFailure::PlainTcp).into(), Code::Usage),
            (NotSent::NotAuthenticated.into(), Code::NotAllowed),
            (NotSent::Rejected(RefuseReason::Authentication).into(), Code::NotAllowed),
            (NotSent::Rejected(RefuseReason::PeerUser { uid: 7 }).into(), Code::NotAllowed),
            (NotSent::Rejected(RefuseReason::Overloaded).into(), Code::Unreachable),
            (NotSent::TooLarge { bytes: 2, limit: 1 }.into(), Code::Usage),
            (Unknown::Deadline.into(), Code::Unreachable),
            (Unknown::ConnectionLost.into(), Code::Unreachable),
            (Refusal::NoSuchActor.into(), Code::NotFound),
            (Refusal::NotAuthorized.into(), Code::NotAllowed),
            (Refusal::UnknownMessage.into(), Code::Failed),
            (Failed::Died.into(), Code::Failed),
        ];
        let registry: Address = "unix:/r.sock".parse().unwrap();
        for (error, expected) in cases {
            let failure = call(&error, target(&registry));
            let text = failure.to_string();
            match failure {
                Failure::Problem { code, .. } => assert_eq!(code, expected, "{text}"),
                Failure::OutputClosed => panic!("{error:?}"),
            }
            assert!(text.contains("store-1") || text.contains("/r.sock"), "it names nothing: {text}");
        }
    }
}
