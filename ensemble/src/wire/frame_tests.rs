//! The bytes of each frame, which are protocol version 1: a change here is a new version.

use proptest::{collection::vec, prelude::*};

use super::*;

const ROUTE: Route<'_> = Route { actor: b"kv", message: b"kv.get", trace: None };
const TRACED: Route<'_> = Route {
    actor: b"kv",
    message: b"kv.get",
    trace: Some(Trace { trace_id: [0x11; 16], span_id: [0x22; 8], flags: 1 }),
};

fn written(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out);
    out.to_vec()
}

fn message(head: Head<'_>, payload: &[u8]) -> Vec<u8> {
    written(|out| write_message(&head, payload, out))
}

fn control(control: Control) -> Vec<u8> {
    written(|out| write_control(&control, out))
}

#[test]
fn the_bytes_of_each_kind_are_pinned() {
    let route = b"\x02kv\x06kv.get\x00";
    let traced = [&b"\x02kv\x06kv.get\x01"[..], &[0x11; 16], &[0x22; 8], b"\x01"].concat();
    let request = Head::Request { call: 5, timeout_ms: 5000, route: ROUTE };
    let cases: [(&str, Vec<u8>, Vec<u8>); 14] = [
        (
            "request",
            message(request, b"pay"),
            [b"\0\0\0\x13\x01\x05\xfb\x88\x13", &route[..], b"pay"].concat(),
        ),
        (
            "request with a trace",
            message(Head::Request { call: 0x1_0000, timeout_ms: 250, route: TRACED }, b""),
            [b"\0\0\0\x2b\x01\xfc\x00\x00\x01\x00\xfa", &traced[..]].concat(),
        ),
        ("post", message(Head::Post { route: ROUTE }, b"p"), [b"\0\0\0\x0d\x02", &route[..], b"p"].concat()),
        ("reply", message(Head::Reply { call: 7, status: 0 }, b"ok"), b"\0\0\0\x05\x03\x07\x00ok".to_vec()),
        (
            "reply with a failure",
            message(Head::Reply { call: 7, status: 500 }, b""),
            b"\0\0\0\x05\x03\x07\xfb\xf4\x01".to_vec(),
        ),
        (
            "open",
            written(|out| write_open(3, 70_000, &request, out)),
            [b"\0\0\0\x17\x04\x03\xfc\x70\x11\x01\x00\x00\x05\xfb\x88\x13", &route[..]].concat(),
        ),
        ("grant", control(Control::Grant { stream: 3 }), b"\0\0\0\x02\x05\x03".to_vec()),
        ("chunk", written(|out| write_chunk(3, b"data", out)), b"\0\0\0\x06\x06\x03data".to_vec()),
        ("abort", control(Control::Abort { stream: 251 }), b"\0\0\0\x04\x07\xfb\xfb\x00".to_vec()),
        ("cancel", control(Control::Cancel { call: 5 }), b"\0\0\0\x02\x08\x05".to_vec()),
        ("credit", control(Control::Credit { posts: 9 }), b"\0\0\0\x02\x09\x09".to_vec()),
        ("ping", control(Control::Ping { token: 42 }), b"\0\0\0\x02\x0a\x2a".to_vec()),
        (
            "pong",
            control(Control::Pong { token: u64::MAX }),
            b"\0\0\0\x0a\x0b\xfd\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        ),
        ("two", [control(Control::Grant { stream: 1 }), control(Control::Cancel { call: 2 })].concat(), {
            b"\0\0\0\x02\x05\x01\0\0\0\x02\x08\x02".to_vec()
        }),
    ];
    for (what, found, expected) in cases {
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn the_longest_header_fits_beside_a_chunk() {
    let name = [b'x'; crate::id::MAX_NAME_BYTES];
    let route = Route { actor: &name, message: &name, trace: TRACED.trace };
    let head = Head::Request { call: u32::MAX, timeout_ms: u32::MAX, route };
    let whole = message(head, &vec![0; super::super::limits::CHUNK_BYTES]);
    assert!(whole.len() - LENGTH_BYTES <= MAX_FRAME_BYTES);
    assert_eq!(whole_frames(&whole).unwrap(), whole.len());
    let open = written(|out| write_open(u32::MAX, u64::MAX, &head, out));
    assert!(open.len() <= crate::handshake::PeerLimits::MIN_FRAME_BYTES as usize);
}

#[test]
fn a_length_is_not_believed() {
    let too_long = |bytes: &[u8]| matches!(whole_frames(bytes), Err(FrameError::TooLong { .. }));
    assert!(too_long(&[0xff; 4]), "4 GiB");
    assert!(too_long(&(MAX_FRAME_BYTES as u32 + 1).to_be_bytes()));
    assert!(!too_long(&(MAX_FRAME_BYTES as u32).to_be_bytes()));
    // Behind a frame that is whole, too.
    assert!(too_long(&[&control(Control::Grant { stream: 1 })[..], &[0xff; 4]].concat()));
    assert!(matches!(whole_frames(&[0; 4]), Err(FrameError::Empty)));
    assert!(matches!(read(&[]), Err(FrameError::Empty)));
}

#[test]
fn a_frame_that_is_not_whole_is_no_error() {
    let frame = message(Head::Post { route: ROUTE }, b"payload");
    for end in 0..frame.len() {
        assert_eq!(whole_frames(&frame[..end]).unwrap(), 0);
        assert_eq!(whole_frames(&[&frame[..], &frame[..end]].concat()).unwrap(), frame.len());
    }
    assert_eq!(first(&frame, 0).unwrap(), Some(4..frame.len()));
    assert_eq!(first(&frame, frame.len()).unwrap(), None);
}

#[test]
fn unknown_kinds_and_left_over_bytes_are_errors() {
    for kind in [0, 12, 99, 255] {
        assert!(matches!(read(&[kind, 0, 0]), Err(FrameError::UnknownKind(found)) if found == kind));
    }
    for kind in [GRANT, ABORT, CANCEL, CREDIT, PING, PONG] {
        assert!(read(&[kind, 1]).is_ok(), "{kind}");
        assert!(matches!(read(&[kind, 1, 1]), Err(FrameError::Header(_))), "{kind}");
        assert!(matches!(read(&[kind]), Err(FrameError::Header(_))), "{kind}");
    }
    // A name that claims more than there is, up to 2^64 bytes.
    assert!(matches!(read(&[POST, 5, b'a']), Err(FrameError::Header(_))));
    let huge = [&[POST, 0xfd][..], &[0xff; 8]].concat();
    assert!(matches!(read(&huge), Err(FrameError::Header(_))));
}

fn any_trace() -> impl Strategy<Value = Option<Trace>> {
    proptest::option::of((any::<[u8; 16]>(), any::<[u8; 8]>(), any::<u8>()))
        .prop_map(|trace| trace.map(|(trace_id, span_id, flags)| Trace { trace_id, span_id, flags }))
}

proptest! {
    #[test]
    fn messages_round_trip(
        kind in 0..3,
        numbers in any::<(u32, u32, u16)>(),
        actor in vec(any::<u8>(), 0..100),
        name in vec(any::<u8>(), 0..100),
        trace in any_trace(),
        payload in vec(any::<u8>(), 0..300),
        (stream, total) in any::<(u32, u64)>(),
    ) {
        let route = Route { actor: &actor, message: &name, trace };
        let head = match kind {
            0 => Head::Request { call: numbers.0, timeout_ms: numbers.1, route },
            1 => Head::Post { route },
            _ => Head::Reply { call: numbers.0, status: numbers.2 },
        };
        let whole = message(head, &payload);
        prop_assert_eq!(whole_frames(&whole).unwrap(), whole.len());
        let frame = &whole[first(&whole, 0).unwrap().unwrap()];
        match read(frame).unwrap() {
            Frame::Message { head: found, payload_at } => {
                prop_assert_eq!(found, head);
                prop_assert_eq!(&frame[payload_at..], &payload[..]);
            }
            other => prop_assert!(false, "{:?}", other),
        }
        let open = written(|out| write_open(stream, total, &head, out));
        prop_assert_eq!(read(&open[4..]).unwrap(), Frame::Open { stream, total, head });
        let kept = keep_head(&head);
        prop_assert_eq!(read_head(&kept).unwrap(), head);
    }

    #[test]
    fn controls_round_trip(number in any::<u32>(), token in any::<u64>()) {
        for (frame, expected) in [
            (Control::Grant { stream: number }, Frame::Grant { stream: number }),
            (Control::Abort { stream: number }, Frame::Abort { stream: number }),
            (Control::Cancel { call: number }, Frame::Cancel { call: number }),
            (Control::Credit { posts: number }, Frame::Credit { posts: number }),
            (Control::Ping { token }, Frame::Ping { token }),
            (Control::Pong { token }, Frame::Pong { token }),
        ] {
            let bytes = control(frame);
            prop_assert_eq!(read(&bytes[4..]).unwrap(), expected);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..400), kind in 0..13u8) {
        if let Ok(whole) = whole_frames(&bytes) {
            prop_assert!(whole <= bytes.len());
        }
        drop(read(&bytes));
        drop(read_head(&bytes));
        drop(read(&[&[kind][..], &bytes].concat()));
    }
}
