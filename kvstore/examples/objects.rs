//! A tour of the object type: one value in its three written forms, and a type of one's own.
//!
//! `cargo run -p ensemble-kvstore --example objects`
#![expect(clippy::print_stdout, reason = "printing is what the example is for")]

use std::{collections::BTreeMap, error::Error};

use kvstore::object::{Object, from_object, to_object};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Book {
    title: String,
    year: i32,
    formats: Vec<Format>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Format {
    Paper { pages: u16 },
    Scroll,
}

fn main() -> Result<(), Box<dyn Error>> {
    let alist = Object::parse_sexp("((a . 1) (b . 2) ; a comment\n (c . 3))")?;
    println!("S-expression  {alist}");
    println!("JSON          {}", alist.to_json()?);
    println!("bytes         {}", alist.to_bytes()?.escape_ascii());
    assert_eq!(Object::from_bytes(&alist.to_bytes()?)?, alist);
    assert_eq!(Object::from_json(&alist.to_json()?)?, alist);

    let counts: BTreeMap<String, u32> = from_object(&alist)?;
    println!("as a Rust map {counts:?}");

    let book = Book {
        title: "Elements".to_owned(),
        year: -300,
        formats: vec![Format::Scroll, Format::Paper { pages: 527 }],
    };
    let object = to_object(&book)?;
    println!("a book        {object}");
    println!("in JSON       {}", object.to_json()?);
    assert_eq!(from_object::<Book>(&object)?, book);

    for text in ["(a . b", "(1 2)\n(3)", "#\\a"] {
        match Object::parse_sexp(text) {
            Ok(object) => println!("{text:?} is {object}"),
            Err(failed) => println!("{text:?} fails: {failed}"),
        }
    }
    if let Err(failed) = Object::from_json("{\"a\": 1,\n \"a\": 2}") {
        println!("a key that comes again fails: {failed}");
    }
    if let Err(failed) = Object::from_bytes(b"no object") {
        println!("other bytes fail: {failed}");
    }
    Ok(())
}
