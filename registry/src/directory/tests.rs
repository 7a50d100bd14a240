//! Every decision of the directory, one by one; those about who has an id are in `contests`.

use std::time::Duration;

use ensemble::{Incarnation, RoleName, ServerId};

use super::{Announced, Contest, Directory, Heartbeat, MAX_AGENT_BYTES, Options, Refusal, Restored, Write};
use crate::{
    Announcement, Change, Compacted, Event, GoneReason, Liveness, Revision, ServerInfo, StoredEntry,
    SuspectReason,
};

mod contests;

const LEASE_MS: u64 = 900;
const HISTORY: Incarnation = Incarnation::from_bytes([0xee; 16]);

fn options() -> Options {
    Options { lease_ms: LEASE_MS, ..Options::default() }
}

fn directory() -> Directory {
    Directory::new(HISTORY, options())
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn id(text: &str) -> ServerId {
    ServerId::new(text).unwrap()
}

fn role(text: &str) -> RoleName {
    RoleName::new(text).unwrap()
}

fn incarnation(n: u8) -> Incarnation {
    Incarnation::from_bytes([n; 16])
}

fn server(name: &str, n: u8, roles: &[&str]) -> Announcement {
    Announcement {
        id: id(name),
        incarnation: incarnation(n),
        addresses: vec![format!("tcp:127.0.0.1:{n}").parse().unwrap()],
        roles: roles.iter().map(|text| role(text)).collect(),
        agent: Some("test/1".into()),
        pid: Some(u32::from(n)),
    }
}

fn revision(number: u64) -> Revision {
    Revision { history: HISTORY, number }
}

fn accept(directory: &mut Directory, at_ms: u64, announcement: Announcement) {
    let done = directory.announce(ms(at_ms), announcement);
    assert_eq!(done, Ok(Announced::Accepted { lease_ms: LEASE_MS, revision: directory.revision() }));
}

fn contest(directory: &mut Directory, at_ms: u64, announcement: Announcement) -> Contest {
    contested(directory.announce(ms(at_ms), announcement))
}

fn contested(announced: Result<Announced, Refusal>) -> Contest {
    match announced {
        Ok(Announced::Contested(contest)) => *contest,
        other => panic!("expected a contest, not {other:?}"),
    }
}

fn beat(directory: &mut Directory, at_ms: u64, name: &str, n: u8) -> Heartbeat {
    directory.heartbeat(ms(at_ms), &id(name), incarnation(n))
}

fn names(servers: &[ServerInfo]) -> Vec<&str> {
    servers.iter().map(|server| server.id.as_str()).collect()
}

fn liveness(directory: &Directory, at_ms: u64, name: &str) -> Option<Liveness> {
    directory.lookup(ms(at_ms), &id(name)).map(|server| server.liveness)
}

fn events(directory: &Directory, since: u64) -> Vec<(u64, Event)> {
    let changes = directory.changes_since(revision(since), usize::MAX).unwrap().changes;
    changes.into_iter().map(|change| (change.revision.number, change.event)).collect()
}

const RENEWED: Heartbeat = Heartbeat::Renewed { lease_ms: LEASE_MS };

#[test]
fn an_announcement_opens_a_lease() {
    let mut directory = directory();
    accept(&mut directory, 100, server("a", 1, &["x", "y"]));
    let expected = ServerInfo {
        id: id("a"),
        incarnation: incarnation(1),
        addresses: vec!["tcp:127.0.0.1:1".parse().unwrap()],
        roles: vec![role("x"), role("y")],
        agent: Some("test/1".into()),
        pid: Some(1),
        liveness: Liveness::Reachable,
        age_ms: 200,
        unheard_ms: 200,
        lease_ms: LEASE_MS,
        lease_left_ms: 700,
    };
    assert_eq!(directory.lookup(ms(300), &id("a")), Some(expected));
    assert_eq!(directory.lookup(ms(300), &id("b")), None);
}

#[test]
fn heartbeats_renew_the_lease_and_make_no_change() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &[]));
    for at_ms in [300, 600, 900, 1200] {
        assert_eq!(beat(&mut directory, at_ms, "a", 1), RENEWED);
        assert_eq!(directory.expire(ms(at_ms)), []);
    }
    assert_eq!(directory.revision(), revision(1));
    let info = directory.lookup(ms(1300), &id("a")).unwrap();
    assert_eq!((info.age_ms, info.unheard_ms, info.lease_left_ms), (1300, 100, 800));
}

