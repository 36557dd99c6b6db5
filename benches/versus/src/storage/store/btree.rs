//! Ours: the copy-on-write B+tree.

use std::ops::Bound::{Included, Unbounded};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use drystone_btree::{Db, Options, Progress, ReadTxn, TreeId};
use drystone_vfs::OsVfs;

use super::{Batch, Op, Reader, Settings, Shrunk, Store, Sync};

/// With its defaults, and as much memory for pages as it is told.
pub(super) struct Btree {
    db: Db,
    tree: TreeId,
}

impl Btree {
    pub(super) fn open(dir: &Path, settings: &Settings) -> Result<Btree> {
        let sync = match settings.sync {
            Sync::Later => drystone_btree::Sync::OnRequest,
            Sync::Each => drystone_btree::Sync::Journal,
        };
        let options =
            Options::default().memory_bytes(usize::try_from(settings.memory_bytes)?).sync(sync);
        let db = Db::open(Arc::new(OsVfs::new()), &dir.join("btree"), options)?;
        let tree = db.tree("data")?;
        Ok(Btree { db, tree })
    }
}

impl Store for Btree {
    fn write(&self, batch: &Batch) -> Result<()> {
        let mut txn = self.db.write()?;
        for op in batch.iter() {
            match op {
                Op::Put(key, value) => txn.put(self.tree, key, value)?,
                Op::Delete(key) => txn.delete(self.tree, key)?,
            };
        }
        // Durable later.
        drop(txn.commit()?);
        Ok(())
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut txn = self.db.write()?;
        txn.put(self.tree, key, value)?;
        txn.commit()?.wait()?;
        Ok(())
    }

    fn persist(&self) -> Result<()> {
        self.db.persist()?;
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        self.persist()
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(View { txn: self.db.read(), tree: self.tree }))
    }

    fn shrink(&self, budget: Duration) -> Result<Option<Shrunk>> {
        let done = self.db.compact(budget)? == Progress::Done;
        Ok(Some(Shrunk { done, used_bytes: self.db.sizes().used_bytes }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.persist()?;
        Ok(self.db.close()?)
    }
}

struct View {
    txn: ReadTxn,
    tree: TreeId,
}

impl Reader for View {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.txn.get(self.tree, key)?;
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
        for pair in self.txn.range::<&[u8]>(self.tree, (Included(from), Unbounded)).take(limit) {
            let (key, value) = pair?;
            show(&key, &value);
            count += 1;
        }
        Ok(count)
    }
}
