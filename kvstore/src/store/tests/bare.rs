//! LMDB without the store: files as an older program leaves them, and readers that are no stores.

use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, MdbError, WithoutTls};

type Table<'e> = Database<'e, Bytes, Bytes>;

/// Opens the environment in `directory`, which no store in this process has open.
pub(super) fn open(directory: &Path, map_bytes: usize, flags: EnvFlags) -> Env<WithoutTls> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(map_bytes).max_dbs(8).max_readers(512);
    #[expect(unsafe_code, reason = "a test's own directory")]
    // SAFETY: the file is changed through LMDB only. The flags are those of a reader, or none.
    unsafe {
        options.flags(flags).open(directory).unwrap()
    }
}

/// Makes a store as the first program did, with the table of records only, and fills the map to the last page. The key `0`
/// has the record `record`; the others have none. Says how many keys there are.
pub(super) fn fill_old_store(directory: &Path, map_bytes: usize, record: &[u8]) -> u32 {
    let env = open(directory, map_bytes, EnvFlags::empty());
    let transaction = env.write_txn().unwrap();
    let tables = env.create_databases_and_commit(transaction, |opener, transaction| {
        let meta: Table<'_> = opener.create_database(transaction, None)?;
        let records: Table<'_> = opener.create_database(transaction, Some("records"))?;
        meta.put(transaction, b"format", &1_u32.to_le_bytes())?;
        meta.put(transaction, b"revision", &1_u64.to_le_bytes())?;
        records.put(transaction, b"0", record)?;
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit((meta, records)))
    });
    let (meta, records) = tables.unwrap().unwrap_commit();
    let full = |table: &Table<'_>, name: &str| {
        let (mut count, mut length) = (0, 10_000);
        while length > 0 {
            let key = format!("{name}{}", count + 1);
            let put = env.write_txn().and_then(|mut transaction| {
                table.put(&mut transaction, key.as_bytes(), &vec![1; length])?;
                transaction.commit()
            });
            match put {
                Ok(()) => count += 1,
                Err(heed::Error::Mdb(MdbError::MapFull)) => length /= 2,
                Err(other) => panic!("{other:?}"),
            }
        }
        count
    };
    let count = full(&records, "");
    // What is left where no record fits is enough for one more table: the table of tables takes it.
    full(&meta, "taken ");
    count + 1
}
