//! Depth and length: the limit is exact in every form, and nothing recurses further than a small stack holds.

use std::{hash::DefaultHasher, hash::Hash, thread};

use super::super::{DecodeError, MAX_DEPTH, Object, ParseErrorKind, TooDeep};

/// Far less than a thread of a program has, as this is not the only thing that is on a stack.
const SMALL_STACK_BYTES: usize = 512 * 1024;

fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(SMALL_STACK_BYTES).spawn(test).unwrap();
    thread.join().unwrap();
}

fn nested(depth: usize, core: Object, wrap: fn(Object) -> Object) -> Object {
    (0..depth).fold(core, |inner, _| wrap(inner))
}

/// One more level around an object, in all the ways there are.
const WRAPS: [fn(Object) -> Object; 7] = [
    |inner| Object::list([inner]),
    |inner| Object::list([Object::symbol("quote"), inner]),
    |inner| Object::dotted([inner], Object::from(1)),
    |inner| Object::vector([inner]),
    |inner| Object::map([(Object::from("k"), inner)]),
    |inner| Object::map([(inner, Object::Nil)]),
    |inner| Object::map([(Object::from("$list"), inner)]),
];

fn cores() -> Vec<Object> {
    let texts = ["()", "1", "a", "#u8()", "+nan.0", "99999999999999999999999"];
    texts.iter().map(|text| Object::parse_sexp(text).unwrap()).collect()
}

#[test]
fn the_deepest_object_goes_through_every_form_on_a_small_stack() {
    on_a_small_stack(|| {
        for wrap in WRAPS {
            for core in cores() {
                let object = nested(MAX_DEPTH, core, wrap);
                assert_eq!(object.depth(), MAX_DEPTH);
                assert_eq!(Object::from_bytes(&object.to_bytes().unwrap()), Ok(object.clone()));
                assert_eq!(Object::parse_sexp(&object.to_sexp()), Ok(object.clone()));
                assert_eq!(Object::from_json(&object.to_json().unwrap()), Ok(object.clone()));
                object.hash(&mut DefaultHasher::new());
                assert_eq!(format!("{object:?}"), object.to_string());
            }
        }
    });
}

#[test]
fn one_level_more_is_refused_in_every_form() {
    for wrap in WRAPS {
        for core in cores() {
            let object = nested(MAX_DEPTH + 1, core, wrap);
            assert_eq!(object.to_bytes(), Err(TooDeep));
            assert_eq!(object.to_json(), Err(TooDeep));
            let read = Object::parse_sexp(&object.to_sexp());
            assert_eq!(read.unwrap_err().kind(), &ParseErrorKind::TooDeep, "{object}");
        }
    }
}

#[test]
fn one_level_more_is_refused_in_what_is_read() {
    let level: &[(&[u8], &str, &str)] = &[
        (&[0x08, 0x01], "{\"$list\":[", "]}"),
        (&[0x0a, 0x01], "[", "]"),
        (&[0x0b, 0x01, 0x00], "{\"$map\":[[null,", "]]}"),
        (&[0x0b, 0x01, 0x00], "{\"k\":", "}"),
    ];
    for (bytes, open, close) in level {
        for depth in [MAX_DEPTH, MAX_DEPTH + 1] {
            let binary = [&b"\xfbOb\x01"[..], &bytes.repeat(depth), &[0x02]].concat();
            let json = [open.repeat(depth).as_str(), "true", &close.repeat(depth)].concat();
            if depth == MAX_DEPTH {
                assert_eq!(Object::from_bytes(&binary).unwrap().depth(), MAX_DEPTH);
                assert_eq!(Object::from_json(&json).unwrap().depth(), MAX_DEPTH);
            } else {
                let offset = binary.len() - 1 - bytes.len();
                assert_eq!(Object::from_bytes(&binary), Err(DecodeError::TooDeep { offset }));
                assert_eq!(Object::from_json(&json).unwrap_err().kind(), &ParseErrorKind::TooDeep);
            }
        }
    }
}

#[test]
fn ten_thousand_levels_are_an_error_with_its_place() {
    on_a_small_stack(|| {
        for open in ["(", "#(", "'", "#;", "((", "#map((a . ", "#map((", "(a . "] {
            let failed = Object::parse_sexp(&open.repeat(10_000)).unwrap_err();
            assert_eq!(failed.kind(), &ParseErrorKind::TooDeep, "{open}");
        }
        let failed = Object::parse_sexp(&"(".repeat(10_000)).unwrap_err();
        assert_eq!(failed.to_string(), "line 1, column 257: nested deeper than 256 levels");
        for open in ["[", "{\"a\":", "{\"$list\":[", "{\"$map\":[["] {
            let failed = Object::from_json(&open.repeat(10_000)).unwrap_err();
            assert_eq!(failed.kind(), &ParseErrorKind::TooDeep, "{open}");
        }
        let closed = ["[".repeat(10_000), "]".repeat(10_000)].concat();
        let failed = Object::from_json(&closed).unwrap_err();
        assert_eq!((failed.kind(), failed.line()), (&ParseErrorKind::TooDeep, 1));
        for tag in [0x08, 0x09, 0x0a, 0x0b] {
            let bytes = [&b"\xfbOb\x01"[..], &[tag, 0x01].repeat(10_000)].concat();
            let read = Object::from_bytes(&bytes);
            assert!(matches!(read, Err(DecodeError::TooDeep { .. })), "{tag}: {read:?}");
        }
    });
}

#[test]
fn a_long_list_is_not_deep() {
    on_a_small_stack(|| {
        let list = Object::list((0..1_000_000).map(Object::from));
        assert_eq!(list.depth(), 1);
        assert_eq!(Object::from_bytes(&list.to_bytes().unwrap()).as_ref(), Ok(&list));
        assert_eq!(Object::parse_sexp(&list.to_sexp()).as_ref(), Ok(&list));
        assert_eq!(Object::from_json(&list.to_json().unwrap()).as_ref(), Ok(&list));
    });
}

#[test]
fn a_large_map_is_read_in_any_order() {
    let entries: Vec<String> = (0..100_000).rev().map(|key| format!("({key} . a)")).collect();
    let map = Object::parse_sexp(&format!("#map({})", entries.join(" "))).unwrap();
    assert_eq!(map.as_map().unwrap().len(), 100_000);
    assert_eq!(map.as_map().unwrap().keys().next(), Some(&Object::from(0)));
}
