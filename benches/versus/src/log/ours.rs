//! This project's log.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use drystone_wal::{Options, Wal, Writer as Mode};

use super::{Log, SEGMENT_BYTES, Writer};
use crate::syncs::CountedVfs;

/// Enough to make the segments, which start small and double, full-grown, and spares of them.
const GROW_BYTES: u64 = 5 * SEGMENT_BYTES;

/// A [`Wal`] with default options.
#[derive(Debug)]
pub struct Ours {
    name: &'static str,
    wal: Wal,
}

impl Ours {
    /// Opens a log in `dir` and grows it to its steady state.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn open(dir: &Path, mode: Mode) -> Result<Ours> {
        let name = match mode {
            Mode::Thread => "ours",
            _ => "ours, writer: caller",
        };
        let options = Options::default().segment_bytes(SEGMENT_BYTES).writer(mode);
        let (wal, _) = Wal::open(Arc::new(CountedVfs::default()), dir, options)?;
        let ours = Ours { name, wal };
        let record = vec![0; 1 << 20];
        for i in 1..=GROW_BYTES / record.len() as u64 {
            ours.wal.append(&[&record])?.wait()?;
            if i % 16 == 0 {
                ours.tidy()?;
            }
        }
        Ok(ours)
    }

    /// The log itself.
    pub fn wal(&self) -> &Wal {
        &self.wal
    }
}

impl Log for Ours {
    fn name(&self) -> &str {
        self.name
    }

    fn writer(&self, _thread: usize) -> Result<Writer<'_>> {
        Ok(Box::new(|payload| {
            self.wal.append(&[payload])?.wait()?;
            Ok(())
        }))
    }

    fn tidy(&self) -> Result<()> {
        Ok(self.wal.truncate_prefix(self.wal.next_lsn())?)
    }
}
