//! redb: a copy-on-write B+tree in one file.

use std::path::Path;

use anyhow::Result;
use redb::{Builder, Database, Durability, ReadOnlyTable, ReadableDatabase as _, TableDefinition};

use super::{Batch, Op, Reader, Settings, Store};

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("data");

/// With a cache as large as it is told. Its commits are of one phase, the faster kind.
pub(super) struct Redb(Database);

impl Redb {
    pub(super) fn open(dir: &Path, settings: &Settings) -> Result<Redb> {
        let cache_bytes = usize::try_from(settings.memory_bytes)?;
        let path = dir.join("redb");
        let db = Redb(Builder::new().set_cache_size(cache_bytes).create(path)?);
        db.commit(Durability::Immediate, &Batch::default())?;
        Ok(db)
    }

    fn commit(&self, durability: Durability, batch: &Batch) -> Result<()> {
        let mut txn = self.0.begin_write()?;
        txn.set_durability(durability)?;
        {
            let mut table = txn.open_table(TABLE)?;
            for op in batch.iter() {
                match op {
                    Op::Put(key, value) => drop(table.insert(key, value)?),
                    Op::Delete(key) => drop(table.remove(key)?),
                }
            }
        }
        Ok(txn.commit()?)
    }
}

impl Store for Redb {
    fn write(&self, batch: &Batch) -> Result<()> {
        self.commit(Durability::None, batch)
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut batch = Batch::default();
        batch.put(key, value);
        self.commit(Durability::Immediate, &batch)
    }

    fn persist(&self) -> Result<()> {
        self.commit(Durability::Immediate, &Batch::default())
    }

    fn settle(&self) -> Result<()> {
        self.persist()
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(self.0.begin_read()?.open_table(TABLE)?))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
    }
}

impl Reader for ReadOnlyTable<&'static [u8], &'static [u8]> {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = ReadOnlyTable::get(self, key)?;
        if let Some(value) = &value {
            show(value.value());
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
        for pair in self.range(from..)?.take(limit) {
            let (key, value) = pair?;
            show(key.value(), value.value());
            count += 1;
        }
        Ok(count)
    }
}