#[test]
fn silence_makes_suspect_at_half_a_lease_and_gone_at_its_end() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &["x"]));
    assert_eq!(liveness(&directory, 449, "a"), Some(Liveness::Reachable));
    // The answers are right at once; the changes come with `expire`.
    assert_eq!(liveness(&directory, 450, "a"), Some(Liveness::Suspect));
    assert_eq!(liveness(&directory, 899, "a"), Some(Liveness::Suspect));
    assert_eq!(liveness(&directory, 900, "a"), None);
    assert!(directory.all(ms(900)).is_empty());
    assert!(directory.by_role(ms(900), &role("x")).is_empty());
    assert!(directory.snapshot(ms(900)).0.is_empty());

    assert_eq!(directory.next_deadline(), Some(ms(450)));
    assert_eq!(directory.expire(ms(449)), []);
    let changed = |number, event| Change {
        revision: revision(number),
        id: id("a"),
        incarnation: incarnation(1),
        event,
    };
    let suspected = changed(2, Event::Suspected { reason: SuspectReason::Unheard });
    assert_eq!(directory.expire(ms(450)), [suspected]);
    assert_eq!(directory.next_deadline(), Some(ms(900)));
    assert_eq!(directory.expire(ms(899)), []);
    assert_eq!(directory.expire(ms(900)), [changed(3, Event::Gone { reason: GoneReason::Expired })]);
    assert_eq!(directory.next_deadline(), None);
    assert!(directory.is_empty());
    assert_eq!(directory.roles().count(), 0);
}

#[test]
fn long_silence_is_one_change() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &[]));
    assert_eq!(directory.expire(ms(5000)).len(), 1);
    assert_eq!(events(&directory, 1), [(2, Event::Gone { reason: GoneReason::Expired })]);
}

#[test]
fn a_heartbeat_brings_a_suspect_back() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &[]));
    assert_eq!(directory.expire(ms(500)).len(), 1);
    assert_eq!(beat(&mut directory, 600, "a", 1), RENEWED);
    assert_eq!(liveness(&directory, 600, "a"), Some(Liveness::Reachable));
    assert_eq!(events(&directory, 2), [(3, Event::Recovered)]);
    assert_eq!(directory.next_deadline(), Some(ms(1050)));
}

#[test]
fn the_recovery_of_a_server_that_only_a_snapshot_showed_as_suspect_is_a_change() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &[]));
    let (servers, at) = directory.snapshot(ms(500));
    assert_eq!((servers[0].liveness, at), (Liveness::Suspect, revision(1)));
    assert_eq!(beat(&mut directory, 600, "a", 1), RENEWED);
    let suspected = Event::Suspected { reason: SuspectReason::Unheard };
    assert_eq!(events(&directory, 1), [(2, suspected), (3, Event::Recovered)]);
}

#[test]
fn a_heartbeat_after_the_end_of_the_lease_must_announce() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &[]));
    assert_eq!(beat(&mut directory, 900, "a", 1), Heartbeat::Unknown);
    assert_eq!(events(&directory, 1), [(2, Event::Gone { reason: GoneReason::Expired })]);
    assert_eq!(beat(&mut directory, 900, "b", 1), Heartbeat::Unknown);
    accept(&mut directory, 901, server("a", 1, &[]));
    assert_eq!(beat(&mut directory, 902, "a", 2), Heartbeat::Unknown);
}

#[test]
fn a_broken_connection_makes_suspect_at_once_but_leaves_the_lease() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &[]));
    assert!(!directory.disconnected(ms(10), &id("a"), incarnation(2)));
    assert!(!directory.disconnected(ms(10), &id("b"), incarnation(1)));
    assert!(directory.disconnected(ms(10), &id("a"), incarnation(1)));
    assert!(!directory.disconnected(ms(11), &id("a"), incarnation(1)));
    assert_eq!(liveness(&directory, 899, "a"), Some(Liveness::Suspect));
    assert_eq!(events(&directory, 1), [(2, Event::Suspected { reason: SuspectReason::Disconnected })]);
    assert_eq!(directory.next_deadline(), Some(ms(900)));
    assert!(!directory.disconnected(ms(900), &id("a"), incarnation(1)));
    assert_eq!(events(&directory, 2), [(3, Event::Gone { reason: GoneReason::Expired })]);
}

