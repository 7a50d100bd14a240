//! The command `ensemble`.

use std::process::ExitCode;

use ensemble_cli::{App, EchoRole, KvStoreRole};

fn main() -> ExitCode {
    App::new("ensemble").role(KvStoreRole).role(EchoRole).main()
}
