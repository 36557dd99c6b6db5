//! A file that can always be read: what the disk refuses reads as `0xff`, and is remembered.
//!
//! One bad sector must not cost the megabytes around it. A read that fails is repeated sector by
//! sector; those that fail again are filled with bytes that are no frame and no end of a log.

use std::io::{self, IoSlice};
use std::sync::Arc;

use drystone_vfs::File;
use parking_lot::Mutex;

/// The unit in which disks fail.
const SECTOR_BYTES: u64 = 512;

/// A file for reading alone, with its bad sectors papered over.
#[derive(Debug)]
pub(crate) struct Patchy {
    file: Arc<dyn File>,
    /// Sectors that could not be read, by their first byte, unordered, and why.
    bad: Mutex<Vec<(u64, Arc<io::Error>)>>,
}

impl Patchy {
    pub(crate) fn new(file: Arc<dyn File>) -> Arc<Patchy> {
        Arc::new(Patchy { file, bad: Mutex::default() })
    }

    /// Why some byte of `from..to` could not be read, if one could not. Knows only of what has been
    /// read.
    pub(crate) fn bad_in(&self, from: u64, to: u64) -> Option<Arc<io::Error>> {
        let bad = self.bad.lock();
        let hit = bad.iter().find(|(at, _)| *at < to && from < at + SECTOR_BYTES);
        hit.map(|(_, error)| Arc::clone(error))
    }

    fn read_piecewise(&self, buf: &mut [u8], offset: u64) -> usize {
        let mut filled = 0;
        while filled < buf.len() {
            let at = offset + filled as u64;
            let sector = at - at % SECTOR_BYTES;
            let count = ((sector + SECTOR_BYTES - at) as usize).min(buf.len() - filled);
            let piece = &mut buf[filled..filled + count];
            match self.file.read_at(piece, at) {
                Ok(read) if read < count => return filled + read,
                Ok(_) => {}
                Err(error) => {
                    piece.fill(0xff);
                    let mut bad = self.bad.lock();
                    if bad.iter().all(|(known, _)| *known != sector) {
                        bad.push((sector, Arc::new(error)));
                    }
                }
            }
            filled += count;
        }
        filled
    }
}

impl File for Patchy {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if let Ok(count) = self.file.read_at(buf, offset) {
            return Ok(count);
        }
        // A file that cannot tell its length is taken to be as long as asked for, less what lies
        // behind it if it can.
        let length = self.file.len().unwrap_or(u64::MAX);
        let count = length.saturating_sub(offset).min(buf.len() as u64) as usize;
        Ok(self.read_piecewise(&mut buf[..count], offset))
    }

    fn write_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}
