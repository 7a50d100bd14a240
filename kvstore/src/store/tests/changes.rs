//! The log of changes: what is in it, from where on, and in which history.

use std::fs;
use std::path::Path;

use bytes::Bytes;

use super::{noise, open};
use crate::History;
use crate::store::environment::End;
use crate::store::{
    Attached, Change, ChangeKind, ChangesError, ChangesPage, ChangesQuery, Condition, Durability, Store,
    StoreOptions, Together, Write, restore,
};

fn with(directory: &Path, options: StoreOptions) -> Store {
    Store::open(directory, options).unwrap()
}

/// At most so many changes.
fn keeping(max_changes: u64) -> StoreOptions {
    StoreOptions { max_changes, ..StoreOptions::default() }
}

fn after(revision: u64) -> ChangesQuery {
    ChangesQuery { after: Some(revision), most: usize::MAX, ..ChangesQuery::default() }
}

/// All changes behind a revision, in pages.
pub(super) fn all_after(store: &Store, revision: u64) -> Result<Vec<Change>, ChangesError> {
    let mut all = Vec::new();
    let mut at = revision;
    loop {
        let page = store.changes(&after(at))?;
        all.extend(page.changes.into_iter().map(|(change, _)| change));
        at = page.next;
        if at == page.last {
            return Ok(all);
        }
    }
}

fn put(revision: u64, key: &str, value_bytes: u64) -> Change {
    Change { revision, key: Bytes::copy_from_slice(key.as_bytes()), kind: ChangeKind::Put { value_bytes } }
}

fn removed(revision: u64, key: &str) -> Change {
    Change { kind: ChangeKind::Removed, ..put(revision, key, 0) }
}

fn revisions(page: &ChangesPage) -> Vec<u64> {
    page.changes.iter().map(|(change, _)| change.revision).collect()
}

#[test]
fn each_write_that_changes_something_is_one_change() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert_eq!(all_after(&store, 0).unwrap(), []);
    store.put("a", "1").unwrap();
    store.remove("missing").unwrap();
    store.put("b", "a".repeat(1000)).unwrap();
    let refused = Write::Remove { key: "a".into(), condition: Condition::Revision(9) };
    assert!(store.apply(vec![refused]).pop().unwrap().is_err());
    store.remove("a").unwrap();
    let together = vec![Write::put("c", "1"), Write::remove("b"), Write::remove("none"), Write::put("d", "")];
    store.apply(vec![Write::Together(Together::new(together).unwrap())]).pop().unwrap().unwrap();
    let conflict =
        vec![Write::put("e", "1"), Write::Check { key: "a".into(), condition: Condition::Revision(1) }];
    assert!(store.apply(vec![Write::Together(Together::new(conflict).unwrap())]).pop().unwrap().is_err());
    let expected =
        [put(1, "a", 1), put(2, "b", 1000), removed(3, "a"), put(4, "c", 1), removed(5, "b"), put(6, "d", 0)];
    assert_eq!(all_after(&store, 0).unwrap(), expected);
    assert_eq!(all_after(&store, 4).unwrap(), expected[4..]);
    assert_eq!(all_after(&store, 6).unwrap(), []);
    drop(store);
    let store = open(directory.path());
    assert_eq!(all_after(&store, 0).unwrap(), expected, "also when it was opened again");
    store.compact().unwrap();
    assert_eq!(all_after(&store, 0).unwrap(), expected, "and compacted");
}

#[test]
fn a_page_is_of_one_prefix_and_goes_on_over_what_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for number in 0..30 {
        store.put(if number % 10 == 0 { format!("a/{number}") } else { format!("b/{number}") }, "").unwrap();
    }
    let query = ChangesQuery { prefix: "a/".into(), most: 2, ..after(0) };
    let page = store.changes(&query).unwrap();
    assert_eq!((revisions(&page), page.next, page.last, page.first), (vec![1, 11], 20, 30, 1));
    let page = store.changes(&ChangesQuery { after: Some(page.next), ..query.clone() }).unwrap();
    assert_eq!((revisions(&page), page.next), (vec![21], 30), "the position moves on without a change");
    let page = store.changes(&ChangesQuery { prefix: "c".into(), ..query.clone() }).unwrap();
    assert_eq!((revisions(&page), page.next), (vec![], 30));
    let page = store.changes(&ChangesQuery { after: None, ..query.clone() }).unwrap();
    assert_eq!((revisions(&page), page.next), (vec![], 30), "from now on");
    let long = ChangesQuery { prefix: vec![b'a'; 512].into(), ..query };
    assert!(matches!(store.changes(&long), Err(ChangesError::Read(_))));
}

#[test]
fn a_page_has_bounds() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let writes = (0..11_000).map(|number| Write::put(format!("{number}"), "")).collect();
    assert!(store.apply(writes).iter().all(Result::is_ok));
    let page = store.changes(&after(0)).unwrap();
    assert_eq!(revisions(&page), (1..=1000).collect::<Vec<_>>());
    assert_eq!(page.next, 1000);
    let page = store.changes(&ChangesQuery { prefix: "none".into(), ..after(0) }).unwrap();
    assert_eq!((page.changes.len(), page.next, page.last), (0, 10_000, 11_000));
    let writes = (0..500).map(|number| Write::put(vec![number as u8; 500], "")).collect();
    assert!(store.apply(writes).iter().all(Result::is_ok));
    let page = store.changes(&after(11_000)).unwrap();
    assert!((100..200).contains(&page.changes.len()), "{}", page.changes.len());
}

