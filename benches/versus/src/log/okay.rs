//! `okaywal`: appenders take turns to fill one buffer; whoever comes first syncs for all.

use std::path::Path;

use anyhow::Result;
use okaywal::{Configuration, LogVoid, WriteAheadLog};

use super::{Log, SEGMENT_BYTES, Writer};

/// An `okaywal` log that nobody reads: what is checkpointed is forgotten, its file is used again.
#[derive(Debug)]
pub struct OkayWal {
    name: &'static str,
    wal: WriteAheadLog,
}

impl OkayWal {
    /// As it comes: files of 1 MiB, checkpointed and reused after 768 KiB.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn with_defaults(dir: &Path) -> Result<OkayWal> {
        OkayWal::open("okaywal, 1 MiB", Configuration::default_for(dir))
    }

    /// With files as large as ours, so that it checkpoints as rarely as we change segments.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn with_large_files(dir: &Path) -> Result<OkayWal> {
        let bytes = u32::try_from(SEGMENT_BYTES)?;
        let configuration = Configuration::default_for(dir)
            .preallocate_bytes(bytes)
            .checkpoint_after_bytes(SEGMENT_BYTES * 3 / 4);
        OkayWal::open("okaywal, 64 MiB", configuration)
    }

    fn open(name: &'static str, configuration: Configuration) -> Result<OkayWal> {
        let wal = configuration.open(LogVoid)?;
        // A file is filled with zeros when it is first needed, under the lock that appenders want:
        // have three of them made now, two of which will lie ready.
        for _ in 0..3 {
            let mut entry = wal.begin_entry()?;
            entry.write_chunk(&[0; 64])?;
            entry.commit()?;
            wal.checkpoint_active()?;
        }
        Ok(OkayWal { name, wal })
    }
}

impl Log for OkayWal {
    fn name(&self) -> &str {
        self.name
    }

    fn writer(&self, _thread: usize) -> Result<Writer<'_>> {
        Ok(Box::new(|payload| {
            let mut entry = self.wal.begin_entry()?;
            entry.write_chunk(payload)?;
            entry.commit()?;
            Ok(())
        }))
    }

    fn tidy(&self) -> Result<()> {
        // It checkpoints by itself.
        Ok(())
    }
}
