//! Values that are longer than a message: `kvstorec put` and `get` pass them on part by part, and neither they nor the
//! server hold more than some parts of one. `ENSEMBLE_TEST_STREAM_MIB` says how long the longest is.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{
    fs,
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use common::{registry, sandbox_with_cookie, serve};
use ensemble_tests::{Done, Proc, Sandbox, eventually, skip};
use serde_json::Value;

const LENGTH_MIB: &str = "ENSEMBLE_TEST_STREAM_MIB";

const MIB: u64 = 1 << 20;

/// What a process may take for a value beyond what it takes without one. Pages of files do not count: they are the kernel's.
const MAX_ANONYMOUS_BYTES: u64 = 64 * MIB;

const BLOCK_BYTES: usize = 64 << 10;

/// A stream of bytes that is the same in every run: two blocks of noise, and then one that can be compressed.
struct Blocks {
    state: u64,
    number: u64,
}

impl Blocks {
    fn new(seed: u64) -> Self {
        Self { state: seed, number: 0 }
    }

    fn next(&mut self, block: &mut [u8; BLOCK_BYTES]) {
        self.number += 1;
        if self.number.is_multiple_of(3) {
            let line = format!("block {} of a stream, and so on. ", self.number);
            for piece in block.chunks_mut(line.len()) {
                piece.copy_from_slice(&line.as_bytes()[..piece.len()]);
            }
            return;
        }
        for word in block.chunks_exact_mut(8) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            word.copy_from_slice(&self.state.to_le_bytes());
        }
    }

    /// Writes `bytes` of it.
    fn write(mut self, mut bytes: u64, mut to: impl Write) {
        let mut block = [0; BLOCK_BYTES];
        while bytes > 0 {
            self.next(&mut block);
            let count = bytes.min(BLOCK_BYTES as u64);
            to.write_all(&block[..count as usize]).unwrap();
            bytes -= count;
        }
    }

    /// Reads to the end, all of which must be these bytes; says how many they are.
    fn check(mut self, mut from: impl Read) -> u64 {
        let (mut expected, mut found) = ([0; BLOCK_BYTES], [0; BLOCK_BYTES]);
        let mut bytes = 0;
        loop {
            let mut filled = 0;
            while filled < BLOCK_BYTES {
                match from.read(&mut found[filled..]).unwrap() {
                    0 => break,
                    count => filled += count,
                }
            }
            if filled == 0 {
                return bytes;
            }
            self.next(&mut expected);
            assert!(found[..filled] == expected[..filled], "other bytes after {bytes}");
            bytes += filled as u64;
        }
    }
}

/// What a process has taken of memory at most, in bytes.
#[derive(Clone, Copy, Default)]
struct Memory {
    /// All of it, with the pages of files that the kernel has for it.
    all: u64,
    /// Its own.
    anonymous: u64,
}

impl Memory {
    /// None when the process has ended.
    fn of(process: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
        };
        Some(Self { all: field("VmHWM:")?, anonymous: field("RssAnon:")? })
    }

    fn most(self, other: Self) -> Self {
        Self { all: self.all.max(other.all), anonymous: self.anonymous.max(other.anonymous) }
    }
}

/// Looks at some processes until `work` is done; says what it gives, and what they have taken meanwhile.
fn watching<T, const N: usize>(processes: [u32; N], work: impl FnOnce() -> T) -> (T, [Memory; N]) {
    let (is_done, most) = (AtomicBool::new(false), Mutex::new([Memory::default(); N]));
    let worked = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                for (process, most) in processes.iter().zip(most.lock().unwrap().iter_mut()) {
                    *most = most.most(Memory::of(*process).unwrap_or_default());
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        let _done = Done::at_the_end(&is_done);
        work()
    });
    (worked, most.into_inner().unwrap())
}