#[test]
fn the_oldest_go_first_and_the_first_that_is_kept_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let store = with(directory.path(), keeping(10));
    let mut firsts = Vec::new();
    for number in 1..=1000_u64 {
        store.put(format!("{}", number % 7), "").unwrap();
        let first = store.changes(&after(number)).unwrap().first;
        firsts.push(first);
        let kept = number + 1 - first;
        assert!(kept >= number.min(10) && kept <= 10 + 128, "{number}: {kept}");
        let expected: Vec<u64> = (first..=number).collect();
        let found = all_after(&store, first - 1).unwrap();
        assert_eq!(found.iter().map(|change| change.revision).collect::<Vec<_>>(), expected);
        if first > 1 {
            let refused = store.changes(&after(first - 2)).unwrap_err();
            assert!(
                matches!(refused, ChangesError::Compacted { after, first: kept } if kept == first && after == first - 2)
            );
        }
    }
    assert!(firsts.is_sorted());
    firsts.dedup();
    assert!((2..10).contains(&firsts.len()), "dropped together: {firsts:?}");
    drop(store);
    let store = with(directory.path(), keeping(10));
    assert_eq!(Some(&store.changes(&after(1000)).unwrap().first), firsts.last());
}

#[test]
fn a_lower_limit_takes_effect_in_steps() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let writes = (0..5000).map(|number| Write::put(format!("{number}"), "")).collect();
    assert!(store.apply(writes).iter().all(Result::is_ok));
    drop(store);
    let store = with(directory.path(), keeping(10));
    let mut before = 1;
    for step in 0..10 {
        let revision = store.put("k", "").unwrap().revision;
        let first = store.changes(&after(revision)).unwrap().first;
        assert!(first - before <= 1024 + 2, "{step}: {before} {first}");
        before = first;
    }
    assert!(before > 4870, "{before}");
}

#[test]
fn it_takes_no_more_than_its_part_of_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { max_size_bytes: 16 << 20, ..StoreOptions::default() };
    let store = with(directory.path(), options);
    let mut first = 1;
    for round in 0..20 {
        let writes = (0..1000).map(|number: u32| Write::put(noise(number.into(), 400), "")).collect();
        assert!(store.apply(writes).iter().all(Result::is_ok));
        let page = store.changes(&after((round + 1) * 1000)).unwrap();
        let kept = page.last + 1 - page.first;
        assert!(kept * 450 < 1 << 20, "{round}: {kept}");
        assert!(page.first >= first && kept > 1000.min(round), "{round}: {kept}");
        first = page.first;
    }
    assert!(first > 10_000, "{first}");
}

#[test]
fn without_a_log_nothing_is_kept_and_with_it_again_all_that_follows() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("a", "").unwrap();
    drop(store);
    let store = with(directory.path(), keeping(0));
    assert_eq!(all_after(&store, 0).unwrap().len(), 1, "it is still true");
    store.put("b", "").unwrap();
    assert!(matches!(store.changes(&after(1)), Err(ChangesError::Compacted { after: 1, first: 3 })));
    assert_eq!(all_after(&store, 2).unwrap(), []);
    drop(store);
    let store = open(directory.path());
    assert!(matches!(store.changes(&after(1)), Err(ChangesError::Compacted { after: 1, first: 3 })));
    store.put("c", "").unwrap();
    assert_eq!(all_after(&store, 2).unwrap(), [put(3, "c", 0)]);
    assert!(matches!(store.changes(&after(1)), Err(ChangesError::Compacted { after: 1, first: 3 })));
}

#[test]
fn a_revision_that_is_yet_to_come_and_one_of_another_history_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("a", "").unwrap();
    assert!(matches!(store.changes(&after(2)), Err(ChangesError::Ahead { after: 2, last: 1 })));
    let history = store.history();
    let of = |history| ChangesQuery { history: Some(history), ..after(0) };
    assert_eq!(store.changes(&of(history)).unwrap().history, history);
    let other = store.changes(&of(History::fresh()));
    assert!(matches!(other, Err(ChangesError::HistoryChanged { history: of }) if of == history));
}

