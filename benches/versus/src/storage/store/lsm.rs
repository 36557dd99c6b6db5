//! Ours: the log-structured merge tree.

use std::ops::Bound::{Included, Unbounded};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use drystone_lsm::{Cursor, Db, Keyspace, KeyspaceOptions, Options};
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
        Ok(Box::new(Latest { store: self, cursor: None }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.persist()?;
        Ok(self.db.close()?)
    }
}

/// Gets see the latest, for to take a snapshot first would cost more. A scan of a part does so the
/// first time; those that follow go on with its cursor, and see what that sees.
struct Latest<'a> {
    store: &'a Lsm,
    cursor: Option<Cursor>,
}

impl Reader for Latest<'_> {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.store.db.get(&self.store.keyspace, key)?;
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
        let Lsm { db, keyspace } = self.store;
        let mut count = 0;
        if limit == usize::MAX {
            let mut range = db.range::<&[u8]>(keyspace, (Included(from), Unbounded));
            while let Some(pair) = range.lend() {
                let (key, value) = pair?;
                show(key, value);
                count += 1;
            }
            return Ok(count);
        }
        let cursor = self.cursor.get_or_insert_with(|| db.cursor(keyspace));
        cursor.seek(from)?;
        while count < limit
            && let Some((key, value)) = cursor.record()
        {
            show(key, value);
            count += 1;
            if count < limit {
                cursor.next()?;
            }
        }
        Ok(count)
    }
}