fn start(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn server(sandbox: &Sandbox, max_value: &str) -> (Proc, Proc) {
    let registry = registry(sandbox);
    let option = format!("kvstore.max-value={max_value}");
    (registry, serve(sandbox, &["run", "--roles", "kvstore", "-o", &option], "kvstore"))
}

fn json_of(sandbox: &Sandbox, args: &[&str]) -> Value {
    serde_json::from_slice(&sandbox.kvstorec(&[args, &["--json"]].concat()).succeeds()).unwrap()
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / MIB as f64)
}

/// Whether there is room for a value twice; says so where there is not.
fn has_room(sandbox: &Sandbox, bytes: u64) -> bool {
    let disk = rustix::fs::statvfs(sandbox.dir()).unwrap();
    let free = disk.f_bavail * disk.f_frsize;
    if free < 2 * bytes + (256 << 20) {
        skip(&format!("a value of {} MiB: there are {} MiB left on the disk", mib(bytes), mib(free)));
        return false;
    }
    true
}

#[test]
fn a_long_value_goes_there_and_back_in_little_memory() {
    let length_mib = std::env::var(LENGTH_MIB).map_or(160, |text| text.parse().unwrap());
    // Not a whole number of parts.
    let bytes = length_mib * MIB + 12_345;
    let sandbox = sandbox_with_cookie();
    if !has_room(&sandbox, bytes) {
        return;
    }
    let (_registry, server) = server(&sandbox, "2GiB");
    // What it takes when it has done everything once, with a short value.
    sandbox.kvstorec_with(&["put", "short"], vec![7; 5 << 20]).succeeds();
    sandbox.kvstorec(&["get", "short"]).succeeds();
    let idle = Memory::of(server.id()).unwrap();

    let mut put = start(sandbox.kvstorec_command(&["put", "long", "--timeout", "60"]));
    let (input, processes) = (put.stdin.take().unwrap(), [server.id(), put.id()]);
    let (stored, while_put) = watching(processes, || {
        Blocks::new(1).write(bytes, input);
        put.wait().unwrap()
    });
    assert!(stored.success());
    let stat = json_of(&sandbox, &["stat", "long"]);
    assert_eq!(stat["value_bytes"], bytes);
    assert!(stat["stored_bytes"].as_u64().unwrap() < bytes * 3 / 4, "{stat}");

    let mut get = start(sandbox.kvstorec_command(&["get", "long", "--timeout", "60"]));
    let (output, processes) = (get.stdout.take().unwrap(), [server.id(), get.id()]);
    let (got, while_got) = watching(processes, || {
        let found = Blocks::new(1).check(output);
        (found, get.wait().unwrap())
    });
    assert_eq!((got.0, got.1.success()), (bytes, true));

    println!("a value of {length_mib} MiB: memory at most, in MiB (all with pages of files; anonymous)");
    let line = |who: &str, memory: Memory| {
        println!("{who:24} {:>8} {:>8}", mib(memory.all), mib(memory.anonymous));
    };
    line("server, idle", idle);
    line("server, during put", while_put[0]);
    line("server, during get", while_got[0]);
    line("kvstorec put", while_put[1]);
    line("kvstorec get", while_got[1]);
    for (who, memory, before) in [
        ("the server, during put", while_put[0], idle.anonymous),
        ("the server, during get", while_got[0], idle.anonymous),
        ("kvstorec put", while_put[1], 0),
        ("kvstorec get", while_got[1], 0),
    ] {
        let taken = memory.anonymous.saturating_sub(before);
        assert!(memory.anonymous > 0 && taken < MAX_ANONYMOUS_BYTES, "{who}: {} MiB", mib(taken));
    }
}

