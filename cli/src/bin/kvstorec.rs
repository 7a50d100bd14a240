//! The command `kvstorec`.

use std::process::ExitCode;

// With hundreds of messages under way, the system's allocator takes a third of a server's instructions.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ensemble_cli::kvstorec_main()
}
