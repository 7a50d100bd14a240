//! What a node does for those who watch its actors: the message with which they ask, the answer when the actor has
//! ended, and how many may ask. The watcher's side is [`terminated`](super::terminated).

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use actix::Message;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{core::Core, exports::Exported, restart::Ending};
use crate::{
    codec::DecodeError,
    connection::{Dispatched, PendingReply, lock},
    error::{Failure, Refusal},
    id::Incarnation,
    message::{Caller, RemoteMessage},
    wire::status::Status,
};

/// Asks an exported actor, or a node (as its actor `node`), for its end: the answer comes when it has ended. The result is a
/// number, so that a newer node's can be read too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "u8")]
pub(super) struct Watch {
    /// Chosen by the watcher. A watch is renewed by another one of the same number.
    pub(super) number: u64,
}

impl RemoteMessage for Watch {
    const NAME: &'static str = "ensemble.watch";
}

/// What a watcher is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Stopped,
    Panicked,
    NodeShutDown,
}

impl Ended {
    fn code(self) -> u8 {
        match self {
            Self::Stopped => 1,
            Self::Panicked => 2,
            Self::NodeShutDown => 3,
        }
    }

    /// An end of a kind that only newer nodes know is an end too.
    pub(super) fn from_code(code: u8) -> Self {
        match code {
            2 => Self::Panicked,
            3 => Self::NodeShutDown,
            _ => Self::Stopped,
        }
    }
}

/// Waits for the end of an actor or of its node, whichever comes first. Keeps neither alive.
pub(super) fn ended(
    exported: &Exported,
    mut draining: watch::Receiver<bool>,
) -> impl Future<Output = Ended> + Send + use<> {
    let actor = exported.manager.ended();
    async move {
        tokio::select! {
            // An actor that is stopped because its node shuts down is not told apart otherwise. An error means that the
            // node has been dropped.
            biased;
            _ = draining.wait_for(|is_draining| *is_draining) => Ended::NodeShutDown,
            ending = actor => match ending {
                Ending::Stopped => Ended::Stopped,
                Ending::Panicked => Ended::Panicked,
            },
        }
    }
}

/// The watches of each start of a peer: their numbers, and how often each is held (twice while it is renewed).
type ByPeer = HashMap<Incarnation, HashMap<u64, u32>>;

/// How many watches each peer holds.
#[derive(Debug, Default)]
pub(super) struct Watches(Arc<Mutex<ByPeer>>);

impl Watches {
    /// A place for a watch of that number; `None` when the peer holds as many others as it may.
    fn enter(&self, peer: Incarnation, number: u64, limit: usize) -> Option<Place> {
        let mut by_peer = lock(&self.0);
        let held = by_peer.get(&peer);
        let is_new = held.is_none_or(|held| !held.contains_key(&number));
        if is_new && held.map_or(0, HashMap::len) >= limit {
            return None;
        }
        *by_peer.entry(peer).or_default().entry(number).or_default() += 1;
        Some(Place { watches: Arc::clone(&self.0), peer, number })
    }
}

/// A watch that is held.
#[derive(Debug)]
struct Place {
    watches: Arc<Mutex<ByPeer>>,
    peer: Incarnation,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_peer = lock(&self.watches);
        let Some(held) = by_peer.get_mut(&self.peer) else { return };
        if let Some(count) = held.get_mut(&self.number) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.number);
            }
        }
        if held.is_empty() {
            by_peer.remove(&self.peer);
        }
    }
}

struct Watching {
    ended: Pin<Box<dyn Future<Output = Ended> + Send>>,
    _place: Place,
}

impl PendingReply for Watching {
    fn poll_reply(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        payload: &mut BytesMut,
        _: &mut Bytes,
    ) -> Poll<Status> {
        let ended = ready!(self.ended.as_mut().poll(cx));
        Poll::Ready(match Watch::encode_result(&ended.code(), payload) {
            Ok(()) => Status::Done,
            Err(_) => Status::Failed(Failure::ReplyNotEncodable),
        })
    }
}

/// A peer wants to know when an actor ends.
pub(super) fn begin(core: &Core, peer: &Caller, exported: &Exported, payload: &Bytes) -> Dispatched {
    let refused = |why| Dispatched::Settled(Status::Refused(why));
    let decoded: Result<Watch, DecodeError> = Watch::decode(payload);
    let Ok(Watch { number }) = decoded else { return refused(Refusal::Malformed) };
    // They are calls that stay open for long: the other half of the peer's window is left for its other calls.
    let limit = core.limits.max_watches.min(core.limits.max_in_flight as usize / 2);
    let Some(place) = core.watches.enter(peer.incarnation(), number, limit) else {
        return refused(Refusal::Overloaded);
    };
    let ended = Box::pin(ended(exported, core.draining()));
    Dispatched::Pending(Box::pin(Watching { ended, _place: place }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{Head, Route, write_message};

    #[test]
    fn its_bytes_are_pinned() {
        let route = Route { actor: b"counter", message: Watch::NAME.as_bytes(), trace: None };
        let mut payload = BytesMut::new();
        Watch { number: 300 }.encode(&mut payload).unwrap();
        let mut asked = BytesMut::new();
        let head = Head::Request { call: 7, timeout_ms: 3_600_000, route };
        write_message(&head, &payload, &mut asked);
        let expected = b"\0\0\0\x22\x01\x07\xfc\x80\xee\x36\0\x07counter\x0eensemble.watch\0\xfb\x2c\x01";
        assert_eq!(&asked[..], expected);
        for (ended, code) in [(Ended::Stopped, 1), (Ended::Panicked, 2), (Ended::NodeShutDown, 3)] {
            let mut result = BytesMut::new();
            Watch::encode_result(&ended.code(), &mut result).unwrap();
            assert_eq!(result[..], [code]);
            assert_eq!(Ended::from_code(Watch::decode_result(&result.freeze()).unwrap()), ended);
        }
        assert_eq!(Ended::from_code(99), Ended::Stopped);
    }

    #[test]
    fn the_watches_of_a_peer_are_limited() {
        let watches = Watches::default();
        let (one, other) = (Incarnation::fresh(), Incarnation::fresh());
        let first = watches.enter(one, 1, 2).unwrap();
        let _second = watches.enter(one, 2, 2).unwrap();
        assert!(watches.enter(one, 3, 2).is_none());
        let elsewhere = watches.enter(other, 3, 2).expect("each peer has its own");
        let renewed = watches.enter(one, 1, 2).expect("it is the same watch");
        drop(first);
        assert!(watches.enter(one, 3, 2).is_none(), "it is still held");
        drop(renewed);
        let _third = watches.enter(one, 3, 2).unwrap();
        drop(elsewhere);
        assert_eq!(lock(&watches.0).len(), 1, "a peer without watches is forgotten");
        assert!(watches.enter(other, 1, 0).is_none());
        assert_eq!(lock(&watches.0).len(), 1);
    }
}