#[test]
fn files_streams_and_json_are_the_same_value() {
    let sandbox = sandbox_with_cookie();
    let (_registry, _server) = server(&sandbox, "1GiB");
    let bytes = 70 * MIB + 1;
    let path = sandbox.file("in");
    Blocks::new(2).write(bytes, fs::File::create(&path).unwrap());
    let put = json_of(&sandbox, &["put", "file", "--input", "in"]);
    let stat = json_of(&sandbox, &["stat", "file"]);
    assert_eq!((&put["revision"], &put["stored_bytes"]), (&stat["revision"], &stat["stored_bytes"]));
    assert_eq!(stat["codec"], "parts");
    sandbox.kvstorec(&["get", "file", "--output", "out"]).succeeds();
    assert_eq!(Blocks::new(2).check(fs::File::open(sandbox.file("out")).unwrap()), bytes);
    let got = json_of(&sandbox, &["get", "file"]);
    assert_eq!((&got["key"], &got["revision"]), (&Value::from("file"), &put["revision"]));
    let hex = got["value_hex"].as_str().unwrap();
    let value =
        hex.as_bytes().chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap());
    assert_eq!(Blocks::new(2).check(&value.collect::<Vec<u8>>()[..]), bytes);
    // What was put as a whole and what was put in parts is checked, listed and removed alike.
    sandbox.kvstorec(&["verify"]).succeeds();
    sandbox.kvstorec(&["put", "file", "--input", "in", "--if-absent"]).fails(6, &["has revision"]);
    let revision = put["revision"].to_string();
    sandbox.kvstorec(&["put", "file", "--input", "in", "--if-revision", &revision]).succeeds();
    sandbox.kvstorec(&["remove", "file"]).succeeds();
    sandbox.kvstorec(&["get", "file"]).fails(3, &[]);
    // A file that is too long is not read to its end.
    let too_long = fs::File::create(sandbox.file("too-long")).unwrap();
    too_long.set_len((1 << 30) + 1).unwrap();
    let parts = ["the value has 1073741825 bytes; the limit is 1073741824"];
    sandbox.kvstorec(&["put", "file", "--input", "too-long"]).fails(2, &parts);
}

#[test]
fn a_value_that_was_not_put_to_its_end_is_not_there() {
    let sandbox = sandbox_with_cookie();
    let (_registry, server) = server(&sandbox, "1GiB");
    sandbox.kvstorec_with(&["put", "key"], "before").succeeds();
    // The one who puts is killed, and then interrupted, and then the server is killed.
    for signal in [Some(rustix::process::Signal::KILL), Some(rustix::process::Signal::INT), None] {
        let mut put = start(sandbox.kvstorec_command(&["put", "key"]));
        let mut input = put.stdin.take().unwrap();
        Blocks::new(3).write(20 * MIB, &mut input);
        match signal {
            Some(signal) => {
                let process = rustix::process::Pid::from_child(&put);
                rustix::process::kill_process(process, signal).unwrap();
                assert!(!put.wait().unwrap().success());
            }
            None => {
                server.crash();
                let _server = serve(&sandbox, &["run", "--roles", "kvstore"], "kvstore");
                drop(input);
                assert!(!put.wait().unwrap().success());
                assert_eq!(sandbox.kvstorec(&["get", "key"]).succeeds(), b"before");
                sandbox.kvstorec(&["verify"]).succeeds();
                return;
            }
        }
        assert_eq!(sandbox.kvstorec(&["get", "key"]).succeeds(), b"before");
    }
}

#[test]
fn an_interrupted_put_gives_its_room_back_at_once() {
    let sandbox = sandbox_with_cookie();
    let (_registry, _server) = server(&sandbox, "1GiB");
    let used_bytes = || json_of(&sandbox, &["stat"])["used_bytes"].as_u64().unwrap();
    let mut put = start(sandbox.kvstorec_command(&["put", "key"]));
    let mut input = put.stdin.take().unwrap();
    Blocks::new(4).write(20 * MIB, &mut input);
    eventually("the value is on its way to the disk", || (used_bytes() > 8 * MIB).then_some(()));
    rustix::process::kill_process(rustix::process::Pid::from_child(&put), rustix::process::Signal::INT)
        .unwrap();
    assert!(!put.wait().unwrap().success());
    eventually("nothing is left of it", || (used_bytes() < MIB).then_some(()));
    sandbox.kvstorec(&["get", "key"]).fails(3, &[]);
}
