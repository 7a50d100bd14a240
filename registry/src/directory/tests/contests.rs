//! Who has an id: contests, replacement, and incarnations that never come back.

use super::*;
use crate::directory::MAX_CONTEST_ROUNDS;

#[test]
fn a_dead_holder_is_replaced() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &["x"]));
    let open = contest(&mut directory, 100, server("a", 2, &["y"]));
    assert_eq!(open.holder().incarnation, incarnation(1));
    assert_eq!(open.announcement(), &server("a", 2, &["y"]));
    assert_eq!(directory.lookup(ms(100), &id("a")).unwrap().incarnation, incarnation(1));

    let done = directory.resolve_contest(ms(150), open, false);
    assert_eq!(done, Ok(Announced::Accepted { lease_ms: LEASE_MS, revision: revision(2) }));
    let info = directory.lookup(ms(150), &id("a")).unwrap();
    assert_eq!((info.incarnation, info.age_ms, info.lease_left_ms), (incarnation(2), 0, LEASE_MS));
    assert!(directory.by_role(ms(150), &role("x")).is_empty());
    assert_eq!(names(&directory.by_role(ms(150), &role("y"))), ["a"]);
    let [(2, Event::Announced { replaced, .. })] = &events(&directory, 1)[..] else { panic!("one change") };
    assert_eq!(*replaced, Some(incarnation(1)));
    assert_eq!(directory.next_deadline(), Some(ms(600)));
}

#[test]
fn a_live_holder_keeps_the_id() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &[]));
    let open = contest(&mut directory, 100, server("a", 2, &[]));
    let refusal = directory.resolve_contest(ms(150), open, true).unwrap_err();
    let addresses = vec!["tcp:127.0.0.1:1".parse().unwrap()];
    assert_eq!(refusal, Refusal::Held { id: id("a"), incarnation: incarnation(1), addresses });
    assert_eq!(
        refusal.to_string(),
        "the server id a is held by incarnation 01010101-0101-0101-0101-010101010101, which is alive at \
         tcp:127.0.0.1:1"
    );
    assert_eq!(directory.lookup(ms(150), &id("a")).unwrap().incarnation, incarnation(1));
    assert_eq!(directory.revision(), revision(1));
    // The one that was refused is not superseded: it may try again when the holder is gone.
    assert!(directory.withdraw(ms(200), &id("a"), None));
    accept(&mut directory, 201, server("a", 2, &[]));
}

#[test]
fn an_expired_holder_is_replaced_without_asking() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &[]));
    accept(&mut directory, 900, server("a", 2, &[]));
    let events = events(&directory, 1);
    assert!(matches!(
        &events[..],
        [(2, Event::Gone { reason: GoneReason::Expired }), (3, Event::Announced { replaced: None, .. })]
    ));
    assert!(matches!(
        directory.announce(ms(901), server("a", 1, &[])),
        Err(Refusal::Superseded { incarnation: old, .. }) if old == incarnation(1)
    ));
}

#[test]
fn a_contest_outlives_its_holder() {
    for withdrawn in [true, false] {
        let mut directory = directory();
        accept(&mut directory, 0, server("a", 1, &[]));
        let open = contest(&mut directory, 100, server("a", 2, &[]));
        let at = if withdrawn {
            assert!(directory.withdraw(ms(150), &id("a"), Some(incarnation(1))));
            ms(160)
        } else {
            ms(900)
        };
        let done = directory.resolve_contest(at, open, true);
        assert!(matches!(done, Ok(Announced::Accepted { .. })), "{done:?}");
    }
}

#[test]
fn a_holder_that_is_heard_from_during_a_contest_is_not_replaced() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &[]));
    let mut open = contest(&mut directory, 100, server("a", 2, &[]));
    for round in 1..MAX_CONTEST_ROUNDS {
        // Even within the same instant.
        assert_eq!(beat(&mut directory, 100, "a", 1), RENEWED);
        open = contested(directory.resolve_contest(ms(100), open, false));
        assert_eq!(open.round(), round);
    }
    assert_eq!(beat(&mut directory, 100, "a", 1), RENEWED);
    let refusal = directory.resolve_contest(ms(100), open, false).unwrap_err();
    assert!(matches!(refusal, Refusal::Held { incarnation: holder, .. } if holder == incarnation(1)));
}

#[test]
fn a_contest_that_was_opened_again_ends_when_the_holder_stays_silent() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &[]));
    let open = contest(&mut directory, 100, server("a", 2, &[]));
    assert_eq!(beat(&mut directory, 101, "a", 1), RENEWED);
    let open = contested(directory.resolve_contest(ms(110), open, false));
    assert!(matches!(directory.resolve_contest(ms(120), open, false), Ok(Announced::Accepted { .. })));
}

#[test]
fn a_verdict_counts_only_for_the_holder_it_is_about() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &[]));
    let second = contest(&mut directory, 100, server("a", 2, &[]));
    let third = contest(&mut directory, 100, server("a", 3, &[]));
    let again = contest(&mut directory, 100, server("a", 2, &[]));
    assert!(matches!(directory.resolve_contest(ms(110), second, false), Ok(Announced::Accepted { .. })));
    // The same server asked twice: it has the id already.
    assert!(matches!(directory.resolve_contest(ms(111), again, false), Ok(Announced::Renewed { .. })));
    // What was found out about the first says nothing about the second.
    let third = contested(directory.resolve_contest(ms(112), third, false));
    assert_eq!(third.holder().incarnation, incarnation(2));
    assert!(matches!(directory.resolve_contest(ms(113), third, true), Err(Refusal::Held { .. })));
}

#[test]
fn who_loses_the_id_during_its_own_contest_is_superseded() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &[]));
    let second = contest(&mut directory, 100, server("a", 2, &[]));
    let again = contest(&mut directory, 100, server("a", 2, &[]));
    assert!(matches!(directory.resolve_contest(ms(110), second, false), Ok(Announced::Accepted { .. })));
    let third = contest(&mut directory, 120, server("a", 3, &[]));
    assert!(matches!(directory.resolve_contest(ms(130), third, false), Ok(Announced::Accepted { .. })));
    assert!(matches!(directory.resolve_contest(ms(140), again, false), Err(Refusal::Superseded { .. })));
}

#[test]
fn a_superseded_incarnation_never_comes_back() {
    let mut directory = directory();
    accept(&mut directory, 0, server("a", 1, &[]));
    let open = contest(&mut directory, 1, server("a", 2, &[]));
    assert!(matches!(directory.resolve_contest(ms(2), open, false), Ok(Announced::Accepted { .. })));
    let check = |directory: &mut Directory, at_ms| {
        assert_eq!(beat(directory, at_ms, "a", 1), Heartbeat::Superseded);
        let refused = directory.announce(ms(at_ms), server("a", 1, &[]));
        assert_eq!(refused, Err(Refusal::Superseded { id: id("a"), incarnation: incarnation(1) }));
        assert!(!directory.withdraw(ms(at_ms), &id("a"), Some(incarnation(1))));
        assert!(!directory.disconnected(ms(at_ms), &id("a"), incarnation(1)));
    };
    check(&mut directory, 3);
    assert_eq!(liveness(&directory, 3, "a"), Some(Liveness::Reachable));
    // Also when the newer one is gone, whichever way.
    check(&mut directory, 950);
    accept(&mut directory, 960, server("a", 2, &[]));
    assert!(directory.withdraw(ms(970), &id("a"), Some(incarnation(2))));
    check(&mut directory, 980);
    // The newest may come back; what it says of itself counts.
    accept(&mut directory, 990, server("a", 2, &[]));
}
