//! Backups of a store that many clients write to: each is a state that existed, of the time at which it was made, and what a server
//! leaves that is killed over it is none.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;
mod store_traffic;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use common::{Ensemble, ensemble, kvstore};
use ensemble_tests::{
    Proc, Sandbox, eventually,
    linearizability::{Call, Operation, Outcome, check, check_revisions},
};
use kvstore::store::{Store, StoreOptions};
use serde_json::Value;
use store_traffic::{
    clients::Traffic,
    keys::{Keys, noise, number_of_value},
};

const BACKUPS: usize = 6;
/// Many keys, so that a state is more than the last few writes.
const KEYS: usize = 40;
const USES: u64 = 25;
/// What a backup has to copy besides, so that it takes a while: this many of so many bytes.
const FILLERS: usize = 12;
const FILLER_BYTES: usize = 2 << 20;
/// Where each write has to be known: no call is to end by it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Number and revision of the value of each key.
type State = BTreeMap<u64, (u64, u64)>;

/// A backup that was made between two times.
struct Made {
    file: PathBuf,
    begun: u64,
    ended: u64,
}

fn json(done: &[u8]) -> Value {
    serde_json::from_slice(done).unwrap()
}

fn fill(sandbox: &Sandbox) {
    for number in 0..FILLERS {
        let value = noise(number as u64, FILLER_BYTES);
        sandbox.kvstorec_with(&["put", &format!("filler-{number}")], value).succeeds();
    }
}

