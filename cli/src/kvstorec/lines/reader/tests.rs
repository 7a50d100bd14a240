//! The form of an export, byte by byte, and what is not one.

use proptest::prelude::*;

use super::{super::writer::Writer, *};

fn entry(key: &[u8], value: &[u8], revision: u64, expires_at_ms: Option<u64>) -> Entry {
    Entry { key: key.to_vec(), value: value.to_vec(), revision: Some(revision), expires_at_ms }
}

fn written(header: &Header, items: &[Item]) -> Vec<u8> {
    let mut writer = Writer::new(header);
    let mut text = Vec::new();
    for item in items {
        match item {
            Item::Entry(entry) => writer.entry(entry),
            Item::LeftOut(left_out) => writer.left_out(left_out),
            Item::End(_) => writer.end(),
        }
        text.extend(writer.take());
    }
    text
}

/// All items up to the end, or the first failure as text.
fn read(text: &[u8]) -> Result<(Header, Vec<Item>), String> {
    let told = |why: ReadError, line: u64| match why {
        ReadError::Io(cause) => cause.to_string(),
        ReadError::NoExport(why) => format!("no export: {why}"),
        ReadError::Line(why) => format!("{}: {why}", why.place(line)),
    };
    let (mut reader, header) = Reader::begin(text, 1 << 20).map_err(|why| told(why, 1))?;
    let mut items = Vec::new();
    while !matches!(items.last(), Some(Item::End(_))) {
        items.push(reader.next().map_err(|why| told(why, reader.line()))?);
    }
    if items.last() == Some(&Item::End(Ending::Whole)) {
        assert_eq!(reader.bytes(), text.len() as u64);
    }
    Ok((header, items))
}

fn sample() -> (Header, Vec<Item>) {
    let items = vec![
        Item::Entry(entry(b"users/a", b"hello\n\"you\"", 1, None)),
        Item::Entry(entry(b"users/b", &[255, 0], 2, Some(1_790_000_000_000))),
        Item::Entry(entry(b"users/\xff", b"", 3, None)),
        Item::Entry(entry(b"users/\x01", "gr\u{fc}n".as_bytes(), 4, None)),
        Item::LeftOut(LeftOut { key: b"users/d".to_vec(), why: "the stored record is damaged".to_owned() }),
        Item::End(Ending::Whole),
    ];
    (Header { revision: Some(7), prefix: b"users/".to_vec() }, items)
}

const GOLDEN: &str = r#"{"format":"kvstore-export","version":1,"revision":7,"prefix":"users/"}
{"key":"users/a","revision":1,"value":"hello\n\"you\""}
{"key":"users/b","revision":2,"expires_at_ms":1790000000000,"value_base64":"/wA="}
{"key_base64":"dXNlcnMv/w==","revision":3,"value":""}
{"key_base64":"dXNlcnMvAQ==","revision":4,"value":"grün"}
{"key":"users/d","error":"the stored record is damaged"}
{"end":true,"entries":4,"left_out":1,"crc32":"CRC32"}
"#;

#[test]
fn golden_lines() {
    let (header, items) = sample();
    let text = written(&header, &items);
    let before_end = GOLDEN.find("{\"end\"").unwrap();
    let crc32 = crc32fast::hash(&GOLDEN.as_bytes()[..before_end]);
    let golden = GOLDEN.replace("CRC32", &format!("{crc32:08x}"));
    assert_eq!(String::from_utf8(text).unwrap(), golden);
    assert!(golden.contains("\"crc32\":\"7d7468ab\""), "{golden}");
    assert_eq!(read(golden.as_bytes()), Ok((header, items)));
}

#[test]
fn a_cut_is_noticed_wherever_it_is() {
    let (header, items) = sample();
    let text = written(&header, &items);
    let first_line = text.iter().position(|byte| *byte == b'\n').unwrap();
    for length in 0..text.len() {
        let got = read(&text[..length]);
        if length < first_line {
            assert!(got.unwrap_err().starts_with("no export"), "{length}");
        } else if length == text.len() - 1 {
            // The last line is whole.
            assert_eq!(got.unwrap().1, items);
        } else {
            let (_, read) = got.unwrap();
            let (end, before) = read.split_last().unwrap();
            assert_eq!(*end, Item::End(Ending::Cut), "{length}");
            assert_eq!(*before, items[..before.len()], "{length}");
        }
    }
}

#[test]
fn what_was_altered_is_noticed() {
    let (header, items) = sample();
    let text = String::from_utf8(written(&header, &items)).unwrap();
    let ending = |text: &str| match read(text.as_bytes()).unwrap().1.pop() {
        Some(Item::End(Ending::Altered(why))) => why,
        other => panic!("{other:?}"),
    };
    let other = ending(&text.replace("hello", "hallo"));
    assert_eq!(other, "its checksum is another than its last line says");
    let line = text.lines().nth(1).unwrap();
    let fewer = ending(&text.replace(&format!("{line}\n"), ""));
    assert_eq!(fewer, "it has 3 entries, and its last line says 4");
    let line = text.lines().nth(5).unwrap();
    let fewer = ending(&text.replace(&format!("{line}\n"), ""));
    assert_eq!(fewer, "it has 0 keys without a value, and its last line says 1");
    let more = read(format!("{text}{line}\n").as_bytes()).unwrap_err();
    assert_eq!(more, "line 8: there is something behind the last line");
}

