//! RocksDB, the system's library: a log-structured merge tree.

mod ffi;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use self::ffi::{Db, Iter, Options};
use super::{Batch, Op, Reader, Settings, Store};

/// How often it is asked whether it still compacts.
const POLL: Duration = Duration::from_millis(5);

/// Asked so often in a row, it does not.
const QUIET_POLLS: u32 = 20;

/// Longer than this, and it never settles.
const SETTLE_MAX: Duration = Duration::from_secs(600);

/// What is zero when there is no work left.
const PENDING: [&str; 4] = [
    "rocksdb.mem-table-flush-pending",
    "rocksdb.num-running-flushes",
    "rocksdb.compaction-pending",
    "rocksdb.num-running-compactions",
];

/// With LZ4, a bloom filter, a hash index in its blocks, and a block cache as large as it is told.
pub(super) struct Rocks(Db);

impl Rocks {
    pub(super) fn open(dir: &Path, settings: &Settings) -> Result<Rocks> {
        let options = Options {
            cache_bytes: usize::try_from(settings.memory_bytes)?,
            bloom_bits: 10.0,
            background_jobs: 2,
            // What is kept in the log is what is in the memtable; a quarter more is overhead.
            write_buffer_bytes: settings.log_bytes.map(|bytes| 2 * bytes as usize),
        };
        Ok(Rocks(Db::open(dir, &options)?))
    }
}

impl Store for Rocks {
    fn write(&self, batch: &Batch) -> Result<()> {
        self.0.write(batch.iter(), false)
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.0.write(std::iter::once(Op::Put(key, value)), true)
    }

    fn persist(&self) -> Result<()> {
        self.0.sync_log()
    }

    fn settle(&self) -> Result<()> {
        self.0.flush()?;
        let start = Instant::now();
        let mut quiet = 0;
        while quiet < QUIET_POLLS {
            let mut pending = 0;
            for property in PENDING {
                pending += self.0.property(property)?;
            }
            quiet = if pending == 0 { quiet + 1 } else { 0 };
            ensure!(start.elapsed() < SETTLE_MAX, "RocksDB does not settle");
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(View { db: &self.0, iter: None }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// Gets see the latest; scans share one iterator, for to make one is the dear part.
struct View<'a> {
    db: &'a Db,
    iter: Option<Iter<'a>>,
}

impl Reader for View<'_> {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.db.get(key, show)
    }

    fn scan(
        &mut self,
        from: &[u8],
        limit: usize,
        show: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let iter = self.iter.get_or_insert_with(|| self.db.iter());
        iter.seek(from);
        let mut count = 0;
        while count < limit && iter.show(show) {
            count += 1;
            if count < limit {
                iter.next();
            }
        }
        iter.outcome()?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::store::{Contender, Sync};

    /// Three pairs, put, shown, deleted and found again; an answer from C is not to be trusted
    /// unseen.
    #[test]
    fn what_is_put_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            contender: Contender::Rocksdb,
            memory_bytes: 8 << 20,
            sync: Sync::Each,
            log_bytes: None,
            store_bytes_max: 0,
        };
        let db = Rocks::open(dir.path(), &settings).unwrap();
        let mut batch = Batch::default();
        for key in ["a", "b", "c"] {
            batch.put(key.as_bytes(), b"value");
        }
        db.write(&batch).unwrap();
        db.put_durable(b"b", b"new").unwrap();
        batch.clear();
        batch.delete(b"c");
        db.write(&batch).unwrap();
        db.settle().unwrap();
        drop(db);

        let db = Rocks::open(dir.path(), &settings).unwrap();
        let mut reader = db.reader().unwrap();
        assert!(!reader.get(b"c", &mut |_| panic!("it is deleted")).unwrap());
        assert!(reader.get(b"b", &mut |value| assert_eq!(value, b"new")).unwrap());
        let mut seen = Vec::new();
        for _ in 0..2 {
            seen.clear();
            let show = &mut |key: &[u8], _: &[u8]| seen.push(key.to_vec());
            assert_eq!(reader.scan(b"", 10, show).unwrap(), 2);
        }
        assert_eq!(seen, [b"a", b"b"]);
        assert_eq!(reader.scan(b"b", 1, &mut |_, _| ()).unwrap(), 1);
        assert!(db.0.property("rocksdb.no-such-thing").is_err());
        assert!(Rocks::open(dir.path(), &settings).is_err(), "it is locked");
    }
}
