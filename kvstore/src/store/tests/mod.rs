//! Tests of the whole store, through its public interface.

mod bare;
mod basics;
mod changes;
mod concurrency;
mod damage;
mod durability;
mod expiry;
mod flips;
mod full_disk;
mod growth;
mod log_room;
mod long_reads;
mod look;
mod model;
mod pages;
mod places;
mod readers;
mod room;
mod stalled;
mod stream_damage;
mod stream_model;
mod streams;
mod together;
mod upgrade;
mod upkeep;

use std::path::Path;

use super::environment::End;
use super::{Store, StoreOptions};

fn open(directory: &Path) -> Store {
    Store::open(directory, StoreOptions::default()).unwrap()
}

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Takes the pages that are left, behind the store's back, until no transaction finds any.
fn take_every_page(store: &Store) {
    let take = |name: &str, count: usize| {
        store.environment().write(|transaction, tables| {
            for number in 0..count {
                // Of a length that gets a page of its own.
                tables.records.put(transaction, format!("{name} {number}").as_bytes(), &[0; 3000])?;
            }
            Ok(End::Commit(()))
        })
    };
    for round in 0.. {
        let most = (1..1000).rev().find(|count| take(&format!("taken {round}"), *count).is_ok());
        if most.is_none() {
            return;
        }
    }
}
