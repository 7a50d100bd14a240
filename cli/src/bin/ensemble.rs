//! The command `ensemble`.

use std::process::ExitCode;

use ensemble_cli::{App, EchoRole, KvStoreRole};

// With hundreds of messages under way, the system's allocator takes a third of a server's instructions.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    App::new("ensemble").role(KvStoreRole).role(EchoRole).main()
}