#[test]
fn the_history_is_another_only_when_revisions_may_be_given_out_again() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = open(&at("store"));
    let history = store.history();
    store.put("a", "").unwrap();
    store.compact().unwrap();
    drop(store);
    let store = open(&at("store"));
    assert_eq!(store.history(), history);
    store.backup(&at("backup")).unwrap();
    drop(store);
    restore(&at("backup"), &at("restored")).unwrap();
    let restored = open(&at("restored"));
    assert_ne!(restored.history(), history);
    assert_eq!(all_after(&restored, 0).unwrap(), [put(1, "a", 0)], "what it had is true all the same");
    assert_eq!(open(&at("store")).history(), history);

    // Closed in good order, nothing was lost; otherwise it may have been.
    let unsynced =
        || with(&at("store"), StoreOptions { durability: Durability::None, ..StoreOptions::default() });
    let store = unsynced();
    store.put("b", "").unwrap();
    drop(store);
    let store = unsynced();
    assert_eq!(store.history(), history);
    store.put("c", "").unwrap();
    fs::create_dir(at("crashed")).unwrap();
    for file in ["data.mdb", "synced"] {
        fs::copy(at("store").join(file), at("crashed").join(file)).unwrap();
    }
    let crashed = unsynced_at(&at("crashed"));
    assert_eq!(crashed.revision().unwrap(), 2);
    assert_ne!(crashed.history(), history);
    let second = crashed.history();
    crashed.put("d", "").unwrap();
    assert_eq!(all_after(&crashed, 1).unwrap(), [put(2, "b", 0), put(3, "d", 0)]);
    drop(crashed);
    assert_eq!(open(&at("crashed")).history(), second);
}

fn unsynced_at(directory: &Path) -> Store {
    with(directory, StoreOptions { durability: Durability::None, ..StoreOptions::default() })
}

#[test]
fn a_value_comes_with_its_put_for_as_long_as_it_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("a", "first").unwrap();
    store.put("b", "second").unwrap();
    store.put("a", "third").unwrap();
    store.put("c", vec![7; 100]).unwrap();
    store.remove("b").unwrap();
    store.put("d", "last").unwrap();
    let query = ChangesQuery { values_bytes: Some(50), ..after(0) };
    let page = store.changes(&query).unwrap();
    // The long one would not have fitted here; it may fit alone.
    let attached = |page: &ChangesPage| page.changes.iter().map(|(_, it)| it.clone()).collect::<Vec<_>>();
    assert_eq!(attached(&page), [Attached::Replaced, Attached::Replaced, Attached::Value("third".into())]);
    assert_eq!(page.next, 3);
    let page = store.changes(&ChangesQuery { after: Some(page.next), ..query.clone() }).unwrap();
    let last = Attached::Value("last".into());
    assert_eq!(attached(&page), [Attached::NotRead, Attached::Nothing, last], "nor there");
    let page = store.changes(&ChangesQuery { values_bytes: Some(100), ..after(3) }).unwrap();
    assert_eq!(attached(&page), [Attached::Value(vec![7; 100].into()), Attached::Nothing]);
    assert_eq!(page.next, 5);
    let page = store.changes(&after(0)).unwrap();
    assert!(page.changes.iter().all(|(_, attached)| *attached == Attached::Nothing));
}

/// All of such a value was read, to check it, with every look.
#[test]
fn a_value_that_is_too_long_is_not_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("a", noise(1, 100)).unwrap();
    let spoil = |transaction: &mut heed::RwTxn<'_>, tables: &crate::store::environment::Tables| {
        let mut record = tables.records.get(transaction, b"a")?.unwrap().to_vec();
        *record.last_mut().unwrap() ^= 1;
        tables.records.put(transaction, b"a", &record)?;
        Ok(End::Commit(()))
    };
    store.environment().write(spoil).unwrap();
    let hits = |values_bytes| {
        let page = store.changes(&ChangesQuery { values_bytes: Some(values_bytes), ..after(0) }).unwrap();
        page.changes[0].1.clone()
    };
    assert_eq!((hits(99), hits(100)), (Attached::NotRead, Attached::NotRead));
}

#[test]
fn a_damaged_entry_is_named_and_never_told() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for key in ["a", "b", "c"] {
        store.put(key, "").unwrap();
    }
    let spoil = |entry: Option<&[u8]>| {
        let write = |transaction: &mut heed::RwTxn<'_>, tables: &crate::store::environment::Tables| {
            let at = 2_u64.to_be_bytes();
            match entry {
                Some(entry) => tables.changes.put(transaction, &at, entry)?,
                None => assert!(tables.changes.delete(transaction, &at)?),
            }
            Ok(End::Commit(()))
        };
        store.environment().write(write).unwrap();
    };
    for entry in [Some(&b"nothing"[..]), None] {
        spoil(entry);
        let page = store.changes(&after(0)).unwrap();
        assert_eq!((revisions(&page), page.next), (vec![1], 1), "what came before is told");
        let refused = store.changes(&after(1)).unwrap_err();
        assert!(matches!(refused, ChangesError::Damaged { revision: 2 }), "{refused:?}");
        assert_eq!(all_after(&store, 2).unwrap(), [put(3, "c", 0)]);
    }
}

#[test]
fn commits_are_told_to_who_waits() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put("a", "").unwrap();
    let mut committed = store.committed();
    assert_eq!(*committed.borrow_and_update(), 1);
    store.remove("missing").unwrap();
    assert!(!committed.has_changed().unwrap());
    store.put("b", "").unwrap();
    assert!(committed.has_changed().unwrap());
    assert_eq!(*committed.borrow_and_update(), 2);
    drop(store);
    assert!(committed.has_changed().is_err());
    assert_eq!(*open(directory.path()).committed().borrow(), 2);
}