#[test]
fn announcing_again_renews_or_updates() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &["x", "y"]));
    let renewed = directory.announce(ms(100), server("a", 1, &["x", "y"]));
    assert_eq!(renewed, Ok(Announced::Renewed { lease_ms: LEASE_MS, revision: revision(1) }));
    assert!(directory.disconnected(ms(100), &id("a"), incarnation(1)));

    accept(&mut directory, 200, server("a", 1, &["y", "z"]));
    let by_role = |name: &str| directory.by_role(ms(200), &role(name)).len();
    assert_eq!([by_role("x"), by_role("y"), by_role("z")], [0, 1, 1]);
    let info = directory.lookup(ms(200), &id("a")).unwrap();
    assert_eq!((info.age_ms, info.liveness), (200, Liveness::Reachable));
    assert!(matches!(&events(&directory, 2)[..], [(3, Event::Updated { .. })]));

    assert!(directory.disconnected(ms(300), &id("a"), incarnation(1)));
    let renewed = directory.announce(ms(300), server("a", 1, &["y", "z"]));
    assert_eq!(renewed, Ok(Announced::Renewed { lease_ms: LEASE_MS, revision: revision(5) }));
    assert_eq!(events(&directory, 4), [(5, Event::Recovered)]);
}

#[test]
fn repeated_addresses_and_roles_count_once() {
    let mut directory = directory();
    let mut twice = server("a", 1, &["y", "x", "y"]);
    twice.addresses.push(twice.addresses[0].clone());
    accept(&mut directory, 0, twice.clone());
    let info = directory.lookup(ms(0), &id("a")).unwrap();
    assert_eq!((info.addresses.len(), info.roles), (1, vec![role("y"), role("x")]));
    assert!(matches!(directory.announce(ms(1), twice), Ok(Announced::Renewed { .. })));
}

#[test]
fn withdrawing_takes_out_the_one_that_is_meant() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &["x"]));
    accept(&mut directory, 0, server("b", 1, &["x"]));
    assert!(!directory.withdraw(ms(1), &id("a"), Some(incarnation(2))));
    assert!(!directory.withdraw(ms(1), &id("c"), None));
    assert!(directory.withdraw(ms(1), &id("a"), Some(incarnation(1))));
    assert!(!directory.withdraw(ms(1), &id("a"), Some(incarnation(1))));
    assert_eq!(names(&directory.by_role(ms(1), &role("x"))), ["b"]);
    assert_eq!(events(&directory, 2), [(3, Event::Gone { reason: GoneReason::Withdrawn })]);
    assert!(directory.withdraw(ms(1), &id("b"), None));
    assert_eq!(directory.next_deadline(), None);
    // A lease that has ended is gone already.
    accept(&mut directory, 1, server("c", 1, &[]));
    assert!(!directory.withdraw(ms(901), &id("c"), None));
}

