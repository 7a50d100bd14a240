//! Many clients at once, and a server that is killed: what was answered is there.
//!
//! The clients are processes of their own: this test's program, started again to run one of the tests that are ignored
//! otherwise, which use the library as any program does.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;

use std::{collections::BTreeSet, env, io::Write, process::Command, time::Duration};

use common::{ensemble, kvstore};
use ensemble::{Home, Node};
use ensemble_tests::{Proc, Sandbox, eventually};
use kvstore::Client;

const PROCESSES: usize = 4;
const CALLS_PER_PROCESS: usize = 250;
const WRITERS: usize = 16;
/// How many puts must have been answered before the server is killed.
const ANSWERED_BEFORE_THE_KILL: usize = 500;
/// In debug builds on a busy machine, a thousand calls that wait for one disk.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Which client of several a process is.
const NUMBER: &str = "ENSEMBLE_TEST_CLIENT";

fn start_client(sandbox: &Sandbox, test: &str, number: usize) -> Proc {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command.env("ENSEMBLE_HOME", sandbox.home()).env(NUMBER, number.to_string());
    Proc::start(command, Vec::new())
}

async fn connect(home: &Home) -> (Node, Client) {
    let builder = registry::console().home(home.clone());
    let (node, _) = registry::connect(builder, None).await.unwrap();
    let client = Client::new(&node, "kvstore").with_timeout(TIMEOUT);
    (node, client)
}

fn own_number() -> usize {
    env::var(NUMBER).expect("another test of this file starts this one").parse().unwrap()
}

/// Each value says which key it is of, and is long enough to be compressed or not, in turn.
fn value(number: usize, index: usize) -> Vec<u8> {
    format!("{number}-{index} ").repeat(1 + index % 100).into_bytes()
}

fn key(number: usize, index: usize) -> String {
    format!("key-{number}-{index}")
}

#[test]
#[ignore = "a client, which another test starts as a process of its own"]
fn client_of_many() {
    let number = own_number();
    actix::System::new().block_on(async {
        let (_node, store) = connect(&Home::resolve(None).unwrap()).await;
        let mut calls = tokio::task::JoinSet::new();
        for index in 0..CALLS_PER_PROCESS {
            let store = store.clone();
            calls.spawn_local(async move {
                store.put(key(number, index), value(number, index)).await.unwrap();
                let got = store.get(key(number, index)).await.unwrap().expect("it was put");
                assert!(got.bytes == value(number, index), "{number}-{index}");
            });
        }
        let done = calls.join_all().await;
        println!("\nanswered {}", done.len());
    });
}

#[test]
fn a_thousand_puts_and_gets_at_once_from_several_processes() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    let clients: Vec<Proc> =
        (0..PROCESSES).map(|number| start_client(sandbox, "client_of_many", number)).collect();
    for client in clients {
        let done = client.finish().exits(0);
        assert!(done.out().contains(&format!("\nanswered {CALLS_PER_PROCESS}\n")), "{}", done.out());
    }
    actix::System::new().block_on(async {
        let (_node, store) = connect(&Home::resolve(Some(&sandbox.home())).unwrap()).await;
        for number in 0..PROCESSES {
            for index in 0..CALLS_PER_PROCESS {
                let got = store.get(key(number, index)).await.unwrap().expect("it was put");
                assert!(got.bytes == value(number, index), "{number}-{index}");
            }
        }
    });
}

#[test]
fn a_hundred_commands_at_once() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    let start = |command: &str, key: String, stdin: String| {
        Proc::start(sandbox.kvstorec_command(&[command, &key]), stdin.into_bytes())
    };
    let puts: Vec<Proc> =
        (0..100).map(|index| start("put", format!("k{index}"), format!("v{index}"))).collect();
    puts.into_iter().for_each(|put| assert_eq!(put.finish().succeeds(), b""));
    let gets: Vec<Proc> = (0..100).map(|index| start("get", format!("k{index}"), String::new())).collect();
    for (index, get) in gets.into_iter().enumerate() {
        assert_eq!(get.finish().succeeds(), format!("v{index}").into_bytes());
    }
}

#[test]
#[ignore = "a client, which another test starts as a process of its own"]
fn client_that_puts_until_the_server_dies() {
    let number = own_number();
    actix::System::new().block_on(async {
        let (_node, store) = connect(&Home::resolve(None).unwrap()).await;
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let store = store.clone();
            writers.spawn_local(async move {
                for index in (writer..).step_by(WRITERS) {
                    match store.put(key(number, index), value(number, index)).await {
                        // One write, so that a line is whole or not there.
                        Ok(_) => std::io::stdout().write_all(format!("\nput {index}\n").as_bytes()).unwrap(),
                        Err(_) => return,
                    }
                }
            });
        }
        writers.join_all().await;
    });
}

fn answered(output: &str) -> BTreeSet<usize> {
    output.lines().filter_map(|line| line.strip_prefix("put ")?.parse().ok()).collect()
}

#[test]
fn what_was_answered_before_the_server_was_killed_is_there() {
    let ensemble = ensemble();
    let sandbox = &ensemble.sandbox;
    let test = "client_that_puts_until_the_server_dies";
    let clients: Vec<Proc> = (0..2).map(|number| start_client(sandbox, test, number)).collect();
    eventually("enough puts are answered", || {
        let enough = |client: &Proc| answered(&client.stdout()).len() >= ANSWERED_BEFORE_THE_KILL;
        clients.iter().all(enough).then_some(())
    });
    ensemble.kvstore.crash();
    let answered: Vec<BTreeSet<usize>> =
        clients.into_iter().map(|client| answered(client.finish().exits(0).out())).collect();

    let _again = kvstore(sandbox);
    actix::System::new().block_on(async {
        let (_node, store) = connect(&Home::resolve(Some(&sandbox.home())).unwrap()).await;
        for (number, indexes) in answered.iter().enumerate() {
            assert!(indexes.len() >= ANSWERED_BEFORE_THE_KILL);
            for &index in indexes {
                let got = store.get(key(number, index)).await.unwrap();
                let got = got.unwrap_or_else(|| panic!("put {number}-{index} was answered and is lost"));
                assert!(got.bytes == value(number, index), "{number}-{index}");
            }
        }
    });
}
