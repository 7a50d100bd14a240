//! Golden bytes, and bytes that are refused.

use super::super::{DecodeError, Object};

/// Each object with its bytes after the header, as `docs/OBJECTS.md` gives them.
const GOLDEN: &[(&str, &[u8])] = &[
    ("()", &[0x00]),
    ("#f", &[0x01]),
    ("#t", &[0x02]),
    ("0", &[0x03, 0x00]),
    ("-1", &[0x03, 0x01]),
    ("1", &[0x03, 0x02]),
    ("63", &[0x03, 0x7e]),
    ("-64", &[0x03, 0x7f]),
    ("64", &[0x03, 0x80, 0x01]),
    ("300", &[0x03, 0xd8, 0x04]),
    (
        "-170141183460469231731687303715884105728",
        &[
            0x03, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xff, 0xff, 0x03,
        ],
    ),
    ("1.0", &[0x04, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]),
    ("-0.0", &[0x04, 0x80, 0, 0, 0, 0, 0, 0, 0]),
    ("+inf.0", &[0x04, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0]),
    ("+nan.0", &[0x04, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]),
    ("\"\"", &[0x05, 0x00]),
    ("\"né\"", &[0x05, 0x03, b'n', 0xc3, 0xa9]),
    ("abc", &[0x06, 0x03, b'a', b'b', b'c']),
    ("#u8(1 2 255)", &[0x07, 0x03, 0x01, 0x02, 0xff]),
    ("(1 ())", &[0x08, 0x02, 0x03, 0x02, 0x00]),
    ("(#t #f . 1)", &[0x09, 0x02, 0x02, 0x01, 0x03, 0x02]),
    ("#()", &[0x0a, 0x00]),
    ("#(1 #(#t))", &[0x0a, 0x02, 0x03, 0x02, 0x0a, 0x01, 0x02]),
    ("#map()", &[0x0b, 0x00]),
    ("#map((b . 2) (a . 1))", &[0x0b, 0x02, 0x06, 1, b'a', 0x03, 0x02, 0x06, 1, b'b', 0x03, 0x04]),
    (
        "((a . 1) (b . 2) (c . 3))",
        &[
            0x08, 0x03, 0x09, 0x01, 0x06, 0x01, b'a', 0x03, 0x02, 0x09, 0x01, 0x06, 0x01, b'b', 0x03, 0x04,
            0x09, 0x01, 0x06, 0x01, b'c', 0x03, 0x06,
        ],
    ),
];

fn with_header(body: &[u8]) -> Vec<u8> {
    [&[0xfb, 0x4f, 0x62, 0x01], body].concat()
}

#[test]
fn the_bytes_are_those_of_the_documentation() {
    for (text, body) in GOLDEN {
        let object = Object::parse_sexp(text).unwrap();
        let bytes = with_header(body);
        assert_eq!(object.to_bytes().unwrap(), bytes, "{text}");
        assert_eq!(Object::from_bytes(&bytes).unwrap(), object, "{text}");
    }
}

#[test]
fn the_order_of_a_map_is_that_of_the_documentation() {
    let sorted = "() #f #t -2 1 10 -inf.0 -1.0 -0.0 0.0 1.0 +inf.0 +nan.0 \"\" \"a\" \"ab\" \"b\" \"é\" a b #u8() \
                  #u8(1) #u8(1 0) #u8(2) (1) (1 . 2) (1 2) (2) #() #(1) #(1 1) #(2) #map() #map((1 . 1)) \
                  #map((1 . 2)) #map((2 . 1))";
    let list = Object::parse_sexp(&format!("({sorted})")).unwrap();
    let keys = list.as_slice().unwrap().to_vec();
    let map = Object::map(keys.iter().rev().map(|key| (key.clone(), Object::Nil)));
    let found: Vec<Object> = map.as_map().unwrap().keys().cloned().collect();
    assert_eq!(found, keys);
}

#[test]
fn what_is_no_object_is_told_apart() {
    let texts: [&[u8]; 6] =
        [b"", b"\xfb", b"\xfbO", b"((a . 1))", b"{\"a\":1}", &[0x28, 0xb5, 0x2f, 0xfd, 0]];
    for bytes in texts {
        assert_eq!(Object::from_bytes(bytes), Err(DecodeError::NotAnObject), "{bytes:?}");
    }
    assert_eq!(Object::from_bytes(b"\xfbOb\x02\x00"), Err(DecodeError::UnknownVersion { version: 2 }));
    assert_eq!(Object::from_bytes(b"\xfbOb"), Err(DecodeError::Truncated { length: 3 }));
}

#[test]
fn other_bytes_of_the_same_value_are_refused() {
    let refused: &[(&[u8], &str)] = &[
        (&[0x03, 0x80, 0x00], "an integer with a byte too many"),
        (&[0x05, 0x81, 0x00, b'a'], "a length with a byte too many"),
        (&[0x04, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1], "a NaN with a payload"),
        (&[0x04, 0xff, 0xf8, 0, 0, 0, 0, 0, 0], "a NaN with a sign"),
        (&[0x08, 0x00], "a list without items"),
        (&[0x09, 0x00, 0x00], "a dotted list without items"),
        (&[0x09, 0x01, 0x02, 0x00], "a dotted list that ends in nil"),
        (&[0x09, 0x01, 0x02, 0x08, 0x01, 0x02], "a dotted list that ends in a list"),
        (&[0x09, 0x01, 0x02, 0x09, 0x01, 0x02, 0x02], "a dotted list that ends in a dotted list"),
        (&[0x0b, 0x02, 0x03, 0x04, 0x00, 0x03, 0x02, 0x00], "a map out of order"),
        (&[0x0b, 0x02, 0x03, 0x04, 0x00, 0x03, 0x04, 0x00], "a map with a key twice"),
    ];
    for (body, what) in refused {
        let read = Object::from_bytes(&with_header(body));
        assert!(matches!(read, Err(DecodeError::NotCanonical { .. })), "{what}: {read:?}");
    }
    let over = [&[0x03][..], &[0xff; 18], &[0x04]].concat();
    let read = Object::from_bytes(&with_header(&over));
    assert!(matches!(read, Err(DecodeError::NotCanonical { what: "an integer", offset: 5 })), "{read:?}");
    let endless = [&[0x03][..], &[0xff; 19], &[0x01]].concat();
    let read = Object::from_bytes(&with_header(&endless));
    assert!(matches!(read, Err(DecodeError::NotCanonical { .. })), "{read:?}");
}

#[test]
fn damage_is_named_with_its_place() {
    let read = |body: &[u8]| Object::from_bytes(&with_header(body)).unwrap_err();
    assert_eq!(read(&[]), DecodeError::Truncated { length: 4 });
    assert_eq!(read(&[0x04, 0, 0]), DecodeError::Truncated { length: 7 });
    assert_eq!(read(&[0x00, 0x00, 0x00]), DecodeError::TrailingBytes { extra: 2 });
    assert_eq!(read(&[0x0a, 0x01, 0x0c]), DecodeError::UnknownTag { tag: 0x0c, offset: 6 });
    assert_eq!(read(&[0x05, 0x01, 0xff]), DecodeError::InvalidText { offset: 5 });
}

#[test]
fn a_count_is_not_believed() {
    for tag in [0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b] {
        for count in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[[0xff; 18].as_slice(), &[0x03]].concat()] {
            let bytes = with_header(&[&[tag], count, &[0, 0]].concat());
            let read = Object::from_bytes(&bytes);
            assert_eq!(read, Err(DecodeError::Truncated { length: bytes.len() }), "{tag}");
        }
    }
}