#[test]
fn bounds_are_kept_with_a_reason() {
    let bounds = Options { max_servers: 2, max_addresses: 1, max_roles: 2, ..options() };
    let mut directory = Directory::new(HISTORY, bounds);
    accept(&mut directory, 0, server("a", 1, &["x", "y"]));
    accept(&mut directory, 10, server("b", 1, &[]));
    let mut refused = |announcement| directory.announce(ms(10), announcement).unwrap_err();
    assert_eq!(refused(server("c", 1, &[])), Refusal::TooManyServers { limit: 2 });
    assert_eq!(refused(server("a", 1, &["x", "y", "z"])), Refusal::TooManyRoles { found: 3, limit: 2 });
    let mut many = server("a", 1, &[]);
    many.addresses.push("tcp:h:2".parse().unwrap());
    assert_eq!(refused(many), Refusal::TooManyAddresses { found: 2, limit: 1 });
    let mut talkative = server("a", 1, &[]);
    talkative.agent = Some("x".repeat(MAX_AGENT_BYTES + 1));
    assert_eq!(refused(talkative), Refusal::AgentTooLong { bytes: 101, limit: 100 });
    let mut long = server("a", 1, &[]);
    long.addresses = vec![ensemble::Address::Unix(format!("/{}", "x".repeat(400)).into())];
    assert_eq!(refused(long), Refusal::BadAddress);
    // Nothing of it changed what is there.
    assert_eq!(directory.lookup(ms(10), &id("a")).unwrap().roles.len(), 2);
    assert_eq!(directory.revision(), revision(2));
    // Who has expired takes no place.
    accept(&mut directory, 905, server("c", 1, &[]));
    assert_eq!(names(&directory.all(ms(905))), ["b", "c"]);
}

#[test]
fn answers_are_in_the_order_of_ids_and_come_in_pages() {
    let mut directory = directory();
    for name in ["d", "b", "a", "c"] {
        accept(&mut directory, 0, server(name, 1, &["x"]));
    }
    assert!(directory.withdraw(ms(0), &id("c"), None));
    assert_eq!(names(&directory.all(ms(0))), ["a", "b", "d"]);
    assert_eq!(names(&directory.by_role(ms(0), &role("x"))), ["a", "b", "d"]);
    assert_eq!(names(&directory.page(ms(0), None, 2)), ["a", "b"]);
    assert_eq!(names(&directory.page(ms(0), Some(&id("b")), 2)), ["d"]);
    assert_eq!(names(&directory.page(ms(0), Some(&id("c")), 2)), ["d"]);
    assert!(directory.page(ms(0), Some(&id("d")), 2).is_empty());
    assert_eq!(directory.roles().collect::<Vec<_>>(), [&role("x")]);
}

#[test]
fn changes_resume_from_a_revision() {
    let mut directory = directory();
    for name in ["a", "b", "c"] {
        accept(&mut directory, 0, server(name, 1, &[]));
    }
    let batch = directory.changes_since(revision(0), 2).unwrap();
    assert_eq!((batch.changes.len(), batch.revision, batch.more), (2, revision(2), true));
    let batch = directory.changes_since(batch.revision, 2).unwrap();
    assert_eq!((batch.changes.len(), batch.revision, batch.more), (1, revision(3), false));
    assert_eq!(batch.changes[0].id, id("c"));
    let batch = directory.changes_since(batch.revision, 2).unwrap();
    assert_eq!((batch.changes.len(), batch.revision, batch.more), (0, revision(3), false));
}

#[test]
fn a_watcher_that_is_too_far_behind_is_told_so() {
    let mut directory = Directory::new(HISTORY, Options { max_servers: 2, max_changes: 0, ..options() });
    for _ in 0..3 {
        accept(&mut directory, 0, server("a", 1, &[]));
        assert!(directory.withdraw(ms(0), &id("a"), None));
    }
    // It keeps max_servers + 2.
    assert_eq!(directory.changes_since(revision(2), 9).unwrap().changes.len(), 4);
    let compacted = Compacted { current: revision(6) };
    assert_eq!(directory.changes_since(revision(1), 9), Err(compacted));
    assert_eq!(directory.writes_since(revision(1)), Err(compacted));
    // From the future, or from before a restart.
    assert_eq!(directory.changes_since(revision(7), 9), Err(compacted));
    let other = Revision { history: incarnation(1), number: 6 };
    assert_eq!(directory.changes_since(other, 9), Err(compacted));
}

