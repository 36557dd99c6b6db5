//! The wall: write, sync, again.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};

use super::{Log, SEGMENT_BYTES, Writer, frame_bytes};

/// What a write without the page cache must be a multiple of, in place and length.
const BLOCK_BYTES: usize = 4096;

/// How the loop comes to have a record on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Over zeros that are already on disk, as our segments are; then `fdatasync`.
    Zeroed,
    /// Behind the last byte of the file, which grows; then `fdatasync`.
    Growing,
    /// Over zeros, past the page cache, each write durable when it returns. Whole blocks: the last,
    /// half-full one is written again with every record.
    Direct,
}

/// One file that one thread writes to and syncs. It writes as many bytes for a record as our log
/// does, and does nothing else: no checksum, no lock, no second thread.
#[derive(Debug)]
pub struct Raw {
    way: Way,
    file: File,
    at: AtomicU64,
}

impl Raw {
    /// A file of zeros, synced, to be overwritten from its start to its end, and again.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn zeroed(path: &Path) -> Result<Raw> {
        zeros(path)?;
        Raw::open(path, Way::Zeroed, 0)
    }

    /// A file that every write makes longer.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn growing(path: &Path) -> Result<Raw> {
        Raw::open(path, Way::Growing, 0)
    }

    /// As [`zeroed`](Raw::zeroed), with `O_DIRECT` and `O_DSYNC`.
    ///
    /// # Errors
    /// If the disk refuses, or the file system cannot do it.
    pub fn direct(path: &Path) -> Result<Raw> {
        zeros(path)?;
        Raw::open(path, Way::Direct, libc::O_DIRECT | libc::O_DSYNC)
    }

    fn open(path: &Path, way: Way, flags: i32) -> Result<Raw> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).custom_flags(flags);
        let file = options.open(path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Raw { way, file, at: AtomicU64::new(0) })
    }
}

fn zeros(path: &Path) -> Result<()> {
    let file = File::create_new(path).with_context(|| format!("making {}", path.display()))?;
    // In larger pieces the page cache would keep larger folios, and every later write be slower.
    let zeros = vec![0; 64 << 10];
    for at in (0..SEGMENT_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, at)?;
    }
    Ok(file.sync_all()?)
}

impl Log for Raw {
    fn name(&self) -> &str {
        match self.way {
            Way::Zeroed => "raw, zeroed file",
            Way::Growing => "raw, growing file",
            Way::Direct => "raw, zeroed, O_DIRECT",
        }
    }

    fn writer(&self, thread: usize) -> Result<Writer<'_>> {
        ensure!(thread == 0, "a raw loop has one thread");
        if self.way == Way::Direct {
            return Ok(self.direct_writer());
        }
        let mut frame = Vec::new();
        Ok(Box::new(move |payload| {
            frame.resize(frame_bytes(payload.len()), 0);
            frame[16..16 + payload.len()].copy_from_slice(payload);
            let at = self.place(frame.len());
            self.file.write_all_at(&frame, at)?;
            self.file.sync_data()?;
            Ok(())
        }))
    }

    fn tidy(&self) -> Result<()> {
        if self.way == Way::Growing && self.at.load(Ordering::Relaxed) > SEGMENT_BYTES {
            self.file.set_len(0)?;
            self.file.sync_all()?;
            self.at.store(0, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Raw {
    /// Where the next `len` bytes go.
    fn place(&self, len: usize) -> u64 {
        let mut at = self.at.load(Ordering::Relaxed);
        if self.way != Way::Growing && at + len as u64 > SEGMENT_BYTES {
            at = 0;
        }
        self.at.store(at + len as u64, Ordering::Relaxed);
        at
    }

    fn direct_writer(&self) -> Writer<'_> {
        // Room for the blocks that a record of up to 64 KiB touches, and for moving to alignment.
        let mut room = vec![0; (64 << 10) + 3 * BLOCK_BYTES];
        let shift = room.as_ptr().align_offset(BLOCK_BYTES);
        Box::new(move |payload| {
            let len = frame_bytes(payload.len());
            let at = self.place(len) as usize;
            let (first, skip) = (at / BLOCK_BYTES * BLOCK_BYTES, at % BLOCK_BYTES);
            let blocks = &mut room[shift..shift + (skip + len).next_multiple_of(BLOCK_BYTES)];
            blocks[skip + 16..skip + 16 + payload.len()].copy_from_slice(payload);
            self.file.write_all_at(blocks, first as u64)?;
            // What the next record continues is the last block; it has to lie first then.
            let last = (skip + len) / BLOCK_BYTES * BLOCK_BYTES;
            if last > 0 {
                let rest = skip + len - last;
                let end = shift + last + rest;
                room.copy_within(shift + last..end, shift);
            }
            Ok(())
        })
    }
}
