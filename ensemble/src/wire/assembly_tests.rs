//! Announcements, grants, chunks and the budget, one step at a time.

use super::*;
use crate::wire::frame::Route;

const POST: Head<'_> = Head::Post { route: Route { actor: b"a", message: b"m", trace: None } };
const REPLY: Head<'_> = Head::Reply { call: 1, status: 0 };

fn assembly(budget_bytes: u64) -> Assembly {
    Assembly::new(&Limits { max_message_bytes: 1000, max_in_flight_bytes: budget_bytes, ..Limits::default() })
}

#[test]
fn a_message_comes_together_from_its_chunks() {
    let mut assembly = assembly(1000);
    assert_eq!(assembly.announced(7, 5, &POST), Ok(true));
    assert_eq!(assembly.chunk(7, b"abc"), Ok(None));
    let complete = assembly.chunk(7, b"de").unwrap().unwrap();
    assert_eq!(complete.payload, "abcde");
    assert_eq!(frame::read_head(&complete.head).unwrap(), POST);
    assert_eq!(complete.budgeted_bytes, 5);
    assert_eq!(assembly.chunk(7, b"f"), Err(Violation::BadChunk), "it is over");
    assert_eq!(assembly.held_bytes(), 0);
}

#[test]
fn chunks_must_be_granted_and_fit() {
    let mut assembly = assembly(10);
    assert_eq!(assembly.chunk(1, b"a"), Err(Violation::BadChunk), "not announced");
    assert_eq!(assembly.announced(1, 10, &POST), Ok(true));
    assert_eq!(assembly.announced(2, 5, &POST), Ok(false));
    assert_eq!(assembly.chunk(2, b"a"), Err(Violation::BadChunk), "not granted");
    assert_eq!(assembly.chunk(1, b""), Err(Violation::BadChunk), "empty");
    assert_eq!(assembly.chunk(1, &[0; 11]), Err(Violation::BadChunk), "too long");
    assert_eq!(assembly.chunk(1, &[0; 9]), Ok(None));
    assert_eq!(assembly.chunk(1, &[0; 2]), Err(Violation::BadChunk), "too long by now");
}

#[test]
fn announcements_have_limits() {
    let mut assembly = assembly(10_000);
    assert_eq!(assembly.announced(1, 1001, &POST), Err(Violation::MessageTooLong));
    assert_eq!(assembly.announced(1, u64::MAX, &REPLY), Err(Violation::MessageTooLong));
    for stream in 0..MAX_OPEN_STREAMS as u32 {
        assert_eq!(assembly.announced(stream, 1000, &POST), Ok(true));
        assert_eq!(assembly.announced(stream, 1000, &REPLY), Err(Violation::StreamInUse));
        assert_eq!(assembly.announced(100 + stream, 1000, &REPLY), Ok(true), "replies have their own places");
    }
    assert_eq!(assembly.announced(50, 1, &POST), Err(Violation::TooManyStreams));
    assert_eq!(assembly.announced(51, 1, &REPLY), Err(Violation::TooManyStreams));
}

#[test]
fn the_budget_is_kept_and_given_back() {
    let mut assembly = assembly(100);
    assert_eq!(assembly.announced(1, 60, &POST), Ok(true));
    assert_eq!(assembly.announced(2, 50, &POST), Ok(false));
    assert_eq!(assembly.announced(3, 40, &POST), Ok(false), "not before one that waits already");
    assert_eq!(assembly.announced(4, 900, &REPLY), Ok(true), "a reply needs no budget");
    assert!(assembly.chunk(1, &[0; 60]).unwrap().is_some());
    assert_eq!(assembly.abort(4), [0; 0], "nor gives any back");
    assert_eq!(assembly.release(60), [2, 3]);
    assert_eq!(assembly.abort(3), [0; 0]);
    assert_eq!(assembly.announced(5, 50, &POST), Ok(true), "what was aborted is free");
    assert_eq!(assembly.announced(6, 1, &POST), Ok(false));
}

#[test]
fn one_message_larger_than_the_budget_is_let_through() {
    let mut assembly = assembly(100);
    assert_eq!(assembly.announced(1, 1000, &POST), Ok(true));
    assert_eq!(assembly.announced(2, 1000, &POST), Ok(false));
    assert_eq!(assembly.abort(1), [2]);
    assert_eq!(assembly.release(1000), [0; 0]);
    assert_eq!(assembly.release(u64::MAX), [0; 0], "more than there was is no overflow");
}

/// A smaller one behind it went on waiting.
#[test]
fn an_abort_of_one_that_waits_lets_those_behind_it_go_on() {
    let mut assembly = assembly(100);
    assert_eq!(assembly.announced(1, 60, &POST), Ok(true));
    assert_eq!(assembly.announced(2, 50, &POST), Ok(false));
    assert_eq!(assembly.announced(3, 40, &POST), Ok(false));
    assert_eq!(assembly.abort(2), [3]);
    assert_eq!(assembly.abort(2), [0; 0], "twice is no error");
}

#[test]
fn memory_follows_what_has_come() {
    let limits = Limits { max_message_bytes: 1 << 40, max_in_flight_bytes: 1 << 40, ..Limits::default() };
    let mut assembly = Assembly::new(&limits);
    assert_eq!(assembly.announced(1, 1 << 40, &POST), Ok(true));
    assert!(assembly.held_bytes() < 100);
    let chunk = vec![0; CHUNK_BYTES];
    for chunks in 1..100 {
        assert_eq!(assembly.chunk(1, &chunk), Ok(None));
        let come = chunks * CHUNK_BYTES;
        assert!(assembly.held_bytes() <= 3 * come + 8 * CHUNK_BYTES, "{} for {come}", assembly.held_bytes());
    }
}

#[test]
fn huge_limits_are_no_overflow() {
    let limits = Limits { max_message_bytes: u64::MAX, max_in_flight_bytes: u64::MAX, ..Limits::default() };
    let mut assembly = Assembly::new(&limits);
    assert_eq!(assembly.announced(1, u64::MAX, &POST), Ok(true));
    assert_eq!(assembly.announced(2, u64::MAX, &POST), Ok(true));
    assert_eq!(assembly.chunk(1, b"abc"), Ok(None));
}
