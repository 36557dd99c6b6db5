//! Ours: the log-structured merge tree.

use std::ops::Bound::{Included, Unbounded};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use drystone_lsm::{Db, Keyspace, KeyspaceOptions, Options};
use drystone_vfs::{OsClock, OsVfs};

use super::{Batch, Op, Reader, Settings, Store};

/// With its defaults. What it is told is all the memory it has: half of it for memtables.
pub(super) struct Lsm {
    db: Db,
    keyspace: Keyspace,
}

impl Lsm {
    pub(super) fn open(dir: &Path, settings: &Settings) -> Result<Lsm> {
        let mut options = Options::default().memory_bytes(settings.memory_bytes);
        if let Some(bytes) = settings.log_bytes {
            // Half of the memory is for what only the log has; nobody flushes before it is full.
            options = options.memory_bytes(4 * bytes).threads(0);
        }
        let db = Db::open(Arc::new(OsVfs::new()), Arc::new(OsClock::new()), dir, options)?;
        let keyspace = db.keyspace("data", KeyspaceOptions::default())?;
        Ok(Lsm { db, keyspace })
    }
}

impl Store for Lsm {
    fn write(&self, batch: &Batch) -> Result<()> {
        let mut write = drystone_lsm::Batch::with_capacity(batch.bytes());
        for op in batch.iter() {
            match op {
                Op::Put(key, value) => write.put(&self.keyspace, key, value),
                Op::Delete(key) => write.delete(&self.keyspace, key),
            }
        }
        // Durable later.
        drop(self.db.write(write)?);
        Ok(())
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.db.put(&self.keyspace, key, value)?.wait()?)
    }

    fn persist(&self) -> Result<()> {
        Ok(self.db.persist()?)
    }

    fn settle(&self) -> Result<()> {
        self.db.flush()?;
        while self.db.compact_once()? {}
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(self))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.persist()?;
        Ok(self.db.close()?)
    }
}

/// Gets and scans each see the latest: to take a snapshot first would cost more.
impl Reader for &Lsm {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get(&self.keyspace, key)?;
        if let Some(value) = &value {
            show(value);
        }
        Ok(value.is_some())
    }

    fn scan(
        &mut self,
        from: &[u8],
        limit: usize,
        show: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let mut count = 0;
        let range = self.db.range::<&[u8]>(&self.keyspace, (Included(from), Unbounded));
        for pair in range.take(limit) {
            let (key, value) = pair?;
            show(&key, &value);
            count += 1;
        }
        Ok(count)
    }
}
