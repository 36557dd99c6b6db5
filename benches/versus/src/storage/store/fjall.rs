//! fjall: a log-structured merge tree.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Batch, Op, Reader, Settings, Store};

/// How often it is asked whether it still compacts.
const POLL: Duration = Duration::from_millis(5);

/// Asked so often in a row, it does not.
const QUIET_POLLS: u32 = 20;

/// With its defaults, which have LZ4, filters and a hash index in its blocks, and a cache as large
/// as it is told.
pub(super) struct Fjall {
    db: Database,
    keyspace: Keyspace,
}

impl Fjall {
    pub(super) fn open(dir: &Path, settings: &Settings) -> Result<Fjall> {
        let mut builder = Database::builder(dir).cache_size(settings.memory_bytes);
        if let Some(bytes) = settings.log_bytes {
            builder = builder.max_journaling_size(4 * bytes);
        }
        let db = builder.open()?;
        let keyspace = db.keyspace("data", || {
            let options = KeyspaceCreateOptions::default();
            match settings.log_bytes {
                Some(bytes) => options.max_memtable_size(2 * bytes),
                None => options,
            }
        })?;
        Ok(Fjall { db, keyspace })
    }

    fn commit(&self, batch: &Batch, durability: Option<PersistMode>) -> Result<()> {
        let mut write = fjall::OwnedWriteBatch::with_capacity(self.db.clone(), batch.len());
        for op in batch.iter() {
            match op {
                Op::Put(key, value) => write.insert(&self.keyspace, key, value),
                Op::Delete(key) => write.remove(&self.keyspace, key),
            }
        }
        Ok(write.durability(durability).commit()?)
    }
}

impl Store for Fjall {
    fn write(&self, batch: &Batch) -> Result<()> {
        let mut ops = batch.iter();
        match (ops.next(), ops.next()) {
            // The way without a batch is the faster one.
            (Some(Op::Put(key, value)), None) => Ok(self.keyspace.insert(key, value)?),
            _ => self.commit(batch, None),
        }
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut batch = Batch::default();
        batch.put(key, value);
        self.commit(&batch, Some(PersistMode::SyncData))
    }

    fn persist(&self) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncData)?)
    }

    fn settle(&self) -> Result<()> {
        self.persist()?;
        self.keyspace.rotate_memtable_and_wait()?;
        let mut quiet = 0;
        while quiet < QUIET_POLLS {
            let busy = self.db.active_compactions() > 0 || self.db.outstanding_flushes() > 0;
            quiet = if busy { 0 } else { quiet + 1 };
            thread::sleep(POLL);
        }
        ensure!(self.keyspace.sealed_memtable_count() == 0, "fjall did not flush");
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(&self.keyspace))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.persist()
    }
}

impl Reader for &Keyspace {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = Keyspace::get(self, key)?;
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
        for pair in self.range(from..).take(limit) {
            let (key, value) = pair.into_inner()?;
            show(&key, &value);
            count += 1;
        }
        Ok(count)
    }
}
