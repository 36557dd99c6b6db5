//! The file format of bbolt, the Go library that etcd keeps its data in: a writer that streams a
//! whole file, and a reader that believes nothing.
//!
//! **The problem.** To take data over from etcd, and to give them back, one has to speak the format
//! of its files. Those are trees of pages, changed in place by copy-on-write, with much that only
//! matters to whoever changes them.
//!
//! **The idea.** A file that is written once, from records that come in order, needs none of that:
//! leaves are filled and written one behind the other, then the branches over them, then the two
//! meta pages. And a reader needs only to find its way down the tree.
//!
//! ```text
//!   records in order ──► Writer ──► file ──► File ──► records in order
//! ```
//!
//! ```
//! use drystone_etcd_bolt::{File, Writer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = std::env::temp_dir().join(format!("bolt-front-page-{}", std::process::id()));
//! let mut writer = Writer::new(std::fs::File::create(&path)?)?;
//! writer.begin(b"colours")?;
//! writer.put(b"sky", b"blue")?;
//! writer.finish()?;
//!
//! let file = File::open(&path)?;
//! let bucket = file.bucket(b"colours")?.expect("it was written");
//! let entry = file.entries(&bucket).next().expect("it has one")?;
//! assert_eq!((&entry.key[..], &entry.value[..]), (&b"sky"[..], &b"blue"[..]));
//! # std::fs::remove_file(&path)?;
//! # Ok(())
//! # }
//! ```
//!
//! **Promises.** Both take the memory of a few pages. The reader gives an [`Error`] that names file
//! and page for whatever is not as it must be; it never panics, and always ends.
//!
//! **Left out.** Changing a file, its locks, its free pages; buckets in buckets on the way out (the
//! reader finds its way through them). Pages have no checksums in this format: a changed byte of a
//! value shows only where the whole file has one, as etcd's snapshots have.

#![forbid(unsafe_code)]

pub mod error;
pub mod format;

mod entries;
mod file;
mod writer;

pub use entries::{Entries, Entry};
pub use error::Error;
pub use file::{Bucket, File};
pub use writer::Writer;
