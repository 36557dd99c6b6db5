//! A whole mason in one process, to try it: store, server and agents, on loopback.
//!
//! ```text
//!   <data dir>/store     drystone-etcd, embedded
//!              key       seals secrets
//!              n1, n2 …  agents: runs, images, journal
//!   <runtime dir>/mason/dev.json   where it answers, for the other commands
//! ```
//!
//! It leaves nothing behind: at its end all containers are stopped and forgotten, then the folder
//! goes. If it was killed, the next one does that first. With `keep`, all of it stays.
//!
//! The built-in image answers for a few names (`busybox`) until a real image of that name is pulled
//! or imported: so that the first run needs no network. It is no busybox, and who is told so can
//! pull the real one.

mod beacon;
mod sweep;

pub use beacon::{Beacon, Place};
pub use sweep::{MARK, clear, settle};
