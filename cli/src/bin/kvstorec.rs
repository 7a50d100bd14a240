//! The command `kvstorec`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ensemble_cli::kvstorec_main()
}
