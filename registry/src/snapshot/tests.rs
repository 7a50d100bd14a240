use std::fs;

use super::*;

fn id(text: &str) -> ServerId {
    ServerId::new(text).unwrap()
}

fn entry(name: &str, n: u8) -> StoredEntry {
    StoredEntry::Server {
        server: Announcement {
            id: id(name),
            incarnation: Incarnation::from_bytes([n; 16]),
            addresses: vec!["unix:/run/x.sock".parse().unwrap(), "tcp:[::1]:7".parse().unwrap()],
            roles: vec![RoleName::new("kvstore").unwrap()],
            agent: Some("ensemble/0.1".into()),
            pid: Some(300),
        },
        announced_at_ms: 70_000,
        superseded: vec![Incarnation::from_bytes([7; 16])],
    }
}

fn gone(name: &str) -> StoredEntry {
    StoredEntry::Gone { id: id(name), incarnations: [3, 4].map(|n| Incarnation::from_bytes([n; 16])).into() }
}

fn put_raw(snapshot: &Snapshot, key: &[u8], value: &[u8]) {
    let mut transaction = snapshot.env.write_txn().unwrap();
    snapshot.servers.put(&mut transaction, key, value).unwrap();
    transaction.commit().unwrap();
}

#[test]
fn what_was_put_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not/there/yet");
    let snapshot = Snapshot::open(&path).unwrap();
    assert_eq!(snapshot.load().unwrap(), []);
    for name in ["b@/site/rack", "c", "a"] {
        snapshot.put(&entry(name, 1)).unwrap();
    }
    snapshot.put(&entry("a", 2)).unwrap();
    snapshot.put(&gone("d")).unwrap();
    snapshot.remove(&id("c")).unwrap();
    snapshot.remove(&id("never-there")).unwrap();
    drop(snapshot);

    let snapshot = Snapshot::open(&path).unwrap();
    assert_eq!(snapshot.load().unwrap(), [entry("a", 2), entry("b@/site/rack", 1), gone("d")]);
}

#[test]
fn a_batch_is_done_in_order_and_all_can_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = Snapshot::open(dir.path()).unwrap();
    snapshot.apply(&[]).unwrap();
    let writes = [
        Write::Put(entry("a", 1)),
        Write::Put(entry("b", 1)),
        Write::Remove(id("a")),
        Write::Put(entry("b", 2)),
    ];
    snapshot.apply(&writes).unwrap();
    assert_eq!(snapshot.load().unwrap(), [entry("b", 2)]);
    snapshot.replace_all(&[entry("z", 1), entry("y", 1)]).unwrap();
    assert_eq!(snapshot.load().unwrap(), [entry("y", 1), entry("z", 1)]);
}

#[test]
fn the_bytes_of_an_entry_are_pinned() {
    let mut bytes = vec![1, 0x75, 0x9d, 0x7a, 0x0e];
    bytes.extend([0x11; 16]);
    bytes.extend([252, 0x70, 0x11, 1, 0]);
    bytes.extend(b"\x02\x10unix:/run/x.sock\x0btcp:[::1]:7");
    bytes.extend(b"\x01\x07kvstore");
    bytes.extend(b"\x01\x0censemble/0.1");
    bytes.extend([1, 251, 44, 1]);
    bytes.push(1);
    bytes.extend([7; 16]);
    let golden = entry("a@/b", 0x11);
    assert_eq!(encode(&golden).unwrap(), bytes);
    assert_eq!(decode(b"a@/b", &bytes).unwrap(), golden);

    let mut bytes = vec![2, 0xa1, 0xcb, 0x7d, 0xae, 2];
    bytes.extend([3; 16]);
    bytes.extend([4; 16]);
    let golden = gone("a@/b");
    assert_eq!(encode(&golden).unwrap(), bytes);
    assert_eq!(decode(b"a@/b", &bytes).unwrap(), golden);
}

#[test]
fn a_damaged_entry_is_skipped_and_the_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = Snapshot::open(dir.path()).unwrap();
    snapshot.put(&entry("a", 1)).unwrap();
    snapshot.put(&entry("z", 1)).unwrap();
    let good = encode(&entry("b", 1)).unwrap();
    put_raw(&snapshot, b"c", b"");
    put_raw(&snapshot, b"d", &[1, 2, 3, 4]);
    put_raw(&snapshot, b"not a name", &good);
    put_raw(&snapshot, b"\xff\xfe", &good);
    put_raw(&snapshot, b"other", &good);
    assert_eq!(snapshot.load().unwrap(), [entry("a", 1), entry("z", 1)]);
}

