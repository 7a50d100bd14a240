//! Stores that an older program has made.

use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, EnvFlags};

use super::changes::all_after;
use super::{bare, open};
use crate::store::record::{Codec, Header, PayloadChecksum};
use crate::store::{Change, ChangeKind, ChangesError, ChangesQuery};

/// A store of version 1, as it is described: with the tables that it had, and these values under the keys `0`, `1`, ...
fn first_version(directory: &Path, values: &[&[u8]]) {
    let env = bare::open(directory, 64 << 20, EnvFlags::empty());
    let transaction = env.write_txn().unwrap();
    let made: Result<_, heed::Error> = env.create_databases_and_commit(transaction, |opener, transaction| {
        let records = opener.create_database::<Bytes, Bytes>(transaction, Some("records"))?;
        opener.create_database::<Bytes, Bytes>(transaction, Some("expiry"))?;
        let meta = opener.create_database::<Bytes, Bytes>(transaction, None)?;
        meta.put(transaction, b"format", &1_u32.to_le_bytes())?;
        meta.put(transaction, b"revision", &(values.len() as u64).to_le_bytes())?;
        for (index, value) in values.iter().enumerate() {
            let key = index.to_string();
            let header = Header {
                codec: Codec::Raw,
                revision: index as u64 + 1,
                value_bytes: value.len() as u64,
                expires_at_ms: None,
            };
            let header = header.encode(key.as_bytes(), &PayloadChecksum::of(value));
            records.put(transaction, key.as_bytes(), &[header.as_slice(), value].concat())?;
        }
        Ok(CommitOrAbort::<_, ()>::Commit(()))
    });
    assert!(matches!(made, Ok(CommitOrAbort::Commit(()))));
    env.prepare_for_closing().wait();
}

#[test]
fn a_store_of_version_1_has_its_records_and_a_log_from_now_on() {
    let directory = tempfile::tempdir().unwrap();
    first_version(directory.path(), &[b"zero", b"one"]);
    let store = open(directory.path());
    assert_eq!(store.get(b"0").unwrap().unwrap().value, "zero");
    assert_eq!(store.get(b"1").unwrap().unwrap().revision, 2);
    let query = |after| ChangesQuery { after: Some(after), ..ChangesQuery::default() };
    let refused = store.changes(&query(1)).unwrap_err();
    assert!(matches!(refused, ChangesError::Compacted { after: 1, first: 3 }), "{refused:?}");
    assert_eq!(store.changes(&query(2)).unwrap().first, 3);
    assert_eq!(store.put("2", "two").unwrap().revision, 3);
    let history = store.history();
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.history(), history);
    let change = Change { revision: 3, key: "2".into(), kind: ChangeKind::Put { value_bytes: 3 } };
    assert_eq!(all_after(&store, 2).unwrap(), [change]);
}
