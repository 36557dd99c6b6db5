//! The seam between storage engines and disks, and three disks to put behind it.
//!
//! ```text
//!        wal    btree    lsm    kv            engines: blocking calls, no std::fs
//!          \      |      |      /
//!           ┌────────────────────┐
//!           │  Vfs   File  Clock │            the seam: what a crash may do is part of it
//!           └────────────────────┘
//!          /          |           \
//!      OsVfs        MemVfs       SimVfs       a real disk, an obedient one, a hostile one
//! ```
//!
//! Start at [`Vfs`]: its contract says which call makes what survive a crash. [`TapVfs`] goes
//! around any of them and lets a test watch, hold up or refuse what passes.
//!
//! ```
//! use std::io::IoSlice;
//! use std::path::Path;
//! use drystone_vfs::{MemVfs, OpenMode, Vfs};
//!
//! # fn main() -> std::io::Result<()> {
//! let disk = MemVfs::new();
//! disk.create_dir_all(Path::new("/db"))?;
//! let file = disk.open(Path::new("/db/log"), OpenMode::Create)?;
//! file.write_at(&[IoSlice::new(b"dry"), IoSlice::new(b"stone")], 0)?;
//! file.sync_data()?;                       // the bytes are safe
//! disk.sync_dir(Path::new("/db"))?;        // and so is the name
//! assert_eq!(file.len()?, 8);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod vfs;

mod aside;
mod clock;

mod locks;
mod mem;
mod os;
mod path;
mod sim;
mod tap;

pub use aside::AsideVfs;
pub use clock::{Clock, OsClock, SimClock};
pub use mem::MemVfs;
pub use os::OsVfs;
pub use sim::SimVfs;
pub use sim::fault::{Counts, Fault, Harm, Op};
pub use sim::image::Overwrite;
pub use tap::{Call, Tap, TapVfs};
pub use vfs::{File, Lock, OpenMode, Vfs};