#[test]
fn no_single_byte_can_change_unnoticed() {
    for good in [entry("b", 1), gone("b")] {
        let good = encode(&good).unwrap();
        for position in 0..good.len() {
            for flip in [1u8, 3, 0x80] {
                let mut bad = good.clone();
                bad[position] ^= flip;
                assert!(decode(b"b", &bad).is_err(), "byte {position}");
            }
            assert!(decode(b"b", &good[..position]).is_err(), "cut at {position}");
        }
    }
}

#[test]
fn content_that_is_no_entry_is_damage_even_with_its_checksum() {
    let mut value = vec![SERVER_FORM];
    let content = [0xff; 40];
    value.extend(checksum(b"a", &content));
    value.extend(content);
    assert!(matches!(decode(b"a", &value), Err(Damage::Content(_))));
    value[0] = GONE_FORM;
    assert!(matches!(decode(b"a", &value), Err(Damage::Content(_))));
    value[0] = 3;
    assert!(matches!(decode(b"a", &value), Err(Damage::Form { found: 3 })));
}

#[test]
fn a_full_database_says_so_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = Snapshot::open_sized(dir.path(), 1 << 18).unwrap();
    snapshot.put(&entry("a", 1)).unwrap();
    let many: Vec<_> = (0..4000).map(|n| Write::Put(entry(&format!("s{n}"), 1))).collect();
    assert!(matches!(snapshot.apply(&many), Err(SnapshotError::Full)));
    assert_eq!(snapshot.load().unwrap(), [entry("a", 1)]);
    snapshot.put(&entry("b", 1)).unwrap();
    snapshot.remove(&id("a")).unwrap();
    assert_eq!(snapshot.load().unwrap(), [entry("b", 1)]);
}

#[test]
fn two_registries_on_one_directory_refuse_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let first = Snapshot::open(dir.path()).unwrap();
    assert!(matches!(Snapshot::open(dir.path()), Err(SnapshotError::InUse { .. })));
    first.put(&entry("a", 1)).unwrap();
    drop(first);
    assert_eq!(Snapshot::open(dir.path()).unwrap().load().unwrap(), [entry("a", 1)]);
}

#[test]
fn another_format_is_refused_by_number() {
    let dir = tempfile::tempdir().unwrap();
    for (format, number) in [(&[9u8, 0, 0, 0][..], Some(9)), (b"??", None)] {
        let snapshot = Snapshot::open(dir.path());
        // After the first round the format is one that nobody knows.
        drop(snapshot);
        {
            let env = open_env(dir.path(), MAP_BYTES).unwrap();
            let opened = env.create_databases_and_commit(env.write_txn().unwrap(), |opener, transaction| {
                let meta = opener.create_database::<Str, Bytes>(transaction, Some(META))?;
                meta.put(transaction, FORMAT_KEY, format)?;
                Ok::<_, heed::Error>(CommitOrAbort::<_, Infallible>::Commit(meta))
            });
            assert!(opened.is_ok());
        }
        match Snapshot::open(dir.path()) {
            Err(SnapshotError::UnknownFormat { found, .. }) => assert_eq!(found, number),
            other => panic!("expected a refusal, not {other:?}"),
        }
    }
}

#[test]
fn a_file_that_is_no_database_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data.mdb"), [0x5a; 40_000]).unwrap();
    assert!(matches!(Snapshot::open(dir.path()), Err(SnapshotError::Open { .. })));
    let file = dir.path().join("a-file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(Snapshot::open(&file), Err(SnapshotError::Directory { .. })));
    let locked = dir.path().join("locked");
    fs::create_dir_all(locked.join(LOCK_FILE)).unwrap();
    assert!(matches!(Snapshot::open(&locked), Err(SnapshotError::Lock { .. })));
}

#[test]
fn a_file_that_was_cut_off_does_not_kill_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data.mdb");
    let snapshot = Snapshot::open(dir.path()).unwrap();
    let entries: Vec<_> = (0..500).map(|n| entry(&format!("server-{n:03}"), 1)).collect();
    snapshot.replace_all(&entries).unwrap();
    drop(snapshot);
    let whole = fs::read(&data).unwrap();
    for pages in 2..whole.len() / 4096 {
        fs::write(&data, &whole[..pages * 4096]).unwrap();
        // Which of the two it is depends on where the entries were; that the process goes on is the point.
        if let Ok(loaded) = Snapshot::open(dir.path()).and_then(|snapshot| snapshot.load()) {
            assert!(loaded.iter().all(|found| entries.contains(found)), "cut to {pages} pages");
        }
    }
}
