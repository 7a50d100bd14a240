//! The command line of `ensemble`, with the role `counter` besides those of the project.

use std::process::ExitCode;

use ensemble_cli::{App, EchoRole, KvStoreRole};
use ensemble_examples::CounterRole;

fn main() -> ExitCode {
    App::new("my-ensemble").role(CounterRole).role(KvStoreRole).role(EchoRole).main()
}
