//! A store in a temporary directory: put, get, compare and swap, remove.
//!
//! `cargo run -p ensemble-kvstore --example store`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use kvstore::engine::{Engine, EngineError, EngineOptions};
use kvstore::store::{Condition, Store, StoreOptions, Write, WriteError};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path(), StoreOptions::default())?;
    let engine = Engine::start(store, &EngineOptions::default())?;

    let text = "to be or not to be, ".repeat(50);
    let stored = engine.put("question", text.clone()).await?;
    println!("{} bytes, stored as {}, at revision {}", text.len(), stored.stored_bytes, stored.revision);

    let entry = engine.get("question").await?.ok_or("it was just put")?;
    println!("read {} bytes of revision {}", entry.value.len(), entry.revision);

    let write = |value| Write::Put {
        key: "question".into(),
        value,
        condition: Condition::Revision(stored.revision),
        ttl_ms: None,
    };
    engine.write(write("that is the question".into())).await?;
    match engine.write(write("too late".into())).await {
        Err(EngineError::Write(WriteError::Conflict { current })) => {
            println!("refused: the revision is {current:?} now");
        }
        other => println!("not expected: {other:?}"),
    }

    println!("there to remove: {}", engine.remove("question").await?);
    println!("there to remove: {}", engine.remove("question").await?);
    println!("found: {:?}", engine.get("question").await?);
    engine.close().await;
    Ok(())
}
