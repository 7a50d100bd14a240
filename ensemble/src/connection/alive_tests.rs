use super::*;

const INTERVAL: Duration = Duration::from_secs(5);

/// Looks whenever it is to, from the second 0 on, when it was heard last; what was asked when, and when it was lost.
fn silence(stuck_since: Option<u64>) -> (Vec<u64>, u64) {
    let start = Instant::now();
    let mut keep_alive = KeepAlive::new(INTERVAL, start);
    let (mut now, mut asked) = (start, Vec::new());
    let second = |at: Instant| at.saturating_duration_since(start).as_secs();
    loop {
        let stuck = stuck_since.map(|at| start + Duration::from_secs(at));
        match keep_alive.look(now, start, stuck) {
            Verdict::Lost => return (asked, second(now)),
            Verdict::Go { ask, look_again } => {
                if ask {
                    asked.push(second(now));
                }
                assert!(look_again > now, "it would look for ever");
                now = look_again;
            }
        }
    }
}

#[test]
fn a_silent_peer_is_asked_twice_and_then_lost() {
    assert_eq!(silence(None), (vec![5, 10], 15));
    assert_eq!(silence(Some(7)), (vec![5, 10], 15), "the longer silence counts");
}

#[test]
fn a_peer_that_takes_nothing_is_lost_whatever_it_sends() {
    let start = Instant::now();
    let mut keep_alive = KeepAlive::new(INTERVAL, start);
    let stuck = Some(start + Duration::from_secs(1));
    for second in 0..16 {
        let now = start + Duration::from_secs(second);
        let verdict = keep_alive.look(now, now, stuck.filter(|at| *at <= now));
        assert!(matches!(verdict, Verdict::Go { ask: false, .. }), "{second}: {verdict:?}");
    }
    let now = start + Duration::from_secs(16);
    assert_eq!(keep_alive.look(now, now, stuck), Verdict::Lost);
}

#[test]
fn whoever_is_heard_is_neither_asked_nor_lost() {
    let start = Instant::now();
    let mut keep_alive = KeepAlive::new(INTERVAL, start);
    for second in 0..1000 {
        let now = start + Duration::from_secs(second);
        let heard = start + Duration::from_secs(second / 4 * 4);
        let verdict = keep_alive.look(now, heard, Some(heard));
        assert!(matches!(verdict, Verdict::Go { ask: false, .. }), "{second}: {verdict:?}");
    }
}

#[test]
fn a_side_that_was_asleep_asks_before_it_gives_up() {
    let start = Instant::now();
    let at = |second| start + Duration::from_secs(second);
    let mut keep_alive = KeepAlive::new(INTERVAL, start);
    assert_eq!(keep_alive.look(start, start, None), Verdict::Go { ask: false, look_again: at(5) });
    assert_eq!(keep_alive.look(at(1000), start, None), Verdict::Go { ask: true, look_again: at(1005) });
    let mut same = KeepAlive::new(INTERVAL, start);
    same.look(start, start, None);
    same.look(at(1000), start, None);
    assert_eq!(same.look(at(1005), at(1001), None), Verdict::Go { ask: false, look_again: at(1006) });
    assert_eq!(keep_alive.look(at(1005), start, None), Verdict::Lost, "it had its chance");
}

#[test]
fn extreme_intervals_do_no_harm() {
    let start = Instant::now();
    for interval in [Duration::MAX, Duration::ZERO] {
        let mut keep_alive = KeepAlive::new(interval, start);
        let Verdict::Go { ask, look_again } = keep_alive.look(start, start, None) else {
            panic!("nobody is lost at once")
        };
        assert!(!ask && look_again > start);
    }
}
