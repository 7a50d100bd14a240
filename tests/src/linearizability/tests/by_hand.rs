//! Small histories, right and wrong.

use super::*;

#[track_caller]
fn right(history: &[(u64, u64, (Call, Outcome))]) {
    let history: Vec<_> = history.iter().map(|(begun, ended, it)| operation(*begun, *ended, *it)).collect();
    if let Err(why) = check(&history) {
        panic!("{why}");
    }
    check_revisions(&history).unwrap();
}

#[track_caller]
fn wrong(history: &[(u64, u64, (Call, Outcome))]) {
    let history: Vec<_> = history.iter().map(|(begun, ended, it)| operation(*begun, *ended, *it)).collect();
    assert!(!is_right(&history));
}

#[test]
fn one_after_the_other() {
    right(&[]);
    right(&[
        (1, 2, got(None)),
        (3, 4, put(10, done(1))),
        (5, 6, got(Some((10, 1)))),
        (7, 8, put_if(Condition::Absent, 11, Outcome::Conflict(Some(1)))),
        (9, 10, put_if(Condition::Revision(1), 12, done(5))),
        (11, 12, put_if(Condition::Revision(1), 13, Outcome::Conflict(Some(5)))),
        (13, 14, remove_if(Condition::Revision(1), Outcome::Conflict(Some(5)))),
        (15, 16, remove_if(Condition::Revision(5), done(6))),
        (17, 18, remove(Outcome::Done(None))),
        (19, 20, remove_if(Condition::Revision(6), Outcome::Conflict(None))),
        (21, 22, put_if(Condition::Revision(6), 14, Outcome::Conflict(None))),
        (23, 24, put_if(Condition::Absent, 15, done(7))),
        (25, 26, remove(done(8))),
        (27, 28, got(None)),
    ]);
}

#[test]
fn a_get_sees_no_other_value_than_the_last() {
    wrong(&[(1, 2, got(Some((1, 1))))]);
    wrong(&[(1, 2, put(1, done(1))), (3, 4, got(None))]);
    wrong(&[(1, 2, put(1, done(1))), (3, 4, put(2, done(2))), (5, 6, got(Some((1, 1))))]);
    wrong(&[(1, 2, put(1, done(1))), (3, 4, got(Some((1, 2))))]);
    wrong(&[(1, 2, put(1, done(1))), (3, 4, remove(done(2))), (5, 6, got(Some((1, 1))))]);
    wrong(&[(1, 2, put(1, done(1))), (3, 4, remove(Outcome::Done(None)))]);
    wrong(&[(1, 2, remove(done(1)))]);
}

#[test]
fn during_a_put_a_get_sees_either_value_and_never_the_old_one_again() {
    let first = (1, 2, put(1, done(1)));
    let during = (3, 10, put(2, done(2)));
    right(&[first, during, (4, 5, got(Some((1, 1))))]);
    right(&[first, during, (4, 5, got(Some((2, 2))))]);
    right(&[first, during, (4, 5, got(Some((1, 1)))), (6, 7, got(Some((2, 2))))]);
    wrong(&[first, during, (4, 5, got(Some((2, 2)))), (6, 7, got(Some((1, 1))))]);
    wrong(&[first, during, (11, 12, got(Some((1, 1))))]);
}

#[test]
fn the_revisions_of_a_key_do_not_go_back() {
    wrong(&[(1, 2, put(1, done(5))), (3, 4, put(2, done(4)))]);
    wrong(&[(1, 2, put(1, done(5))), (3, 4, put(2, done(5)))]);
    wrong(&[(1, 2, put(1, done(5))), (3, 4, remove(done(5)))]);
    wrong(&[(1, 2, put(1, done(5))), (3, 4, remove(done(6))), (5, 6, put_if(Condition::Absent, 2, done(6)))]);
    // At the same time, either can be the first.
    right(&[(1, 4, put(1, done(5))), (2, 3, put(2, done(4)))]);
}

#[test]
fn of_two_that_compare_and_swap_one_succeeds() {
    let first = (1, 2, put(1, done(1)));
    let swap = |value, outcome| put_if(Condition::Revision(1), value, outcome);
    right(&[first, (3, 6, swap(2, done(2))), (4, 5, swap(3, Outcome::Conflict(Some(2))))]);
    wrong(&[first, (3, 6, swap(2, done(2))), (4, 5, swap(3, done(3)))]);
    wrong(&[first, (3, 6, swap(2, Outcome::Conflict(Some(1))))]);
    wrong(&[first, (3, 6, swap(2, Outcome::Conflict(None)))]);
    // One that was sent twice: its first time it was done, and the second told of.
    wrong(&[first, (3, 4, swap(2, Outcome::Conflict(Some(2)))), (5, 6, got(Some((2, 2))))]);
    let create = |value, outcome| put_if(Condition::Absent, value, outcome);
    wrong(&[(3, 6, create(2, done(2))), (4, 5, create(3, done(3)))]);
}