#[test]
fn only_what_has_to_survive_is_written() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &[]));
    accept(&mut directory, 0, server("b", 1, &[]));
    accept(&mut directory, 0, server("c", 1, &[]));
    let seen = directory.revision();
    assert!(directory.disconnected(ms(1), &id("c"), incarnation(1)));
    assert_eq!(beat(&mut directory, 2, "c", 1), RENEWED);
    assert_eq!(directory.writes_since(seen), Ok(vec![]));
    assert!(directory.withdraw(ms(2), &id("b"), None));
    let open = contest(&mut directory, 3, server("a", 2, &[]));
    assert!(matches!(directory.resolve_contest(ms(4), open, false), Ok(Announced::Accepted { .. })));
    let stored = StoredEntry::Server {
        server: server("a", 2, &[]),
        announced_at_ms: 4,
        superseded: vec![incarnation(1)],
    };
    let gone = StoredEntry::Gone { id: id("b"), incarnations: vec![incarnation(1)] };
    let writes = vec![Write::Put(stored.clone()), Write::Put(gone.clone())];
    assert_eq!(directory.writes_since(seen), Ok(writes));
    assert_eq!(directory.stored(&id("a")), Some(stored));
    assert_eq!(directory.stored(&id("b")), Some(gone));
    assert_eq!(directory.stored_all().len(), 3);
}

#[test]
fn ids_that_are_forgotten_are_removed_from_the_disk() {
    let mut directory =
        Directory::new(HISTORY, Options { max_remembered: 1, max_servers: 9, max_changes: 0, ..options() });
    for name in ["a", "b", "c"] {
        accept(&mut directory, 0, server(name, 1, &[]));
    }
    assert!(directory.withdraw(ms(1), &id("a"), None));
    let seen = directory.revision();
    assert!(directory.withdraw(ms(2), &id("b"), None));
    let gone = |name| Write::Put(StoredEntry::Gone { id: id(name), incarnations: vec![incarnation(1)] });
    assert_eq!(directory.writes_since(seen), Ok(vec![Write::Remove(id("a")), gone("b")]));
    let seen = directory.revision();
    // One that is there again is not removed.
    accept(&mut directory, 3, server("a", 2, &[]));
    assert!(directory.withdraw(ms(4), &id("c"), None));
    let writes = directory.writes_since(seen).unwrap();
    assert!(matches!(&writes[..], [Write::Put(StoredEntry::Server { .. }), Write::Remove(_), Write::Put(_)]));
    assert_eq!(writes[1..], [Write::Remove(id("b")), gone("c")]);
    assert_eq!(directory.writes_since(directory.revision()), Ok(vec![]));
}

#[test]
fn a_superseded_incarnation_does_not_come_back_through_a_restart() {
    let mut before = directory();
    accept(&mut before, 0, server("a", 1, &[]));
    let open = contest(&mut before, 1, server("a", 2, &[]));
    assert!(matches!(before.resolve_contest(ms(2), open, false), Ok(Announced::Accepted { .. })));
    assert!(before.withdraw(ms(3), &id("a"), None));
    let Restored { mut directory, .. } =
        Directory::restore(ms(4), incarnation(77), options(), before.stored_all());
    assert!(directory.is_empty());
    assert_eq!(beat(&mut directory, 5, "a", 1), Heartbeat::Superseded);
    assert!(matches!(directory.announce(ms(5), server("a", 1, &[])), Err(Refusal::Superseded { .. })));
    accept(&mut directory, 6, server("a", 3, &[]));
    assert_eq!(beat(&mut directory, 7, "a", 2), Heartbeat::Superseded);
}

#[test]
fn after_a_restart_everything_is_suspect_for_one_lease() {
    let mut before = directory();
    accept(&mut before, 1000, server("a", 1, &["x"]));
    let open = contest(&mut before, 1001, server("a", 2, &["x"]));
    assert!(matches!(before.resolve_contest(ms(1002), open, false), Ok(Announced::Accepted { .. })));
    accept(&mut before, 1003, server("b", 1, &["x"]));

    let history = incarnation(77);
    let Restored { mut directory, refused } =
        Directory::restore(ms(5000), history, options(), before.stored_all());
    assert!(refused.is_empty());
    assert_eq!(directory.revision(), Revision { history, number: 0 });
    assert!(directory.changes_since(before.revision(), 9).is_err());
    let info = directory.lookup(ms(5000), &id("a")).unwrap();
    assert_eq!((info.liveness, info.age_ms, info.lease_left_ms), (Liveness::Suspect, 3998, LEASE_MS));
    assert_eq!(names(&directory.by_role(ms(5000), &role("x"))), ["a", "b"]);

    // The one that is heard from is back; the other goes at the end of the lease.
    assert_eq!(beat(&mut directory, 5100, "a", 2), RENEWED);
    assert_eq!(liveness(&directory, 5100, "a"), Some(Liveness::Reachable));
    assert_eq!(liveness(&directory, 5899, "b"), Some(Liveness::Suspect));
    assert_eq!(liveness(&directory, 5900, "b"), None);
    // Another incarnation has to wait for the question, and what was superseded stays so.
    assert_eq!(contest(&mut directory, 5200, server("a", 3, &[])).holder().incarnation, incarnation(2));
    assert!(matches!(directory.announce(ms(5200), server("a", 1, &[])), Err(Refusal::Superseded { .. })));
}

