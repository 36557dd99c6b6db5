//! The wall: write, sync, again.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};

use super::{Log, SEGMENT_BYTES, Writer, frame_bytes};

/// One file that one thread writes to and syncs. It writes as many bytes for a record as our log
/// does, and does nothing else: no checksum, no lock, no second thread.
#[derive(Debug)]
pub struct Raw {
    name: &'static str,
    file: File,
    at: AtomicU64,
    /// The file has its length and its zeros, as our segments do.
    zeroed: bool,
}

impl Raw {
    /// A file of zeros, synced, to be overwritten from its start to its end, and again.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn zeroed(path: &Path) -> Result<Raw> {
        let file = create(path)?;
        let zeros = vec![0; 1 << 20];
        for at in (0..SEGMENT_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        Ok(Raw { name: "raw, zeroed file", file, at: AtomicU64::new(0), zeroed: true })
    }

    /// A file that every write makes longer.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn growing(path: &Path) -> Result<Raw> {
        let file = create(path)?;
        Ok(Raw { name: "raw, growing file", file, at: AtomicU64::new(0), zeroed: false })
    }
}

fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    options.open(path).with_context(|| format!("making {}", path.display()))
}

impl Log for Raw {
    fn name(&self) -> &str {
        self.name
    }

    fn writer(&self, thread: usize) -> Result<Writer<'_>> {
        ensure!(thread == 0, "a raw loop has one thread");
        let mut frame = Vec::new();
        Ok(Box::new(move |payload| {
            frame.resize(frame_bytes(payload.len()), 0);
            frame[16..16 + payload.len()].copy_from_slice(payload);
            let len = frame.len() as u64;
            let mut at = self.at.load(Ordering::Relaxed);
            if self.zeroed && at + len > SEGMENT_BYTES {
                at = 0;
            }
            self.file.write_all_at(&frame, at)?;
            self.file.sync_data()?;
            self.at.store(at + len, Ordering::Relaxed);
            Ok(())
        }))
    }

    fn tidy(&self) -> Result<()> {
        if !self.zeroed && self.at.load(Ordering::Relaxed) > SEGMENT_BYTES {
            self.file.set_len(0)?;
            self.file.sync_all()?;
            self.at.store(0, Ordering::Relaxed);
        }
        Ok(())
    }
}
