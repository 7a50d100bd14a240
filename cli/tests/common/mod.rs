//! What the process tests have in common: servers of the kinds that they need.
#![allow(dead_code, reason = "every test file uses its own part of this")]

pub(crate) mod terminal;
pub(crate) mod transcript;

use std::path::PathBuf;

use ensemble_tests::{Proc, Sandbox};

/// A fresh home with the two programs of this crate.
pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_ensemble"), env!("CARGO_BIN_EXE_kvstorec"))
}

/// A fresh home with a cookie.
pub(crate) fn sandbox_with_cookie() -> Sandbox {
    let sandbox = sandbox();
    assert_eq!(sandbox.ensemble(&["admin", "cookie"]).succeeds(), b"");
    sandbox
}

/// Starts `ensemble ARGS` and waits until the server `id` is ready.
pub(crate) fn serve(sandbox: &Sandbox, args: &[&str], id: &str) -> Proc {
    let mut server = sandbox.start(args);
    server.says(&format!("... {id} is ready at "));
    server
}

/// Starts a registry.
pub(crate) fn registry(sandbox: &Sandbox) -> Proc {
    serve(sandbox, &["registry"], "registry")
}

/// Starts the server `kvstore`.
pub(crate) fn kvstore(sandbox: &Sandbox) -> Proc {
    serve(sandbox, &["run", "--roles", "kvstore"], "kvstore")
}

/// A home with a registry and a kvstore in it.
pub(crate) struct Ensemble {
    pub(crate) kvstore: Proc,
    pub(crate) registry: Proc,
    pub(crate) sandbox: Sandbox,
}

/// Starts both.
pub(crate) fn ensemble() -> Ensemble {
    let sandbox = sandbox_with_cookie();
    let registry = registry(&sandbox);
    let kvstore = kvstore(&sandbox);
    Ensemble { kvstore, registry, sandbox }
}

/// The socket of a server.
pub(crate) fn socket(sandbox: &Sandbox, id: &str) -> PathBuf {
    sandbox.home().join("run").join(format!("{id}.sock"))
}
