//! Any object, for property tests.

use proptest::{collection::vec, prelude::*};

use super::super::{Map, Object};

/// Words that the readers could take for something else than text.
const ODD_WORDS: [&str; 22] = [
    "", ".", "..", "...", "+", "-", "1+", "-1", "+i", "-i", "+inf.0", "nan", "#t", "#", "a:", "quote",
    "$symbol", "$map", "$list", "$other", "a|b\\c", "()",
];

pub(super) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z$][a-z0-9!*.-]{0,6}",
        1 => prop::sample::select(&ODD_WORDS[..]).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => "[\\x00-\\x20\"\\\\|;#()\\u{7f}-\\u{a0}\\u{feff}\\u{2028}]{0,6}",
    ]
}

pub(super) fn any_float() -> impl Strategy<Value = f64> {
    let odd =
        [0.0, -0.0, 1.0, 1e16, 1e-7, 1e300, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    prop_oneof![prop::sample::select(odd.to_vec()), any::<u64>().prop_map(f64::from_bits)]
}

fn any_integer() -> impl Strategy<Value = i128> {
    let edges =
        [i128::MIN, i128::MAX, i64::MIN.into(), i64::MAX.into(), u64::MAX.into(), 0, -1, 63, 64, -64, -65];
    prop_oneof![
        (prop::sample::select(edges.to_vec()), -1..=1_i128).prop_map(|(edge, by)| edge.saturating_add(by)),
        any::<i64>().prop_map(i128::from),
        any::<i128>(),
    ]
}

pub(super) fn any_atom() -> impl Strategy<Value = Object> {
    prop_oneof![
        Just(Object::Nil),
        any::<bool>().prop_map(Object::Boolean),
        any_integer().prop_map(Object::Integer),
        any_float().prop_map(Object::Float),
        any_text().prop_map(Object::String),
        any_text().prop_map(Object::Symbol),
        vec(any::<u8>(), 0..6).prop_map(Object::Bytes),
    ]
}

pub(super) fn any_object() -> impl Strategy<Value = Object> {
    any_atom().prop_recursive(6, 48, 5, |inner| {
        let string_key = any_text().prop_map(Object::String);
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Object::list),
            (vec(inner.clone(), 0..4), inner.clone()).prop_map(|(items, tail)| Object::dotted(items, tail)),
            vec(inner.clone(), 0..5).prop_map(Object::Vector),
            vec((string_key, inner.clone()), 0..4).prop_map(|entries| Object::Map(Map::from_iter(entries))),
            vec((inner.clone(), inner), 0..4).prop_map(|entries| Object::Map(Map::from_iter(entries))),
        ]
    })
}

/// Text that is nearly an S-expression or nearly JSON.
pub(super) fn any_source() -> impl Strategy<Value = String> {
    let pieces = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        " . ",
        " ",
        "\n",
        "#(",
        "#u8(",
        "#map(",
        "#;",
        "#|",
        "|#",
        ";",
        "'",
        "`",
        ",",
        ",@",
        "\"",
        "|",
        "\\",
        "\\x41;",
        "\\u00e9",
        "\\ud83d\\ude00",
        ":",
        "null",
        "true",
        "#t",
        "#false",
        "#\\a",
        "#x-1f",
        "1",
        "-0",
        "1.5e3",
        "+inf.0",
        "1e999",
        "99999999999999999999999999999999999999999",
        "a",
        "é",
        "{\"$symbol\":",
        "{\"$list\":[",
        "{\"$dotted\":[",
        "{\"$map\":[[",
        "{\"$bytes\":\"AQL/\"}",
        "\"k\":",
        "\0",
        "\u{feff}",
        "(a . 1)",
    ];
    vec(
        prop_oneof![9 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned), 1 => any::<String>()],
        0..40,
    )
    .prop_map(|pieces| pieces.concat())
}
