//! LMDB, through heed: a copy-on-write B+tree in one file that is mapped into memory.

#![expect(unsafe_code, reason = "whoever maps a file answers for nobody else changing it")]

use std::ops::Bound::{Included, Unbounded};
use std::path::Path;

use anyhow::Result;
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, PutFlags, RoTxn, WithTls};

use super::{Batch, Contender, Op, Reader, Settings, Store, Sync};

/// Reads go through the mapping, whatever the memory that was allowed.
pub(super) struct Lmdb {
    env: Env<WithTls>,
    db: Database<Bytes, Bytes>,
}

impl Lmdb {
    pub(super) fn open(dir: &Path, settings: &Settings) -> Result<Lmdb> {
        let flags = match (settings.contender, settings.sync) {
            (Contender::LmdbWritemap, Sync::Later) => EnvFlags::WRITE_MAP | EnvFlags::MAP_ASYNC,
            (Contender::LmdbWritemap, Sync::Each) => EnvFlags::WRITE_MAP,
            (_, Sync::Later) => EnvFlags::NO_SYNC | EnvFlags::NO_META_SYNC,
            (_, Sync::Each) => EnvFlags::empty(),
        };
        let mut options = EnvOpenOptions::new();
        options.map_size(usize::try_from(settings.store_bytes_max)?);
        // SAFETY: the flags give up durability until `force_sync` is called, which is what a
        // caller of `Sync::Later` wants, and with `WRITE_MAP` the program promises not to write
        // where it should not; no flag gives up locking.
        unsafe { options.flags(flags) };
        // SAFETY: the folder is the bench's own; nobody else opens or changes the file.
        let env = unsafe { options.open(dir)? };
        let mut txn = env.write_txn()?;
        let db = env.create_database(&mut txn, None)?;
        txn.commit()?;
        Ok(Lmdb { env, db })
    }

    fn commit(&self, batch: &Batch, put: PutFlags) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for op in batch.iter() {
            match op {
                Op::Put(key, value) => self.db.put_with_flags(&mut txn, put, key, value)?,
                Op::Delete(key) => drop(self.db.delete(&mut txn, key)?),
            }
        }
        Ok(txn.commit()?)
    }
}

impl Store for Lmdb {
    fn write(&self, batch: &Batch) -> Result<()> {
        self.commit(batch, PutFlags::empty())
    }

    fn append(&self, batch: &Batch) -> Result<()> {
        self.commit(batch, PutFlags::APPEND)
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        self.db.put(&mut txn, key, value)?;
        Ok(txn.commit()?)
    }

    fn persist(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn settle(&self) -> Result<()> {
        self.persist()
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(View { txn: self.env.read_txn()?, db: self.db }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.persist()?;
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

struct View<'a> {
    txn: RoTxn<'a, WithTls>,
    db: Database<Bytes, Bytes>,
}

impl Reader for View<'_> {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get(&self.txn, key)?;
        if let Some(value) = value {
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
        // LMDB takes an empty key for a mistake.
        let from = if from.is_empty() { Unbounded } else { Included(from) };
        for pair in self.db.range(&self.txn, &(from, Unbounded))?.take(limit) {
            let (key, value) = pair?;
            show(key, value);
            count += 1;
        }
        Ok(count)
    }
}
