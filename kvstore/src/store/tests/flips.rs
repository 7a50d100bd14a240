//! A thousand flipped bits of the file under the records: anywhere in it, in the pages of the trees, and in the headers of those.
//!
//! The pages of LMDB carry no checksums; they are looked at when a store is opened. Each flip has to be told, or do no harm: nothing
//! is ever returned that was not written, no key is missing, and no process dies or hangs. Processes of their own open the copies, so that
//! those that do are counted.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::places::{Dice, PART_BYTES, PLACES, fill, key, named, value};
use crate::store::{Store, StoreOptions};

const FILE_VARIABLE: &str = "STORE_DAMAGE_TEST_FILE";
const FIRST_VARIABLE: &str = "STORE_DAMAGE_TEST_FIRST";
const KEYS_IN_FILE: usize = 400;
const PAGE_BYTES: usize = 4096;
/// How many processes work at once, each at every second place.
const PROCESSES: usize = 2;
/// A place takes some milliseconds. A copy that takes as long as this hangs.
const HANG: Duration = Duration::from_secs(10);

/// The two meta pages, and the pages that are branches or leaves of trees: few of them no longer.
fn tree_pages(sound: &[u8]) -> Vec<usize> {
    let is_tree = |(number, page): &(usize, &[u8])| {
        let claimed = u64::from_le_bytes(page[..8].try_into().unwrap());
        *number < 2 || claimed == *number as u64 && matches!(page[10..12], [1 | 2, 0])
    };
    sound.chunks_exact(PAGE_BYTES).enumerate().filter(is_tree).map(|(number, _)| number).collect()
}

/// Where the bit is, and in what.
fn place(sound: &[u8], round: usize, dice: &mut Dice) -> (usize, &'static str) {
    let pages = tree_pages(sound);
    let mut page = || pages[dice.below(pages.len())] * PAGE_BYTES;
    match round / PROCESSES % 4 {
        0 => {
            let at = page();
            // The header, what the meta pages hold, and the offsets of the first nodes.
            (at + dice.below(if at < 2 * PAGE_BYTES { 152 } else { 32 }), "header")
        }
        1 => (page() + dice.below(PAGE_BYTES), "tree"),
        _ => (dice.below(sound.len()), "file"),
    }
}

