//! The bytes of each message and each reply, pinned.

use std::{fmt::Debug, sync::Arc};

use bytes::BytesMut;
use ensemble::codec::{decode_message, encode_message};
use serde::de::DeserializeOwned;

use super::*;
use crate::{Change, Event, GoneReason, Liveness, SuspectReason};

const INCARNATION: Incarnation = Incarnation::from_bytes([7; 16]);
const INCARNATION_BYTES: [u8; 17] = [16, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];

fn id(text: &str) -> ServerId {
    ServerId::new(text).unwrap()
}

fn announcement() -> Announcement {
    Announcement {
        id: id("a"),
        incarnation: INCARNATION,
        addresses: vec!["tcp:[::1]:7".parse().unwrap()],
        roles: vec![RoleName::new("r").unwrap()],
        agent: Some("x/1".into()),
        pid: Some(300),
    }
}

fn announcement_bytes() -> Vec<u8> {
    [&[1, b'a'], &INCARNATION_BYTES[..], b"\x01\x0btcp:[::1]:7\x01\x01r\x01\x03x/1\x01\xfb\x2c\x01"].concat()
}

fn info() -> ServerInfo {
    ServerInfo {
        id: id("a"),
        incarnation: INCARNATION,
        addresses: vec!["tcp:[::1]:7".parse().unwrap()],
        roles: vec![RoleName::new("r").unwrap()],
        agent: Some("x/1".into()),
        pid: Some(300),
        liveness: Liveness::Suspect,
        age_ms: 1,
        unheard_ms: 2,
        lease_ms: 10_000,
        lease_left_ms: 3,
    }
}

fn info_bytes() -> Vec<u8> {
    [announcement_bytes(), vec![1, 1, 2, 251, 16, 39, 3]].concat()
}

fn revision() -> Revision {
    Revision { history: INCARNATION, number: 5 }
}

fn revision_bytes() -> Vec<u8> {
    [&INCARNATION_BYTES[..], &[5]].concat()
}

#[track_caller]
fn message_is<M: RemoteMessage + Debug>(message: &M, name: &str, bytes: &[u8]) {
    assert_eq!(M::NAME, name);
    let mut encoded = BytesMut::new();
    message.encode(&mut encoded).unwrap();
    assert_eq!(encoded.escape_ascii().to_string(), bytes.escape_ascii().to_string(), "{message:?}");
    let decoded = M::decode(&encoded.freeze()).unwrap();
    assert_eq!(format!("{decoded:?}"), format!("{message:?}"));
}

#[track_caller]
fn reply_is<M: RemoteMessage<Result: Debug + PartialEq>>(result: M::Result, bytes: &[u8]) {
    let mut encoded = BytesMut::new();
    M::encode_result(&result, &mut encoded).unwrap();
    assert_eq!(encoded.escape_ascii().to_string(), bytes.escape_ascii().to_string(), "{result:?}");
    assert_eq!(M::decode_result(&encoded.freeze()).unwrap(), result);
}

#[track_caller]
fn bytes_are<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, bytes: &[u8]) {
    let mut encoded = BytesMut::new();
    encode_message(&value, &mut encoded).unwrap();
    assert_eq!(encoded.escape_ascii().to_string(), bytes.escape_ascii().to_string(), "{value:?}");
    assert_eq!(decode_message::<T>(&encoded).unwrap(), value);
}

#[test]
fn an_announcement() {
    message_is(&Announce::new(announcement()), "registry.announce", &announcement_bytes());
    let lease = Lease { lease_ms: 10_000, revision: revision() };
    reply_is::<Announce>(Ok(lease), &[vec![0, 251, 16, 39], revision_bytes()].concat());
    reply_is::<Announce>(Err(Denied::Busy), &[1, 3]);
}

#[test]
fn a_heartbeat() {
    let message = Heartbeat::new(id("a"), INCARNATION);
    message_is(&message, "registry.heartbeat", &[&[1, b'a'], &INCARNATION_BYTES[..]].concat());
    reply_is::<Heartbeat>(Ok(Beat::Renewed { lease_ms: 9 }), &[0, 0, 9]);
    reply_is::<Heartbeat>(Ok(Beat::Unknown), &[0, 1]);
    reply_is::<Heartbeat>(Ok(Beat::Superseded), &[0, 2]);
    reply_is::<Heartbeat>(Err(Denied::Busy), &[1, 3]);
}

#[test]
fn a_withdrawal() {
    message_is(&Withdraw::new(id("a"), None), "registry.withdraw", &[1, b'a', 0]);
    let message = Withdraw::new(id("a"), Some(INCARNATION));
    message_is(&message, "registry.withdraw", &[&[1, b'a', 1], &INCARNATION_BYTES[..]].concat());
    reply_is::<Withdraw>(Ok(true), &[0, 1]);
    reply_is::<Withdraw>(Err(Denied::NotStored), &[1, 4]);
}

