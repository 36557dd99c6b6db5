//! The wall of a durable put: a loop that writes as many bytes as our log would, and syncs.

use std::path::Path;

use anyhow::{Result, bail};
use parking_lot::Mutex;

use super::{Batch, Reader, Store};
use crate::log::{Log as _, Raw, Writer};

/// Writes and syncs; it has no other use.
pub(super) struct RawLoop {
    write: Mutex<Writer<'static>>,
}

impl RawLoop {
    pub(super) fn open(dir: &Path) -> Result<RawLoop> {
        let path = dir.join("raw");
        if path.exists() {
            std::fs::remove_file(&path)?;
        }
        // The writer borrows the loop; a child process opens one, and lives no longer than it.
        let raw: &'static Raw = Box::leak(Box::new(Raw::zeroed(&path)?));
        Ok(RawLoop { write: Mutex::new(raw.writer(0)?) })
    }
}

impl Store for RawLoop {
    fn write(&self, _batch: &Batch) -> Result<()> {
        bail!("a raw loop stores nothing")
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut record = [0; 256];
        let len = key.len() + value.len();
        record[..key.len()].copy_from_slice(key);
        record[key.len()..len].copy_from_slice(value);
        (self.write.lock())(&record[..len])
    }

    fn persist(&self) -> Result<()> {
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        bail!("a raw loop stores nothing")
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
