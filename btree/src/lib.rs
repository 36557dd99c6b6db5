//! A copy-on-write B+tree in one file.

mod types;

mod error;
mod slice;

mod page;
mod pages;

mod cursor;
mod range;
mod tree;

mod draft;
mod forest;

mod inspect;
mod verify;

#[cfg(test)]
mod measure;
#[cfg(test)]
mod memory;

pub use draft::{Savepoint, VALUE_BYTES_MAX};
pub use error::{Damage, Error, Result};
pub use forest::{NAME_BYTES_MAX, TREES_MAX};
pub use slice::Slice;
pub use types::{PageId, TreeId, TxnId};
pub use verify::Tally;