#[test]
fn what_is_no_export_is_told() {
    let none = "no export: it does not begin as an export does";
    for text in ["", "\n", "{}", "{\"format\": \"x\"}", "\0\u{1}", "{\"key\": \"a\", \"value\": \"1\"}"] {
        assert!(read(text.as_bytes()).unwrap_err().starts_with(none), "{text}");
    }
    let newer = r#"{"format": "kvstore-export", "version": 2, "what": "else"}"#;
    assert_eq!(
        read(newer.as_bytes()).unwrap_err(),
        "no export: the export has version 2 of the form; this program reads version 1"
    );
}

#[test]
fn wrong_lines_are_told_with_their_place_and_those_behind_are_read() {
    let begin = "{\"format\": \"kvstore-export\", \"version\": 1}\n\n";
    for (line, expected) in [
        (r#"{"key": "a"}"#, "line 3: there must be a value, as value or value_base64"),
        (r#"{"value": "a"}"#, "line 3: there must be a key, as key or key_base64"),
        (
            r#"{"key": "a", "key_base64": "YQ==", "value": ""}"#,
            "line 3, column 28: key and key_base64 do not go together",
        ),
        (
            r#"{"key": "a", "value": "1", "error": "x"}"#,
            "line 3, column 37: value and error do not go together",
        ),
        (
            r#"{"key": "a", "value": "1", "entries": 1}"#,
            "line 3, column 39: entries is only for the last line",
        ),
        (
            r#"{"end": true, "entries": 1, "left_out": 0, "crc32": "1"}"#,
            "line 3, column 53: the last line must have crc32: eight hexadecimal digits",
        ),
        (r#"{"end": true, "crc32": "01234567"}"#, "line 3: the last line must have entries"),
    ] {
        assert_eq!(read(format!("{begin}{line}\n").as_bytes()).unwrap_err(), expected, "{line}");
    }
    let long = format!(
        "{begin}{{\"key\": \"{}\", \"value\": \"\"}}\n{{\"key\": \"b\", \"value\": \"1\"}}\n",
        "x".repeat(100)
    );
    let (mut reader, _) = Reader::begin(long.as_bytes(), 80).unwrap();
    let Err(ReadError::Line(why)) = reader.next() else { panic!("it is too long") };
    assert_eq!(why.to_string(), "it is longer than any line can be: 80 bytes");
    let next = reader.next().unwrap();
    let expected = Entry { key: b"b".to_vec(), value: b"1".to_vec(), revision: None, expires_at_ms: None };
    assert_eq!((reader.line(), next), (4, Item::Entry(expected)));
    assert_eq!(reader.bytes(), long.len() as u64);
}

proptest! {
    #[test]
    fn any_bytes_come_back(
        prefix in prop::collection::vec(any::<u8>(), 0..20),
        entries in prop::collection::vec(
            (
                prop_oneof![prop::collection::vec(any::<u8>(), 1..40), ".{1,20}".prop_map(String::into_bytes)],
                prop_oneof![prop::collection::vec(any::<u8>(), 0..300), "(?s).{0,80}".prop_map(String::into_bytes)],
                any::<u64>(),
                any::<Option<u64>>(),
            ),
            0..8,
        ),
    ) {
        let header = Header { revision: Some(1), prefix };
        let entries = entries.iter().map(|(key, value, revision, at)| Item::Entry(entry(key, value, *revision, *at)));
        let items: Vec<Item> = entries.chain([Item::End(Ending::Whole)]).collect();
        prop_assert_eq!(read(&written(&header, &items)).unwrap(), (header, items));
    }

    #[test]
    fn any_text_is_read_without_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let begin = b"{\"format\":\"kvstore-export\",\"version\":1}\n";
        if let Ok((_, items)) = read(&[&begin[..], &text].concat()) {
            prop_assert!(items.len() <= text.len() + 1);
        }
    }

    #[test]
    fn a_changed_byte_is_never_taken_for_whole(at in 0_usize..1000, bit in 0_u32..8) {
        let (header, items) = sample();
        let mut text = written(&header, &items);
        let at = at % text.len();
        text[at] ^= 1 << bit;
        if let Ok((_, got)) = read(&text) && got.last() == Some(&Item::End(Ending::Whole)) {
            // White space, or a digit's case, of the last line.
            prop_assert!(got == items, "{}", String::from_utf8_lossy(&text));
        }
    }
}
