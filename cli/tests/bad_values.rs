//! Keys, values, objects and files at and beyond their limits.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStringExt,
    process::Command,
};

use common::{Ensemble, ensemble, registry, sandbox_with_cookie, serve};
use ensemble_tests::{Sandbox, skip};

const LONGEST_KEY_BYTES: usize = 511;
const LONGEST_VALUE_BYTES: usize = 64 << 20;

/// Bytes that do not compress, the same each time.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut noise: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| next()).collect();
    noise.truncate(bytes);
    noise
}

fn put_and_get(sandbox: &Sandbox, key: &OsStr, value: &[u8]) {
    assert_eq!(sandbox.kvstorec_with(&[OsStr::new("put"), key], value).succeeds(), b"");
    assert!(sandbox.kvstorec(&[OsStr::new("get"), key]).succeeds() == value, "{key:?}");
}

#[test]
fn keys() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    sandbox.kvstorec(&["get", "missing"]).fails(3, &["kvstore has no key \"missing\"", "`kvstorec put`"]);
    for command in ["get", "put", "remove", "get-object"] {
        sandbox.kvstorec(&[command, ""]).fails(2, &["the key has 0 bytes; a key has 1 to 511"]);
        let long = "k".repeat(LONGEST_KEY_BYTES + 1);
        sandbox.kvstorec(&[command, &long]).fails(2, &["the key has 512 bytes; a key has 1 to 511"]);
    }
    put_and_get(sandbox, OsStr::new(&"k".repeat(LONGEST_KEY_BYTES)), b"v");
    let binary = OsString::from_vec((1..=255).collect());
    put_and_get(sandbox, &binary, b"of a binary key");
    let json = sandbox.kvstorec(&[OsStr::new("get"), &binary, OsStr::new("--json")]).succeeds();
    let json = String::from_utf8(json).unwrap();
    assert!(json.starts_with(r#"{"key_hex":"010203"#), "{json}");
    put_and_get(sandbox, OsStr::new("-"), b"of a key that looks like an option");
    assert_eq!(sandbox.kvstorec(&["remove", "never-put"]).succeeds(), b"");
}

#[test]
fn values() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    put_and_get(sandbox, OsStr::new("empty"), b"");
    put_and_get(sandbox, OsStr::new("binary"), &(0..=255).cycle().take(100_000).collect::<Vec<u8>>());
    let mut value = noise(LONGEST_VALUE_BYTES);
    put_and_get(sandbox, OsStr::new("longest"), &value);
    value.push(0);
    let parts = ["the value has 67108865 bytes; the limit is 67108864"];
    sandbox.kvstorec_with(&["put", "too-long"], &value).fails(2, &parts);
    sandbox.kvstorec(&["get", "too-long"]).fails(3, &[]);
    value.resize(LONGEST_VALUE_BYTES + (2 << 20), 0);
    sandbox
        .kvstorec_with(&["put", "too-long"], &value)
        .fails(2, &["the value has 68157440 bytes; the limit is 67108864"]);
}

#[test]
fn values_under_a_limit_of_the_servers_own() {
    let sandbox = sandbox_with_cookie();
    let _registry = registry(&sandbox);
    let args = ["run", "--roles", "kvstore", "-o", "kvstore.max-value=1KiB"];
    let _kvstore = serve(&sandbox, &args, "kvstore");
    put_and_get(&sandbox, OsStr::new("longest"), &noise(1024));
    let parts = ["the value has 1025 bytes; the limit is 1024"];
    sandbox.kvstorec_with(&["put", "too-long"], noise(1025)).fails(2, &parts);
    sandbox.kvstorec(&["get", "too-long"]).fails(3, &[]);
}

#[test]
fn objects_that_are_none() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let nested = "(".repeat(10_000) + &")".repeat(10_000);
    let nested_json = "[".repeat(10_000) + &"]".repeat(10_000);
    let cases: &[(&str, &[u8], &[&str])] = &[
        ("sexp", b"(a . b", &["standard input is no S-expression: line 1, column 7", "ends inside"]),
        ("sexp", b"(a\n b))", &["line 2, column 4"]),
        ("sexp", b"", &["line 1, column 1", "nothing to read"]),
        ("sexp", b"\xff\xfe", &["no S-expression: line 1, column 1: it is not UTF-8"]),
        ("sexp", b"(a\n \"\xc3\xa4\xff\")", &["line 2, column 4: it is not UTF-8"]),
        ("json", b"[1,\n\n\xe2\x82", &["no JSON: line 3, column 1: it is not UTF-8"]),
        ("sexp", nested.as_bytes(), &["line 1, column", "nested deeper"]),
        ("json", b"{\"a\": 1,\n \"b\" 2}", &["standard input is no JSON: line 2, column 6"]),
        ("json", b"", &["line 1, column 1"]),
        ("json", nested_json.as_bytes(), &["line 1, column", "nested deeper"]),
    ];
    for (format, input, parts) in cases {
        sandbox.kvstorec_with(&["put-object", "bad", "--format", format], input).fails(2, parts);
        sandbox.kvstorec(&["get", "bad"]).fails(3, &[]);
    }
    sandbox.kvstorec_with(&["put", "bytes"], "just bytes").succeeds();
    let parts = ["the value is no object", "`kvstorec get`"];
    sandbox.kvstorec(&["get-object", "bytes"]).fails(1, &parts);
    sandbox.kvstorec(&["get-object", "missing"]).fails(3, &[]);
}