#[test]
fn lookups() {
    message_is(&Lookup { id: id("a") }, "registry.lookup", &[1, b'a']);
    reply_is::<Lookup>(None, &[0]);
    reply_is::<Lookup>(Some(info()), &[vec![1], info_bytes()].concat());
    let message = ByRole { role: RoleName::new("r").unwrap(), after: None, limit: 10 };
    message_is(&message, "registry.by_role", &[1, b'r', 0, 10]);
    message_is(&All { after: Some(id("a")), limit: 1000 }, "registry.all", &[1, 1, b'a', 251, 232, 3]);
    let page = Page { servers: vec![info()], more: true, revision: revision() };
    let page_bytes = [vec![1], info_bytes(), vec![1], revision_bytes()].concat();
    reply_is::<ByRole>(page.clone(), &page_bytes);
    reply_is::<All>(page, &page_bytes);
}

#[test]
fn changes() {
    let message = Follow::new(revision(), 256, 10_000);
    let bytes = [revision_bytes(), vec![251, 0, 1, 251, 16, 39]].concat();
    message_is(&message, "registry.changes", &bytes);

    let server = Arc::new(announcement());
    let events = [
        (
            Event::Announced { server: Arc::clone(&server), replaced: Some(INCARNATION) },
            [vec![0], announcement_bytes(), vec![1], INCARNATION_BYTES.to_vec()].concat(),
        ),
        (
            Event::Announced { server: Arc::clone(&server), replaced: None },
            [vec![0], announcement_bytes(), vec![0]].concat(),
        ),
        (Event::Updated { server }, [vec![1], announcement_bytes()].concat()),
        (Event::Suspected { reason: SuspectReason::Disconnected }, vec![2, 0]),
        (Event::Suspected { reason: SuspectReason::Unheard }, vec![2, 1]),
        (Event::Recovered, vec![3]),
        (Event::Gone { reason: GoneReason::Expired }, vec![4, 0]),
        (Event::Gone { reason: GoneReason::Withdrawn }, vec![4, 1]),
    ];
    for (event, event_bytes) in events {
        let change = Change { revision: revision(), id: id("a"), incarnation: INCARNATION, event };
        let changes = Changes { changes: vec![change], revision: revision(), more: true };
        let bytes = [
            vec![0, 1],
            revision_bytes(),
            vec![1, b'a'],
            INCARNATION_BYTES.to_vec(),
            event_bytes,
            revision_bytes(),
            vec![1],
        ];
        reply_is::<Follow>(Ok(changes), &bytes.concat());
    }
    let compacted = NotFollowed::Compacted(Compacted { current: revision() });
    reply_is::<Follow>(Err(compacted), &[vec![1, 0], revision_bytes()].concat());
    reply_is::<Follow>(Err(NotFollowed::TooManyWaiting), &[1, 1]);
}

#[test]
fn what_is_denied() {
    bytes_are(Denied::NotAuthorized { id: id("a") }, b"\0\x01a");
    bytes_are(
        Denied::Alive { id: id("a"), addresses: vec!["mem:x".parse().unwrap()] },
        b"\x02\x01a\x01\x05mem:x",
    );
    let held = Refusal::Held { id: id("a"), incarnation: INCARNATION, addresses: vec![] };
    bytes_are(Denied::Refused(held), &[&[1, 0, 1, b'a'], &INCARNATION_BYTES[..], &[0]].concat());
    let superseded = Refusal::Superseded { id: id("a"), incarnation: INCARNATION };
    bytes_are(Denied::Refused(superseded), &[&[1, 1, 1, b'a'], &INCARNATION_BYTES[..]].concat());
    bytes_are(Denied::Refused(Refusal::TooManyServers { limit: 2 }), &[1, 2, 2]);
    bytes_are(Denied::Refused(Refusal::TooManyAddresses { found: 3, limit: 2 }), &[1, 3, 3, 2]);
    bytes_are(Denied::Refused(Refusal::TooManyRoles { found: 3, limit: 2 }), &[1, 4, 3, 2]);
    bytes_are(Denied::Refused(Refusal::AgentTooLong { bytes: 3, limit: 2 }), &[1, 5, 3, 2]);
    bytes_are(Denied::Refused(Refusal::BadAddress), &[1, 6]);
}

#[test]
fn who_sent_a_message_is_not_in_its_bytes() {
    let mut bytes = BytesMut::from(&announcement_bytes()[..]);
    bytes.extend_from_slice(&[1, 1, b'b']);
    assert!(Announce::decode(&bytes.freeze()).is_err());
    assert!(Announce::decode(&announcement_bytes().into()).unwrap().caller.is_none());
}

#[test]
fn a_reason_says_what_to_do() {
    let denied = Denied::Alive { id: id("a"), addresses: vec!["mem:x".parse().unwrap()] };
    assert_eq!(denied.to_string(), "a is alive at mem:x: shut it down instead");
}
