//! `kill -9` during puts: every acknowledged put is there after reopening.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _, stdout};
use std::process::{Command, Stdio};

use super::{noise, open};
use crate::store::{OpenError, Store, StoreOptions, Write};

const DIRECTORY_VARIABLE: &str = "STORE_CRASH_TEST_DIRECTORY";
const ROUNDS: usize = 20;

fn value(number: u64) -> Vec<u8> {
    // Lengths from nothing to several pages.
    noise(number, (number * 997 % 9000) as usize)
}

/// Not a test of its own: what the other test runs and kills. Puts batches and prints each number that was
/// acknowledged.
#[test]
#[ignore = "run by the test below in a process of its own"]
fn child() {
    let Some(directory) = env::var_os(DIRECTORY_VARIABLE) else { return };
    let options = StoreOptions { initial_map_bytes: 1 << 20, ..StoreOptions::default() };
    let store = Store::open(directory.as_ref(), options).unwrap();
    let mut next = store.revision().unwrap() + 1;
    loop {
        let batch: Vec<u64> = (next..=next + next % 3).collect();
        next += batch.len() as u64;
        let writes = batch.iter().map(|number| Write::put(number.to_string(), value(*number))).collect();
        assert!(store.apply(writes).iter().all(Result::is_ok));
        let mut output = stdout().lock();
        for number in batch {
            writeln!(output, "\nacknowledged {number}").unwrap();
        }
        output.flush().unwrap();
    }
}

#[test]
fn every_acknowledged_put_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["store::tests::crash::child", "--exact", "--ignored", "--nocapture"])
            .env(DIRECTORY_VARIABLE, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number_of = |line: std::io::Result<String>| -> Option<u64> {
            line.ok()?.strip_prefix("acknowledged ")?.parse().ok()
        };
        // Killed after another number of puts each time, while it goes on putting.
        for line in lines.by_ref() {
            let Some(number) = number_of(line) else { continue };
            if number > acknowledged + 5 + 3 * round as u64 {
                break;
            }
        }
        let in_use = Store::open(directory.path(), StoreOptions::default());
        assert!(matches!(in_use, Err(OpenError::InUse { .. })), "another process has it");
        child.kill().unwrap();
        child.wait().unwrap();
        let last = lines.filter_map(number_of).max().unwrap_or(0);

        let store = open(directory.path());
        let revision = store.revision().unwrap();
        assert!(revision >= last && revision > acknowledged, "{revision} {last} {acknowledged}");
        for number in 1..=revision {
            let entry = store.get(number.to_string().as_bytes()).unwrap().unwrap();
            assert_eq!((entry.value, entry.revision), (value(number).into(), number));
        }
        assert_eq!(store.get((revision + 1).to_string().as_bytes()).unwrap(), None);
        acknowledged = revision;
    }
}
