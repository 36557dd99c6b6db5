//! Ours: the copy-on-write B+tree.

use std::path::Path;

use anyhow::{Result, bail};

use super::{Batch, Reader, Settings, Store};

pub(super) struct Btree;

impl Btree {
    pub(super) fn open(_dir: &Path, _settings: &Settings) -> Result<Btree> {
        bail!("btree cannot be opened yet")
    }
}

impl Store for Btree {
    fn write(&self, _batch: &Batch) -> Result<()> {
        bail!("not yet")
    }

    fn put_durable(&self, _key: &[u8], _value: &[u8]) -> Result<()> {
        bail!("not yet")
    }

    fn persist(&self) -> Result<()> {
        bail!("not yet")
    }

    fn settle(&self) -> Result<()> {
        bail!("not yet")
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        bail!("not yet")
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
