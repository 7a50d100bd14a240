//! The two programs as a user runs them: a server in one process, clients in others, and a registry between them.

use std::{path::Path, process::Command};

use ensemble::{Cookie, Home, Node};
use ensemble_tests::{Proc, Sandbox, eventually};

fn program(path: &str, home: &Path, args: &[&str]) -> Proc {
    let mut command = Command::new(path);
    command.args(args).env_clear().env("ENSEMBLE_HOME", home);
    Proc::start(command, Vec::new())
}

#[test]
fn another_process_reaches_the_counter() {
    let server = env!("CARGO_BIN_EXE_counter-server");
    let client = env!("CARGO_BIN_EXE_counter-client");
    let sandbox = Sandbox::new(server, client);
    let home = Home::resolve(Some(&sandbox.home())).unwrap();
    home.create().unwrap();
    home.ensure_run_dir().unwrap();
    let cookie = Cookie::create(&home.cookie(), false).unwrap();

    actix::System::new().block_on(async {
        let id = registry::SERVER.parse().unwrap();
        let socket = home.socket(&id).unwrap();
        let registry = Node::builder(registry::SERVER).cookie(cookie).listen(socket).start().await.unwrap();
        registry::serve(&registry, &home.ensure_server_dir(&id).unwrap()).await.unwrap();

        let path = sandbox.home();
        let programs = std::thread::spawn(move || {
            let mut counter = program(server, &path, &[]);
            counter.logs("listening");
            let total = |amount: &str| {
                eventually("the counter answers", || {
                    let done = program(client, &path, &[amount]).finish();
                    // The server announces itself just before it exports its actor.
                    (done.code() == 0).then(|| done.out().to_owned())
                })
            };
            assert_eq!(total("40"), "40\n");
            assert_eq!(total("2"), "42\n");
            counter.terminate().exits(0);
        });
        while !programs.is_finished() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        programs.join().unwrap();
    });
}