#[test]
fn what_is_unknown_is_done_at_any_time_or_never() {
    let unknown = (1, 2, put(1, Outcome::Unknown));
    right(&[unknown, (3, 4, got(None)), (5, 6, got(None))]);
    right(&[unknown, (3, 4, got(None)), (5, 6, got(Some((1, 9)))), (7, 8, got(Some((1, 9))))]);
    wrong(&[unknown, (3, 4, got(Some((1, 9)))), (5, 6, got(None))]);
    wrong(&[unknown, (3, 4, got(Some((1, 9)))), (5, 6, got(Some((1, 8))))]);
    wrong(&[unknown, (3, 4, got(Some((1, 9)))), (5, 6, put(2, done(10))), (7, 8, got(Some((1, 9))))]);
    // Not before it was begun.
    wrong(&[(1, 2, got(Some((1, 1)))), (3, 4, put(1, Outcome::Unknown))]);
    // Once.
    wrong(&[unknown, (3, 4, got(Some((1, 9)))), (5, 6, remove(done(10))), (7, 8, got(Some((1, 11))))]);
    let removal = (3, 4, remove(Outcome::Unknown));
    right(&[(1, 2, put(1, done(1))), removal, (5, 6, got(Some((1, 1)))), (7, 8, got(None))]);
    wrong(&[(1, 2, put(1, done(1))), removal, (5, 6, got(None)), (7, 8, got(Some((1, 1))))]);
    // What nobody sees of it, a write shows.
    right(&[unknown, (3, 4, remove(done(3)))]);
    right(&[unknown, (3, 4, put_if(Condition::Absent, 2, Outcome::Conflict(Some(4))))]);
    wrong(&[
        unknown,
        (3, 4, put_if(Condition::Absent, 2, Outcome::Conflict(Some(4)))),
        (5, 6, got(Some((1, 5)))),
    ]);
    let swap = (5, 6, put_if(Condition::Revision(1), 2, Outcome::Unknown));
    right(&[(1, 2, put(1, done(1))), swap, (7, 8, got(Some((2, 2))))]);
    wrong(&[(1, 2, put(1, done(1))), (3, 4, put(3, done(3))), swap, (7, 8, got(Some((2, 4))))]);
}

#[test]
fn keys_are_apart() {
    let of = |key, (begun, ended, it)| Operation { key, ..operation(begun, ended, it) };
    let history =
        [of(1, (1, 2, put(1, done(1)))), of(2, (3, 4, got(None))), of(1, (5, 6, got(Some((1, 1)))))];
    assert!(is_right(&history));
    assert_eq!(check(&history).unwrap().keys, 2);
    assert!(!is_right(&[of(1, (1, 2, put(1, done(1)))), of(2, (3, 4, got(Some((1, 1)))))]));
}

#[test]
fn revisions_of_the_whole_store() {
    let of = |key, begun, ended, it| Operation { key, ..operation(begun, ended, it) };
    let fault = |history: &[Operation]| check_revisions(history).unwrap_err().what;
    assert!(check_revisions(&[of(1, 1, 4, put(1, done(2))), of(2, 2, 3, put(2, done(1)))]).is_ok());
    let back = "a write has a revision that is not above one known before";
    let first = of(1, 1, 2, put(1, done(2)));
    assert_eq!(fault(&[first, of(2, 3, 4, put(2, done(1)))]), back);
    assert_eq!(fault(&[first, of(1, 3, 4, got(Some((1, 9)))), of(2, 5, 6, put(2, done(8)))]), back);
    let twice = "a revision belongs to two writes";
    assert_eq!(fault(&[first, of(2, 1, 2, put(2, done(2)))]), twice);
    assert_eq!(fault(&[first, of(2, 3, 4, got(Some((1, 2))))]), twice);
    assert_eq!(fault(&[first, of(1, 3, 4, got(Some((3, 2))))]), twice);
    assert_eq!(fault(&[of(1, 1, 2, remove(done(2))), of(1, 1, 2, got(Some((3, 2))))]), twice);
}

#[test]
fn more_under_way_than_can_be_looked_at_is_no_verdict() {
    let history: Vec<_> = (0..200).map(|n| operation(1, 2, put(n, Outcome::Unknown))).collect();
    assert_eq!(check(&history), Err(Unexplained::TooMuch { key: 7 }));
}
