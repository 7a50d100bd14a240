//! Removes in a full store whose log of changes is far larger than what is left for them.

use ensemble_tests::Random;

use super::take_every_page;
use crate::store::{ChangesQuery, Durability, Store, StoreOptions, Write};

const MAX_SIZE_BYTES: usize = 128 << 20;
/// What is left of the room for removes: less than the log may take, and so much that a list of its pages takes several.
const LEFT_BYTES: usize = 5 << 20;
const KEYS: u64 = 30_000;

fn options(max_changes: u64) -> StoreOptions {
    StoreOptions {
        max_size_bytes: MAX_SIZE_BYTES,
        initial_map_bytes: 64 << 10,
        durability: Durability::Sync,
        max_changes,
        ..StoreOptions::default()
    }
}

fn key(number: u64) -> String {
    format!("{number:0500}")
}

/// The log was given up as a whole, for which there was no room either: all removes were refused from then on.
#[test]
fn removes_go_through_when_the_log_has_taken_what_was_left_for_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options(0)).unwrap();
    for from in (0..KEYS).step_by(1000) {
        let writes = (from..from + 1000).map(|number| Write::put(key(number), [7; 25].as_slice())).collect();
        assert!(store.apply(writes).iter().all(Result::is_ok));
    }
    store.environment().resize(MAX_SIZE_BYTES - LEFT_BYTES).unwrap();
    take_every_page(&store);
    drop(store);

    let store = Store::open(directory.path(), options(u64::MAX)).unwrap();
    let mut random = Random::new(1);
    let mut order: Vec<u64> = (0..KEYS).collect();
    for end in (1..order.len()).rev() {
        order.swap(end, random.below(end as u64 + 1) as usize);
    }
    // Hardly a page gets free by so few in no order: each page has several keys.
    for (index, numbers) in order[..KEYS as usize / 2].chunks(16).enumerate() {
        let results = store.apply(numbers.iter().map(|number| Write::remove(key(*number))).collect());
        for result in results {
            assert!(result.is_ok(), "{index}: {result:?}");
        }
    }
    let last = store.revision().unwrap();
    let page = store.changes(&ChangesQuery { after: Some(last), ..ChangesQuery::default() }).unwrap();
    assert!(page.first > KEYS + 1, "the oldest are given up");
    assert!(page.last - page.first > 1000, "the last ones are kept: from {} to {}", page.first, page.last);
}
