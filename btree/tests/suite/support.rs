//! A small laboratory: open a database on a simulated disk, hurt its file, look what comes back.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_btree::{Db, Error, Options, TreeId, Writer};
use drystone_vfs::{OpenMode, SimVfs, Vfs};

pub(crate) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) const PAGE: u64 = 4096;
pub(crate) use crate::forge::{RECORD, SLOT};

pub(crate) fn path() -> PathBuf {
    PathBuf::from("dir/db")
}

/// No threads, the same bytes every time, little memory.
pub(crate) fn options() -> Options {
    Options::default().writer(Writer::Caller).db_id(42).memory_bytes(4 << 20)
}

pub(crate) fn disk() -> SimVfs {
    SimVfs::new(1)
}

pub(crate) fn try_open(disk: &SimVfs, options: Options) -> Result<Db, Error> {
    Db::open(Arc::new(disk.clone()), &path(), options)
}

#[track_caller]
pub(crate) fn open(disk: &SimVfs) -> Db {
    try_open(disk, options()).unwrap()
}

pub(crate) fn key(i: u64) -> Vec<u8> {
    format!("key {i:06}").into_bytes()
}

/// Puts one record in a transaction of its own, and waits for it.
pub(crate) fn put(db: &Db, key: &[u8], value: &[u8]) {
    let tree = db.tree("t").unwrap();
    let mut w = db.write().unwrap();
    w.put(tree, key, value).unwrap();
    w.commit().unwrap().wait().unwrap();
}

/// Everything in tree "t", verified.
#[track_caller]
pub(crate) fn records(db: &Db) -> Records {
    let r = db.read();
    r.tree("t").map_or_else(Records::new, |tree| {
        let range = r.iter(tree).map(|item| item.unwrap());
        range.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    })
}

/// Fills tree "t" with `count` records of some 100 bytes, a few to a transaction.
pub(crate) fn fill(db: &Db, count: u64) -> TreeId {
    let tree = db.tree("t").unwrap();
    for chunk in 0..count.div_ceil(50) {
        let mut w = db.write().unwrap();
        for i in chunk * 50..(chunk * 50 + 50).min(count) {
            w.put(tree, &key(i), &[i as u8; 100]).unwrap();
        }
        w.commit().unwrap().wait().unwrap();
    }
    tree
}

/// A file's bytes.
pub(crate) fn load(disk: &SimVfs, path: &Path) -> Vec<u8> {
    let file = disk.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Replaces a file's bytes, durably.
pub(crate) fn store(disk: &SimVfs, path: &Path, bytes: &[u8]) {
    let file = disk.open(path, OpenMode::Create).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("dir")).unwrap();
}

/// A copy of the disk as if the process had been killed now, with the file changed by `edit`.
pub(crate) fn hurt(disk: &SimVfs, edit: impl FnOnce(&mut Vec<u8>)) -> SimVfs {
    let copy = disk.kill_copy();
    let mut bytes = load(&copy, &path());
    edit(&mut bytes);
    store(&copy, &path(), &bytes);
    copy
}

/// The database is refused as corrupt, and left byte for byte as it was. Returns the error.
#[track_caller]
pub(crate) fn assert_corrupt(disk: &SimVfs, options: Options) -> Error {
    let before = disk.files();
    let error = try_open(disk, options).expect_err("damage to promised bytes was absorbed");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(disk.files() == before, "a refused database was changed");
    error
}
