//! A server that offers a store, and a program that uses it: here in one process, with a directory that is gone at the
//! end.
//!
//! `cargo run -p ensemble-kvstore --example client`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{collections::BTreeMap, error::Error};

use ensemble::{Address, Cookie, Node, Role, RoleContext};
use kvstore::{Client, KvStoreRole};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Book {
    title: String,
    year: Option<u16>,
    authors: Vec<String>,
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let address = Address::Unix(dir.path().join("kvstore.sock"));
    let cookie = Cookie::generate()?;

    // What `ensemble run --roles kvstore` does.
    let server = Node::builder("kvstore").cookie(cookie.clone()).listen(address.clone()).start().await?;
    KvStoreRole.start(RoleContext::new(server.clone(), dir.path().to_owned(), BTreeMap::new())).await?;

    // What a program does, in this process or any other. In an ensemble with a registry it need not know the way.
    let program = Node::builder("program").cookie(cookie).start().await?;
    program.set_route("kvstore".parse()?, vec![address]);
    let store = Client::new(&program, "kvstore");

    let put = store.put("greeting", "hello").await?;
    println!("put a greeting: {} bytes on disk, revision {}", put.stored_bytes, put.revision);
    if let Some(value) = store.get("greeting").await? {
        println!("got {:?}, revision {}", value.bytes, value.revision);
    }

    let book = Book {
        title: "The Art of the Propagator".to_owned(),
        year: Some(2009),
        authors: vec!["Alexey Radul".to_owned(), "Gerald Jay Sussman".to_owned()],
    };
    store.put_object("book", &book).await?;
    println!("got {:?}", store.get_object::<Book>("book").await?);
    if let Some(object) = store.get_value("book").await? {
        println!("as an S-expression: {object}");
    }

    println!("removed: {}", store.remove("greeting").await?.existed());
    println!("removed again: {}", store.remove("greeting").await?.existed());
    println!("got {:?}", store.get("greeting").await?);

    server.shutdown();
    server.run().await?;
    Ok(())
}
