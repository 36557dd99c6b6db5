//! A disk that writes down what the log asks of it, in order.

use std::io;
use std::path::Path;
use std::sync::Arc;

use drystone_vfs::{Call, OpenMode, SimVfs, Tap, TapVfs, Vfs};
use parking_lot::Mutex;

/// A [`SimVfs`] with a record of its changing calls, and of the largest read.
#[derive(Debug)]
pub(crate) struct Spy {
    pub(crate) disk: SimVfs,
    /// The same disk, with the spy on the line.
    pub(crate) tapped: Arc<TapVfs>,
    seen: Arc<Seen>,
}

#[derive(Debug)]
struct Seen {
    disk: SimVfs,
    calls: Mutex<Vec<String>>,
    read_bytes_max: Mutex<usize>,
}

impl Spy {
    pub(crate) fn over(disk: SimVfs) -> Spy {
        let (calls, read_bytes_max) = (Mutex::default(), Mutex::default());
        let seen = Arc::new(Seen { disk: disk.clone(), calls, read_bytes_max });
        let tapped = Arc::new(TapVfs::sharing(Arc::new(disk.clone()), seen.clone()));
        Spy { disk, tapped, seen }
    }

    /// The changing calls since this was asked last, as `op name`.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.calls.lock())
    }

    /// The largest buffer that was ever offered for reading into.
    pub(crate) fn read_bytes_max(&self) -> usize {
        *self.seen.read_bytes_max.lock()
    }
}

impl Tap for Seen {
    fn pass(&self, call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let seen = match call {
            Call::Open { path, mode: OpenMode::Create | OpenMode::CreateNew }
                if self.disk.open(path, OpenMode::Read).is_err() =>
            {
                Some(("create", path))
            }
            Call::Rename { to, .. } => Some(("rename to", to)),
            Call::Remove { path } => Some(("remove", path)),
            Call::SyncDir { dir } => Some(("sync dir", dir)),
            Call::Write { path, .. } => Some(("write", path)),
            Call::SyncData { path } => Some(("sync", path)),
            Call::SetLen { path, .. } => Some(("set length", path)),
            Call::Read { bytes, .. } => {
                let mut max = self.read_bytes_max.lock();
                *max = bytes.max(*max);
                None
            }
            _ => None,
        };
        if let Some((op, path)) = seen {
            let name = Path::new(path.file_name().unwrap_or(path.as_os_str())).display();
            self.calls.lock().push(format!("{op} {name}"));
        }
        go()
    }
}
