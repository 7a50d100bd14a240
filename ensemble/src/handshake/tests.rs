//! Both machines against each other, and against peers that lie.

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    message::{Challenge, Hello, Versions},
    transcript::{Side, Transcript},
    *,
};
use crate::{Cookie, Incarnation, NameError, ServerId};

const INITIATOR_NONCE: Nonce = [0x22; NONCE_BYTES];
const ACCEPTOR_NONCE: Nonce = [0x44; NONCE_BYTES];

fn server(text: &str) -> ServerId {
    ServerId::new(text).unwrap()
}

fn initiator_local() -> Local {
    Local {
        server: server("console-1"),
        incarnation: Incarnation::from_bytes([0x11; 16]),
        limits: PeerLimits { max_frame_bytes: 65_536, max_message_bytes: 1 << 26, max_in_flight: 1024 },
        agent: Agent::new("ensemble/0.1.0").unwrap(),
    }
}

fn acceptor_local() -> Local {
    Local {
        server: server("kv@/site"),
        incarnation: Incarnation::from_bytes([0x33; 16]),
        limits: PeerLimits { max_frame_bytes: 4096, max_message_bytes: 4096, max_in_flight: 1 },
        agent: Agent::new("x/2").unwrap(),
    }
}

fn identity(local: Local) -> PeerIdentity {
    let Local { server, incarnation, limits, agent } = local;
    PeerIdentity { server, incarnation, limits, agent }
}

fn cookie() -> Cookie {
    Cookie::from_bytes(std::array::from_fn(|index| u8::try_from(index).unwrap()))
}

fn other_cookie() -> Cookie {
    Cookie::from_bytes([0xfe; 32])
}

fn initiator() -> (Initiator, Vec<u8>) {
    Initiator::start(initiator_local(), &cookie(), Some(server("kv@/site")), INITIATOR_NONCE)
}

fn acceptor() -> Acceptor {
    Acceptor::new(acceptor_local(), &cookie(), ACCEPTOR_NONCE)
}

fn challenged() -> (AcceptorChallenged, Vec<u8>) {
    acceptor().hello(&initiator().1).unwrap()
}

fn proved() -> (InitiatorProved, Vec<u8>) {
    initiator().0.challenge(&challenged().1).unwrap()
}

/// The four messages of the handshake that succeeds.
fn messages() -> [Vec<u8>; 4] {
    let accepted = challenged().0.response(&proved().1).unwrap().1;
    [initiator().1, challenged().1, proved().1, accepted]
}

/// How the handshake ends at the initiator and at the acceptor, when `change` sees each message on its way.
/// `None` is a side that is still waiting because the other went away.
type Ends = (Option<Result<Session, HandshakeError>>, Option<Result<Session, HandshakeError>>);

fn run(mut change: impl FnMut(usize, &mut Vec<u8>)) -> Ends {
    let (initiator, mut hello) = initiator();
    change(0, &mut hello);
    let (challenged, mut challenge) = match acceptor().hello(&hello) {
        Ok(next) => next,
        Err(rejection) => {
            let told = initiator.challenge(&rejection.reply).map(|_| panic!("a refusal is no challenge"));
            return (Some(told), Some(Err(rejection.error)));
        }
    };
    change(1, &mut challenge);
    let (proved, mut response) = match initiator.challenge(&challenge) {
        Ok(next) => next,
        Err(error) => return (Some(Err(error)), None),
    };
    change(2, &mut response);
    match challenged.response(&response) {
        Ok((session, mut accepted)) => {
            change(3, &mut accepted);
            (Some(proved.accepted(&accepted)), Some(Ok(session)))
        }
        Err(rejection) => (Some(proved.accepted(&rejection.reply)), Some(Err(rejection.error))),
    }
}

fn malformed(error: MalformedError) -> HandshakeError {
    HandshakeError::Malformed(error)
}

/// That the acceptor refuses a Hello, and what it says of that.
fn rejected(hello: &[u8]) -> Rejection {
    acceptor().hello(hello).map(|_| ()).unwrap_err()
}

