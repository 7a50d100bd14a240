//! JSON as it is read and written.

use super::super::Object;

#[test]
fn json_and_objects_correspond() {
    let pairs = [
        ("null", "()"),
        ("true", "#t"),
        ("false", "#f"),
        ("0", "0"),
        ("-7", "-7"),
        ("18446744073709551615", "18446744073709551615"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1.0", "1.0"),
        ("-0.0", "-0.0"),
        ("1e100", "1e100"),
        (r#""a\"\\\b\f\n\r\t\u0000\u001fé😀/""#, r#""a\"\\\b\xc;\n\r\t\x0;\x1f;é😀/""#),
        ("[]", "#()"),
        ("[1,[2],null]", "#(1 #(2) ())"),
        ("{}", "#map()"),
        (r#"{"a":1,"b":{"":[]}}"#, r#"#map(("a" . 1) ("b" . #map(("" . #()))))"#),
        (r#"{"$ref":"x"}"#, r#"#map(("$ref" . "x"))"#),
        (r#"{"$list":1,"$map":2}"#, r#"#map(("$list" . 1) ("$map" . 2))"#),
        (r#"{"$symbol":"a b"}"#, "|a b|"),
        (r#"{"$bytes":"AQL/"}"#, "#u8(1 2 255)"),
        (r#"{"$bytes":""}"#, "#u8()"),
        (r#"{"$list":[1,{"$list":[2]}]}"#, "(1 (2))"),
        (r#"{"$dotted":[1,2,3]}"#, "(1 2 . 3)"),
        (r#"{"$float":"+nan.0"}"#, "+nan.0"),
        (r#"{"$float":"-inf.0"}"#, "-inf.0"),
        (r#"{"$integer":"18446744073709551616"}"#, "18446744073709551616"),
        (r#"{"$integer":"-9223372036854775809"}"#, "-9223372036854775809"),
        (
            r#"{"$map":[[1,2],[{"$symbol":"k"},{"$map":[[null,null]]}]]}"#,
            "#map((1 . 2) (k . #map((() . ()))))",
        ),
        (r#"{"$map":[["$list",[1]]]}"#, r#"#map(("$list" . #(1)))"#),
        (
            r#"{"$list":[{"$dotted":[{"$symbol":"a"},1]},{"$dotted":[{"$symbol":"b"},2]}]}"#,
            "((a . 1) (b . 2))",
        ),
    ];
    for (json, sexp) in pairs {
        let object = Object::parse_sexp(sexp).unwrap();
        assert_eq!(object.to_json().unwrap(), json);
        assert_eq!(Object::from_json(json), Ok(object), "{json}");
    }
}

#[test]
fn other_ways_to_write_the_same_are_read() {
    let pairs = [
        (" [ 1 ,\n\t2 ]\r\n", "#(1 2)"),
        ("1E2", "100.0"),
        ("1e+2", "100.0"),
        ("-0", "-0.0"),
        ("1e-999", "0.0"),
        (r#""\u00e9\/\ud83d\ude00""#, r#""é/😀""#),
        (r#"{"b":1,"a":2}"#, r#"#map(("a" . 2) ("b" . 1))"#),
        ("170141183460469231731687303715884105727", "170141183460469231731687303715884105727"),
        (r#"{"$integer":"5"}"#, "5"),
        (r#"{"$list":[]}"#, "()"),
        (r#"{"$dotted":[1,{"$list":[2]}]}"#, "(1 2)"),
        (r#"{"$map":[["a",1]]}"#, r#"#map(("a" . 1))"#),
        ("\u{feff}1", "1"),
    ];
    for (json, sexp) in pairs {
        assert_eq!(Object::from_json(json), Ok(Object::parse_sexp(sexp).unwrap()), "{json}");
    }
}

#[test]
fn mistakes_are_named_with_line_and_column() {
    let mistakes = [
        ("", "there is nothing to read at line 1, column 1"),
        (" \n ", "there is nothing to read at line 2, column 2"),
        ("1 2", "there is more after the end of the datum at line 1, column 3"),
        ("[1,\n 2", "the text ends inside an array, which began at line 1, column 1 at line 2, column 3"),
        ("[1,", "the text ends inside an array, which began at line 1, column 1 at line 1, column 4"),
        ("{\"a\"", "the text ends inside an object, which began at line 1, column 1 at line 1, column 5"),
        ("{\"a\":", "the text ends inside an object, which began at line 1, column 1 at line 1, column 6"),
        ("{", "the text ends inside an object, which began at line 1, column 1 at line 1, column 2"),
        ("[1,]", "unexpected ']' at line 1, column 4"),
        ("[,1]", "unexpected ',' at line 1, column 2"),
        ("[1 2]", "unexpected '2' at line 1, column 4"),
        ("[1}", "unexpected '}' at line 1, column 3"),
        ("]", "unexpected ']' at line 1, column 1"),
        ("{\"a\":1,}", "unexpected '}' at line 1, column 8"),
        ("{a:1}", "unexpected 'a' at line 1, column 2"),
        ("{\"a\" 1}", "unexpected '1' at line 1, column 6"),
        ("{\"a\":1 \"b\"", "unexpected '\"' at line 1, column 8"),
        ("{\"a\":1,\n\"a\":2}", "the key is in the map already at line 2, column 1"),
        ("nul", "unexpected \"nul\": there are true"),
        ("True", "unexpected \"True\": there are true"),
        ("01", "unexpected \"01\": that begins like a number and is none at line 1, column 1"),
        ("-", "unexpected \"-\": that begins like a number"),
        ("1.", "unexpected \"1.\": that begins like a number"),
        ("[.5]", "unexpected '.' at line 1, column 2"),
        ("1e", "unexpected \"1e\": that begins like a number"),
        ("+1", "unexpected '+' at line 1, column 1"),
        ("1e999", "the number is too large for a float at line 1, column 1"),
        (
            "170141183460469231731687303715884105728",
            "the integer does not fit in 128 bits with a sign at line 1",
        ),
        ("\"a", "the text ends inside a string, which began at line 1, column 1 at line 1, column 3"),
        ("\"a\\", "the text ends inside a string, which began at line 1, column 1 at line 1, column 4"),
        ("\"a\nb\"", "control characters in a string are written with a backslash at line 1, column 3"),
        ("\"\\x\"", "after a backslash there is one of"),
        ("\"\\u12g4\"", "after a backslash there is one of"),
        ("\"\\ud800\"", "half of a surrogate pair at line 1, column 2"),
        ("\"\\ud800\\u0041\"", "half of a surrogate pair at line 1, column 2"),
        ("\"\\udc00\"", "half of a surrogate pair at line 1, column 2"),
        ("// no\n1", "unexpected '/' at line 1, column 1"),
        ("[{\"$symbol\":1}]", "$symbol needs a string at line 1, column 2"),
        ("{\"$bytes\":\"A\"}", "$bytes needs a string in base64, with padding at line 1, column 1"),
        ("{\"$bytes\":\"AQL_\"}", "$bytes needs a string in base64"),
        ("{\"$bytes\":[1]}", "$bytes needs a string in base64"),
        ("{\"$list\":1}", "$list needs an array at line 1, column 1"),
        ("{\"$dotted\":[1]}", "$dotted needs an array of two or more at line 1, column 1"),
        ("{\"$float\":\"inf\"}", "$float needs one of"),
        ("{\"$float\":1.0}", "$float needs one of"),
        ("{\"$integer\":\"1.0\"}", "$integer needs a string of digits at line 1, column 1"),
        ("{\"$integer\":\"-\"}", "$integer needs a string of digits"),
        (
            "{\"$integer\":\"170141183460469231731687303715884105728\"}",
            "the integer does not fit in 128 bits",
        ),
        ("{\"$map\":{}}", "$map needs an array of arrays of a key and a value at line 1, column 1"),
        ("{\"$map\":[[1]]}", "$map needs an array of arrays of a key and a value"),
        ("{\"$map\":[[1,2],[1,3]]}", "the key is in the map already at line 1, column 1"),
    ];
    for (text, message) in mistakes {
        match Object::from_json(text) {
            Ok(object) => panic!("{text} was read as {object}"),
            Err(failed) => {
                let found =
                    format!("{} at line {}, column {}", failed.kind(), failed.line(), failed.column());
                assert!(found.starts_with(message), "{text}: {failed}");
            }
        }
    }
}