#[test]
fn objects_go_between_the_two_forms() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let put = ["put-object", "o", "--format", "json"];
    sandbox.kvstorec_with(&put, r#"{"a": [1, 2.5, null, true, "x"]}"#).succeeds();
    let json = sandbox.kvstorec(&["get-object", "o", "--format", "json"]).succeeds();
    assert_eq!(String::from_utf8(json).unwrap(), "{\"a\":[1,2.5,null,true,\"x\"]}\n");
    let sexp = sandbox.kvstorec(&["get-object", "o"]).succeeds();
    sandbox.kvstorec_with(&["put-object", "p"], &sexp).succeeds();
    let again = sandbox.kvstorec(&["get", "p"]).succeeds();
    assert_eq!(again, sandbox.kvstorec(&["get", "o"]).succeeds());
}

#[test]
fn files() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let parts = ["cannot read nowhere.json: No such file", "--input"];
    sandbox.kvstorec(&["put", "k", "--input", "nowhere.json"]).fails(1, &parts);
    sandbox.kvstorec(&["put", "k", "--input", "/"]).fails(1, &["cannot read /"]);
    sandbox.kvstorec(&["get", "k"]).fails(3, &[]);
    sandbox.kvstorec_with(&["put", "k"], "value").succeeds();
    sandbox.kvstorec(&["get", "k", "--output", "nowhere/out"]).fails(1, &["cannot write nowhere/out"]);
    sandbox
        .kvstorec(&["get", "k", "--output", "/dev/full"])
        .fails(1, &["cannot write /dev/full: No space left"]);
    assert_eq!(sandbox.kvstorec(&["get", "k", "--output", "out"]).succeeds(), b"");
    assert_eq!(fs::read(sandbox.file("out")).unwrap(), b"value");
    // A key that is not there leaves the file as it is.
    sandbox.kvstorec(&["get", "missing", "--output", "out"]).fails(3, &[]);
    assert_eq!(fs::read(sandbox.file("out")).unwrap(), b"value");
}

#[test]
fn standard_output_that_ends_early_or_is_full() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    sandbox.kvstorec_with(&["put", "k"], vec![b'x'; 1 << 20]).succeeds();
    let shown = sandbox.shell("kvstorec get k | head -c 1; echo \" ${PIPESTATUS[0]}\"").succeeds();
    assert_eq!(String::from_utf8_lossy(&shown), "x 0\n");
    for line in ["ensemble list servers | true", "ensemble --help | true", "ensemble completions bash | true"]
    {
        sandbox.shell(line).succeeds();
    }
    sandbox.shell("kvstorec get k > /dev/full").fails(1, &["cannot write to standard output: No space left"]);
    sandbox.shell("ensemble ping kvstore > /dev/full").fails(1, &["cannot write to standard output"]);
}

/// A file system of 64 KiB in memory; unmounted when it is dropped.
struct SmallDisk<'a>(&'a Sandbox);

impl<'a> SmallDisk<'a> {
    fn mount(sandbox: &'a Sandbox) -> Option<Self> {
        fs::create_dir(sandbox.file("disk")).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(sandbox.file("disk"));
        let done = mount.output().ok()?;
        done.status.success().then_some(Self(sandbox))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(self.0.file("disk")).status();
        assert!(done.is_ok_and(|status| status.success()), "the small disk is still mounted");
    }
}

#[test]
fn a_disk_that_is_full() {
    let Ensemble { sandbox, registry: _registry, kvstore: _kvstore } = &ensemble();
    let Some(_disk) = SmallDisk::mount(sandbox) else {
        return skip("a full disk was not tested, since mounting a small one needs root");
    };
    sandbox.kvstorec_with(&["put", "k"], noise(256 << 10)).succeeds();
    let parts = ["cannot write disk/out: No space left on device", "nothing is left half-written"];
    sandbox.kvstorec(&["get", "k", "--output", "disk/out"]).fails(1, &parts);
    assert_eq!(fs::read_dir(sandbox.file("disk")).unwrap().count(), 0, "something was left behind");
    fs::write(sandbox.file("disk/out"), "old").unwrap();
    sandbox.kvstorec(&["get", "k", "--output", "disk/out"]).fails(1, &parts);
    assert_eq!(fs::read(sandbox.file("disk/out")).unwrap(), b"old");
}
