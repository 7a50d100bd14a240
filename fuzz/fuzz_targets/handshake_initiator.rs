//! An initiator whose peer sends anything.

#![no_main]

use arbitrary::Arbitrary;
use ensemble_fuzz::{Arrival, acceptor, initiator};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    particular: bool,
    challenge: Arrival<'a>,
    accepted: Arrival<'a>,
}

fuzz_target!(|input: Input<'_>| {
    let (initiator, hello) = initiator(input.particular);
    let (challenged, true_challenge) =
        acceptor().hello(&hello).expect("the hello comes from an honest initiator");
    let challenge = input.challenge.of(&true_challenge);
    let Ok((proved, response)) = initiator.challenge(&challenge) else {
        assert_ne!(challenge, true_challenge, "an honest challenge is refused");
        return;
    };
    // The acceptor finds out by itself when its challenge was changed; then there is only what it says of that.
    let (honest_so_far, true_answer) = match challenged.response(&response) {
        Ok((_, accepted)) => (true, accepted),
        Err(rejection) => (false, rejection.reply),
    };
    assert_eq!(honest_so_far, challenge == true_challenge);
    let answer = input.accepted.of(&true_answer);
    let honest = honest_so_far && answer == true_answer;
    assert_eq!(proved.accepted(&answer).is_ok(), honest, "who is believed and who proved it differ");
});
