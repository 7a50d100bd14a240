//! The command `kvstorec`.
fn main() {}
