//! An acceptor whose peer sends anything.

#![no_main]

use arbitrary::Arbitrary;
use ensemble::handshake::{HandshakeError, MAX_HANDSHAKE_BYTES};
use ensemble_fuzz::{Arrival, acceptor, initiator};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    particular: bool,
    hello: Arrival<'a>,
    response: Arrival<'a>,
}

fuzz_target!(|input: Input<'_>| {
    let (honest, true_hello) = initiator(input.particular);
    let hello = input.hello.of(&true_hello);
    let (challenged, challenge) = match acceptor().hello(&hello) {
        Ok(next) => next,
        Err(rejection) => {
            assert_ne!(hello, true_hello, "an honest hello is refused");
            return check_reply(input.particular, &rejection.reply);
        }
    };
    let (_, true_response) =
        honest.challenge(&challenge).expect("the challenge comes from an honest acceptor");
    let response = input.response.of(&true_response);
    let honest = hello == true_hello && response == true_response;
    match challenged.response(&response) {
        Ok(_) => assert!(honest, "a peer is believed that proved nothing"),
        Err(rejection) => {
            assert!(!honest, "an honest response is refused");
            check_reply(input.particular, &rejection.reply);
        }
    }
});

/// Every refusal can be read at the other end.
fn check_reply(particular: bool, reply: &[u8]) {
    assert!(reply.len() <= MAX_HANDSHAKE_BYTES);
    match initiator(particular).0.challenge(reply).map(|_| ()) {
        Err(HandshakeError::Malformed(_) | HandshakeError::Unexpected { .. }) | Ok(()) => {
            panic!("{reply:?} is no refusal")
        }
        Err(_) => {}
    }
}