/// Restores a backup; the state that it has, and its revision.
fn restored(sandbox: &Sandbox, backup: &Path) -> (State, u64) {
    let directory = sandbox.file("restored");
    let args = ["restore".as_ref(), backup.as_os_str(), "--directory".as_ref(), directory.as_os_str()];
    let told = json(&sandbox.kvstorec(&[&args[..], &["--json".as_ref()]].concat()).succeeds());
    let store = Store::open(&directory, StoreOptions::default()).unwrap();
    let revision = store.revision().unwrap();
    assert_eq!(told["revision"], revision);
    assert_eq!(store.verify(None).unwrap().damaged, []);
    let (mut state, mut fillers) = (State::new(), 0);
    let mut after = None;
    loop {
        let page = store.list(b"", after.as_deref(), 1000).unwrap();
        for listed in &page.keys {
            let entry = store.get(&listed.key).unwrap().unwrap();
            let name = std::str::from_utf8(&listed.key).unwrap();
            if let Some(number) = name.strip_prefix("filler-") {
                assert!(entry.value == noise(number.parse().unwrap(), FILLER_BYTES), "{name}");
                fillers += 1;
            } else {
                let key = name.strip_prefix("key-").unwrap().parse().unwrap();
                let value = number_of_value(&entry.value).expect("a client put it");
                state.insert(key, (value, entry.revision));
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(fillers, FILLERS);
    drop(store);
    fs::remove_dir_all(directory).unwrap();
    (state, revision)
}

/// What the writes up to a revision have made of the keys.
fn state_at(history: &[Operation], revision: u64) -> State {
    let mut writes: Vec<(u64, &Operation)> = history
        .iter()
        .filter_map(|operation| match operation.outcome {
            Outcome::Done(Some(at)) if at <= revision => Some((at, operation)),
            _ => None,
        })
        .collect();
    writes.sort_by_key(|(at, _)| *at);
    // No write is missing: each revision is there.
    let first = FILLERS as u64 + 1;
    assert!(writes.iter().map(|(at, _)| *at).eq(first..=revision), "a write is not recorded");
    let mut state = State::new();
    for (at, operation) in writes {
        match operation.call {
            Call::Put { value, .. } => drop(state.insert(operation.key, (value, at))),
            _ => drop(state.remove(&operation.key)),
        }
    }
    state
}

/// A backup as a get of each key: the checker then tells whether it fits what the clients saw.
fn as_gets(history: &[Operation], state: &State, Made { begun, ended, .. }: &Made) -> Vec<Operation> {
    let mut keys: Vec<u64> = history.iter().map(|operation| operation.key).collect();
    keys.sort_unstable();
    keys.dedup();
    let get = |key: u64| {
        let outcome = Outcome::Got(state.get(&key).copied());
        Operation { key, call: Call::Get, begun: *begun, outcome, ended: *ended }
    };
    keys.into_iter().map(get).collect()
}

fn parts(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.dir()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "part")).collect()
}

#[test]
fn each_backup_is_the_state_of_its_revision() {
    let Ensemble { sandbox, registry: _registry, kvstore: _server } = ensemble();
    fill(&sandbox);
    let traffic = Traffic::begin_with_timeout(&sandbox, Keys::new(KEYS, USES), None, TIMEOUT);
    traffic.await_recorded(2_000);
    let mut meanwhile = 0;
    let made: Vec<Made> = (0..BACKUPS)
        .map(|number| {
            let (before, begun) = (traffic.recorded(), traffic.now());
            let file = sandbox.file(&format!("backup-{number}"));
            sandbox.kvstorec(&["backup".as_ref(), file.as_os_str()]).succeeds();
            let ended = traffic.now();
            meanwhile += traffic.recorded() - before;
            traffic.await_recorded(traffic.recorded() + 1_000);
            Made { file, begun, ended }
        })
        .collect();
    let mut history = traffic.end().history;
    let mut gets = Vec::new();
    let mut last = 0;
    for made in &made {
        let (state, revision) = restored(&sandbox, &made.file);
        assert!(state == state_at(&history, revision), "{}", made.file.display());
        for operation in &history {
            if let Outcome::Done(Some(at)) = operation.outcome {
                assert!(operation.ended > made.begun || at <= revision, "{operation:?} is not in the backup");
                assert!(operation.begun < made.ended || at > revision, "{operation:?} is in the backup");
            }
        }
        assert!(revision > last, "time goes on");
        last = revision;
        eprintln!("{}: {} keys at revision {revision}", made.file.display(), state.len());
        gets.extend(as_gets(&history, &state, made));
    }
    eprintln!("{} operations, {meanwhile} of them while backups were made", history.len());
    assert!(meanwhile > 100, "nothing was written while backups were made");
    history.extend(gets);
    check(&history).unwrap_or_else(|why| panic!("{why}"));
    check_revisions(&history).unwrap();
    assert_eq!(parts(&sandbox), <[PathBuf; 0]>::default());
}

#[test]
fn a_server_that_is_killed_over_a_backup_leaves_none() {
    let Ensemble { sandbox, registry: _registry, kvstore: mut server } = ensemble();
    fill(&sandbox);
    let traffic = Traffic::begin(&sandbox, Keys::new(KEYS, USES), None);
    traffic.await_recorded(1_000);
    let mut without_a_file = 0;
    let mut made = Vec::new();
    for round in 0..4 {
        let file = sandbox.file(&format!("backup-{round}"));
        let begun = traffic.now();
        let args: [OsString; 2] = ["backup".into(), file.clone().into()];
        let command = Proc::start(sandbox.kvstorec_command(&args), Vec::new());
        eventually("the backup is begun", || (!parts(&sandbox).is_empty() || file.exists()).then_some(()));
        drop(server.crash());
        let done = command.finish();
        let ended = traffic.now();
        let left = parts(&sandbox);
        if !file.exists() {
            assert_ne!(done.code(), 0, "it is said to be done");
            without_a_file += 1;
        }
        for part in left {
            let target = sandbox.file("of-a-part");
            let args = ["restore".as_ref(), part.as_os_str(), "--directory".as_ref(), target.as_os_str()];
            let restored = sandbox.kvstorec(&args);
            // One that was killed between the last byte and the name is whole.
            if file.exists() {
                restored.succeeds();
                fs::remove_dir_all(target).unwrap();
            } else {
                restored.fails(1, &["is no backup"]);
            }
            fs::remove_file(part).unwrap();
        }
        if file.exists() {
            made.push(Made { file: file.clone(), begun, ended });
        }
        server = kvstore(&sandbox);
        let begun = traffic.now();
        let again = sandbox.file(&format!("again-{round}"));
        sandbox.kvstorec(&["backup".as_ref(), again.as_os_str()]).succeeds();
        made.push(Made { file: again, begun, ended: traffic.now() });
    }
    let mut history = traffic.end().history;
    let mut gets = Vec::new();
    for made in &made {
        let (state, _) = restored(&sandbox, &made.file);
        gets.extend(as_gets(&history, &state, made));
    }
    eprintln!("{} operations; of 4 kills over a backup {without_a_file} left no file", history.len());
    assert!(without_a_file > 0, "the kills came too late");
    history.extend(gets);
    check(&history).unwrap_or_else(|why| panic!("{why}"));
    check_revisions(&history).unwrap();
}
