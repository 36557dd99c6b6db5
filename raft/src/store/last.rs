//! How far the log went, noted beside it.
//!
//! A log whose newest records are zeroed or cut off looks like one that ends there (see
//! [`drystone_wal`]). So the last record is noted in a file of its own when a store is opened and
//! closed: what was there before is missed, and only what came after the last opening and before a
//! crash can be lost unseen.
//!
//! ```text
//!     LAST    record 8 │ crc 4
//! ```

use std::io::IoSlice;
use std::path::Path;

use drystone_vfs::{OpenMode, Vfs};
use drystone_wal::Lsn;

use crate::store::error::{Error, Result};

const NAME: &str = "LAST";
const TEMPORARY: &str = "LAST.tmp";
const BYTES: usize = 12;

/// Notes that the log goes as far as `last`, durably.
pub(crate) fn note(vfs: &dyn Vfs, log: &Path, last: Lsn) -> Result<()> {
    let (path, temporary) = (log.join(NAME), log.join(TEMPORARY));
    let number = last.0.to_le_bytes();
    let crc = crc32fast::hash(&number).to_le_bytes();
    let write = || {
        let file = vfs.open(&temporary, OpenMode::Create)?;
        file.write_at(&[IoSlice::new(&number), IoSlice::new(&crc)], 0)?;
        file.sync_data()?;
        vfs.rename(&temporary, &path)?;
        vfs.sync_dir(log)
    };
    write().map_err(|e| Error::io("write", &path, e))
}

/// How far the log went at least. [`Lsn::NONE`] if that was never noted, or the note is damaged.
pub(crate) fn noted(vfs: &dyn Vfs, log: &Path) -> Lsn {
    let read = || {
        let file = vfs.open(&log.join(NAME), OpenMode::Read)?;
        let mut bytes = [0; BYTES];
        file.read_exact_at(&mut bytes, 0)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let Ok(bytes) = read() else { return Lsn::NONE };
    let (number, crc) = bytes.split_first_chunk::<8>().expect("there are twelve");
    let sound = crc32fast::hash(number).to_le_bytes() == crc;
    if sound { Lsn(u64::from_le_bytes(*number)) } else { Lsn::NONE }
}