/// What became of a copy with one flipped bit.
fn outcome(sound: &[u8], values: &[Vec<u8>], round: usize) -> (&'static str, &'static str) {
    let mut dice = Dice((round as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (at, of) = place(sound, round, &mut dice);
    // Before anything is done with it: the process may not get further.
    println!("\nround {round} {of}");
    // In memory where there is such a place: a thousand stores wait for their disk otherwise.
    let shared = Path::new("/dev/shm");
    let directory = tempfile::tempdir_in(shared).or_else(|_| tempfile::tempdir()).unwrap();
    let mut bytes = sound.to_vec();
    bytes[at] ^= 1 << dice.below(8);
    fs::write(directory.path().join("data.mdb"), bytes).unwrap();
    let options = StoreOptions { part_bytes: PART_BYTES, ..StoreOptions::default() };
    let Ok(store) = Store::open(directory.path(), options) else { return (of, "told") };
    let (mut missing, mut told) = (0, 0);
    for (number, value) in values.iter().enumerate() {
        match store.get(key(number).as_bytes()) {
            Ok(Some(entry)) => assert!(entry.value == *value, "round {round}: a wrong value is returned"),
            Ok(None) => missing += 1,
            Err(_) => told += 1,
        }
    }
    let is_named = named(&store).map_or(true, |names| !names.is_empty());
    // It is used on: whatever comes of it, nothing that was not written.
    drop(store.put("more", "more"));
    drop(store.remove(key(1)));
    if let Ok(Some(entry)) = store.get(b"more") {
        assert!(entry.value == "more", "round {round}: a wrong value is returned");
    }
    match (told > 0 || is_named, missing > 0) {
        (true, _) => (of, "told"),
        (false, true) => (of, "missing"),
        (false, false) => (of, "harmless"),
    }
}

/// Not a test of its own: what the other one runs, until LMDB ends the process.
#[test]
#[ignore = "run by the test below"]
fn child() {
    let Some(file) = env::var_os(FILE_VARIABLE) else { return };
    let sound = fs::read(file).unwrap();
    let first = env::var(FIRST_VARIABLE).unwrap().parse().unwrap();
    let values: Vec<Vec<u8>> = (0..KEYS_IN_FILE).map(value).collect();
    for round in (first..PLACES).step_by(PROCESSES) {
        let (_, outcome) = outcome(&sound, &values, round);
        println!("\noutcome {outcome}");
    }
}

type Outcomes = BTreeMap<(String, String), usize>;

/// Goes through the places from `first` on in one process, which is killed when it hangs. Says at which place the next has to begin.
fn run(file: &Path, first: usize, outcomes: &mut Outcomes) -> usize {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["store::tests::flips::child", "--exact", "--ignored", "--nocapture"])
        .env(FILE_VARIABLE, file)
        .env(FIRST_VARIABLE, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (said, lines) = channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader =
        thread::spawn(move || stdout.lines().map_while(Result::ok).all(|line| said.send(line).is_ok()));
    let mut stderr = child.stderr.take().unwrap();
    let errors = thread::spawn(move || {
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    // The place that the child is at, and the one behind it.
    let (mut current, mut next) = (None, first);
    let is_hung = loop {
        match lines.recv_timeout(HANG) {
            Ok(line) => {
                if let Some(round) = line.strip_prefix("round ") {
                    let (round, of) = round.split_once(' ').unwrap();
                    assert_eq!(round, next.to_string());
                    next += PROCESSES;
                    current = Some(of.to_owned());
                } else if let Some(outcome) = line.strip_prefix("outcome ") {
                    let of = current.take().expect("it has begun");
                    *outcomes.entry((of, outcome.to_owned())).or_default() += 1;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => break true,
        }
    };
    if is_hung {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    reader.join().unwrap();
    let errors = errors.join().unwrap().unwrap();
    match current {
        Some(of) => {
            // An end without a signal is one by a failed assertion.
            let signal = status.signal().unwrap_or_else(|| panic!("{next}: {errors}"));
            let outcome = if is_hung { "hung".to_owned() } else { format!("died of signal {signal}") };
            *outcomes.entry((of, outcome)).or_default() += 1;
        }
        None => assert!(status.success() && next >= PLACES, "{status}: {errors}"),
    }
    next
}

#[test]
fn a_thousand_flipped_bits_of_the_file_never_give_a_wrong_value() {
    let directory = tempfile::tempdir().unwrap();
    drop(fill(directory.path(), KEYS_IN_FILE));
    let file = directory.path().join("data.mdb");
    let outcomes = thread::scope(|scope| {
        let file = &file;
        let of_process = |process| {
            scope.spawn(move || {
                let (mut outcomes, mut next) = (Outcomes::new(), process);
                while next < PLACES {
                    next = run(file, next, &mut outcomes);
                }
                outcomes
            })
        };
        let running: Vec<_> = (0..PROCESSES).map(of_process).collect();
        let mut all = Outcomes::new();
        for outcomes in running {
            for (what, count) in outcomes.join().unwrap() {
                *all.entry(what).or_default() += count;
            }
        }
        all
    });
    println!("of {PLACES} flipped bits: {outcomes:?}");
    assert_eq!(outcomes.values().sum::<usize>(), PLACES);
    let of = |what: &str| -> usize {
        outcomes.iter().filter(|((_, outcome), _)| outcome == what).map(|(_, count)| count).sum()
    };
    assert!(of("told") > PLACES / 2, "most bits of the file are of records, or of what leads to them");
    // The whole file is looked at before LMDB has it, so that no flip gets as far as to end the process, or to hide a key.
    assert_eq!(of("told") + of("harmless"), PLACES);
}