/// The reason in a refusal, as an initiator without a wish reads it after its Response.
fn reason(reply: &[u8]) -> RefuseReason {
    match proved().0.accepted(reply).unwrap_err() {
        HandshakeError::Refused(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_sides_learn_who_the_other_is() {
    let (at_initiator, at_acceptor) = run(|_, _| {});
    assert_eq!(at_initiator, Some(Ok(Session { version: 1, peer: identity(acceptor_local()) })));
    assert_eq!(at_acceptor, Some(Ok(Session { version: 1, peer: identity(initiator_local()) })));
    assert_eq!(challenged().0.claimed_peer(), &identity(initiator_local()));
}

#[test]
fn whoever_is_there_may_be_wanted() {
    let (initiator, hello) = Initiator::start(initiator_local(), &cookie(), None, INITIATOR_NONCE);
    let (challenged, challenge) = acceptor().hello(&hello).unwrap();
    let (proved, response) = initiator.challenge(&challenge).unwrap();
    let (_, accepted) = challenged.response(&response).unwrap();
    assert_eq!(proved.accepted(&accepted).unwrap().peer.server, server("kv@/site"));
}

#[test]
fn the_bytes_are_pinned() {
    let golden = [
        "01454e534d0100010009636f6e736f6c652d31111111111111111111111111111111112222222222222222222222222222222222\
         222222222222222222222222222222086b76402f73697465000001000000000400000000000400000e656e73656d626c652f302e\
         312e30",
        "020100086b76402f7369746533333333333333333333333333333333444444444444444444444444444444444444444444444444\
         4444444444444444001000000010000000000000010000000378\
         2f32",
        "03b0f9f7916ebefe1ffb5142d8dfed20074b5d9750a3588fad8deb0c1bb2535049",
        "04dfa12b2c1bc02f42c9fed99497a81c2b6b1935dc347da2d15958b0124156c708",
    ];
    assert_eq!(messages().map(hex::encode), golden);
}

#[test]
fn the_bytes_of_refusals_are_pinned_and_round_trip() {
    for (refusal, golden) in [
        (RefuseReason::Malformed, "050100"),
        (RefuseReason::Version { lowest: 2, highest: 0x0103 }, "05020002000301"),
        (RefuseReason::Authentication, "050300"),
        (RefuseReason::WrongServer { actual: server("a@/b") }, "0504000461402f62"),
        (RefuseReason::SameIdentity, "050500"),
        (RefuseReason::Draining, "050600"),
        (RefuseReason::Overloaded, "050700"),
        (RefuseReason::PeerUser { uid: 1000 }, "050800e8030000"),
        (RefuseReason::TimedOut, "050900"),
        (RefuseReason::Other(0x1234), "053412"),
    ] {
        let bytes = refuse(&refusal);
        assert_eq!(hex::encode(&bytes), golden);
        assert_eq!(reason(&bytes), refusal);
        for length in 1..bytes.len() {
            let cut = proved().0.accepted(&bytes[..length]).unwrap_err();
            assert_eq!(cut, malformed(MalformedError::Truncated), "{refusal}");
        }
    }
}

#[test]
fn an_unknown_refusal_may_have_details() {
    assert_eq!(reason(&[5, 0x34, 0x12, 1, 2, 3]), RefuseReason::Other(0x1234));
    let known = proved().0.accepted(&[5, 6, 0, 1]).unwrap_err();
    assert_eq!(known, malformed(MalformedError::TrailingBytes { extra: 1 }));
}

#[test]
fn different_cookies_are_told_to_both_sides() {
    for (ours, theirs) in [(cookie(), other_cookie()), (other_cookie(), cookie())] {
        let (initiator, hello) = Initiator::start(initiator_local(), &ours, None, INITIATOR_NONCE);
        let (challenged, challenge) =
            Acceptor::new(acceptor_local(), &theirs, ACCEPTOR_NONCE).hello(&hello).unwrap();
        let (proved, response) = initiator.challenge(&challenge).unwrap();
        let rejection = challenged.response(&response).unwrap_err();
        assert_eq!(rejection.error, HandshakeError::Authentication);
        assert_eq!(rejection.peer, Some(server("console-1")));
        let told = proved.accepted(&rejection.reply).unwrap_err();
        assert_eq!(told, HandshakeError::Refused(RefuseReason::Authentication));
    }
}

#[test]
fn an_acceptor_without_the_cookie_is_found_out() {
    let [hello, challenge, ..] = messages();
    for (side, cookie) in [(Side::Acceptor, other_cookie()), (Side::Initiator, cookie())] {
        let transcript = Transcript { cookie, hello: hello.clone(), challenge: challenge.clone() };
        let mut accepted = transcript.prove(side);
        accepted[0] = MessageKind::Accepted.byte();
        assert_eq!(proved().0.accepted(&accepted), Err(HandshakeError::Authentication), "{side:?}");
    }
}

#[test]
fn a_message_out_of_order_is_refused() {
    let kinds = [MessageKind::Hello, MessageKind::Challenge, MessageKind::Response, MessageKind::Accepted];
    for (message, found) in messages().into_iter().zip(kinds) {
        let unexpected = |expected| HandshakeError::Unexpected { expected, found };
        if found != MessageKind::Hello {
            let rejection = rejected(&message);
            assert_eq!(rejection.error, unexpected(MessageKind::Hello));
            assert_eq!((reason(&rejection.reply), rejection.peer), (RefuseReason::Malformed, None));
        }
        if found != MessageKind::Challenge {
            let error = initiator().0.challenge(&message).unwrap_err();
            assert_eq!(error, unexpected(MessageKind::Challenge));
        }
        if found != MessageKind::Response {
            let rejection = challenged().0.response(&message).unwrap_err();
            assert_eq!(rejection.error, unexpected(MessageKind::Response));
            assert_eq!(reason(&rejection.reply), RefuseReason::Malformed);
        }
        if found != MessageKind::Accepted {
            let error = proved().0.accepted(&message).unwrap_err();
            assert_eq!(error, unexpected(MessageKind::Accepted));
        }
    }
    let refusal = refuse(&RefuseReason::Draining);
    assert!(matches!(rejected(&refusal).error, HandshakeError::Unexpected { .. }));
    assert!(matches!(
        challenged().0.response(&refusal).unwrap_err().error,
        HandshakeError::Unexpected { .. }
    ));
}

#[test]
fn what_is_sent_back_is_refused() {
    let own_nonce = Hello::encode(&initiator_local(), Versions::OWN, &ACCEPTOR_NONCE, None);
    let own_start = Local { incarnation: acceptor_local().incarnation, ..initiator_local() };
    let own_start = Hello::encode(&own_start, Versions::OWN, &INITIATOR_NONCE, None);
    for hello in [own_nonce, own_start] {
        let rejection = rejected(&hello);
        assert_eq!(rejection.error, HandshakeError::Reflected);
        assert_eq!(reason(&rejection.reply), RefuseReason::SameIdentity);
    }

    let own_nonce = Challenge::encode(&acceptor_local(), 1, &INITIATOR_NONCE);
    let own_start = Local { incarnation: initiator_local().incarnation, ..acceptor_local() };
    let own_start = Challenge::encode(&own_start, 1, &ACCEPTOR_NONCE);
    for challenge in [own_nonce, own_start] {
        assert_eq!(initiator().0.challenge(&challenge).unwrap_err(), HandshakeError::Reflected);
    }

    let (initiator, mut response) = proved();
    response[0] = MessageKind::Accepted.byte();
    assert_eq!(initiator.accepted(&response), Err(HandshakeError::Authentication));
}

#[test]
fn a_recorded_response_is_worth_nothing_later() {
    let [hello, _, response, _] = messages();
    let (later, _) = Acceptor::new(acceptor_local(), &cookie(), [0x45; NONCE_BYTES]).hello(&hello).unwrap();
    assert_eq!(later.response(&response).unwrap_err().error, HandshakeError::Authentication);
}

#[test]
fn the_own_server_id_at_the_other_end_is_refused() {
    let same = Local { server: acceptor_local().server, ..initiator_local() };
    let (initiator, hello) = Initiator::start(same, &cookie(), Some(server("kv@/site")), INITIATOR_NONCE);
    let rejection = rejected(&hello);
    let expected = HandshakeError::SameServer { server: server("kv@/site") };
    assert_eq!(rejection.error, expected);
    assert_eq!(reason(&rejection.reply), RefuseReason::SameIdentity);
    let challenge = Challenge::encode(&acceptor_local(), 1, &ACCEPTOR_NONCE);
    assert_eq!(initiator.challenge(&challenge).unwrap_err(), expected);
}

#[test]
fn a_server_that_was_not_wanted_is_told() {
    let start = || Initiator::start(initiator_local(), &cookie(), Some(server("kv-2")), INITIATOR_NONCE);
    let expected = HandshakeError::WrongServer { wanted: server("kv-2"), actual: server("kv@/site") };
    let rejection = rejected(&start().1);
    assert_eq!(rejection.error, expected);
    assert_eq!(reason(&rejection.reply), RefuseReason::WrongServer { actual: server("kv@/site") });
    assert_eq!(start().0.challenge(&rejection.reply).unwrap_err(), expected);
    let challenge = Challenge::encode(&acceptor_local(), 1, &ACCEPTOR_NONCE);
    assert_eq!(start().0.challenge(&challenge).unwrap_err(), expected);
}

#[test]
fn versions_without_overlap_are_told_to_both_sides() {
    let offer = |lowest, highest| {
        Hello::encode(&initiator_local(), Versions { lowest, highest }, &INITIATOR_NONCE, None)
    };
    let mut newer = offer(2, 3);
    let rejection = rejected(&newer);
    assert_eq!(rejection.error, HandshakeError::NoCommonVersion { lowest: 2, highest: 3 });
    assert_eq!(reason(&rejection.reply), RefuseReason::Version { lowest: 1, highest: 1 });
    let told = initiator().0.challenge(&rejection.reply).unwrap_err();
    assert_eq!(told, HandshakeError::NoCommonVersion { lowest: 1, highest: 1 });

    newer.truncate(9);
    newer.extend(b"whatever the later version has here");
    assert_eq!(rejected(&newer).error, HandshakeError::NoCommonVersion { lowest: 2, highest: 3 });

    let (wider, challenge) = acceptor().hello(&offer(0, u16::MAX)).unwrap();
    assert_eq!((wider.claimed_peer().server.as_str(), &challenge[1..3]), ("console-1", &[1, 0][..]));
    let error = rejected(&offer(2, 1)).error;
    assert_eq!(error, malformed(MalformedError::BadVersions { lowest: 2, highest: 1 }));

    for chosen in [0, 2, u16::MAX] {
        let challenge = Challenge::encode(&acceptor_local(), chosen, &ACCEPTOR_NONCE);
        let error = initiator().0.challenge(&challenge).unwrap_err();
        assert_eq!(error, malformed(MalformedError::VersionNotOffered { chosen }));
    }
}

#[test]
fn the_highest_common_version_is_chosen() {
    let range = |lowest, highest| Versions { lowest, highest };
    for (one, other, common) in [
        (range(1, 1), range(1, 1), Some(1)),
        (range(1, 3), range(2, 5), Some(3)),
        (range(1, 9), range(2, 5), Some(5)),
        (range(1, 2), range(3, 5), None),
        (range(4, 4), range(0, u16::MAX), Some(4)),
    ] {
        assert_eq!((one.common(other), other.common(one)), (common, common));
    }
}

#[test]
fn every_changed_byte_ends_the_handshake() {
    let lengths = messages().map(|message| message.len());
    for (number, length) in lengths.into_iter().enumerate() {
        for position in 0..length {
            for mask in 1..=u8::MAX {
                let (at_initiator, at_acceptor) = run(|index, message| {
                    if index == number {
                        message[position] ^= mask;
                    }
                });
                assert!(matches!(at_initiator, Some(Err(_))), "message {number}, {position}, {mask}");
                // The last message is the only one that the acceptor cannot know about.
                assert_eq!(matches!(at_acceptor, Some(Ok(_))), number == 3, "{number}, {position}, {mask}");
            }
        }
    }
}

#[test]
fn a_cut_or_longer_message_is_malformed() {
    let lengths = messages().map(|message| message.len());
    for (number, length) in lengths.into_iter().enumerate() {
        for wrong_length in (0..length).chain([length + 1]) {
            let (at_initiator, at_acceptor) = run(|index, message| {
                if index == number {
                    message.resize(wrong_length, 0);
                }
            });
            let error = match number {
                0 | 2 => at_acceptor.unwrap().unwrap_err(),
                _ => at_initiator.unwrap().unwrap_err(),
            };
            let expected = match wrong_length > length {
                true => MalformedError::TrailingBytes { extra: 1 },
                false => MalformedError::Truncated,
            };
            assert_eq!(error, malformed(expected), "message {number}, {wrong_length} bytes");
        }
    }
}

#[test]
fn bad_content_is_named() {
    let [hello, challenge, ..] = messages();
    let at = |message: &[u8], position: usize, bytes: &[u8]| {
        let mut changed = message.to_vec();
        changed[position..position + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let limits = LimitError { name: "max_in_flight", value: 0, minimum: 1 };
    for (bad, why) in [
        (at(&hello, 0, &[0]), MalformedError::UnknownKind { kind: 0 }),
        (at(&hello, 0, &[6]), MalformedError::UnknownKind { kind: 6 }),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), MalformedError::UnknownKind { kind: b'G' }),
        (at(&hello, 1, b"ENSN"), MalformedError::BadMagic),
        (at(&hello, 10, b"-"), MalformedError::BadServerId(NameError::BadStart { found: '-' })),
        (at(&hello, 11, b"\n"), MalformedError::BadServerId(NameError::BadCharacter { found: '\n' })),
        (at(&hello, 10, b"\xff"), MalformedError::NotText),
        (at(&hello, 68, b" "), MalformedError::BadServerId(NameError::BadCharacter { found: ' ' })),
        (at(&hello, 88, &[0, 0, 0, 0]), MalformedError::BadLimits(limits)),
        (at(&hello, 93, b"\x1b"), MalformedError::BadAgent(AgentError::BadCharacter { found: '\x1b' })),
        (vec![1; MAX_HANDSHAKE_BYTES + 1], MalformedError::TooLong { bytes: MAX_HANDSHAKE_BYTES + 1 }),
    ] {
        let rejection = rejected(&bad);
        assert_eq!(rejection.error, malformed(why));
        assert_eq!((reason(&rejection.reply), rejection.peer), (RefuseReason::Malformed, None));
    }
    for (bad, why) in [
        (at(&challenge, 3, &[0]), MalformedError::BadServerId(NameError::Empty)),
        (at(&challenge, 72, &[0, 0, 0, 0]), MalformedError::BadLimits(limits)),
    ] {
        assert_eq!(initiator().0.challenge(&bad).unwrap_err(), malformed(why));
    }
}

#[test]
fn the_longest_messages_are_within_the_limit() {
    let longest = |first: char| Local {
        server: server(&first.to_string().repeat(crate::MAX_SERVER_ID_BYTES)),
        agent: Agent::new("x".repeat(MAX_AGENT_BYTES)).unwrap(),
        ..initiator_local()
    };
    let wanted = longest('b').server;
    let (initiator, hello) = Initiator::start(longest('a'), &cookie(), Some(wanted), INITIATOR_NONCE);
    let acceptor = Local { incarnation: acceptor_local().incarnation, ..longest('b') };
    let (challenged, challenge) = Acceptor::new(acceptor, &cookie(), ACCEPTOR_NONCE).hello(&hello).unwrap();
    let (proved, response) = initiator.challenge(&challenge).unwrap();
    assert!(hello.len() < MAX_HANDSHAKE_BYTES && challenge.len() < MAX_HANDSHAKE_BYTES);
    assert!(proved.accepted(&challenged.response(&response).unwrap().1).is_ok());
}

#[test]
fn debug_shows_no_secret() {
    let [_, _, response, accepted] = messages();
    let rejection = challenged().0.response(&accepted).unwrap_err();
    let shown = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}",
        initiator().0,
        acceptor(),
        challenged().0,
        proved().0,
        rejection,
        proved().0.accepted(&response),
    );
    let secrets =
        [cookie().reveal_hex().to_string(), hex::encode(&response[1..]), hex::encode(&accepted[1..])];
    for secret in secrets {
        let bytes = hex::decode(&secret).unwrap();
        assert!(!shown.contains(&secret) && !shown.contains(format!("{bytes:?}").trim_matches(['[', ']'])));
    }
}

/// Bytes of all sorts: noise, noise behind a true start, and true messages with noise in them.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let started =
        (select(vec![&b"\x01ENSM\x01\0\x01\0"[..], b"\x02\x01\0", b"\x03", b"\x04", b"\x05"]), noise())
            .prop_map(|(start, noise)| [start, &noise].concat());
    let changed = (0..4usize, any::<prop::sample::Index>(), vec(any::<u8>(), 1..8)).prop_map(
        |(number, position, noise)| {
            let mut message = messages()[number].clone();
            let position = position.index(message.len());
            message.splice(position.., noise);
            message
        },
    );
    prop_oneof![noise(), started, changed]
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

fn any_id() -> impl Strategy<Value = ServerId> {
    "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,90}(@(/[a-z0-9][a-z0-9.-]{0,30}){1,3})?".prop_map(|text| server(&text))
}

fn any_local() -> impl Strategy<Value = Local> {
    let limits =
        (4096u32.., 4096u64.., 1u32..).prop_map(|(max_frame_bytes, max_message_bytes, max_in_flight)| {
            PeerLimits { max_frame_bytes, max_message_bytes, max_in_flight }
        });
    (any_id(), any::<[u8; 16]>(), limits, "[!-~]{1,64}").prop_map(|(server, incarnation, limits, agent)| {
        Local {
            server,
            incarnation: Incarnation::from_bytes(incarnation),
            limits,
            agent: Agent::new(agent).unwrap(),
        }
    })
}

proptest! {
    #[test]
    fn no_bytes_make_a_machine_panic_or_believe(bytes in bytes()) {
        let [hello, challenge, response, accepted] = messages();
        if let Ok((challenged, _)) = acceptor().hello(&bytes) {
            prop_assert_eq!(challenged.response(&response).is_ok(), bytes == hello);
        }
        if let Ok((proved, _)) = initiator().0.challenge(&bytes) {
            prop_assert_eq!(proved.accepted(&accepted).is_ok(), bytes == challenge);
        }
        prop_assert_eq!(challenged().0.response(&bytes).is_ok(), bytes == response);
        prop_assert_eq!(proved().0.accepted(&bytes).is_ok(), bytes == accepted);
    }

    #[test]
    fn any_two_nodes_with_one_cookie_succeed(
        one in any_local(), other in any_local(), nonces in any::<[Nonce; 2]>(), secret in any::<[u8; 32]>(),
        particular in any::<bool>(),
    ) {
        prop_assume!(one.server != other.server && one.incarnation != other.incarnation && nonces[0] != nonces[1]);
        let cookie = Cookie::from_bytes(secret);
        let wanted = particular.then(|| other.server.clone());
        let (initiator, hello) = Initiator::start(one.clone(), &cookie, wanted, nonces[0]);
        let (challenged, challenge) = Acceptor::new(other.clone(), &cookie, nonces[1]).hello(&hello).unwrap();
        let (proved, response) = initiator.challenge(&challenge).unwrap();
        let (at_acceptor, accepted) = challenged.response(&response).unwrap();
        prop_assert_eq!(at_acceptor.peer, identity(one));
        prop_assert_eq!(proved.accepted(&accepted).unwrap().peer, identity(other));
    }
}