#[test]
fn what_no_longer_fits_is_not_restored() {
    let mut before = directory();
    for name in ["a", "b", "c"] {
        accept(&mut before, 10, server(name, 1, &["x"]));
    }
    accept(&mut before, 10, server("a", 1, &["x", "y"]));
    let bounds = Options { max_servers: 1, max_roles: 1, ..options() };
    // A clock that was set back makes nothing younger than nothing.
    let Restored { directory, refused } = Directory::restore(ms(3), HISTORY, bounds, before.stored_all());
    assert_eq!(
        refused,
        [
            (id("a"), Refusal::TooManyRoles { found: 2, limit: 1 }),
            (id("c"), Refusal::TooManyServers { limit: 1 })
        ]
    );
    assert_eq!(directory.all(ms(5)).iter().map(|info| info.age_ms).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_clock_at_its_end_and_one_that_goes_back_do_no_harm() {
    let mut directory = directory();
    accept(&mut directory, 500, server("b", 1, &[]));
    assert_eq!(beat(&mut directory, 400, "b", 1), RENEWED);
    let info = directory.lookup(ms(300), &id("b")).unwrap();
    assert_eq!((info.age_ms, info.unheard_ms), (0, 0));
    let end = Duration::MAX;
    assert!(matches!(directory.announce(end, server("a", 1, &[])), Ok(Announced::Accepted { .. })));
    assert_eq!(directory.next_deadline(), Some(ms(850)));
    assert_eq!(directory.expire(end).len(), 2);
    assert_eq!(directory.next_deadline(), None);
}

#[test]
fn ten_thousand_servers_can_go_at_once() {
    let mut directory = directory();
    for n in 0..10_000 {
        accept(&mut directory, 0, server(&format!("s{n}"), 1, &["x"]));
    }
    let refused = directory.announce(ms(1), server("one-more", 1, &[]));
    assert_eq!(refused, Err(Refusal::TooManyServers { limit: 10_000 }));
    let seen = directory.revision();
    assert_eq!(directory.expire(ms(500)).len(), 10_000);
    assert_eq!(directory.expire(ms(900)).len(), 10_000);
    assert!(directory.is_empty());
    assert!(directory.changes_since(seen, 1).is_err());
    let half = Revision { number: seen.number + 10_000, ..seen };
    assert_eq!(directory.writes_since(half).unwrap().len(), 10_000);
}

#[test]
fn what_travels_survives_the_codec() {
    fn round_trip<T>(value: T)
    where
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let mut bytes = bytes::BytesMut::new();
        ensemble::codec::encode_message(&value, &mut bytes).unwrap();
        assert_eq!(ensemble::codec::decode_message::<T>(&bytes).unwrap(), value);
    }
    let mut directory = directory();
    round_trip(server("a", 1, &["x"]));
    accept(&mut directory, 0, server("a", 1, &["x"]));
    accept(&mut directory, 0, server("a", 1, &["y"]));
    assert!(directory.disconnected(ms(1), &id("a"), incarnation(1)));
    round_trip(directory.snapshot(ms(2)));
    round_trip(beat(&mut directory, 2, "a", 1));
    let open = contest(&mut directory, 3, server("a", 2, &[]));
    round_trip(directory.resolve_contest(ms(3), open, true).unwrap_err());
    assert!(directory.withdraw(ms(3), &id("a"), None));
    round_trip(directory.changes_since(revision(0), 99).unwrap());
    round_trip(directory.changes_since(revision(99), 99).unwrap_err());
}
